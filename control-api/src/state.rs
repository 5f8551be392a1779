//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;

use headgate_access::{Access, AdminCaller, ClientPool, PLATFORM, TenantCaller};
use headgate_catalog::subscriptions;
use headgate_database::{Db, Signal};
use headgate_events::Events;
use headgate_metering::MeteringError;
use headgate_provisioning::Profiles;
use headgate_types::SharedClock;
use headgate_types::engine::Engine;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::http::idempotency::{IdempotencyKey, InFlight, Once, Owner};
use crate::http::page::PageTokens;
use crate::http::problem::ApiError;
use crate::http::rate::{RateLimiter, RateLimits};
use crate::http::tenant_limits::TenantLimits;
use crate::request_meter::RequestMeter;
use crate::snippets::Snippets;

/// Settings of the control API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where clients reach the data listener; the addresses of channels start with it.
    pub data_url: Url,
    /// Key of the page tokens; derived from the master key, stable across processes.
    pub page_token_key: [u8; 32],
    /// Rate limits.
    pub rate_limits: RateLimits,
    /// The AsyncAPI document of the events of all crates.
    pub asyncapi: serde_json::Value,
}

/// What the binary hands over.
#[derive(Debug)]
pub struct ApiParts {
    /// The control database: access, events, catalog, orders.
    pub control: Db,
    /// The data database: usage and rate cards.
    pub data: Db,
    /// Tokens, clients, credentials, audit.
    pub access: Access,
    /// Where tenants' new clients log in, in place of the built-in issuer.
    pub pool: Option<Arc<dyn ClientPool>>,
    /// The outbox, its feed and its endpoints.
    pub events: Events,
    /// The engine, in this process or over HTTP.
    pub engine: Arc<dyn Engine>,
    /// What can be ordered.
    pub profiles: Arc<Profiles>,
    /// The time.
    pub clock: SharedClock,
    /// Wakes the order worker.
    pub orders: Signal,
    /// Ends what would otherwise outlive a graceful shutdown: the streams of events.
    pub shutdown: CancellationToken,
    /// Settings.
    pub config: ApiConfig,
}

/// The state of the router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Inner>);

/// [`ApiParts`] and what is derived from them.
#[derive(Debug)]
pub struct Inner {
    /// What the binary handed over.
    pub parts: ApiParts,
    pub(crate) pages: PageTokens,
    pub(crate) limiter: RateLimiter,
    pub(crate) in_flight: InFlight,
    pub(crate) snippets: Snippets,
    pub(crate) requests: RequestMeter,
    pub(crate) tenant_limits: TenantLimits,
}

impl ApiState {
    /// The state over these parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let pages = PageTokens::new(&parts.config.page_token_key);
        let limiter = RateLimiter::new(parts.config.rate_limits);
        Self(Arc::new(Inner {
            pages,
            limiter,
            in_flight: InFlight::default(),
            snippets: Snippets::embedded(),
            requests: RequestMeter::default(),
            tenant_limits: TenantLimits::default(),
            parts,
        }))
    }

    /// Books the requests of tenants' clients every ten seconds until [`ApiParts::shutdown`].
    pub async fn run(&self) {
        self.requests.run(&self.data, &self.clock, self.shutdown.clone()).await;
    }

    /// Books what was counted since: to be awaited after the listener answered its last request.
    ///
    /// # Errors
    /// When the database fails; these requests are then not charged.
    pub async fn flush(&self) -> Result<(), MeteringError> {
        self.requests.flush(&self.data, &self.clock).await
    }

    /// Whether a request was answered before; see [`crate::http::idempotency`].
    pub(crate) async fn once(
        &self,
        caller: &TenantCaller,
        key: IdempotencyKey,
        fingerprint: &[u8; 32],
    ) -> Result<Once, ApiError> {
        let owner = Owner { tenant: caller.tenant, client: caller.principal.client };
        key.once(&self.control, &self.in_flight, owner, fingerprint, self.clock.now()).await
    }

    /// As [`Self::once`], for an administrator.
    pub(crate) async fn once_admin(
        &self,
        admin: &AdminCaller,
        key: IdempotencyKey,
        fingerprint: &[u8; 32],
    ) -> Result<Once, ApiError> {
        let owner = Owner { tenant: PLATFORM, client: admin.principal.client };
        key.once(&self.control, &self.in_flight, owner, fingerprint, self.clock.now()).await
    }

    /// Lets selections follow a change of the catalog that was just committed, then waits until the
    /// engine follows them: who is told that something was taken back can rely on it. What a failure
    /// leaves undone is noted in the tables and done by the next run.
    pub(crate) async fn follow_catalog(&self) {
        if let Err(error) = subscriptions::refresh_selections(&self.control, self.clock.now()).await {
            tracing::warn!(%error, "failed to let selections follow the catalog; it is tried again later");
        }
        self.wake().await;
        if let Err(error) = self.engine.follow().await {
            tracing::warn!(%error, "the engine does not follow the catalog yet; it does so by itself");
        }
    }

    /// Tells the worker and the engine that there is work. Both only wake: the work is in the
    /// tables, and is found without the call a little later, so a failure is logged and no more.
    pub(crate) async fn wake(&self) {
        self.orders.wake();
        self.events.announce();
        if let Err(error) = self.engine.wake().await {
            tracing::warn!(%error, "failed to wake the engine; it finds the work by itself");
        }
    }
}

impl Deref for ApiState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}
