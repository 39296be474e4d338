//! Asks a running service's dashboard.

use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A dashboard, by the address it was printed with.
pub(crate) struct Client {
    origin: String,
    agent: ureq::Agent,
}

impl Client {
    /// `url` may be without its scheme, and with the token the page needs and this does not.
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let authority = authority(url)?;
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        Ok(Self { origin: format!("http://{authority}"), agent: config.into() })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// What stands there as JSON.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let failed = |what: String| Failure::Failed(format!("{}{path}: {what}", self.origin));
        let request = self.agent.get(format!("{}{path}", self.origin)).query_pairs(query.iter().copied());
        let mut response = request.call().map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
        if !status.is_success() {
            return Err(failed(format!("{} {}", status.as_u16(), body.trim())));
        }
        serde_json::from_str(&body).map_err(|error| failed(format!("this is no dashboard of larder's: {error}")))
    }
}

/// Host and port of a dashboard, of its address as it was printed or without the scheme.
pub(crate) fn authority(url: &str) -> Result<&str, Failure> {
    let rest = url.split_once("://").map_or(Ok(url), |(scheme, rest)| match scheme {
        "http" => Ok(rest),
        _ => Err(Failure::Usage(format!("{url}: a dashboard speaks http, not {scheme}"))),
    })?;
    match rest.split(['/', '#', '?']).next() {
        Some(authority) if !authority.is_empty() => Ok(authority),
        _ => Err(Failure::Usage(format!("'{url}' names no address: give one such as http://127.0.0.1:9465"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for url in ["http://127.0.0.1:9465/#token=ab12", "127.0.0.1:9465", "http://127.0.0.1:9465/report?x=1"] {
            assert_eq!(Client::new(url).ok().unwrap().origin(), "http://127.0.0.1:9465");
        }
        for url in ["https://127.0.0.1:9465", "", "http:///"] {
            assert!(matches!(Client::new(url), Err(Failure::Usage(_))), "{url}");
        }
    }
}
