//! What every [`RemoteStore`] must do, as tests that any of them can run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::envelope::{Envelope, Fence, Form, Kind, fence_of, marked_at, version_of};
use super::{Invalidation, Item, Name, Notice, RemoteStore, names};

const LONG: Duration = Duration::from_secs(60);
/// How long something that must happen may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every conformance test. Each call of `make` gives another process's view of one and the same store; what else is kept there does
/// not matter.
///
/// # Panics
/// If the store does not conform.
pub async fn conformance(make: impl AsyncFn() -> Arc<dyn RemoteStore>) {
    let suite = Suite { one: make().await, two: make().await, space: format!("test{:016x}", fastrand::u64(..)) };
    suite.keeps_what_is_put().await;
    suite.takes_any_name_and_value().await;
    suite.forgets_in_time().await;
    suite.answers_many_callers_apart().await;
    suite.survives_callers_that_leave().await;
    suite.replaces_what_is_invalidated().await;
    suite.has_a_clock();
    let can = suite.one.capabilities();
    if can.announces {
        suite.announces_after_replacing().await;
    }
    if can.fences {
        suite.fences().await;
        suite.keeps_the_newer_version().await;
        suite.keeps_the_later_mark().await;
    }
    if can.leases {
        suite.leases().await;
    }
}

struct Suite {
    one: Arc<dyn RemoteStore>,
    two: Arc<dyn RemoteStore>,
    space: String,
}

impl Suite {
    fn name(&self, key: &str) -> Name {
        names::key(&self.space, key)
    }

    async fn get(&self, store: &Arc<dyn RemoteStore>, name: &Name) -> Option<Bytes> {
        store
            .get(std::slice::from_ref(name))
            .await
            .expect("a well store answers")
            .pop()
            .expect("one answer for one name")
    }

    async fn keeps_what_is_put(&self) {
        let names: Vec<_> = ["a", "b", "missing", "c", "a"].map(|key| self.name(key)).into();
        assert_eq!(self.one.get(&names).await.expect("a well store answers"), vec![None; 5]);
        assert_eq!(self.one.get(&[]).await.expect("nothing is asked"), Vec::<Option<Bytes>>::new());
        let items: Vec<_> = ["a", "b", "c"].map(|key| item(&self.name(key), key.as_bytes(), LONG)).into();
        assert_eq!(self.one.put(&items).await.expect("a well store keeps").kept, 3);
        assert_eq!(self.one.put(&[]).await.expect("nothing is kept").kept, 0);
        let expected: Vec<_> = [Some("a"), Some("b"), None, Some("c"), Some("a")]
            .map(|text| text.map(|text| Bytes::from_static(text.as_bytes())))
            .into();
        for store in [&self.one, &self.two] {
            assert_eq!(store.get(&names).await.expect("a well store answers"), expected, "in the order asked for");
        }
    }

    async fn takes_any_name_and_value(&self) {
        let long = "x".repeat(names::MAX_BYTES - self.space.len() - 1);
        for key in ["", " ", "\0", "\r\n", "$3\r\nGET\r\n", "*", "{}", "{a}b", "ключ", "!all", long.as_str()] {
            for value in [&b""[..], b"\0", b"\r\n", b"$-1\r\n", &[0xff; 100], &vec![b'v'; 1 << 20]] {
                let name = self.name(key);
                assert_eq!(
                    self.one.put(&[item(&name, value, LONG)]).await.expect("a well store keeps").kept,
                    1,
                    "{key:?}"
                );
                let kept = self.get(&self.two, &name).await.expect("it was put");
                assert!(kept == value, "{key:?}: {} bytes were put, {} came back", value.len(), kept.len());
            }
        }
    }

    async fn forgets_in_time(&self) {
        let name = self.name("short");
        self.one.put(&[item(&name, b"x", Duration::from_millis(30))]).await.expect("a well store keeps");
        eventually("it is forgotten", async || self.get(&self.one, &name).await.is_none()).await;
        // A new value gets a lifetime of its own.
        self.one.put(&[item(&name, b"x", Duration::from_millis(1))]).await.expect("a well store keeps");
        self.one.put(&[item(&name, b"y", LONG)]).await.expect("a well store keeps");
        sleep(Duration::from_millis(20)).await;
        assert_eq!(self.get(&self.one, &name).await.as_deref(), Some(&b"y"[..]));
    }

