//! What is asked and answered.

use std::sync::Arc;

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
/// The longest key that is asked about, in bytes.
const LONGEST_KEY: usize = 4096;

pub(super) fn router(state: Arc<Shared>) -> Router {
    let actions = Router::new()
        .route("/roll-back", post(roll_back))
        .route("/resume", post(resume))
        .route_layer(middleware::from_fn_with_state(state.clone(), guard::authorize));
    let assets = ASSETS.iter().fold(Router::new(), |router, asset: &'static Asset| {
        router.route(asset.path, get(|| async { ([(CONTENT_TYPE, asset.kind)], asset.text) }))
    });
    assets
        .route("/events", get(events::events))
        .route("/report", get(report))
        .route("/hottest", get(hottest))
        .route("/explain", get(explain))
        .route("/decisions", get(decisions))
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
    answer(&state, asked.cache.as_deref(), "/hottest", &query, move |source| source.hottest(most)).await
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

/// What a cache says: another instance's by that instance, ours on a thread that may wait, for some answers look through all of memory.
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
    match tokio::task::spawn_blocking(move || ask(&*source)).await {
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
