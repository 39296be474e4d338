//! The supervised connection: made in the background, watched, and replaced when it is of no use. No caller ever waits for one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use larder::remote::ServerFigures;
use larder::{Error, ErrorKind};
use parking_lot::Mutex;
use redis::{RedisError, RedisResult, Value, cmd};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::ServerClock;
use crate::config::{RedisConfig, Target};
use crate::connect::{Conn, Failure, connect, panicked, silent};
use crate::errors::{Action, action, translate};

/// So many calls without an answer in a row make a connection suspect.
const UNANSWERED: u32 = 3;
/// A caller who gives up earlier says nothing about the server.
const GIVEN_UP: Duration = Duration::from_millis(15);
/// How often the same alert is repeated.
const ALERT_EVERY: Duration = Duration::from_secs(60);
/// Within so long of giving up a connection for an answer, another such answer is not believed to be a connection's fault.
const SUSPICION: Duration = Duration::from_secs(10);
/// A connection that lived so long earns a quick reconnect.
const LIVED: Duration = Duration::from_secs(2);

/// How the link to the Redis is, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkState {
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether announcements of other processes are heard.
    pub listening: bool,
    /// Whether the server takes no writes for now.
    pub writes_paused: bool,
    /// Connections made.
    pub connects: u64,
    /// Attempts to connect that failed.
    pub failed_connects: u64,
    /// Of those, the ones the login was to blame for.
    pub refused_logins: u64,
    /// Connections given up because an answer was not the one to its question.
    pub distrusted: u64,
    /// Calls nobody answered.
    pub unanswered: u64,
    /// Messages that may have been missed, as times the channel was down.
    pub losses: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

pub(crate) struct Link {
    pub(crate) config: RedisConfig,
    state: Mutex<State>,
    unanswered: AtomicU32,
    /// The live connection is to be looked at, or given up.
    look: Notify,
    pub(crate) counts: Counts,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connects: AtomicU64,
    pub(crate) failed_connects: AtomicU64,
    pub(crate) refused_logins: AtomicU64,
    pub(crate) distrusted: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) losses: AtomicU64,
    /// 1 while announcements are heard.
    pub(crate) listening: AtomicU64,
}

#[derive(Default)]
struct State {
    live: Option<Conn>,
    /// Which connection it is, so that a late error cannot hurt a newer one.
    generation: u64,
    writes_paused_until: Option<Instant>,
    clock: ServerClock,
    last_error: Option<String>,
    /// What the server last said about itself, while it is asked.
    figures: Option<ServerFigures>,
    alerted: Option<(String, Instant)>,
    /// When a connection was last given up for an answer.
    distrusted: Option<Instant>,
}

