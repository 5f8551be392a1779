//! The API over a database of its own, with a fake engine and a clock that stands still.

mod engine;
mod pool;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use chrono::{DateTime, Utc};
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::{Access, AccessConfig, ForeignIssuer, MasterKey, Profile, Scopes};
use headgate_catalog::elements;
use headgate_database::Signal;
use headgate_database::testing::{TestDb, databases};
use headgate_events::Events;
use headgate_provisioning::Profiles;
use headgate_types::{ChannelId, Clock, ElementId, FakeClock, SharedClock, TenantId};
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) use engine::FakeEngine;
pub(crate) use pool::{FakePool, Mood};

use crate::http::rate::RateLimits;
use crate::state::{ApiConfig, ApiParts, ApiState};

/// The issuer of the examples.
pub(crate) const ISSUER: &str = "https://login.example.com/realms/main";
/// The issuer whose pool keeps logins, where a test has one.
pub(crate) const POOL: &str = "https://pool.example.com/1";

/// One running API.
pub(crate) struct TestApi {
    /// `sqlite` or `postgres`.
    pub name: &'static str,
    pub db: TestDb,
    pub state: ApiState,
    pub engine: Arc<FakeEngine>,
    pub clock: Arc<FakeClock>,
    /// A token of the first administrator.
    pub admin: String,
    router: Router,
}

/// A tenant with a client that may do everything a tenant can.
#[derive(Debug, Clone)]
pub(crate) struct TestTenant {
    pub id: TenantId,
    pub token: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the text is not JSON.
    pub body: Value,
}

impl Reply {
    /// The code of the problem it is.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The pointers of the problem it is.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array();
        errors.into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The same answer, after checking its status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// A request under construction.
pub(crate) struct Call<'a> {
    api: &'a TestApi,
    request: http::request::Builder,
    body: Body,
}

impl Call<'_> {
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Body::from(body.to_string());
        self.header("content-type", "application/json")
    }

    pub(crate) fn raw(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// The body of an answer that does not end by itself.
    pub(crate) async fn open(self) -> axum::body::BodyDataStream {
        let request = self.request.body(self.body).unwrap();
        let response = self.api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().into_data_stream()
    }

    pub(crate) async fn send(self) -> Reply {
        let request = self.request.body(self.body).unwrap();
        let response = self.api.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status: parts.status, headers: parts.headers, text, body }
    }
}

impl TestApi {
    /// One per database at hand.
    pub(crate) async fn all() -> Vec<Self> {
        Self::with_limits(RateLimits::default()).await
    }

    pub(crate) async fn with_limits(rate_limits: RateLimits) -> Vec<Self> {
        let mut apis = Vec::new();
        for db in databases().await.unwrap() {
            apis.push(Self::over(db, rate_limits, None).await);
        }
        apis
    }

    /// One per database at hand, each with a pool in which tenants' clients log in.
    pub(crate) async fn with_pools() -> Vec<(Self, Arc<FakePool>)> {
        let mut apis = Vec::new();
        for db in databases().await.unwrap() {
            let pool = Arc::new(FakePool::default());
            apis.push((Self::over(db, RateLimits::default(), Some(pool.clone())).await, pool));
        }
        apis
    }

