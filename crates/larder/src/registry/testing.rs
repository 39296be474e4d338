//! What every [`Registry`] must do, as tests that any of them can run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{LONGEST_ADDRESS, MOST_ADDRESSES, Registry};
use crate::remote::{Name, names};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
/// How long something that must happen may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every conformance test. Each call of `make` gives another process's view of one and the same registry.
///
/// # Panics
/// If the registry does not conform.
pub async fn conformance(make: impl AsyncFn() -> Arc<dyn Registry>) {
    let space = format!("test{:016x}", fastrand::u64(..));
    let suite = Suite { one: make().await, two: make().await, name: names::dashboards(&space) };
    suite.what_one_registers_the_other_is_told().await;
    suite.who_is_silent_is_forgotten().await;
    suite.other_names_are_apart(&names::dashboards(&format!("{space}x"))).await;
    suite.what_is_too_much_is_cut(&names::dashboards(&format!("{space}y"))).await;
}

struct Suite {
    one: Arc<dyn Registry>,
    two: Arc<dyn Registry>,
    name: Name,
}

impl Suite {
    /// What the second is told, in order.
    async fn told(&self) -> Vec<String> {
        let found = self.two.registered(&self.name).await.expect("a well registry answers");
        let mut found: Vec<_> = found.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        found.sort();
        found
    }

    async fn register(&self, address: &str, ttl: Duration) {
        self.one.register(&self.name, address, ttl).await.expect("a well registry answers");
    }

    async fn what_one_registers_the_other_is_told(&self) {
        assert_eq!(self.told().await, Vec::<String>::new(), "nobody is there at first");
        // Once each, however often it is said.
        for address in ["10.0.0.2:9465", "10.0.0.1:9465", "10.0.0.2:9465"] {
            self.register(address, LONG).await;
        }
        assert_eq!(self.told().await, ["10.0.0.1:9465", "10.0.0.2:9465"]);
        self.two.withdraw(&self.name, "10.0.0.1:9465").await.expect("a well registry answers");
        self.two.withdraw(&self.name, "10.0.0.3:9465").await.expect("who is not there can leave too");
        assert_eq!(self.told().await, ["10.0.0.2:9465"]);
    }

    async fn who_is_silent_is_forgotten(&self) {
        self.register("10.0.0.9:1", SHORT).await;
        // A shorter time than the others' takes none of them along, and one that is renewed stays.
        self.register("10.0.0.8:1", SHORT).await;
        self.register("10.0.0.8:1", LONG).await;
        let until = Instant::now() + PATIENCE;
        while self.told().await.contains(&"10.0.0.9:1".to_owned()) {
            assert!(Instant::now() < until, "a registration ends");
            sleep(SHORT / 10).await;
        }
        sleep(SHORT).await;
        assert_eq!(self.told().await, ["10.0.0.2:9465", "10.0.0.8:1"]);
    }

    async fn other_names_are_apart(&self, other: &Name) {
        self.one.register(other, "elsewhere:1", LONG).await.expect("a well registry answers");
        assert!(!self.told().await.contains(&"elsewhere:1".to_owned()));
        self.one.withdraw(other, "10.0.0.2:9465").await.expect("a well registry answers");
        assert!(self.told().await.contains(&"10.0.0.2:9465".to_owned()));
    }

    async fn what_is_too_much_is_cut(&self, name: &Name) {
        let long = "x".repeat(10 * LONGEST_ADDRESS);
        self.one.register(name, &long, LONG).await.expect("a well registry answers");
        let found = self.two.registered(name).await.expect("a well registry answers");
        assert_eq!(found.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [LONGEST_ADDRESS + 1]);
        for at in 0..MOST_ADDRESSES + 10 {
            self.one.register(name, &format!("host-{at}:1"), LONG).await.expect("a well registry answers");
        }
        assert_eq!(self.two.registered(name).await.expect("a well registry answers").len(), MOST_ADDRESSES);
    }
}
