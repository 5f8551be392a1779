//! Placing an order for a channel, in the transaction of whatever else the request changed.

use headgate_access::TenantCaller;
use headgate_access::audit::{self, Entry};
use headgate_catalog::channels;
use headgate_database::Tx;
use headgate_provisioning::orders::{self, NewOrder, OrderRequest};
use headgate_types::ChannelId;
use headgate_types::channel::Direction;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::get::find;
use super::view::ChannelView;
use crate::http::idempotency::{Answer, IdempotencyKey, Once, Pending};
use crate::http::problem::ApiError;
use crate::state::ApiState;
use crate::v1::orders::view::OrderView;

/// The answer to everything that is an order: the channel as it is now, and the order to follow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedView {
    /// The channel.
    pub channel: ChannelView,
    /// The order; look at it under `Location`.
    pub order: OrderView,
}

/// What is ordered.
pub(super) struct Placing {
    pub channel: ChannelId,
    pub request: OrderRequest,
    /// The quote.
    pub price: Option<Value>,
    /// The action in the audit log.
    pub action: &'static str,
}

/// Places the order, records it, commits, and wakes whoever carries it out.
pub(super) async fn place(
    state: &ApiState,
    caller: &TenantCaller,
    once: Pending,
    mut tx: Tx,
    placing: Placing,
) -> Result<Answer, ApiError> {
    let (tenant, id) = (caller.tenant, placing.channel);
    let new = NewOrder {
        tenant,
        channel: id,
        request: placing.request,
        requested_by: caller.actor(),
        request_id: Some(caller.request_id.clone()),
        price: placing.price,
        profile_revision: state.profiles.revision,
    };
    let order = OrderView::from(orders::create(&mut tx, &state.clock, new).await?);
    let channel = channels::get(&mut tx, tenant, id).await?;
    let view = AcceptedView { channel: ChannelView::full(state, &mut tx, channel).await?, order };
    let entry = Entry::by(caller, placing.action, id).detail(json!({"order": view.order.id}));
    audit::record(&mut tx, entry, &state.clock).await?;
    let answer = Answer::accepted(OrderView::location(view.order.id), &view).with_etag(&view.channel.etag());
    let answer = once.commit(tx, answer).await?;
    state.wake().await;
    Ok(answer)
}

/// Places an order that says everything by its kind: no body, no price.
pub(super) async fn place_plain(
    state: &ApiState,
    caller: &TenantCaller,
    (channel, direction): (ChannelId, Direction),
    key: IdempotencyKey,
    request: OrderRequest,
) -> Result<Answer, ApiError> {
    let once = match state.once(caller, key, &[0; 32]).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let mut tx = state.control.tenant(caller.tenant).await?;
    find(&mut tx, caller.tenant, channel, direction).await?;
    let action = match request {
        OrderRequest::Pause => "channel.pause",
        _ => "channel.resume",
    };
    place(state, caller, once, tx, Placing { channel, request, price: None, action }).await
}