    async fn over(db: TestDb, rate_limits: RateLimits, pool: Option<Arc<FakePool>>) -> Self {
        let clock = FakeClock::at("2026-01-15T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let engine = Arc::new(FakeEngine::default());
        let access = Access::open(db.control.clone(), clock.clone(), access_config()).await.unwrap();
        let mut tx = db.control.platform().await.unwrap();
        let (client, secret) = access.bootstrap_admin(&mut tx).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let admin = access.issue_token(&client.to_string(), &secret, None, None).await.unwrap().access_token;
        let mut tx = db.data.platform().await.unwrap();
        headgate_metering::ensure_standard(&mut tx, clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        // TLS needs a provider, as the binary installs one; a second one is not an error here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let outbound = GuardedClient::new(OutboundPolicy::development()).unwrap();
        let events = Events::new(db.control.clone(), clock.clone(), access.clone(), outbound);
        let state = ApiState::new(ApiParts {
            control: db.control.clone(),
            data: db.data.clone(),
            access,
            pool: pool.map(|pool| pool as _),
            events,
            engine: engine.clone(),
            profiles: Arc::new(Profiles::embedded().unwrap()),
            clock: clock.clone(),
            orders: Signal::default(),
            shutdown: CancellationToken::new(),
            config: ApiConfig {
                data_url: "http://127.0.0.1:7171/".parse().unwrap(),
                page_token_key: [9; 32],
                asyncapi: serde_json::json!({"asyncapi": "3.0.0"}),
                rate_limits,
            },
        });
        let (router, _) = crate::router::router(state.clone());
        Self { name: db.name, db, state, engine, clock, admin, router }
    }

    /// Serves other routes behind the same layers.
    pub(crate) fn serve(&mut self, router: Router<ApiState>) {
        self.router = crate::router::layered(router, self.state.clone());
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call { api: self, request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(Method::GET, path).token(token).send().await
    }

    /// A POST with an idempotency key of its own.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> Reply {
        let key = uuid::Uuid::now_v7().to_string();
        self.call(Method::POST, path).token(token).header("idempotency-key", &key).json(body).send().await
    }

    /// A new tenant, made over the API.
    pub(crate) async fn tenant(&self, name: &str) -> TestTenant {
        let made = self.post(&self.admin, "/v1/admin/tenants", &json!({"name": name})).await.expect(201);
        let id: TenantId = serde_json::from_value(made.body["id"].clone()).unwrap();
        let token = self.client(id, &Scopes::tenant().to_string()).await;
        TestTenant { id, token }
    }

    /// Id and secret of a new client of `tenant` with these scopes.
    async fn registered(&self, tenant: TenantId, scopes: &str) -> (String, String) {
        let scopes: Vec<_> = scopes.split_whitespace().collect();
        let path = format!("/v1/admin/tenants/{tenant}/clients");
        let made = self.post(&self.admin, &path, &json!({"name": "client", "scopes": scopes})).await.expect(201);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        (text("id"), text("client_secret"))
    }

    /// A token of a new client of `tenant`, issued when it was as late as `clock` has it.
    pub(crate) async fn token_of(&self, clock: SharedClock, tenant: TenantId) -> String {
        let (client, secret) = self.registered(tenant, &Scopes::tenant().to_string()).await;
        let access = Access::open(self.db.control.clone(), clock, access_config()).await.unwrap();
        access.issue_token(&client, &secret.into(), None, None).await.unwrap().access_token
    }

    /// A token of a new client of `tenant` with these scopes.
    pub(crate) async fn client(&self, tenant: TenantId, scopes: &str) -> String {
        let (client, secret) = self.registered(tenant, scopes).await;
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let form_type = "application/x-www-form-urlencoded";
        let reply = self.call(Method::POST, "/oauth2/token").raw(form_type, form).send().await.expect(200);
        reply.body["access_token"].as_str().unwrap().to_owned()
    }

    /// A data-in channel of `tenant` with one published element: the ids of both.
    pub(crate) async fn element(&self, tenant: &TestTenant, name: &str) -> (ChannelId, ElementId) {
        let made = self.post(&tenant.token, "/v1/data-in-channels", &data_in(name)).await.expect(202);
        let channel: ChannelId = serde_json::from_value(made.body["channel"]["id"].clone()).unwrap();
        let mut tx = self.db.control.tenant(tenant.id).await.unwrap();
        let feed = headgate_catalog::feeds::list(&mut tx, tenant.id, channel).await.unwrap().remove(0);
        elements::publish(&mut tx, tenant.id, feed.element, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        (channel, feed.element)
    }

    /// A data-out channel of `tenant` that carries `element`: the answer to its order.
    pub(crate) async fn data_out(&self, tenant: &TestTenant, element: ElementId) -> Reply {
        self.post(&tenant.token, "/v1/data-out-channels", &data_out(element)).await.expect(202)
    }
}

fn access_config() -> AccessConfig {
    let issuer = "http://127.0.0.1:7170/".parse().unwrap();
    let mut config = AccessConfig::new(issuer, "headgate", MasterKey::from_bytes([5; 32]));
    config.foreign = [ISSUER, POOL].map(foreign).to_vec();
    config
}

/// An issuer whose tokens are taken; nobody has its keys.
fn foreign(issuer: &str) -> ForeignIssuer {
    let (audience, groups_claim) = ("headgate".to_owned(), "groups".to_owned());
    ForeignIssuer {
        issuer: issuer.to_owned(),
        jwks_url: "http://127.0.0.1:9/keys".parse().unwrap(),
        networks: OutboundPolicy::development().allow,
        profile: Profile::Oidc { audience, groups_claim, scope_prefix: String::new() },
    }
}

/// A complete order of a data-in channel.
pub(crate) fn data_in(name: &str) -> Value {
    json!({
        "name": "weather in", "channel_profile": "http", "performance_profile": "Small",
        "feeds": [{
            "name": "hourly",
            "new_element": {
                "name": name, "kind": "events",
                "metadata": {
                    "context": "airports", "source": "NOAA", "format": "csv", "what": "observations",
                    "identified_by": "origin and hour",
                },
                "schema": {"fields": [{"name": "id", "type": "int64"}, {"name": "origin", "type": "string"}]},
            },
        }],
    })
}

/// A complete order of a data-out channel.
pub(crate) fn data_out(element: ElementId) -> Value {
    json!({
        "name": "weather out", "channel_profile": "api", "performance_profile": "S",
        "data": [{"element": element}],
    })
}

/// The Allow header, sorted.
pub(crate) fn allow(reply: &Reply) -> Vec<String> {
    let mut methods: Vec<_> = reply.header(header::ALLOW.as_str()).split(',').map(|m| m.trim().to_owned()).collect();
    methods.sort();
    methods
}
