//! Who may ask, and who may act: headers that keep the page to itself, known hosts, the token.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::State as Shared;
use crate::{Error, ErrorKind};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Nothing from elsewhere, nothing inline, nowhere in a frame.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// What those who act must know.
pub(super) struct Token(String);

impl Token {
    /// 128 random bits.
    pub(super) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(ErrorKind::Config, format!("the system gives no random bytes for the token: {error}"))
        })?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether the request has it; takes as long whatever is wrong about it.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.0.as_bytes()).into())
    }
}

/// The names under which the page is known.
pub(super) struct Hosts {
    address: SocketAddr,
    named: Vec<String>,
}

impl Hosts {
    pub(super) fn new(address: SocketAddr, named: Vec<String>) -> Self {
        Self { address, named }
    }

    /// Whether a request for `host`, with or without a port, is meant for this page: by an address or a name nobody else
    /// can give out.
    pub(super) fn knows(&self, host: &str) -> bool {
        let Ok(uri) = Uri::builder().scheme("http").authority(host).path_and_query("/").build() else { return false };
        let Some(host) = uri.host() else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // Where it listens on all of a machine's addresses, each of them is it.
            Ok(ip) if ip.is_loopback() || ip == self.address.ip() || self.address.ip().is_unspecified() => true,
            _ => {
                let is_own = |own: &String| own.eq_ignore_ascii_case(bare);
                bare.eq_ignore_ascii_case("localhost") || self.named.iter().any(is_own)
            }
        }
    }
}

/// Refuses requests for other hosts, and gives every answer the strict headers.
pub(super) async fn check(State(state): State<std::sync::Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = match host {
        Some(host) if state.hosts.knows(host) => next.run(request).await,
        _ => {
            let what = "this dashboard is not known by that host name: use its address, or name it in DashboardConfig::hosts\n";
            (StatusCode::FORBIDDEN, what).into_response()
        }
    };
    response.headers_mut().extend(HEADERS);
    response
}

/// Refuses questions of other origins' pages: who opens those would have the service look through its memory.
pub(super) async fn own_page(request: Request, next: Next) -> Response {
    if is_same_origin(request.headers()) {
        return next.run(request).await;
    }
    elsewhere()
}

fn elsewhere() -> Response {
    (StatusCode::FORBIDDEN, "the request comes from a page of another origin\n").into_response()
}

/// Refuses to act for who does not know the token, and for pages of other origins.
pub(super) async fn authorize(State(state): State<std::sync::Arc<Shared>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_same_origin(headers) {
        return elsewhere();
    }
    if !state.token.is_in(headers) {
        tracing::warn!(path = request.uri().path(), "an action without the dashboard's token was refused");
        let what = "the token is missing or wrong: it is printed with the dashboard's address at its start\n";
        return (StatusCode::FORBIDDEN, what).into_response();
    }
    next.run(request).await
}

/// Whether a browser sent this for a page of ours, or no browser did.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let by_site = text(&SEC_FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    let by_origin = text(&ORIGIN).is_none_or(|origin| {
        let own = origin.split_once("://").map(|(_, authority)| authority);
        own.is_some() && own == text(&HOST)
    });
    by_site && by_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_and_names_given() {
        let hosts = Hosts::new(([127, 0, 0, 1], 9000).into(), vec!["cache.internal".into()]);
        for own in ["127.0.0.1:9000", "localhost:9000", "LOCALHOST", "[::1]:9000", "cache.internal", "127.0.0.1"] {
            assert!(hosts.knows(own), "{own}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example:9000", "10.0.0.1", "", "a b", "localhost.evil"] {
            assert!(!hosts.knows(other), "{other}");
        }
        let behind = Hosts::new(([127, 0, 0, 1], 9000).into(), vec!["10.0.0.1".into(), "fd00::2".into()]);
        assert!(behind.knows("10.0.0.1:80") && behind.knows("[fd00::2]:80") && !behind.knows("10.0.0.2:80"));
        let open = Hosts::new(([0, 0, 0, 0], 80).into(), Vec::new());
        assert!(open.knows("10.0.0.1") && !open.knows("evil.example"));
    }

    #[test]
    fn other_origins_are_told_apart() {
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        let host = (HOST, "localhost:1");
        assert!(is_same_origin(&headers(std::slice::from_ref(&host))));
        assert!(is_same_origin(&headers(&[host.clone(), (ORIGIN, "http://localhost:1")])));
        for origin in ["http://localhost:2", "null", "http://evil.example", ""] {
            assert!(!is_same_origin(&headers(&[host.clone(), (ORIGIN, origin)])), "{origin}");
        }
        assert!(is_same_origin(&headers(&[host.clone(), (SEC_FETCH_SITE, "same-origin")])));
        assert!(!is_same_origin(&headers(&[host, (SEC_FETCH_SITE, "cross-site")])));
    }

    #[test]
    fn the_token_must_be_whole() {
        let token = Token::random().unwrap();
        let with = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&text).unwrap());
            token.is_in(&headers)
        };
        assert!(with(format!("Bearer {}", token.text())));
        assert!(!with(format!("Bearer {}", &token.text()[1..])));
        assert!(!with(token.text().to_owned()) && !with("Bearer ".into()) && !token.is_in(&HeaderMap::new()));
        assert_ne!(token.text(), Token::random().unwrap().text());
    }
}
