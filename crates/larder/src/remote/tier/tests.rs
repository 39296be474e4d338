use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::*;
use crate::ErrorKind;
use crate::remote::{Envelope, Faults, Filled, InProcess, Item, Kind, Notice, names};

const SECOND: Duration = Duration::from_secs(1);

fn tier(store: &InProcess) -> Tier {
    tier_with(store, TierConfig::default())
}

fn tier_with(store: &InProcess, config: TierConfig) -> Tier {
    Tier::new(Arc::new(store.clone()), config, &Handle::current()).unwrap()
}

/// A tier and the handle whose faults are its own.
fn breakable(store: &InProcess) -> (Tier, Arc<InProcess>) {
    let handle = Arc::new(store.clone());
    (Tier::new(handle.clone(), TierConfig::default(), &Handle::current()).unwrap(), handle)
}

fn down() -> Faults {
    Faults { down: true, ..Faults::default() }
}

fn entry(value: &'static str) -> Entry {
    Entry {
        payload: Some(Bytes::from_static(value.as_bytes())),
        age: Duration::ZERO,
        fresh_for: 10 * SECOND,
        keep_for: 60 * SECOND,
        cost: Duration::from_millis(3),
        version: Some(4),
        changed_at: Some(2 * SECOND),
        tags: Vec::new(),
    }
}

async fn ask(tier: &Tier, name: &Name) -> Reply {
    tier.get(std::slice::from_ref(name)).await.unwrap().pop().unwrap()
}

async fn value(tier: &Tier, name: &Name) -> Option<Bytes> {
    ask(tier, name).await.found.and_then(|entry| entry.payload)
}

async fn fill(tier: &Tier, name: &Name, entry: Entry) {
    let fence = ask(tier, name).await.fence.unwrap();
    assert!(tier.fill(Fill { name: name.clone(), fence, entry }));
    assert!(tier.flush(Instant::now() + SECOND).await);
}

