//! Other instances of the service: what their dashboards report, fetched once a second, and asked about single keys on request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use super::address::Address;
use super::feed::Shown;
use crate::BoxError;

const EVERY: Duration = Duration::from_secs(1);
/// An instance that takes longer is taken for unreachable.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read.
const MOST: usize = 4 << 20;

/// The instances that are followed: those that were named, and those that a registry tells of.
pub(super) struct Peers {
    named: Vec<Address>,
    followed: RwLock<Vec<Followed>>,
    /// Why those that a registry tells of may be others by now.
    registry: Mutex<Option<String>>,
    stopped: watch::Receiver<bool>,
}

/// One, and the task that asks it until this is dropped.
struct Followed {
    peer: Arc<Peer>,
    task: JoinHandle<()>,
}

impl Peers {
    /// Follows those `named` until `stopped`; in a tokio runtime.
    pub(super) fn new(named: Vec<Address>, stopped: watch::Receiver<bool>) -> Self {
        let peers = Self { named, followed: RwLock::default(), registry: Mutex::default(), stopped };
        peers.follow(&[]);
        peers
    }

    /// Follows those who were named and those who are `registered`, and nobody else.
    pub(super) fn follow(&self, registered: &[Address]) {
        let wanted = |address: &Address| self.named.contains(address) || registered.contains(address);
        let mut followed = self.followed.write();
        followed.retain(|one| wanted(&one.peer.address));
        for address in self.named.iter().chain(registered) {
            if !followed.iter().any(|one| one.peer.address == *address) {
                let peer = Arc::new(Peer::new(address.clone()));
                let task = tokio::spawn(peer.clone().follow(self.stopped.clone()));
                followed.push(Followed { peer, task });
            }
        }
    }

    /// What goes wrong with the registry, if something does.
    pub(super) fn registry_says(&self, error: Option<String>) {
        *self.registry.lock() = error;
    }

    pub(super) fn registry(&self) -> Option<String> {
        self.registry.lock().clone()
    }

    /// What all last reported, and how they are.
    pub(super) fn latest(&self) -> Vec<(Vec<Shown>, Reached)> {
        self.followed.read().iter().map(|one| one.peer.latest()).collect()
    }

    /// The instance whose cache is called `id` here, with the name it has there.
    pub(super) fn owner<'a>(&self, id: &'a str) -> Option<(Arc<Peer>, &'a str)> {
        self.followed.read().iter().find_map(|one| Some((one.peer.clone(), one.peer.owns(id)?)))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An instance.
pub(super) struct Peer {
    /// Host and port of its dashboard.
    address: Address,
    latest: Mutex<Result<Vec<Shown>, String>>,
}

/// How an instance is, for the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Reached {
    address: Arc<str>,
    /// Why its numbers are missing, if they are.
    error: Option<String>,
}

/// What another dashboard reports.
#[derive(Deserialize)]
struct Frame {
    caches: Vec<Theirs>,
}

#[derive(Deserialize)]
struct Theirs {
    id: String,
    report: Value,
}

/// The caches that the dashboard at this address reports.
pub(super) fn read(address: &str, body: &[u8]) -> Result<Vec<Shown>, BoxError> {
    let frame: Frame = serde_json::from_slice(body)?;
    let shown = |theirs: Theirs| Shown { id: format!("{address}/{}", theirs.id).into(), report: theirs.report };
    Ok(frame.caches.into_iter().map(shown).collect())
}

impl Peer {
    fn new(address: Address) -> Self {
        Self { address, latest: Mutex::new(Err("not asked yet".into())) }
    }

    /// Its caches, each under the instance's address, as of its last answer; and how it is.
    fn latest(&self) -> (Vec<Shown>, Reached) {
        let latest = self.latest.lock();
        let reached = Reached { address: self.address.text().clone(), error: latest.as_ref().err().cloned() };
        (latest.as_ref().cloned().unwrap_or_default(), reached)
    }

    /// Asks for its report until stopped.
    async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Stopped, or the dashboard is gone.
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            let latest = self.report().await.map_err(|error| error.to_string());
            *self.latest.lock() = latest;
        }
    }

    async fn report(&self) -> Result<Vec<Shown>, BoxError> {
        // Its own caches alone: it may follow us too.
        let (status, body) = self.get("/report?own=true").await?;
        if status != StatusCode::OK {
            return Err(format!("it answers {status}").into());
        }
        read(self.address.text(), &body)
    }

    /// Its own name of the cache that is called `id` here.
    fn owns<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(&**self.address.text())?.strip_prefix('/')
    }

    /// What it answers to a question.
    ///
    /// # Errors
    /// It cannot be reached, or takes too long, or says too much.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        timeout(PATIENCE, self.ask(path)).await.map_err(|_| format!("no answer in {PATIENCE:?}"))?
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        let stream = TcpStream::connect(&**self.address.text()).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header(HOST, &**self.address.text()).body(Empty::<Bytes>::new())?;
        // The connection works while the answer is waited for, and goes with it.
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect().await?.to_bytes();
            Ok((status, body))
        };
        tokio::select! {
            answer = exchange => answer,
            ended = connection => Err(ended.err().map_or_else(|| "it hung up".into(), BoxError::from)),
        }
    }
}
