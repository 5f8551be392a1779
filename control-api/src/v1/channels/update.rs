//! Changing a channel: name, size, timing, quota.

use axum::extract::State;
use headgate_access::TenantCaller;
use headgate_catalog::channels::{Channel, ChannelSpec};
use headgate_catalog::{feeds, subscriptions};
use headgate_metering::{Quote, QuoteRequest};
use headgate_provisioning::orders::{ChannelChange, OrderRequest};
use headgate_types::channel::Direction;
use headgate_types::timing::{Quota, Timing};
use headgate_types::{ChannelId, ErrorKind, FieldError};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{UpdateDataIn, UpdateDataOut};
use super::get::find;
use super::place::{AcceptedView, Placing, place};
use super::quote::{quote, quoted};
use super::technology::size;
use crate::http::body::Body;
use crate::http::caller::{Caller, OrdersWrite};
use crate::http::etag::{ETag, IfMatch};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// What a change would cost. Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValidatedChange {
    /// Always true here.
    pub valid: bool,
    /// The price from the change on.
    #[schema(value_type = Quote)]
    pub price: Value,
}

/// Change the name, size or timing of a data-in channel. It serves on its old spec until the new
/// one is made.
#[utoipa::path(patch, path = "/v1/data-in-channels/{channel}", operation_id = "update_data_in_channel",
    tag = "channels", security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    request_body = UpdateDataIn,
    responses(
        (status = 202, description = "The order is placed", body = AcceptedView,
            headers(("Location" = String, description = "The order"))),
        (status = 200, description = "With `validate_only`: the price", body = ValidatedChange)))]
pub(crate) async fn data_in(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    Path(id): Path<ChannelId>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: Body<UpdateDataIn>,
) -> Result<Answer, ApiError> {
    let UpdateDataIn { name, performance_profile, timing, validate_only } = body.value;
    let wanted = Wanted { name, performance_profile, timing, quota: None, validate_only };
    run(&state, &caller, (id, Direction::In), &if_match, key, &body.fingerprint, wanted).await
}

/// Change the name, size, timing or quota of a data-out channel. It serves on its old spec until
/// the new one is made.
#[utoipa::path(patch, path = "/v1/data-out-channels/{channel}", operation_id = "update_data_out_channel",
    tag = "channels", security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "The channel"),
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`")),
    request_body = UpdateDataOut,
    responses(
        (status = 202, description = "The order is placed", body = AcceptedView,
            headers(("Location" = String, description = "The order"))),
        (status = 200, description = "With `validate_only`: the price", body = ValidatedChange)))]
pub(crate) async fn data_out(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    Path(id): Path<ChannelId>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: Body<UpdateDataOut>,
) -> Result<Answer, ApiError> {
    let UpdateDataOut { name, performance_profile, timing, quota, validate_only } = body.value;
    let wanted = Wanted { name, performance_profile, timing, quota, validate_only };
    run(&state, &caller, (id, Direction::Out), &if_match, key, &body.fingerprint, wanted).await
}

/// What is to be changed; absent members stay.
#[derive(Debug)]
struct Wanted {
    name: Option<String>,
    performance_profile: Option<String>,
    timing: Option<Timing>,
    quota: Option<Option<Quota>>,
    validate_only: bool,
}

async fn run(
    state: &ApiState,
    caller: &TenantCaller,
    (id, direction): (ChannelId, Direction),
    if_match: &IfMatch,
    key: IdempotencyKey,
    fingerprint: &[u8; 32],
    wanted: Wanted,
) -> Result<Answer, ApiError> {
    if wanted.validate_only {
        let mut tx = state.control.read_tenant(caller.tenant).await?;
        let channel = find(&mut tx, caller.tenant, id, direction).await?;
        drop(tx);
        if_match.check(&ETag::version(channel.version))?;
        let change = change(state, &channel, &wanted)?;
        let price = price(state, &channel, &change).await?;
        return Ok(Answer::new(StatusCode::OK, &ValidatedChange { valid: true, price }));
    }
    let once = match state.once(caller, key, fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let seen = find(&mut tx, caller.tenant, id, direction).await?;
    drop(tx);
    let change = change(state, &seen, &wanted)?;
    let price = price(state, &seen, &change).await?;
    let mut tx = state.control.tenant(caller.tenant).await?;
    let channel = find(&mut tx, caller.tenant, id, direction).await?;
    if_match.check(&ETag::version(channel.version))?;
    if channel.version != seen.version {
        // Only `If-Match: *` gets here: what was checked and priced is not what is there now.
        let detail = "the channel was changed at the same moment; send the change again";
        return Err(ApiError::new(ErrorKind::Conflict, "concurrent_change", detail));
    }
    let placing =
        Placing { channel: id, request: OrderRequest::Change(change), price: Some(price), action: "channel.update" };
    place(state, caller, once, tx, placing).await
}

/// The change as the order has it.
fn change(state: &ApiState, channel: &Channel, wanted: &Wanted) -> Result<ChannelChange, ApiError> {
    let mut spec = channel.spec.clone();
    match &mut spec {
        ChannelSpec::In(spec) => {
            if let Some(timing) = &wanted.timing {
                spec.timing = timing.clone();
            }
        }
        ChannelSpec::Out(spec) => {
            if let Some(timing) = &wanted.timing {
                spec.timing = timing.clone();
            }
            if let Some(quota) = &wanted.quota {
                spec.quota.clone_from(quota);
            }
        }
    }
    let mut errors = spec.errors();
    if let Some(name) = &wanted.name {
        errors.extend(headgate_catalog::elements::label_error("/name", name));
    }
    if !errors.is_empty() {
        return Err(ApiError::refused(errors));
    }
    let size = match &wanted.performance_profile {
        None => None,
        Some(name) => Some(size(&state.profiles, channel.direction, &channel.profile, name)?),
    };
    let change = ChannelChange {
        name: wanted.name.clone().filter(|name| *name != channel.name),
        size: size.filter(|size| size.size != channel.size || size.limits != channel.limits),
        spec: (spec != channel.spec).then_some(spec),
    };
    if change == ChannelChange::default() {
        let detail = "the channel is like that already";
        return Err(ApiError::refused(vec![FieldError::new("", "no_change", detail)]));
    }
    Ok(change)
}

async fn price(state: &ApiState, channel: &Channel, change: &ChannelChange) -> Result<Value, ApiError> {
    let spec = change.spec.as_ref().unwrap_or(&channel.spec);
    let mut tx = state.control.read_tenant(channel.tenant).await?;
    let carried: Vec<_> = match channel.direction {
        Direction::In => {
            let feeds = feeds::list(&mut tx, channel.tenant, channel.id).await?;
            feeds.into_iter().map(|feed| feed.element).collect()
        }
        Direction::Out => {
            let scopes = subscriptions::scopes(&mut tx, channel.tenant, channel.id).await?;
            scopes.into_iter().map(|scope| scope.element).collect()
        }
    };
    let mut elements = Vec::with_capacity(carried.len());
    for element in carried {
        elements.push(quoted(&mut tx, channel.tenant, element, (0, 0)).await?);
    }
    drop(tx);
    let request = QuoteRequest {
        direction: channel.direction,
        channel_profile: channel.profile.clone(),
        performance_profile: change.size.as_ref().map_or(&channel.size, |size| &size.size).clone(),
        timing: spec.timing().mode().to_owned(),
        elements,
    };
    quote(state, &request).await
}