impl Link {
    pub(crate) fn new(config: RedisConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self {
            config,
            state: Mutex::default(),
            unanswered: AtomicU32::new(0),
            look: Notify::new(),
            counts: Counts::default(),
        })
    }

    /// Makes a call on the live connection, and does what its error asks for. Fails at once if there is no connection.
    pub(crate) async fn call<T>(&self, make: impl AsyncFnOnce(Conn) -> RedisResult<T>) -> Result<T, Error> {
        let (conn, generation) = self.live()?;
        let mut waiting = Waiting { link: self, since: Instant::now(), answered: false };
        let answer = make(conn).await;
        waiting.answered = !matches!(&answer, Err(error) if action(error) == Action::Suspect);
        drop(waiting);
        answer.map_err(|error| {
            self.react(generation, &error);
            translate(error)
        })
    }

    /// Does what an error asks for.
    pub(crate) fn react(&self, generation: u64, error: &RedisError) {
        match action(error) {
            Action::Rebuild => self.give_up(generation, error),
            Action::Relocate => {
                // Where we are sent may not know yet: no hot loop.
                self.pause_writes();
                self.alert("the Redis is no longer the one to write to", error);
                self.give_up(generation, error);
            }
            Action::Login => {
                self.alert("the Redis does not accept our login", error);
                self.give_up(generation, error);
            }
            Action::PauseWrites => {
                // Of a cluster one node said so: the others take what is theirs.
                if !matches!(self.config.target, Target::Cluster(_)) {
                    self.pause_writes();
                }
                self.alert("the Redis takes no writes", error);
            }
            Action::Wait | Action::Suspect => {}
            Action::Report => self.alert("the Redis refused a command", error),
        }
    }

    /// Which connection is live: errors of its answers are reported with it.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// An answer was not the one to its question: the connection is given up. If the one before was too, a moment ago, what is kept may be to blame,
    /// as where somebody renames keys: then a `PING` decides.
    pub(crate) fn distrust(&self) {
        self.counts.distrusted.fetch_add(1, Relaxed);
        let generation = {
            let mut state = self.state.lock();
            if state.distrusted.is_some_and(|at| at.elapsed() < SUSPICION) {
                self.look.notify_one();
                return;
            }
            state.distrusted = Some(Instant::now());
            state.generation
        };
        self.give_up(generation, &"an answer was not the one to its question");
    }

    /// Whether the server is believed to take writes.
    pub(crate) fn check_writes(&self) -> Result<(), Error> {
        let paused = self.state.lock().writes_paused_until.is_some_and(|until| Instant::now() < until);
        match paused {
            true => Err(Error::new(ErrorKind::Overloaded, "the Redis takes no writes for now")),
            false => Ok(()),
        }
    }

    /// The server's time in µs since the epoch.
    pub(crate) fn now(&self) -> u64 {
        self.state.lock().clock.now(Instant::now())
    }

    pub(crate) fn state(&self) -> LinkState {
        let state = self.state.lock();
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let Counts { connects, failed_connects, refused_logins, distrusted, unanswered, losses, listening } =
            &self.counts;
        LinkState {
            connected: state.live.is_some(),
            listening: read(listening) > 0,
            writes_paused: state.writes_paused_until.is_some_and(|until| Instant::now() < until),
            connects: read(connects),
            failed_connects: read(failed_connects),
            refused_logins: read(refused_logins),
            distrusted: read(distrusted),
            unanswered: read(unanswered),
            losses: read(losses),
            last_error: state.last_error.clone(),
        }
    }

    pub(crate) fn figures(&self) -> Option<ServerFigures> {
        self.state.lock().figures
    }

    /// Keeps what the server says about itself; nothing once it does not answer.
    #[cfg(feature = "metrics")]
    pub(crate) fn set_figures(&self, figures: Option<ServerFigures>) {
        self.state.lock().figures = figures;
    }

    /// The live connection, and which it is.
    pub(crate) fn live(&self) -> Result<(Conn, u64), Error> {
        let state = self.state.lock();
        let live =
            state.live.clone().ok_or_else(|| Error::new(ErrorKind::Remote, "there is no connection to the Redis"));
        live.map(|conn| (conn, state.generation))
    }

    /// Whether the live connection answers now.
    pub(crate) async fn answers(&self) -> bool {
        let Ok((mut conn, _)) = self.live() else { return false };
        matches!(timeout(self.config.answer_within, ping(self, &mut conn)).await, Ok(Ok(())))
    }

    fn pause_writes(&self) {
        self.state.lock().writes_paused_until = Some(Instant::now() + self.config.write_pause);
    }

    fn give_up(&self, generation: u64, why: &dyn std::fmt::Display) {
        let mut state = self.state.lock();
        if state.generation == generation && state.live.take().is_some() {
            state.last_error = Some(why.to_string());
            self.look.notify_one();
        }
    }

    /// Tells somebody, but the same thing only now and then.
    pub(crate) fn alert(&self, what: &str, error: &dyn std::fmt::Display) {
        let mut state = self.state.lock();
        state.last_error = Some(format!("{what}: {error}"));
        let known = matches!(&state.alerted, Some((before, at)) if before == what && at.elapsed() < ALERT_EVERY);
        if !known {
            state.alerted = Some((what.to_owned(), Instant::now()));
            tracing::error!(%error, "{what}");
        }
    }
}

/// A caller who waits for an answer. One that leaves without counts as unanswered, if it has waited for a while.
struct Waiting<'a> {
    link: &'a Link,
    since: Instant,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.link.unanswered.store(0, Relaxed);
        } else if self.since.elapsed() >= GIVEN_UP {
            self.link.counts.unanswered.fetch_add(1, Relaxed);
            if self.link.unanswered.fetch_add(1, Relaxed) + 1 == UNANSWERED {
                self.link.look.notify_one();
            }
        }
    }
}

