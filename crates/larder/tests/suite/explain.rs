//! Why keys stay, leave and live so long, as a cache tells it.

use std::time::Duration;

use larder::{Cache, Clock, Decided, Freshness, Options, Time};

fn load(value: u64) -> impl Future<Output = Result<u64, std::io::Error>> {
    std::future::ready(Ok(value))
}

#[tokio::test]
async fn contributions_sum_to_the_score_and_the_log_tells_the_story() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(64).seed(3).build().unwrap();
    for round in 0..20 {
        for key in 0..200u64 {
            // A few keys are read in every round, the others by turns.
            if key < 20 || key % 20 == round {
                cache.get_with(&key, move || load(key)).await.unwrap();
            }
        }
    }
    let told = cache.explain(&5);
    let score = told.score.as_ref().unwrap();
    assert_eq!((score.horizons.len(), score.model.starts_with("general ")), (score.logits.len(), true));
    for span in 0..score.logits.len() {
        let sum: f64 = score.contributions.iter().map(|term| f64::from(term.adds[span])).sum();
        assert!((sum - f64::from(score.logits[span])).abs() < 1e-4, "{sum} is not {}", score.logits[span]);
    }
    assert!((score.score - score.worth * score.gain).abs() < 1e-6 || score.rule == "lru");
    assert!(told.is_resident && !told.words.is_empty());
    assert_eq!((told.policy.as_str(), told.arm), ("learned", Some("policy")));
    assert!(["kept", "evicted"].contains(&score.decision));
    let runner_up = score.runner_up.unwrap();
    assert_ne!(runner_up.key, told.key);
    assert!(cache.explain_text(&runner_up.key.to_string()).is_resident, "the runner-up is a resident");

    let decisions = cache.decisions();
    assert!(decisions.windows(2).all(|pair| pair[0].at >= pair[1].at));
    let evicted = decisions.iter().find(|logged| logged.what == Decided::Evicted).unwrap();
    let newcomer = evicted.other.unwrap();
    let admitted = decisions.iter().any(|logged| logged.key == newcomer && logged.what == Decided::Admitted);
    assert!(admitted, "{evicted:?}: for whom?");
    assert_eq!(cache.explain_text(&evicted.key.to_string()).key, evicted.key, "who left is found by the label");

    cache.roll_back();
    let told = cache.explain(&5);
    assert_eq!((told.policy.as_str(), told.arm, told.score.is_none()), ("wtinylfu", Some("control"), true));
}

#[tokio::test]
async fn texts_labels_and_keys_name_the_same() {
    let names: Cache<String, u64> = Cache::builder().capacity(50).build().unwrap();
    let numbers: Cache<u64, u64> = Cache::builder().capacity(50).build().unwrap();
    names.insert("user:1".into(), 1).await.unwrap();
    numbers.insert(17, 1).await.unwrap();
    for (told, text, label) in [
        (names.explain("user:1"), names.explain_text("user:1"), names.explain("user:1").key.to_string()),
        (numbers.explain(&17), numbers.explain_text("17"), numbers.explain(&17).key.to_string()),
    ] {
        assert!(told.is_resident);
        assert_eq!((told.key, told.is_resident), (text.key, text.is_resident));
        assert!(label.len() == 16 && !told.words.concat().contains("user"));
    }
    assert!(numbers.explain_text(&numbers.explain(&17).key.to_string()).is_resident);
    // An absent text is a newcomer where texts are what is hashed, and unknown elsewhere.
    let absent = names.explain_text("user:2");
    assert!(!absent.is_resident && absent.score.is_some_and(|score| score.decision == "admitted"));
    let unknown = numbers.explain_text("18");
    assert!(!unknown.is_resident && unknown.score.is_none() && unknown.words[0].contains("does not hold"));
}

#[tokio::test]
async fn lifetimes_are_told_with_their_evidence() {
    let clock = Clock::manual(Time(1_000_000));
    let cache: Cache<String, u64> = Cache::builder()
        .capacity(100)
        .seed(1)
        .clock(clock.clone())
        .freshness(Freshness::stale_reads(0.05).unwrap())
        .digest_by_hash()
        .build()
        .unwrap();
    // Its value changes every 40 s and is read every second.
    for second in 0..600u64 {
        clock.advance(Duration::from_secs(1));
        cache.get_with("price", move || load(second / 40)).await.unwrap();
        // A renewal is a task of its own.
        tokio::task::yield_now().await;
    }
    let told = cache.explain("price");
    let lifetime = told.lifetime.unwrap();
    let evidence = lifetime.evidence.unwrap();
    assert!(lifetime.is_learned && evidence.looks > 5 && evidence.changes > 0, "{evidence:?}");
    assert!((0.1..10.0).contains(&(evidence.rate * 40.0)), "one change in 40 s: {evidence:?}");
    assert!(told.words.iter().any(|line| line.contains("looks")), "{:?}", told.words);
    assert!(told.decisions.iter().any(|logged| matches!(logged.what, Decided::Audited | Decided::Outdated)));

    let fixed: Cache<String, u64> = Cache::builder().capacity(100).build().unwrap();
    let options = Options::new().ttl(Duration::from_secs(90));
    fixed.insert_with("page".into(), 1, options).await.unwrap();
    let lifetime = fixed.explain("page").lifetime.unwrap();
    assert!(!lifetime.is_learned && lifetime.evidence.is_none() && (80.0..=90.0).contains(&lifetime.lifetime));
}

#[tokio::test]
async fn a_policy_without_scores_says_so() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(10).policy("lru").build().unwrap();
    cache.insert(1, 1).await.unwrap();
    let told = cache.explain(&1);
    assert!(told.score.is_none() && told.words.iter().any(|line| line.contains("'lru' keeps no scores")), "{told:?}");
}

#[tokio::test]
async fn the_most_read_come_first() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(100).seed(1).build().unwrap();
    for key in 0..50u64 {
        for _ in 0..=key * 8 {
            cache.get_with(&key, move || load(key)).await.unwrap();
        }
    }
    let most_read = cache.most_read(10);
    assert_eq!(most_read.len(), 10);
    assert!(most_read.windows(2).all(|pair| pair[0].reads >= pair[1].reads) && most_read[0].reads > 0.0);
    let least = cache.explain(&0).key;
    assert!(most_read.iter().all(|hot| hot.key != least));
}