/// Lets the tasks run.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_process_fills_another_finds_with_its_age() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let name = names::key("users", "1");
    fill(&one, &name, Entry { age: SECOND, ..entry("ann") }).await;
    sleep(4 * SECOND).await;
    let found = ask(&two, &name).await.found.unwrap();
    assert_eq!(found, Entry { age: 5 * SECOND, fresh_for: 6 * SECOND, keep_for: 56 * SECOND, ..entry("ann") });
    sleep(10 * SECOND).await;
    assert_eq!(ask(&two, &name).await.found.unwrap().fresh_for, Duration::ZERO);
    sleep(60 * SECOND).await;
    assert_eq!(value(&two, &name).await, None);

    fill(&one, &name, Entry { payload: None, ..entry("") }).await;
    assert_eq!(ask(&two, &name).await.found.unwrap().payload, None);
    assert_eq!((one.counts().filled, two.counts().hits, two.counts().misses), (2, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn with_the_breaker_open_answers_are_prompt_and_it_closes_unaided() {
    let store = InProcess::new(1 << 20);
    let (tier, link) = breakable(&store);
    let names = [names::key("users", "1")];
    link.set_faults(Faults { hangs: true, ..Faults::default() });
    while tier.state().breaker != BreakerState::Open {
        let start = Instant::now();
        assert_eq!(tier.get(&names).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed(), tier.core.config.deadline);
    }
    for _ in 0..1_000 {
        assert_eq!(tier.get(&names).now_or_never().expect("at once").unwrap_err().kind(), ErrorKind::Remote);
    }
    sleep(60 * SECOND).await;
    link.set_faults(Faults::default());
    sleep(10 * SECOND).await;
    assert_eq!(tier.state().breaker, BreakerState::Closed);
    assert!(tier.get(&names).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_before_an_invalidation_is_refused_though_what_was_loaded_after_it_is_gone() {
    let store = InProcess::new(1 << 20);
    let (tier, name) = (tier(&store), names::key("users", "1"));
    let late = ask(&tier, &name).await.fence.unwrap();
    tier.invalidate(&[Invalidation::Key(name.clone())]).await.unwrap();
    fill(&tier, &name, Entry { keep_for: SECOND, ..entry("new") }).await;
    sleep(5 * SECOND).await;
    assert_eq!(value(&tier, &name).await, None);
    assert!(tier.fill(Fill { name: name.clone(), fence: late, entry: entry("old") }));
    assert!(tier.flush(Instant::now() + SECOND).await);
    assert_eq!((value(&tier, &name).await, tier.counts().fenced), (None, 1));
    sleep(60 * SECOND).await;
    assert_eq!(ask(&tier, &name).await.fence, Some(late), "nobody loads for that long");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_put_off_is_of_when_it_is_kept() {
    let store = InProcess::new(1 << 20);
    let (other, (tier, link)) = (tier(&store), breakable(&store));
    let name = names::key("users", "1");
    link.set_faults(down());
    assert!(tier.invalidate(&[Invalidation::Tag(names::tag("users", "vip"))]).await.is_err());
    sleep(5 * SECOND).await;
    fill(&other, &name, Entry { tags: vec!["vip".into()], ..entry("x") }).await;
    assert!(value(&other, &name).await.is_some());
    link.set_faults(Faults::default());
    sleep(10 * SECOND).await;
    assert_eq!(tier.state().pending, 0);
    assert_eq!((value(&other, &name).await, value(&tier, &name).await), (None, None));
}

/// A store that takes values and refuses invalidations.
struct Refuses(InProcess);

impl RemoteStore for Refuses {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        self.0.get(names)
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>> {
        self.0.put(items)
    }

    fn invalidate<'a>(&'a self, _: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        std::future::ready(Err(Error::new(ErrorKind::Overloaded, "it is full"))).boxed()
    }

    fn listen(&self) -> broadcast::Receiver<Invalidation> {
        self.0.listen()
    }
}

#[tokio::test(start_paused = true)]
async fn fills_do_not_wait_for_an_invalidation_that_cannot_be_done() {
    let store = InProcess::new(1 << 20);
    let tier = Tier::new(Arc::new(Refuses(store.clone())), TierConfig::default(), &Handle::current()).unwrap();
    let [gone, new] = ["1", "2"].map(|key| names::key("users", key));
    assert!(tier.invalidate(&[Invalidation::Key(gone)]).await.is_err());
    // Meanwhile it is tried every two seconds.
    for _ in 0..60 {
        sleep(SECOND / 10).await;
        assert_eq!(value(&tier, &new).await, None, "most calls are answered");
    }
    let tries = tier.counts().failed;
    assert!(tier.fill(Fill { name: new.clone(), fence: Fence::default(), entry: entry("x") }));
    settle().await;
    assert!(value(&tier, &new).await.is_some());
    assert_eq!((tier.counts().failed, tier.state().pending), (tries, 1));
}

#[tokio::test(start_paused = true)]
async fn another_keys_value_is_refused_and_the_link_distrusted() {
    let store = InProcess::new(1 << 20);
    let (tier, link) = breakable(&store);
    let names = ["1", "2", "3"].map(|key| names::key("users", key));
    for name in &names {
        fill(&tier, name, entry("x")).await;
    }
    link.set_faults(Faults { off_by_one: true, ..Faults::default() });
    let _ = tier.get(&names).await;
    assert_eq!(tier.counts().fingerprint, 1);
    for name in &names {
        assert!(value(&tier, name).await.is_some(), "a new link answers right");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_copied_to_another_name_is_replaced() {
    let store = InProcess::new(1 << 20);
    let (tier, [one, other]) = (tier(&store), ["1", "2"].map(|key| names::key("users", key)));
    fill(&tier, &one, entry("x")).await;
    let bytes = store.get(std::slice::from_ref(&one)).await.unwrap().pop().unwrap().unwrap();
    let instead = Item { name: other.clone(), bytes, ttl: SECOND };
    store.invalidate(&[Notice::new(Invalidation::Lost, instead)]).await.unwrap();
    assert!(tier.get(std::slice::from_ref(&other)).await.is_err(), "the link may mix up answers");
    assert_eq!(value(&tier, &other).await, None, "it does not");
    fill(&tier, &other, entry("y")).await;
    assert_eq!(value(&tier, &other).await.as_deref(), Some(&b"y"[..]));
    assert_eq!(tier.counts().fingerprint, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_or_not_whole_is_a_miss() {
    let store = InProcess::new(1 << 20);
    let (tier, name) = (tier(&store), names::key("users", "1"));
    let keep = async |bytes: Bytes| {
        let instead = Item { name: name.clone(), bytes, ttl: SECOND };
        store.invalidate(&[Notice::new(Invalidation::Lost, instead)]).await.unwrap();
    };
    let mut envelope = Envelope::invalidated(tier.core.store.now(), Fence(0));
    envelope.kind = Kind::Value;
    let form = tier.core.config.form;
    let good = envelope.encode(&name, &form).unwrap();
    let (other, future) =
        (Form { schema: 9, ..form }, Envelope { as_of: envelope.as_of + 3_600_000_000, ..envelope.clone() });
    for bytes in [
        good.slice(..70.min(good.len() - 1)),
        Bytes::from_static(b"{}"),
        envelope.encode(&name, &other).unwrap(),
        future.encode(&name, &form).unwrap(),
    ] {
        keep(bytes).await;
        let reply = ask(&tier, &name).await;
        assert_eq!(reply.found, None);
        assert!(reply.fence.is_some(), "it may be filled");
    }
    keep(good).await;
    assert!(value(&tier, &name).await.is_some());
    let counts = tier.counts();
    assert_eq!((counts.damaged, counts.foreign, counts.schema, counts.from_the_future), (1, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_raced_an_invalidation_is_refused() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let name = names::key("users", "1");
    let before = ask(&one, &name).await.fence.unwrap();
    two.invalidate(&[Invalidation::Key(name.clone())]).await.unwrap();
    one.fill(Fill { name: name.clone(), fence: before, entry: entry("old") });
    assert!(one.flush(Instant::now() + SECOND).await);
    assert_eq!((value(&two, &name).await, one.counts().fenced), (None, 1));
    fill(&one, &name, entry("new")).await;
    assert_eq!(value(&two, &name).await.as_deref(), Some(&b"new"[..]));
    two.write(&name, &entry("newer")).await.unwrap();
    one.fill(Fill { name: name.clone(), fence: before, entry: entry("old") });
    assert!(one.flush(Instant::now() + SECOND).await);
    assert_eq!(value(&one, &name).await.as_deref(), Some(&b"newer"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_tag_and_a_namespace_outdate_what_was_loaded_before() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let (vip, plain) = (names::key("users", "1"), names::key("users", "2"));
    let other = names::key("orders", "1");
    let tagged = || Entry { tags: vec!["vip".into()], ..entry("x") };
    let load = async || {
        sleep(SECOND).await;
        fill(&one, &vip, tagged()).await;
        fill(&one, &plain, entry("x")).await;
        fill(&one, &other, tagged()).await;
        sleep(SECOND).await;
    };
    let seen = async |tier: &Tier| {
        let replies = tier.get(&[vip.clone(), plain.clone(), other.clone()]).await.unwrap();
        replies.iter().map(|reply| reply.found.is_some()).collect::<Vec<_>>()
    };
    load().await;
    assert_eq!(seen(&two).await, [true; 3]);
    one.invalidate(&[Invalidation::Tag(names::tag("users", "vip"))]).await.unwrap();
    settle().await;
    for tier in [&one, &two, &tier(&store)] {
        assert_eq!(seen(tier).await, [false, true, true]);
    }
    load().await;
    assert_eq!(seen(&two).await, [true; 3]);
    two.invalidate(&[Invalidation::Clear(names::all("users"))]).await.unwrap();
    settle().await;
    for tier in [&one, &two, &tier(&store)] {
        assert_eq!(seen(tier).await, [false, false, true]);
    }
    // One of them when it was to be loaded anew.
    assert_eq!(one.counts().outdated, 4);
}

#[tokio::test(start_paused = true)]
async fn a_lost_announcement_is_made_up_for_by_the_end_of_the_cut() {
    let store = InProcess::new(1 << 20);
    let (one, (two, link)) = (tier(&store), breakable(&store));
    let name = names::key("users", "1");
    fill(&one, &name, Entry { tags: vec!["vip".into()], ..entry("x") }).await;
    assert!(value(&two, &name).await.is_some());
    link.set_faults(Faults { cut: true, ..Faults::default() });
    one.invalidate(&[Invalidation::Tag(names::tag("users", "vip"))]).await.unwrap();
    settle().await;
    link.set_faults(Faults::default());
    settle().await;
    assert_eq!(value(&two, &name).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_while_the_store_is_down_is_done_later() {
    let store = InProcess::new(1 << 20);
    let (one, (two, link)) = (tier(&store), breakable(&store));
    let name = names::key("users", "1");
    fill(&two, &name, entry("old")).await;
    link.set_faults(down());
    assert!(two.invalidate(&[Invalidation::Key(name.clone())]).await.is_err());
    assert!(two.write(&names::key("users", "2"), &entry("new")).await.is_err());
    assert_eq!(two.state().pending, 2);
    link.set_faults(Faults::default());
    // Back, but the invalidation has not been sent yet.
    assert_eq!(ask(&two, &name).await, Reply { fence: None, found: None });
    sleep(10 * SECOND).await;
    assert_eq!(two.state().pending, 0);
    assert_eq!(value(&one, &name).await, None);
    assert!(ask(&two, &name).await.fence.is_some());
}

#[tokio::test(start_paused = true)]
async fn too_many_pending_invalidations_become_a_clear() {
    let store = InProcess::new(1 << 20);
    let (one, handle) = (tier(&store), Arc::new(store.clone()));
    let config = TierConfig { pending: 10, ..TierConfig::default() };
    let two = Tier::new(handle.clone(), config, &Handle::current()).unwrap();
    let (untouched, told) = (names::key("users", "0"), names::key("users", "1"));
    for name in [&untouched, &told] {
        fill(&one, name, entry("x")).await;
        assert!(value(&two, name).await.is_some());
    }
    handle.set_faults(down());
    for i in 1..100 {
        assert!(two.invalidate(&[Invalidation::Key(names::key("users", &i.to_string()))]).await.is_err());
        assert!(two.state().pending <= 11);
    }
    handle.set_faults(Faults::default());
    sleep(10 * SECOND).await;
    assert_eq!(value(&one, &untouched).await, None, "more is forgotten, never less");
    assert_eq!(value(&two, &told).await, None, "by the one who told, too");
    assert!(two.counts().widened > 0);
}

#[tokio::test(start_paused = true)]
async fn fills_never_pile_up() {
    let store = InProcess::new(1 << 20);
    let handle = Arc::new(store.clone());
    let config = TierConfig { queue: 100, queue_bytes: 150, ..TierConfig::default() };
    let tier = Tier::new(handle.clone(), config, &Handle::current()).unwrap();
    handle.set_faults(Faults { hangs: true, ..Faults::default() });
    let push = |i: usize, value| {
        tier.fill(Fill { name: names::key("a", &i.to_string()), fence: Fence(0), entry: entry(value) })
    };
    let kept = (0..1_000).filter(|&i| push(i, "0123456789")).count();
    assert_eq!((kept, tier.state().queued_bytes), (15, 150));
    assert_eq!((0..1_000).filter(|&i| push(i + 1_000, "")).count(), 85);
    sleep(SECOND).await;
    let counts = tier.counts();
    assert_eq!((tier.state().queued, counts.crowded_fills, counts.lost_fills), (0, 1_900, 100));
}

#[tokio::test(start_paused = true)]
async fn one_process_has_the_lease_and_the_others_wait_for_its_fill() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let name = names::key("users", "1");
    let Lease::Granted(guard) = one.lease(&name, 10 * SECOND).await else { panic!("nobody has it") };
    assert!(matches!(two.lease(&name, 10 * SECOND).await, Lease::Taken));
    let (waited, ()) = tokio::join!(two.wait_for(&name, None, SECOND), async {
        sleep(SECOND / 2).await;
        fill(&one, &name, entry("ann")).await;
    });
    let Waited::Filled(reply) = waited else { panic!("{waited:?}") };
    assert_eq!(reply.found.unwrap().payload.unwrap(), "ann");
    drop(guard);
    settle().await;
    assert!(matches!(two.lease(&name, SECOND).await, Lease::Granted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_old_is_not_what_the_others_wait_for() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let name = names::key("users", "1");
    fill(&one, &name, entry("ann")).await;
    let Lease::Granted(guard) = one.lease(&name, 60 * SECOND).await else { panic!("nobody has it") };
    // Fresh and to be renewed at first, stale afterwards.
    for age in [5, 20] {
        sleep(5 * SECOND).await;
        let known = ask(&two, &name).await.found.unwrap().age;
        assert!(known >= 5 * SECOND && known.as_secs() <= age);
        let waited = two.wait_for(&name, Some(known), SECOND).await;
        assert!(matches!(waited, Waited::Over), "{waited:?}");
        sleep(5 * SECOND).await;
    }
    let known = ask(&two, &name).await.found.unwrap().age;
    let (waited, ()) = tokio::join!(two.wait_for(&name, Some(known), SECOND), async {
        sleep(SECOND / 2).await;
        fill(&one, &name, entry("bea")).await;
    });
    let Waited::Filled(reply) = waited else { panic!("{waited:?}") };
    assert_eq!(reply.found.unwrap().payload.unwrap(), "bea");
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_takes_over_from_a_holder_that_gave_up() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (tier(&store), tier(&store));
    let name = names::key("users", "1");
    let Lease::Granted(guard) = one.lease(&name, 60 * SECOND).await else { panic!("nobody has it") };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(two.wait_for(&name, None, 30 * SECOND), async {
        sleep(SECOND / 2).await;
        drop(guard);
    });
    assert!(matches!(waited, Waited::Granted(_)), "{waited:?}");
    assert!(began.elapsed() < SECOND);
}

#[tokio::test]
async fn a_wrong_setting_is_refused() {
    let good = TierConfig::default();
    for bad in [
        TierConfig { deadline: Duration::ZERO, ..good.clone() },
        TierConfig { in_flight: 0, ..good.clone() },
        TierConfig { retry_share: 2.0, ..good },
    ] {
        let store = Arc::new(InProcess::new(1));
        assert_eq!(Tier::new(store, bad, &Handle::current()).unwrap_err().kind(), ErrorKind::Config);
    }
}
