//! Grants, given by the platform in an owner's name.

use axum::extract::State;
use headgate_catalog::elements;
use headgate_catalog::grants::{self, Grant, NewGrant};
use headgate_types::{ElementId, GrantId, TenantId};
use http::StatusCode;
use serde_json::json;

use crate::http::audit::by_admin;
use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;
use crate::v1::elements::check::policy;
use crate::v1::elements::grants::GrantBody;

/// Grant an element in its owner's name. Granting it again replaces the policy.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/elements/{element}/grants", operation_id = "admin_create_grant",
    tag = "admin", security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The owner"),
        ("element" = ElementId, Path, description = "The element"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = GrantBody,
    responses((status = 201, description = "The grant", body = Grant)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    admin: Admin,
    Path((owner, element)): Path<(TenantId, ElementId)>,
    key: IdempotencyKey,
    body: Body<GrantBody>,
) -> Result<Answer, ApiError> {
    let grantee = body.value.grantee()?;
    let once = match state.once_admin(&admin, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.read_platform().await?;
    elements::get(&mut tx, owner, element).await?;
    drop(tx);
    policy(&state, element, &body.value.policy).await?;
    let mut tx = state.control.platform().await?;
    tx.act_for(owner).await?;
    let new = NewGrant { owner, element, grantee, policy: body.value.policy };
    let grant = grants::grant(&mut tx, &new, state.clock.now()).await?;
    let detail = json!({"element": element, "grantee": grantee});
    by_admin(&state, &mut tx, &admin, owner, "grant.create", grant.id, detail).await?;
    let location = format!("/v1/admin/tenants/{owner}/grants/{}", grant.id);
    let answer = once.commit(tx, Answer::created(location, &grant)).await?;
    state.follow_catalog().await;
    Ok(answer)
}

/// Take a grant back in its owner's name.
#[utoipa::path(delete, path = "/v1/admin/tenants/{tenant}/grants/{grant}", operation_id = "admin_delete_grant",
    tag = "admin", security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The owner"),
        ("grant" = GrantId, Path, description = "The grant")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    admin: Admin,
    Path((owner, id)): Path<(TenantId, GrantId)>,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.control.platform().await?;
    tx.act_for(owner).await?;
    let grant = grants::revoke(&mut tx, owner, id, state.clock.now()).await?;
    by_admin(&state, &mut tx, &admin, owner, "grant.delete", id, json!({"element": grant.element})).await?;
    tx.commit().await?;
    state.follow_catalog().await;
    Ok(StatusCode::NO_CONTENT)
}
