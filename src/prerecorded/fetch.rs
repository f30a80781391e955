//! Fetches a remote file for a request of the form `{"url": ...}`.
//!
//! What it does: checks every address before it is connected to, follows redirects by hand, bounds the time spent waiting for the
//! other server, and turns whatever goes wrong into one of the public texts. What it does not do: count bytes against the upload
//! limit, which its reader does as for an upload, or decode. Who calls it: the upload handler.
//!
//! A request must not reach what only this machine can reach. Names are resolved by our own resolver, which hands on public
//! addresses only; the connection is made to these and never resolved again. Addresses written as numbers are checked before each
//! hop. There is no proxy and no reuse of connections. Deliveries to callbacks ([`super::callback`]) go the same way.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, timeout};

use crate::config::Fetch;
use crate::error::RemoteError;

/// What other servers see as our name.
const USER_AGENT: &str = concat!("hark/", env!("CARGO_PKG_VERSION"));

/// Fetches files under one set of rules. Building it reads the system's certificates: do it once.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    allow_private: bool,
    timeout: Duration,
    max_redirects: usize,
}

impl Fetcher {
    /// A fetcher under these rules.
    ///
    /// # Errors
    /// The TLS library could not be set up, for example without any system certificates.
    pub fn new(rules: &Fetch) -> Result<Self, reqwest::Error> {
        Ok(Fetcher {
            client: client(rules.allow_private, rules.connect_timeout)?,
            allow_private: rules.allow_private,
            timeout: rules.timeout,
            max_redirects: rules.max_redirects,
        })
    }

    /// Asks for the file, follows redirects, and returns its bytes as they come. The time limit covers the bytes as well, but only while
    /// they are waited for: a reader that takes its time costs the other server nothing.
    ///
    /// # Errors
    /// [`RemoteError`], here or as the last item: the URL, its address or the answer is not acceptable. An empty file, one that breaks
    /// off and one that takes too long count as invalid data.
    pub async fn open(&self, url: &str) -> Result<impl Stream<Item = Result<Bytes, RemoteError>> + Unpin + use<>, RemoteError> {
        let began = Instant::now();
        let url = Url::parse(url).ok().filter(is_web).ok_or(RemoteError::BadUrl)?;
        let response = timeout(self.timeout, self.follow(url))
            .await
            .map_err(|_| RemoteError::InvalidData)??;
        Ok(body(response, self.timeout.saturating_sub(began.elapsed())))
    }

    /// Goes from redirect to redirect until something else is answered.
    async fn follow(&self, mut url: Url) -> Result<Response, RemoteError> {
        for _ in 0..=self.max_redirects {
            check(&url, self.allow_private)?;
            let response = self.client.get(url.clone()).send().await.map_err(|error| cause(&error))?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                status if status.is_client_error() => return Err(RemoteError::ClientError(status.to_string())),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = target(&url, &response)?,
                _ => return Err(RemoteError::InvalidData),
            }
        }
        Err(RemoteError::TooManyRedirects)
    }
}

/// A client that connects to permitted addresses only, follows no redirects and keeps no connections. Of every URL [`check`] has to
/// be asked first.
///
/// # Errors
/// The TLS library could not be set up, for example without any system certificates.
pub fn client(allow_private: bool, connect_timeout: Duration) -> Result<Client, reqwest::Error> {
    // The first one wins and is as good as this one: all of the process use the same library.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .dns_resolver(Resolver { allow_private })
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(0)
        .build()
}

/// Refuses an address that is written as a number and may not be connected to; of names the resolver sees to that.
///
/// # Errors
/// [`RemoteError::NotPublic`].
pub fn check(url: &Url, allow_private: bool) -> Result<(), RemoteError> {
    if !allow_private && url.host_str().and_then(literal).is_some_and(|address| !is_public(address)) {
        return Err(RemoteError::NotPublic);
    }
    Ok(())
}

/// As [`check`], and resolves a name to see whether it leads anywhere that may be connected to.
///
/// # Errors
/// [`RemoteError::NotPublic`], or [`RemoteError::Unresolved`] if the name has no address at present.
pub async fn check_host(url: &Url, allow_private: bool) -> Result<(), RemoteError> {
    check(url, allow_private)?;
    match url.host_str() {
        Some(host) if literal(host).is_none() => resolve(host.to_owned(), allow_private).await.map(drop),
        _ => Ok(()),
    }
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, RemoteError> {
    let location = response.headers().get(LOCATION).ok_or(RemoteError::RedirectWithoutTarget)?;
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| RemoteError::RedirectNotText)?;
    from.join(location).ok().filter(is_web).ok_or(RemoteError::RedirectNotUrl)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
}

/// The body's bytes; an error as the last item if it is empty, breaks off, or was waited for longer than `left`.
fn body(response: Response, left: Duration) -> impl Stream<Item = Result<Bytes, RemoteError>> + Unpin + use<> {
    let bytes = Box::pin(response.bytes_stream());
    Box::pin(futures_util::stream::unfold(Some((bytes, left, false)), |state| async move {
        let (mut bytes, left, any) = state?;
        let began = Instant::now();
        let item = timeout(left, bytes.next()).await;
        let left = left.saturating_sub(began.elapsed());
        match item {
            Ok(Some(Ok(part))) => {
                let any = any || !part.is_empty();
                Some((Ok(part), Some((bytes, left, any))))
            }
            Ok(None) if any => None,
            Ok(None | Some(Err(_))) | Err(_) => Some((Err(RemoteError::InvalidData), None)),
        }
    }))
}

/// Why a request failed: the resolver's own reason if it is in the chain.
fn cause(error: &reqwest::Error) -> RemoteError {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(refusal) = error.downcast_ref::<RemoteError>() {
            return refusal.clone();
        }
        source = error.source();
    }
    RemoteError::InvalidData
}

/// Resolves names to addresses that may be connected to.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = resolve(name.as_str().to_owned(), self.allow_private);
        Box::pin(async move {
            let addresses: Addrs = Box::new(found.await?.into_iter());
            Ok(addresses)
        })
    }
}

/// The addresses of a name that may be connected to. The port is put in by the connector.
async fn resolve(name: String, allow_private: bool) -> Result<Vec<SocketAddr>, RemoteError> {
    let found = tokio::task::spawn_blocking(move || (name.as_str(), 0).to_socket_addrs().map(Vec::from_iter)).await;
    permitted(found.ok().and_then(Result::ok).unwrap_or_default(), allow_private)
}

/// Those of the addresses that may be connected to.
fn permitted(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, RemoteError> {
    if found.is_empty() {
        return Err(RemoteError::Unresolved);
    }
    let permitted: Vec<SocketAddr> = found
        .into_iter()
        .filter(|address| allow_private || is_public(address.ip()))
        .collect();
    if permitted.is_empty() {
        Err(RemoteError::NotPublic)
    } else {
        Ok(permitted)
    }
}

/// The address that a URL's host is, if it is not a name.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is one of the public internet. Source: the special-purpose address registries of IANA (RFC 6890), with the
/// deprecated ranges, and the addresses at which clouds serve metadata.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private, shared (carrier NAT), loopback, link-local with most clouds' metadata.
        (0 | 10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, examples, old relays, benchmarks; multicast, reserved, broadcast.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (224..=255, ..)
    ) && address != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match (a, b) {
        // Translation to IPv4 (well-known prefix) and 6to4 lead to the address that they hold.
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => is_public_v4(embedded(g, h)),
        (0x2002, b) => is_public_v4(embedded(b, c)),
        // Protocol assignments with Teredo, examples.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Global unicast; everything else is local, multicast, or not assigned.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
