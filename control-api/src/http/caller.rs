//! Who calls: a type on the way into every handler. The extractor is the permission check.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headgate_access::{AdminCaller, Principal, Scope, TenantCaller};
use headgate_types::ErrorKind;
use http::request::Parts;
use http::{StatusCode, header};

use super::audit::Denied;
use super::finish::RequestIdText;
use super::problem::{ApiError, code};
use super::rate::{Bucket, Quota};
use crate::state::ApiState;

/// A scope that an endpoint needs.
pub(crate) trait Needs: Send + Sync {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name;

            impl Needs for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )*
    };
}

needs! { CatalogRead OrdersWrite ChannelsRead ChannelsWrite CredentialsReveal UsageRead EventsRead }

/// A client of a tenant that has the scope `S`.
#[derive(Debug, Clone)]
pub(crate) struct Caller<S>(pub TenantCaller, PhantomData<S>);

impl<S> Deref for Caller<S> {
    type Target = TenantCaller;

    fn deref(&self) -> &TenantCaller {
        &self.0
    }
}

impl<S: Needs> FromRequestParts<ApiState> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, ApiError> {
        let principal = identity(parts)?;
        principal.require(S::SCOPE)?;
        let caller = principal.tenant_caller(request_id(parts))?;
        Ok(Self(caller, PhantomData))
    }
}

/// A client of the platform itself.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub AdminCaller);

impl Deref for Admin {
    type Target = AdminCaller;

    fn deref(&self) -> &AdminCaller {
        &self.0
    }
}

impl FromRequestParts<ApiState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(identity(parts)?.admin_caller(request_id(parts))?))
    }
}

/// What the middleware found out about the request's token.
#[derive(Debug, Clone)]
struct Identity(Result<Principal, ApiError>);

fn identity(parts: &Parts) -> Result<Principal, ApiError> {
    match parts.extensions.get::<Identity>() {
        Some(Identity(result)) => result.clone(),
        None => Err(ApiError::new(
            ErrorKind::Unauthenticated,
            "token_required",
            "send Authorization: Bearer with a token from /oauth2/token",
        )),
    }
}

fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestIdText>().map(|id| id.0.clone()).unwrap_or_default()
}

/// Verifies the token, takes the request out of the rate limits, and writes denials to the audit log.
pub(crate) async fn authenticate(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let probe = matches!(request.uri().path(), "/livez" | "/readyz");
    if probe {
        return next.run(request).await;
    }
    let identity = match bearer(&request) {
        None => None,
        Some(token) => Some(state.access.verify(token).await.map_err(ApiError::from)),
    };
    let address = remote(&request);
    let buckets = match buckets(&state, address, identity.as_ref()).await {
        Ok(buckets) => buckets,
        Err(error) => return error.into_response(),
    };
    let limits = match state.limiter.take(&buckets, state.clock.now()) {
        Ok(headers) => headers,
        Err(error) => return error.into_response(),
    };
    let caller = identity.as_ref().and_then(|identity| identity.as_ref().ok()).cloned();
    let what = format!("{} {}", request.method(), request.uri().path());
    let request_id = request.extensions().get::<RequestIdText>().map(|id| id.0.clone()).unwrap_or_default();
    if let Some(identity) = identity {
        request.extensions_mut().insert(Identity(identity));
    }
    let mut response = next.run(request).await;
    response.headers_mut().extend(limits);
    let status = response.status();
    // What we could not do is not charged; what was refused by the limits did not come here.
    if let Some(Principal { tenant: Some(tenant), client, .. }) = &caller
        && !status.is_server_error()
        && status != StatusCode::TOO_MANY_REQUESTS
    {
        state.requests.count(*tenant, *client);
    }
    if status == StatusCode::FORBIDDEN
        && let Some(principal) = caller
    {
        let code = code(&response);
        super::audit::denied(&state, &principal, Denied { what, request_id, code }).await;
    }
    response
}

/// Whose limits a request is taken out of.
async fn buckets(
    state: &ApiState,
    address: std::net::IpAddr,
    identity: Option<&Result<Principal, ApiError>>,
) -> Result<Vec<(Bucket, Option<Quota>)>, ApiError> {
    let Some(Ok(principal)) = identity else {
        // Without a valid token the address is all there is to go by.
        return Ok(vec![(Bucket::remote(address), None)]);
    };
    let client = (Bucket::Client(principal.client.uuid()), None);
    let Some(tenant) = principal.tenant else { return Ok(vec![client]) };
    let own = state.tenant_limits.of(state, tenant).await?;
    Ok(vec![(Bucket::Tenant(tenant.uuid()), own), client])
}

fn bearer(request: &Request) -> Option<&str> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn remote(request: &Request) -> std::net::IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}
