//! The events of orders and channels, each in the transaction of the change it tells of.

use headgate_catalog::channels::Channel;
use headgate_database::Tx;
use headgate_events::{EventType, NewEvent, emit};
use headgate_types::channel::ChannelState;
use headgate_types::{ElementId, SharedClock};
use serde_json::{Value, json};

use crate::error::OrderError;
use crate::orders::{Order, OrderState};
use crate::worker::turn::Turn;

async fn send(
    tx: &mut Tx,
    clock: &SharedClock,
    order: &Order,
    event_type: EventType,
    subject: String,
    data: Value,
) -> Result<(), OrderError> {
    emit(tx, clock, NewEvent::new(order.tenant, event_type, subject, data)).await?;
    Ok(())
}

/// What every event about a channel carries.
fn about(channel: &Channel, state: ChannelState) -> Value {
    json!({
        "channel": channel.id,
        "name": channel.name,
        "direction": channel.direction,
        "channel_profile": channel.profile,
        "performance_profile": channel.size,
        "state": state,
    })
}

/// What every event carries about a channel that an order changed.
fn channel_data(order: &Order, channel: &Channel, state: ChannelState) -> Value {
    let mut data = about(channel, state);
    data["order"] = json!(order.id);
    data
}

/// The order is over. A cancelled order is no news to whoever cancelled it.
pub(crate) async fn order_ended(tx: &mut Tx, clock: &SharedClock, order: &Order) -> Result<(), OrderError> {
    let event_type = match order.state {
        OrderState::Succeeded => EventType::OrderSucceeded,
        OrderState::Failed => EventType::OrderFailed,
        _ => return Ok(()),
    };
    let data = json!({
        "order": order.id,
        "channel": order.channel,
        "kind": order.kind(),
        "state": order.state,
        "error": order.error,
    });
    send(tx, clock, order, event_type, order.id.to_string(), data).await
}

/// The channel can be used: where it is and how its keys are fetched.
pub(crate) async fn channel_ready(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let mut data = channel_data(&turn.order, &turn.channel, ChannelState::Active);
    data["endpoint"] = json!(turn.order.result.endpoint);
    data["credentials"] = json!(turn.order.result.credentials);
    data["snippets_url"] = json!(format!("/v1/data-{}-channels/{}/snippets", turn.channel.direction, turn.channel.id));
    send(tx, clock, &turn.order, EventType::ChannelReady, turn.channel.id.to_string(), data).await
}

/// The channel was changed, paused or resumed.
pub(crate) async fn channel_updated(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let mut data = channel_data(&turn.order, &turn.channel, turn.channel.state);
    data["generation"] = json!(turn.channel.generation);
    send(tx, clock, &turn.order, EventType::ChannelUpdated, turn.channel.id.to_string(), data).await
}

/// The channel could not be made.
pub(crate) async fn channel_failed(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let mut data = channel_data(&turn.order, &turn.channel, ChannelState::Failed);
    data["error"] = json!(turn.order.error);
    send(tx, clock, &turn.order, EventType::ChannelFailed, turn.channel.id.to_string(), data).await
}

/// The channel is gone.
pub(crate) async fn channel_deleted(
    tx: &mut Tx,
    clock: &SharedClock,
    order: &Order,
    channel: &Channel,
) -> Result<(), OrderError> {
    let data = channel_data(order, channel, ChannelState::Deleted);
    send(tx, clock, order, EventType::ChannelDeleted, channel.id.to_string(), data).await
}

/// The platform stopped the channel.
pub(crate) async fn channel_suspended(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    reason: &str,
) -> Result<(), OrderError> {
    let mut data = about(channel, ChannelState::Suspended);
    data["reason"] = json!(reason);
    let (tenant, subject) = (channel.tenant, channel.id.to_string());
    emit(tx, clock, NewEvent::new(tenant, EventType::ChannelSuspended, subject, data)).await?;
    Ok(())
}

/// The platform lets the channel go on.
pub(crate) async fn channel_released(tx: &mut Tx, clock: &SharedClock, channel: &Channel) -> Result<(), OrderError> {
    let mut data = about(channel, ChannelState::Active);
    data["generation"] = json!(channel.generation);
    let (tenant, subject) = (channel.tenant, channel.id.to_string());
    emit(tx, clock, NewEvent::new(tenant, EventType::ChannelUpdated, subject, data)).await?;
    Ok(())
}

/// New credentials were issued beside the old ones.
pub(crate) async fn credentials_rotated(
    tx: &mut Tx,
    clock: &SharedClock,
    turn: &Turn,
    grace_seconds: u64,
) -> Result<(), OrderError> {
    let mut data = channel_data(&turn.order, &turn.channel, turn.channel.state);
    data["credentials"] = json!(turn.order.result.credentials);
    data["grace_seconds"] = json!(grace_seconds);
    send(tx, clock, &turn.order, EventType::CredentialRotated, turn.channel.id.to_string(), data).await
}

/// An element born with the channel can be found and ordered.
pub(crate) async fn element_published(
    tx: &mut Tx,
    clock: &SharedClock,
    turn: &Turn,
    element: ElementId,
) -> Result<(), OrderError> {
    let data = json!({ "element": element, "channel": turn.channel.id });
    send(tx, clock, &turn.order, EventType::ElementPublished, element.to_string(), data).await
}
