//! Where calls and uploads go: the server's address, the key and the query. Called by everything that connects.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use url::{Host, Url};

use crate::audio::Recording;

/// Where calls and uploads go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The endpoint with the query parameters of the scenario, scheme `http`.
    url: Url,
    /// Sent as `Authorization: Token KEY`.
    key: Option<HeaderValue>,
}

impl Target {
    /// `url` is the server's address; without a path `/v1/listen` is added. `query` goes to every call and upload.
    ///
    /// # Errors
    /// No `http` or `ws` address, or a key that cannot stand in a header.
    pub(crate) fn new(url: &str, key: Option<&str>, query: &BTreeMap<String, String>) -> Result<Self> {
        let mut url = Url::parse(url).with_context(|| format!("the address {url}"))?;
        match url.scheme() {
            "http" => {}
            "ws" => ensure!(url.set_scheme("http").is_ok(), "{url} is no address of a server"),
            other => bail!("the scheme {other}: only http and ws are supported, put a TLS proxy in front"),
        }
        ensure!(url.host_str().is_some(), "{url} names no server");
        if url.path() == "/" {
            url.set_path("/v1/listen");
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let header = |key: &str| HeaderValue::from_str(&format!("Token {key}")).context("the key");
        let key = key.map(header).transpose()?;
        Ok(Self { url, key })
    }

    /// Where uploads go.
    pub(crate) fn upload_url(&self) -> &Url {
        &self.url
    }

    /// Whether the server runs on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Where the server's metrics are.
    pub(crate) fn metrics_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_path("/metrics");
        url
    }

    /// Value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// The upgrade request of a call.
    ///
    /// # Errors
    /// The address or the key cannot stand in a request.
    pub(crate) fn request(&self, recording: &Recording) -> Result<Request<()>> {
        let mut url = self.url.clone();
        ensure!(url.set_scheme("ws").is_ok(), "{url} is no address of a server");
        url.query_pairs_mut()
            .append_pair("interim_results", "true")
            .extend_pairs(&recording.parameters);
        let mut request = url.as_str().into_client_request()?;
        if let Some(key) = &self.key {
            request.headers_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target> {
        let query = BTreeMap::from([("keyterm".to_owned(), "a b&c".to_owned())]);
        Target::new(url, None, &query)
    }

    #[test]
    fn addresses_get_the_path_and_the_query() {
        let url = "http://127.0.0.1:8080/v1/listen?keyterm=a+b%26c";
        assert_eq!(target("http://127.0.0.1:8080").unwrap().url.as_str(), url);
        assert_eq!(target("ws://127.0.0.1:8080/").unwrap().url.as_str(), url);
        assert_eq!(target("ws://h/x/listen").unwrap().url.path(), "/x/listen");
        assert_eq!(target("ws://h/x/listen").unwrap().metrics_url().as_str(), "http://h/metrics");
        assert!(target("https://h").unwrap_err().to_string().contains("TLS proxy"));
        assert!(target("127.0.0.1:8080").is_err());
        assert!(Target::new("http://h", Some("a\nb"), &BTreeMap::new()).is_err());
    }

    #[test]
    fn loopback_addresses_are_of_this_machine() {
        for (url, local) in [
            ("http://127.0.0.1:8080", true),
            ("ws://localhost", true),
            ("http://[::1]:80", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(target(url).unwrap().is_local(), local, "{url}");
        }
    }
}
