//! Refreshing ahead of need.

use super::*;

#[test]
fn audits_find_what_is_stale_while_it_is_refreshed_ahead() {
    let freshness = Freshness::stale_reads(0.05).unwrap().max_ttl(Duration::from_secs(1 << 40)).refresh_ahead(0.01);
    let mut engine = Engine::new(freshness, 1);
    let mut origin = Origin::new(300, 3);
    origin.run(&mut engine, 600_000);
    let measured = engine.measured(None).unwrap();
    let truth = origin.stale_rate();
    assert!(truth < 0.06 && (measured.low..=measured.high).contains(&truth), "{truth} {measured:?}");
}

/// What waits are worth is not paid for with more loads than they are worth, nor with a staler cache.
#[test]
fn refreshing_ahead_costs_no_more_than_waiting() {
    let run = |loads_per_wait: f64, share: f64| {
        let freshness = Freshness::stale_reads(share).unwrap().max_ttl(Duration::from_secs(1 << 40));
        let mut engine = Engine::new(freshness.refresh_ahead(loads_per_wait), 1);
        let mut origin = Origin::new(300, 3);
        origin.run(&mut engine, 300_000);
        (origin.loads as f64, origin.waits as f64, origin.stale_rate() / share)
    };
    for share in [0.01, 0.05] {
        let (loads, waits, _) = run(f64::INFINITY, share);
        for price in [0.2, 1.0, 5.0] {
            let (ahead, still, stale) = run(price, share);
            let (cost, without) = (ahead * price + still, loads * price + waits);
            assert!(cost < without && still < waits, "{share}, {price}: {cost} for {without}, {still} of {waits} wait");
            assert!((0.6..1.3).contains(&stale), "{share}, {price}: {stale} times the objective");
        }
    }
}
