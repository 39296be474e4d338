//! `/events`: first what was, then what is, once a second.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::State as Shared;

/// Moments of history in one event: what a viewer who does not read makes the server hold.
const CHUNK: usize = 60;

struct Viewer {
    state: Arc<Shared>,
    latest: watch::Receiver<Arc<str>>,
    stopped: watch::Receiver<bool>,
    /// The moment of history to send next; `None` once the present is reached.
    next: Option<u64>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(State(state): State<Arc<Shared>>) -> Response {
    let Ok(place) = state.viewers.clone().try_acquire_owned() else {
        let what = "too many pages are open: close one, or raise DashboardConfig::viewers\n";
        return (StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    };
    let mut latest = state.feed.watch();
    latest.mark_changed();
    let stopped = state.stopped.clone();
    let viewer = Viewer { state, latest, stopped, next: Some(0), _place: place };
    // Pulled: nothing is made before the connection takes it.
    let events = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Viewer {
    async fn next(&mut self) -> Option<Event> {
        if let Some(from) = self.next.take()
            && let Some((moments, next)) = self.state.feed.history(from, CHUNK)
        {
            self.next = Some(next);
            return Some(Event::default().event("history").data(moments));
        }
        tokio::select! {
            changed = self.latest.changed() => {
                changed.ok()?;
                let frame = self.latest.borrow_and_update().clone();
                Some(Event::default().event("report").data(frame))
            }
            _ = self.stopped.wait_for(|stop| *stop) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::guard::{Hosts, Token};
    use crate::dashboard::peers::Peers;

    #[tokio::test]
    async fn who_is_slow_misses_frames_and_holds_none() {
        let (_stop, stopped) = watch::channel(false);
        let state = Arc::new(Shared {
            sources: Default::default(),
            feed: Default::default(),
            token: Token::random().unwrap(),
            hosts: Hosts::new(([127, 0, 0, 1], 1).into(), Vec::new()),
            viewers: Arc::new(tokio::sync::Semaphore::new(1)),
            questions: Arc::new(tokio::sync::Semaphore::new(1)),
            hottest: Default::default(),
            peers: Peers::new(Vec::new(), stopped.clone()),
            stopped: stopped.clone(),
        });
        let mut latest = state.feed.watch();
        latest.mark_changed();
        let place = state.viewers.clone().try_acquire_owned().unwrap();
        let mut viewer = Viewer { state: state.clone(), latest, stopped, next: Some(0), _place: place };
        // Nothing is kept for it while it reads nothing: neither here, nor in the channel, which holds one frame.
        (0..5000).for_each(|_| state.feed.tick(&state));
        let mut pieces = 0;
        while viewer.next.is_some() {
            assert!(viewer.next().await.is_some());
            pieces += 1;
        }
        // All of ten minutes in pieces of one, and the latest of 5000 frames.
        assert_eq!(pieces, crate::dashboard::history::MOST / CHUNK + 1);
        assert!(!viewer.latest.has_changed().unwrap());
    }
}
