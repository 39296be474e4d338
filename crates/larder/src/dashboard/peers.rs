//! Other instances of the service: what their dashboards report, fetched once a second, and asked about single keys on request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, timeout};

use super::feed::Shown;
use crate::BoxError;

const EVERY: Duration = Duration::from_secs(1);
/// An instance that takes longer is taken for unreachable.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read.
const MOST: usize = 4 << 20;

/// An instance.
pub(super) struct Peer {
    /// Host and port of its dashboard.
    address: Arc<str>,
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
    pub(super) fn new(address: String) -> Self {
        Self { address: address.into(), latest: Mutex::new(Err("not asked yet".into())) }
    }

    /// Its caches, each under the instance's address, as of its last answer; and how it is.
    pub(super) fn latest(&self) -> (Vec<Shown>, Reached) {
        let latest = self.latest.lock();
        let reached = Reached { address: self.address.clone(), error: latest.as_ref().err().cloned() };
        (latest.as_ref().cloned().unwrap_or_default(), reached)
    }

    /// Asks for its report until stopped.
    pub(super) async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
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
        read(&self.address, &body)
    }

    /// Its own name of the cache that is called `id` here.
    pub(super) fn owns<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(&*self.address)?.strip_prefix('/')
    }

    /// What it answers to a question.
    ///
    /// # Errors
    /// It cannot be reached, or takes too long, or says too much.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        timeout(PATIENCE, self.ask(path)).await.map_err(|_| format!("no answer in {PATIENCE:?}"))?
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        let stream = TcpStream::connect(&*self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header(HOST, &*self.address).body(Empty::<Bytes>::new())?;
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
