//! What is asked and answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};

use super::State as Shared;
use super::assets::{ASSETS, Asset};
use super::source::Source;
use super::{events, guard};

/// The hottest keys shown, unless asked for more.
const HOTTEST: usize = 20;
const MOST_HOTTEST: usize = 200;
/// For how long they are those of whoever asks.
const FRESH: Duration = Duration::from_secs(1);
/// How long a question waits for those before it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest key that is asked about, in bytes.
const LONGEST_KEY: usize = 4096;

pub(super) fn router(state: Arc<Shared>) -> Router {
    let actions = Router::new()
        .route("/roll-back", post(roll_back))
        .route("/resume", post(resume))
        .route_layer(middleware::from_fn_with_state(state.clone(), guard::authorize));
    let questions = Router::new()
        .route("/hottest", get(hottest))
        .route("/explain", get(explain))
        .route("/decisions", get(decisions))
        .route_layer(middleware::from_fn(guard::own_page));
    let assets = ASSETS.iter().fold(Router::new(), |router, asset: &'static Asset| {
        router.route(asset.path, get(|| async { ([(CONTENT_TYPE, asset.kind)], asset.text) }))
    });
    assets
        .route("/events", get(events::events))
        .route("/report", get(report))
        .merge(questions)
        .merge(actions)
        .layer(DefaultBodyLimit::max(1024))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .with_state(state)
}

/// Which cache is meant, the first unless one is named, and what of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    cache: Option<String>,
    key: Option<String>,
    n: Option<usize>,
    /// Whether other instances' caches are left out.
    own: bool,
}

async fn report(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let frame = if asked.own { state.feed.own() } else { state.feed.watch().borrow().clone() }.to_string();
    ([(CONTENT_TYPE, "application/json")], frame).into_response()
}

async fn hottest(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let most = asked.n.unwrap_or(HOTTEST).min(MOST_HOTTEST);
    let query = [("n", most.to_string())];
    let (shared, id) = (state.clone(), asked.cache.clone().unwrap_or_default());
    let ask = move |source: &dyn Source| {
        // Nobody else is here, and many pages may ask.
        let mut known = shared.hottest.lock();
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        if !known.contains_key(&id) {
            known.insert(id.clone(), (Instant::now(), source.hottest(MOST_HOTTEST)?));
        }
        known.get(&id).map(|(_, hottest)| hottest.iter().take(most).copied().collect::<Vec<_>>())
    };
    answer(&state, asked.cache.as_deref(), "/hottest", &query, ask).await
}

async fn explain(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    match asked.key {
        Some(key) if !key.is_empty() && key.len() <= LONGEST_KEY => {
            let query = [("key", key.clone())];
            answer(&state, asked.cache.as_deref(), "/explain", &query, move |source| source.explain(&key)).await
        }
        _ => refuse(StatusCode::BAD_REQUEST, "which key? ask for /explain?key=KEY, a key's text or its label"),
    }
}

async fn decisions(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    answer(&state, asked.cache.as_deref(), "/decisions", &[], |source| source.decisions()).await
}

async fn roll_back(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    act(&state, &asked, "roll-back", |source| source.roll_back()).await
}

async fn resume(State(state): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    act(&state, &asked, "resume", |source| source.resume()).await
}

/// What a cache says: another instance's by that instance, ours on a thread that may wait, for some answers look through all of memory. Of ours
/// one at a time, however many ask, and to its end, even where nobody waits for it any more: the service has its threads for other things.
async fn answer<T: Serialize + Send + 'static>(
    state: &Shared,
    cache: Option<&str>,
    path: &str,
    query: &[(&str, String)],
    ask: impl FnOnce(&dyn Source) -> Option<T> + Send + 'static,
) -> Response {
    if let Some((peer, own)) = cache.and_then(|cache| state.peers.owner(cache)) {
        let query: Vec<_> = query.iter().cloned().chain([("cache", own.to_owned())]).collect();
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        return match peer.get(&format!("{path}?{query}")).await {
            Ok((status, body)) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => refuse(StatusCode::BAD_GATEWAY, &format!("that instance does not answer: {error}")),
        };
    }
    let Some(source) = state.sources.find(cache) else { return unknown() };
    let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, state.questions.clone().acquire_owned()).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many ask at once: try again in a moment");
    };
    let asking = move || {
        let _turn = turn;
        ask(&*source)
    };
    match tokio::task::spawn_blocking(asking).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        Ok(None) => unknown(),
        Err(error) => {
            tracing::error!(%error, "a question of the dashboard was not answered");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the question failed; the service's log says why")
        }
    }
}

