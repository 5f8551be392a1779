//! Stopping a tenant, letting it go on, and ending it.

use axum::extract::State;
use headgate_access::AdminCaller;
use headgate_access::tenants::{self, Tenant};
use headgate_catalog::channels::{self, ChannelFilter};
use headgate_catalog::elements;
use headgate_database::Tx;
use headgate_events::endpoints;
use headgate_provisioning::orders::{self, NewOrder, OrderRequest};
use headgate_provisioning::{OrderError, release_channels, suspend_channels};
use headgate_types::TenantId;
use serde_json::json;

use crate::http::audit::by_admin;
use crate::http::caller::Admin;
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Suspend a tenant: its tokens and channel keys are refused until it is resumed; nothing is removed.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/suspend", operation_id = "suspend_tenant", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 200, description = "The tenant", body = Tenant)))]
pub(crate) async fn suspend(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<TenantId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    run(&state, &admin, id, key, Move::Suspend).await
}

/// Resume a suspended tenant.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/resume", operation_id = "resume_tenant", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 200, description = "The tenant", body = Tenant)))]
pub(crate) async fn resume(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<TenantId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    run(&state, &admin, id, key, Move::Resume).await
}

/// Offboard a tenant for good: its clients are revoked and every channel is deleted by an order.
/// Its usage and audit rows stay.
#[utoipa::path(post, path = "/v1/admin/tenants/{tenant}/offboard", operation_id = "offboard_tenant", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(("tenant" = TenantId, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    responses((status = 200, description = "The tenant", body = Tenant)))]
pub(crate) async fn offboard(
    State(state): State<ApiState>,
    admin: Admin,
    Path(id): Path<TenantId>,
    key: IdempotencyKey,
) -> Result<Answer, ApiError> {
    run(&state, &admin, id, key, Move::Offboard).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Suspend,
    Resume,
    Offboard,
}

async fn run(
    state: &ApiState,
    admin: &AdminCaller,
    id: TenantId,
    key: IdempotencyKey,
    to: Move,
) -> Result<Answer, ApiError> {
    let once = match state.once_admin(admin, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.platform().await?;
    let clock = &state.clock;
    let (tenant, action, detail) = match to {
        Move::Suspend => {
            let tenant = tenants::suspend(&mut tx, id, clock).await?;
            let stopped = suspend_channels(&mut tx, clock, id).await?;
            (tenant, "tenant.suspend", json!({"channels": stopped}))
        }
        Move::Resume => {
            let tenant = tenants::resume(&mut tx, id, clock).await?;
            let released = release_channels(&mut tx, clock, id).await?;
            (tenant, "tenant.resume", json!({"channels": released}))
        }
        Move::Offboard => {
            let tenant = tenants::offboard(&mut tx, id, clock).await?;
            let orders = delete_channels(state, &mut tx, admin, id).await?;
            let elements = elements::retire_all(&mut tx, id, clock.now()).await?;
            let endpoints = endpoints::delete_all(&mut tx, id).await?;
            let detail = json!({"delete_orders": orders, "elements": elements, "endpoints": endpoints});
            (tenant, "tenant.offboard", detail)
        }
    };
    by_admin(state, &mut tx, admin, id, action, id, detail).await?;
    let answer = once.commit(tx, Answer::ok(&tenant)).await?;
    state.access.forget();
    state.follow_catalog().await;
    Ok(answer)
}

/// Orders the deletion of every channel the tenant has; those being deleted already are left alone.
async fn delete_channels(
    state: &ApiState,
    tx: &mut Tx,
    admin: &AdminCaller,
    tenant: TenantId,
) -> Result<usize, ApiError> {
    const STEP: u32 = 500;
    let (mut placed, mut before) = (0, None);
    loop {
        let wanted = ChannelFilter { tenant: Some(tenant), before, limit: STEP, ..ChannelFilter::default() };
        let found = channels::list(tx, &wanted).await?;
        before = found.last().map(|channel| channel.id);
        for channel in found.iter().filter(|channel| !channel.state.is_final()) {
            let new = NewOrder {
                tenant,
                channel: channel.id,
                request: OrderRequest::Delete,
                requested_by: admin.actor(),
                request_id: Some(admin.request_id.clone()),
                price: None,
                profile_revision: channel.profile_revision,
            };
            match orders::create(tx, &state.clock, new).await {
                Ok(_) => placed += 1,
                Err(OrderError::Busy { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if before.is_none() {
            return Ok(placed);
        }
    }
}