/// Keeps a connection, for ever.
pub(crate) async fn keep(link: Arc<Link>) {
    let config = &link.config;
    let mut backoff = Duration::ZERO;
    loop {
        sleep(jitter(backoff)).await;
        let mut wait = (backoff * 2).clamp(config.backoff, config.longest_backoff);
        // What the user gives, as certificates, may panic.
        match AssertUnwindSafe(begin(&link)).catch_unwind().await.unwrap_or_else(|_| Err(panicked().into())) {
            Ok(conn) => {
                link.counts.connects.fetch_add(1, Relaxed);
                tracing::info!("connected to the Redis");
                let start = Instant::now();
                watch(&link, conn).await;
                link.state.lock().live = None;
                if start.elapsed() > LIVED {
                    wait = Duration::ZERO;
                }
            }
            Err(Failure { error, login }) => {
                link.counts.failed_connects.fetch_add(1, Relaxed);
                if login {
                    link.counts.refused_logins.fetch_add(1, Relaxed);
                    link.alert("the Redis does not accept our login", &error);
                    wait = config.longest_backoff;
                } else {
                    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                    link.alert("the Redis cannot be reached", &format!("{error}{}", source.unwrap_or_default()));
                }
            }
        }
        backoff = wait;
    }
}

/// Up to a quarter less, so that processes do not come in step.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - fastrand::f64() / 4.0)
}

/// Connects, and takes the connection into use once it answers.
async fn begin(link: &Link) -> Result<Conn, Failure> {
    let mut conn = connect(&link.config, None).await?;
    timeout(link.config.answer_within, ping(link, &mut conn)).await.map_err(|_| Failure::from(silent()))??;
    let mut state = link.state.lock();
    state.generation += 1;
    state.live = Some(conn.clone());
    link.unanswered.store(0, Relaxed);
    Ok(conn)
}

/// Returns when the connection is lost.
async fn watch(link: &Link, mut conn: Conn) {
    let generation = link.generation();
    let mut missed = 0;
    loop {
        // Woken early if a call found something wrong.
        let _ = timeout(link.config.ping_every, link.look.notified()).await;
        let given_up = {
            let state = link.state.lock();
            state.live.is_none() || state.generation != generation
        };
        if given_up {
            return;
        }
        match timeout(link.config.answer_within, ping(link, &mut conn)).await {
            Ok(Ok(())) => {
                missed = 0;
                link.unanswered.store(0, Relaxed);
            }
            Ok(Err(error)) => {
                link.react(generation, &error);
                missed += u32::from(action(&error) == Action::Suspect);
            }
            Err(_) => missed += 1,
        }
        // One node of a cluster may be silent for reasons of its own.
        if missed >= if conn.is_one_node() { 1 } else { UNANSWERED } {
            link.give_up(generation, &"the Redis is silent");
        }
    }
}

/// Whether answers come, and come to the right questions; and what time it is there.
async fn ping(link: &Link, conn: &mut Conn) -> RedisResult<()> {
    let nonce = format!("{:016x}", fastrand::u64(..));
    let mut question = cmd("PING");
    question.arg(&nonce);
    let mut clock = conn.clone();
    // The one primary of a cluster that has the clock may be down while the others answer.
    let time = async {
        let asked = Instant::now();
        let answer = timeout(link.config.answer_within / 2, clock.time()).await;
        (asked, Instant::now(), answer)
    };
    let (pong, (asked, answered, time)) = tokio::join!(conn.one(&question), time);
    match pong {
        Ok(Value::BulkString(text)) if text == nonce.as_bytes() => {}
        Ok(_) => return Err(confused()),
        Err(error) => bear(error)?,
    }
    match time {
        Ok(Ok(Value::Array(time))) => {
            if let Some(micros) = micros(&time) {
                link.state.lock().clock.read(asked, answered, micros);
            }
        }
        Ok(Ok(_)) => return Err(confused()),
        Ok(Err(error)) if conn.is_one_node() => bear(error)?,
        Ok(Err(_)) | Err(_) => {}
    }
    Ok(())
}

fn confused() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "an answer was not the one to its question").into()
}

/// Whoever complains, lives; who does not know us, or is the wrong one, has to go.
fn bear(error: RedisError) -> RedisResult<()> {
    match action(&error) {
        Action::PauseWrites | Action::Wait | Action::Report => Ok(()),
        _ => Err(error),
    }
}

/// Seconds and microseconds, as text.
fn micros(time: &[Value]) -> Option<u64> {
    let number = |value: &Value| match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
        _ => None,
    };
    let [seconds, micros] = time else { return None };
    number(seconds)?.checked_mul(1_000_000)?.checked_add(number(micros)?)
}