/// Carries out an action, and shows it to all viewers at once.
async fn act(
    state: &Shared,
    asked: &Asked,
    name: &'static str,
    action: impl FnOnce(&dyn Source) -> Option<bool> + Send + 'static,
) -> Response {
    if asked.cache.as_deref().is_some_and(|cache| state.peers.owner(cache).is_some()) {
        return refuse(
            StatusCode::CONFLICT,
            "that cache is another instance's: act on its own page, with its own token",
        );
    }
    let Some(source) = state.sources.find(asked.cache.as_deref()) else { return unknown() };
    let done = action(&*source);
    tracing::info!(cache = asked.cache, action = name, "asked for by the dashboard");
    match done {
        None => unknown(),
        Some(true) => {
            state.feed.tick(state);
            StatusCode::NO_CONTENT.into_response()
        }
        Some(false) => {
            refuse(StatusCode::CONFLICT, "this cache is measured against no control: there is nothing to do")
        }
    }
}

fn unknown() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is no such cache: /report names them all")
}

fn refuse(status: StatusCode, what: &str) -> Response {
    (status, format!("{what}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::dashboard::{Dashboard, DashboardConfig};
    use crate::explain::{Explained, Hot, Logged};
    use crate::{Cache, Report};

    /// Takes its time to answer, and counts who asks meanwhile.
    struct Slow {
        cache: Cache<u64, u64>,
        inside: AtomicUsize,
        most: AtomicUsize,
    }

    impl Slow {
        fn look<T>(&self, answer: T) -> Option<T> {
            self.most.fetch_max(self.inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            self.inside.fetch_sub(1, Ordering::SeqCst);
            Some(answer)
        }
    }

    impl Source for Slow {
        fn report(&self) -> Option<Report> {
            Some(self.cache.report())
        }

        fn hottest(&self, most: usize) -> Option<Vec<Hot>> {
            self.look(self.cache.most_read(most))
        }

        fn explain(&self, key: &str) -> Option<Explained> {
            self.look(self.cache.explain_text(key))
        }

        fn decisions(&self) -> Option<Vec<Logged>> {
            self.look(self.cache.decisions())
        }

        fn roll_back(&self) -> Option<bool> {
            None
        }

        fn resume(&self) -> Option<bool> {
            None
        }
    }

    #[tokio::test]
    async fn memory_is_looked_through_for_one_question_at_a_time() {
        let dashboard = Dashboard::serve(([127, 0, 0, 1], 0).into(), DashboardConfig::default()).await.unwrap();
        let cache = Cache::builder().capacity(10).build().unwrap();
        let slow = Arc::new(Slow { cache, inside: AtomicUsize::new(0), most: AtomicUsize::new(0) });
        dashboard.state.sources.add("slow", slow.clone()).unwrap();
        let answers = join_all((0..12).map(|at| {
            let state = State(dashboard.state.clone());
            let asked = Query(Asked { key: Some("1".into()), ..Asked::default() });
            tokio::spawn(async move {
                match at % 3 {
                    0 => hottest(state, asked).await,
                    1 => explain(state, asked).await,
                    _ => decisions(state, asked).await,
                }
            })
        }));
        let statuses: Vec<_> = answers.await.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
        assert!(statuses.contains(&200) && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        assert_eq!(slow.most.load(Ordering::SeqCst), 1, "so many at once");
    }
}
