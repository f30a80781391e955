//! One delivery to an address that a client named.
//!
//! What it does: the request, with the address rules of remote files, our time limits, and userinfo as Basic credentials. What it does
//! not do: try again, or keep anything. Who calls it: [`super::run()`], the relay of live streams.
//!
//! Such an address may hold a password: errors and logs name the host alone.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Upgraded, Url};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config;
use crate::error::RemoteError;
use crate::prerecorded::fetch;

/// Header by which a receiver knows who sent the result.
const DG_TOKEN: HeaderName = HeaderName::from_static("dg-token");

/// Why a delivery failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The URL cannot be used.
    #[error("the address of the callback cannot be used")]
    BadUrl,
    /// Its host must not be asked.
    #[error("the host of the callback may not be connected to")]
    NotPermitted,
    /// It could not be connected to, broke off, or took too long.
    #[error("the receiver did not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// It did not answer in time.
    #[error("the receiver did not answer in time")]
    TooLate,
    /// It did not take the result.
    #[error("the receiver answered {0}")]
    Refused(StatusCode),
    /// It opened no WebSocket.
    #[error("the receiver answered with no WebSocket handshake")]
    NoWebSocket,
}

/// Delivers results under one set of rules. Building it reads the system's certificates: do it once.
#[derive(Clone, Debug)]
pub struct Deliverer {
    client: Client,
    allow_private: bool,
    connect_timeout: Duration,
    timeout: Duration,
    token: Option<HeaderValue>,
}

impl Deliverer {
    /// Delivers under these rules; private addresses are allowed where they are for remote files.
    ///
    /// # Errors
    /// The TLS library could not be set up.
    pub fn new(rules: &config::Callback, allow_private: bool) -> Result<Self, reqwest::Error> {
        let token = rules.token.as_deref().and_then(|token| HeaderValue::from_str(token).ok());
        Ok(Self {
            client: fetch::client(allow_private, rules.connect_timeout)?,
            allow_private,
            connect_timeout: rules.connect_timeout,
            timeout: rules.timeout,
            token: token.map(|mut token| {
                token.set_sensitive(true);
                token
            }),
        })
    }

    /// Whether results may be sent to that URL as far as one can tell now. A name that does not resolve, or not in time, may do so later.
    pub async fn permits(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        match timeout(self.connect_timeout, fetch::check_host(&url, self.allow_private)).await {
            Ok(checked) => matches!(checked, Ok(()) | Err(RemoteError::Unresolved)),
            Err(_) => true,
        }
    }

    /// Sends a body and waits for the head of the answer.
    ///
    /// # Errors
    /// [`DeliveryError`]; anything but a 2xx counts, redirects too.
    pub async fn send(&self, url: &str, method: &str, media_type: &str, body: Bytes) -> Result<(), DeliveryError> {
        let url = Url::parse(url).map_err(|_| DeliveryError::BadUrl)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| DeliveryError::BadUrl)?;
        let request = self.request(method, url)?.header(CONTENT_TYPE, media_type).body(body);
        let status = self.answer(request).await?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(DeliveryError::Refused(status))
        }
    }

    /// Opens a WebSocket (RFC 6455, section 4.1); the URL is of the scheme `ws` or `wss`.
    ///
    /// # Errors
    /// [`DeliveryError`].
    pub async fn open_socket(&self, url: &str) -> Result<Upgraded, DeliveryError> {
        let mut url = Url::parse(url).map_err(|_| DeliveryError::BadUrl)?;
        let scheme = if url.scheme() == "wss" { "https" } else { "http" };
        url.set_scheme(scheme).map_err(|()| DeliveryError::BadUrl)?;
        let key = generate_key();
        let request = self
            .request(Method::GET, url)?
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, key.as_str());
        let response = self.answer(request).await?;
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(DeliveryError::NoWebSocket);
        }
        response.upgrade().await.map_err(no_answer)
    }

    fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, DeliveryError> {
        fetch::check(&url, self.allow_private).map_err(|_| DeliveryError::NotPermitted)?;
        // The client takes userinfo out of the URL and makes Basic credentials of it.
        let request = self.client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.header(DG_TOKEN, token.clone()),
            None => request,
        })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<reqwest::Response, DeliveryError> {
        let answer = timeout(self.connect_timeout.saturating_add(self.timeout), request.send()).await;
        answer.map_err(|_| DeliveryError::TooLate)?.map_err(no_answer)
    }
}

fn no_answer(error: reqwest::Error) -> DeliveryError {
    DeliveryError::NoAnswer(error.without_url())
}

/// What logs call the receiver: its host.
pub fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn deliverer(allow_private: bool) -> Deliverer {
        Deliverer::new(&config::Callback::default(), allow_private).unwrap()
    }

    #[tokio::test]
    async fn private_hosts_are_permitted_only_where_they_are_for_remote_files() {
        for url in [
            "http://127.0.0.1/x",
            "https://user:pass@10.1.2.3:8443/",
            "ws://[::1]/",
            "wss://169.254.169.254/",
        ] {
            assert!(!deliverer(false).permits(url).await, "{url}");
            assert!(deliverer(true).permits(url).await, "{url}");
            let sent = if url.starts_with("ws") {
                deliverer(false).open_socket(url).await.map(drop)
            } else {
                deliverer(false).send(url, "POST", "application/json", Bytes::new()).await
            };
            assert!(matches!(sent, Err(DeliveryError::NotPermitted)), "{url}");
        }
        assert!(!deliverer(true).permits("http://").await);
        assert!(deliverer(false).permits("https://93.184.215.14/done").await);
    }

    #[test]
    fn logs_name_the_host_alone() {
        assert_eq!(host("https://user:secret@example.com:8443/path?key=1"), "example.com");
        assert_eq!(host("nowhere"), "unknown");
    }
}
