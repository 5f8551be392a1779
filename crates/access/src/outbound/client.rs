//! An HTTP client that keeps the policy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use url::Url;

use super::policy::{OutboundError, OutboundPolicy, needs_named_network};

const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is kept.
const MAX_ANSWER: usize = 4_096;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The first 4 KiB of the body; what cannot be read as UTF-8, or kept by every database, is replaced.
    pub body: String,
}

/// An HTTP client for addresses that tenants name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GuardedClient {
    /// For https on its usual ports.
    client: Client,
    /// For plain http and other ports: reaches only the networks that the operator names.
    named: Client,
    policy: Arc<OutboundPolicy>,
}

impl GuardedClient {
    /// A client that keeps `policy`; every request takes at most 15 seconds as a whole.
    ///
    /// # Errors
    /// [`OutboundError::Client`] when TLS cannot be set up.
    pub fn new(policy: OutboundPolicy) -> Result<Self, OutboundError> {
        Self::with_timeout(policy, TIMEOUT)
    }

    /// The same with another limit of time.
    ///
    /// # Errors
    /// [`OutboundError::Client`] when TLS cannot be set up.
    pub fn with_timeout(policy: OutboundPolicy, timeout: Duration) -> Result<Self, OutboundError> {
        // Two cryptographic back-ends are linked; without a choice the TLS library panics. The
        // binary chooses first thing, tests and tools may not have.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that somebody else was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let policy = Arc::new(policy);
        let client = |only_named: bool| {
            Client::builder()
                .dns_resolver(Arc::new(FilteredResolver { policy: Arc::clone(&policy), only_named }))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(timeout)
                .connect_timeout(CONNECT_TIMEOUT.min(timeout))
                .user_agent(concat!("headgate/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| OutboundError::Client(reason(&error)))
        };
        Ok(Self { client: client(false)?, named: client(true)?, policy })
    }

    /// What may be reached.
    #[must_use]
    pub fn policy(&self) -> &OutboundPolicy {
        &self.policy
    }

    /// Sends a POST.
    ///
    /// # Errors
    /// See [`OutboundError`]; any status of an answer is not an error.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Answer, OutboundError> {
        self.send(Method::POST, url, headers, body).await
    }

    /// Gets a document as a whole.
    ///
    /// # Errors
    /// See [`OutboundError`]; [`OutboundError::TooLong`] when it has more than `most` bytes. Any status is not
    /// an error.
    pub async fn fetch(&self, url: &Url, most: usize) -> Result<(StatusCode, Vec<u8>), OutboundError> {
        let mut response = self.answer(Method::GET, url, HeaderMap::new(), Bytes::new()).await?;
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if document.len() + chunk.len() > most {
                return Err(OutboundError::TooLong);
            }
            document.extend_from_slice(&chunk);
        }
        Ok((response.status(), document))
    }

    /// Sends a request and reads the beginning of the answer.
    ///
    /// # Errors
    /// See [`OutboundError`]; any status of an answer is not an error.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, OutboundError> {
        let mut response = self.answer(method, url, headers, body).await?;
        let mut kept = Vec::new();
        // An answer that breaks off or is too long has still answered: the status counts.
        while kept.len() < MAX_ANSWER {
            match response.chunk().await {
                Ok(Some(chunk)) => kept.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - kept.len())]),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            // PostgreSQL keeps no U+0000 in text, and whatever is answered is told to the owner.
            body: String::from_utf8_lossy(&kept).replace('\0', "\u{fffd}"),
        })
    }

    async fn answer(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, OutboundError> {
        self.policy.check_url(url)?;
        let client = if needs_named_network(url).is_some() { &self.named } else { &self.client };
        let request = client.request(method, url.clone()).headers(headers).body(body);
        request.send().await.map_err(|error| failure(&error))
    }
}

/// Resolves by the operating system and lets through only what the policy does.
struct FilteredResolver {
    policy: Arc<OutboundPolicy>,
    only_named: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the name resolves to no address that may be reached")]
struct NoAddress;

impl Resolve for FilteredResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, only_named) = (Arc::clone(&self.policy), self.only_named);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let passes = |address: &SocketAddr| match only_named {
                true => policy.names(address.ip()),
                false => policy.check_address(address.ip()).is_ok(),
            };
            let allowed: Vec<SocketAddr> = found.filter(passes).collect();
            if allowed.is_empty() {
                return Err(NoAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn failure(error: &reqwest::Error) -> OutboundError {
    if caused_by_filter(error) {
        return OutboundError::Refused("its name resolves to no public address");
    }
    if error.is_timeout() { OutboundError::TimedOut } else { OutboundError::Unreachable(reason(error)) }
}

type Cause = dyn std::error::Error + 'static;

fn causes(error: &Cause) -> impl Iterator<Item = &Cause> {
    std::iter::successors(Some(error), |error| error.source())
}

fn caused_by_filter(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<NoAddress>())
}

/// The innermost cause: the outer ones repeat the URL, which may carry a secret of the tenant.
fn reason(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