    async fn answers_many_callers_apart(&self) {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..64 {
            let (store, name) = ([&self.one, &self.two][task % 2].clone(), self.name(&format!("task{task}")));
            tasks.spawn(async move {
                for round in 0..20 {
                    let value = format!("{task}:{round}");
                    store.put(&[item(&name, value.as_bytes(), LONG)]).await.expect("a well store keeps");
                    let kept = store.get(std::slice::from_ref(&name)).await.expect("a well store answers");
                    assert_eq!(kept[0].as_deref(), Some(value.as_bytes()), "another caller's answer");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("each caller gets its own answers");
        }
    }

    async fn survives_callers_that_leave(&self) {
        for i in 0..100 {
            let (name, other) = (self.name(&format!("left{i}")), self.name("stayed"));
            let (left, stayed) = ([item(&name, &[b'l'; 1_000], LONG)], [item(&other, format!("{i}").as_bytes(), LONG)]);
            let put = self.one.put(&left);
            // Polled once, then dropped.
            let _ = timeout(Duration::ZERO, put).await;
            let _ = timeout(Duration::ZERO, self.one.get(std::slice::from_ref(&name))).await;
            self.one.put(&stayed).await.expect("a well store keeps");
            assert_eq!(self.get(&self.one, &other).await.as_deref(), Some(format!("{i}").as_bytes()));
        }
    }

    async fn replaces_what_is_invalidated(&self) {
        let name = self.name("replaced");
        self.one.put(&[item(&name, b"old", LONG)]).await.expect("a well store keeps");
        self.two.invalidate(&[notice(&name, b"new", 7)]).await.expect("a well store keeps");
        assert!(self.get(&self.one, &name).await.is_some_and(|bytes| payload(&name, &bytes) == "new"));
        self.two.invalidate(&[]).await.expect("nothing is invalidated");
    }

    fn has_a_clock(&self) {
        let (before, other, after) = (self.one.now(), self.two.now(), self.one.now());
        assert!(before <= after, "time does not go back");
        assert!(before.abs_diff(other) < 10_000_000, "two processes agree: {before} and {other}");
    }

    async fn announces_after_replacing(&self) {
        let mut heard = self.two.listen();
        let name = self.name("announced");
        let tag = names::tag(&self.space, "t");
        let all = names::all(&self.space);
        // Whether a subscription is in place cannot be asked: the first message is repeated until it is heard.
        let first = Invalidation::Key(self.name("first"));
        loop {
            self.one.invalidate(&[notice(&self.name("first"), b"", 1)]).await.expect("a well store announces");
            if timeout(Duration::from_millis(200), next(&mut heard)).await.is_ok_and(|what| what == first) {
                break;
            }
        }
        let mut notices = vec![notice(&name, b"x", 2), notice(&tag, b"", 3), notice(&all, b"", 4)];
        notices[1].what = Invalidation::Tag(tag);
        notices[2].what = Invalidation::Clear(all);
        self.one.invalidate(&notices).await.expect("a well store announces");
        for expected in notices {
            let what = loop {
                let what = timeout(PATIENCE, next(&mut heard)).await.expect("it is announced");
                if what != first {
                    break what;
                }
            };
            assert_eq!(what, expected.what, "in order");
            assert!(self.get(&self.two, &expected.instead.name).await.is_some(), "kept before it is announced");
        }
    }

    async fn fences(&self) {
        let name = self.name("fenced");
        let put = async |value: &str, fence| {
            let item = Item { name: name.clone(), bytes: envelope(&name, value.as_bytes(), fence), ttl: LONG };
            self.one.put(&[item]).await.expect("a well store keeps or refuses").kept == 1
        };
        let kept = async || {
            let bytes = self.get(&self.two, &name).await.expect("it was put");
            (payload(&name, &bytes), fence_of(&bytes))
        };
        assert!(put("first", 0).await, "nothing was there");
        assert!(put("refreshed", 0).await, "nobody invalidated it");
        self.two.invalidate(&[notice(&name, b"", 42)]).await.expect("a well store keeps");
        assert!(!put("stale", 0).await, "loaded before the invalidation");
        assert!(put("loaded anew", 42).await);
        assert!(!put("staler", 0).await, "the fence outlives the mark");
        assert_eq!(kept().await, ("loaded anew".to_owned(), Some(Fence(42))));
        self.two.invalidate(&[notice(&name, b"written", 43)]).await.expect("a well store keeps");
        assert!(!put("stale", 42).await);
        assert_eq!(kept().await, ("written".to_owned(), Some(Fence(43))));
        // Whatever is no envelope of ours holds nobody up.
        let foreign = Item { name: name.clone(), bytes: Bytes::from_static(b"foreign"), ttl: LONG };
        let what = Invalidation::Key(name.clone());
        self.two.invalidate(&[Notice::new(what, foreign)]).await.expect("a well store keeps");
        assert!(put("ours", 0).await);
    }

    async fn keeps_the_newer_version(&self) {
        let name = self.name("versions");
        let item = |version: Option<u64>, fence| {
            let mut envelope = Envelope::invalidated(1, Fence(fence));
            (envelope.kind, envelope.version) = (Kind::Value, version);
            envelope.payload = Bytes::from(format!("{version:?}"));
            let bytes = envelope.encode(&name, &Form::default()).expect("it is small");
            Item { name: name.clone(), bytes, ttl: LONG }
        };
        let write = async |version, fence| {
            let notice = Notice::new(Invalidation::Key(name.clone()), item(version, fence));
            self.one.invalidate(&[notice]).await.expect("a well store keeps");
        };
        let kept = async || version_of(&self.get(&self.two, &name).await.expect("it was put"));
        let mut heard = self.one.listen();
        // What would be the greater, read from the wrong end or as text.
        let (old, new) = (0x0100_0000_0000_00ff, 0x0200_0000_0000_0001);
        write(Some(new), 1).await;
        assert_eq!(kept().await, Some(new));
        write(Some(old), 2).await;
        assert_eq!(kept().await, Some(new), "whoever wrote the older one was overtaken");
        if self.one.capabilities().announces {
            let again = async { while heard.recv().await.expect("it is open") != Invalidation::Key(name.clone()) {} };
            timeout(PATIENCE, again).await.expect("and is told");
        }
        let fill =
            async |version, fence| self.two.put(&[item(version, fence)]).await.expect("a well store answers").kept;
        assert_eq!((fill(Some(old), 1).await, fill(Some(new), 1).await, fill(Some(new + 1), 1).await), (0, 1, 1));
        assert_eq!((fill(None, 1).await, fill(Some(old), 1).await), (1, 1), "without a version the last one counts");
        write(Some(old - 1), 3).await;
        assert_eq!(kept().await, Some(old));
        self.one.invalidate(&[notice(&name, b"", 4)]).await.expect("a well store keeps");
        assert_eq!((kept().await, fill(Some(1), 4).await), (None, 1), "a mark is no version");
    }

    /// One that was put off is written after one that was not: what that outdates would come back.
    async fn keeps_the_later_mark(&self) {
        for what in [Invalidation::Tag(names::tag(&self.space, "t")), Invalidation::Clear(names::all(&self.space))] {
            let (Invalidation::Tag(name) | Invalidation::Clear(name)) = &what else { continue };
            // The greater, if it were read from the wrong end.
            let (early, late) = (0x0100_0000_0000_00ff, 0x0200_0000_0000_0001);
            for (at, kept) in [(late, late), (early, late), (late + 1, late + 1)] {
                let bytes = Envelope::invalidated(at, Fence(at)).encode(name, &Form::default()).expect("it is small");
                let notice = Notice::new(what.clone(), Item { name: name.clone(), bytes, ttl: LONG });
                self.one.invalidate(&[notice]).await.expect("a well store keeps");
                assert_eq!(marked_at(&self.get(&self.two, name).await.expect("it was kept")), Some(kept));
            }
        }
    }

    async fn leases(&self) {
        let name = names::lease(&self.name("leased"));
        let lease = async |store: &Arc<dyn RemoteStore>, token, ttl| {
            store.lease(&name, token, ttl).await.expect("a well store answers")
        };
        assert!(lease(&self.one, 1, LONG).await);
        assert!(lease(&self.one, 1, LONG).await, "whoever asks again has it");
        assert!(!lease(&self.two, 2, LONG).await);
        self.two.release(&name, 2).await.expect("not held, not harmful");
        assert!(!lease(&self.two, 2, LONG).await, "only the holder gives it back");
        self.one.release(&name, 1).await.expect("a well store answers");
        assert!(lease(&self.two, 2, Duration::from_millis(30)).await);
        eventually("it ends by itself", async || lease(&self.one, 3, LONG).await).await;
        self.one.release(&name, 3).await.expect("a well store answers");
    }
}

fn item(name: &Name, bytes: &[u8], ttl: Duration) -> Item {
    Item { name: name.clone(), bytes: Bytes::copy_from_slice(bytes), ttl }
}

fn notice(name: &Name, value: &[u8], fence: u64) -> Notice {
    let instead = Item { name: name.clone(), bytes: envelope(name, value, fence), ttl: LONG };
    Notice::new(Invalidation::Key(name.clone()), instead)
}

fn envelope(name: &Name, value: &[u8], fence: u64) -> Bytes {
    let mut envelope = Envelope::invalidated(1, Fence(fence));
    envelope.payload = Bytes::copy_from_slice(value);
    envelope.encode(name, &Form::default()).expect("a small value can be kept")
}

fn payload(name: &Name, bytes: &Bytes) -> String {
    let envelope = Envelope::decode(name, &Form::default(), bytes.clone()).expect("it comes back as it was put");
    String::from_utf8_lossy(&envelope.payload).into_owned()
}

/// The next message that is not about a loss.
async fn next(heard: &mut broadcast::Receiver<Invalidation>) -> Invalidation {
    loop {
        match heard.recv().await.expect("the store is open") {
            Invalidation::Lost => {}
            what => return what,
        }
    }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never happened: {what}");
}
