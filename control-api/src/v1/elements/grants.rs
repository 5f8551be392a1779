//! Who may see an element: the grants its owner gives.

use axum::Json;
use axum::extract::State;
use headgate_access::audit::{self, Entry};
use headgate_catalog::elements;
use headgate_catalog::grants::{self, Grant, Grantee, NewGrant};
use headgate_types::page::Page;
use headgate_types::selection::Policy;
use headgate_types::{ElementId, ErrorKind, GrantId, TenantId};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::check::policy;
use crate::http::body::Body;
use crate::http::caller::{Caller, CatalogRead, ChannelsWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Path, Query};
use crate::state::ApiState;

/// Whom to grant an element to, and what of it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    /// One tenant; absent with `public`.
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// Every tenant, future ones included.
    #[serde(default)]
    pub public: bool,
    /// What of it may be seen; everything when absent.
    #[serde(default)]
    pub policy: Policy,
}

impl GrantBody {
    /// The grantee.
    ///
    /// # Errors
    /// Unless exactly one of `tenant` and `public` is given.
    pub(crate) fn grantee(&self) -> Result<Grantee, ApiError> {
        match (self.tenant, self.public) {
            (Some(tenant), false) => Ok(Grantee::Tenant(tenant)),
            (None, true) => Ok(Grantee::Public),
            _ => {
                let detail = "a grant has exactly one of tenant and public";
                Err(ApiError::refused(vec![headgate_types::FieldError::new("", "exactly_one", detail)]))
            }
        }
    }
}

/// List the grants of an element of yours.
#[utoipa::path(get, path = "/v1/elements/{element}/grants", operation_id = "list_element_grants", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    params(PageQuery, ("element" = ElementId, Path, description = "The element")),
    responses((status = 200, description = "A page of grants, newest first", body = Page<Grant>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Path(element): Path<ElementId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Grant>>, ApiError> {
    let listing = query.listing(&state.pages, caller.tenant, "grants", element.to_string());
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    elements::get(&mut tx, caller.tenant, element).await?;
    let rows = grants::list(&mut tx, caller.tenant, Some(element), listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |grant| grant.id, |grant| grant)))
}

/// Grant an element of yours to one tenant or to everybody. Granting it again replaces the policy.
#[utoipa::path(post, path = "/v1/elements/{element}/grants", operation_id = "create_element_grant", tag = "catalog",
    security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("element" = ElementId, Path, description = "The element"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = GrantBody,
    responses((status = 201, description = "The grant", body = Grant)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(element): Path<ElementId>,
    key: IdempotencyKey,
    body: Body<GrantBody>,
) -> Result<Answer, ApiError> {
    let grantee = body.value.grantee()?;
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    elements::get(&mut tx, caller.tenant, element).await?;
    drop(tx);
    policy(&state, element, &body.value.policy).await?;
    let mut tx = state.control.tenant(caller.tenant).await?;
    let new = NewGrant { owner: caller.tenant, element, grantee, policy: body.value.policy };
    let grant = grants::grant(&mut tx, &new, state.clock.now()).await?;
    let entry = Entry::by(&caller, "grant.create", grant.id).detail(json!({"element": element, "grantee": grantee}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let location = format!("/v1/elements/{element}/grants/{}", grant.id);
    let answer = once.commit(tx, Answer::created(location, &grant)).await?;
    state.follow_catalog().await;
    Ok(answer)
}

/// Take a grant back. Channels that carry the element by it lose it.
#[utoipa::path(delete, path = "/v1/elements/{element}/grants/{grant}", operation_id = "delete_element_grant",
    tag = "catalog", security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("element" = ElementId, Path, description = "The element"),
        ("grant" = GrantId, Path, description = "The grant")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path((element, id)): Path<(ElementId, GrantId)>,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.control.tenant(caller.tenant).await?;
    if grants::get(&mut tx, caller.tenant, id).await?.element != element {
        return Err(ApiError::new(ErrorKind::NotFound, "not_found", "there is no such grant"));
    }
    grants::revoke(&mut tx, caller.tenant, id, state.clock.now()).await?;
    let entry = Entry::by(&caller, "grant.delete", id).detail(json!({"element": element}));
    audit::record(&mut tx, entry, &state.clock).await?;
    tx.commit().await?;
    state.follow_catalog().await;
    Ok(StatusCode::NO_CONTENT)
}
