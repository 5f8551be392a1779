//! The events of orders and channels, each in the transaction of the change it tells of.

use headgate_catalog::channels::Channel;
use headgate_database::Tx;
use headgate_events::{EventData, NewEvent, emit};
use headgate_types::channel::{ChannelState, Direction};
use headgate_types::{ChannelId, ElementId, OrderId, SharedClock};
use serde::Serialize;
use utoipa::ToSchema;

use crate::endpoint::ChannelEndpoint;
use crate::error::OrderError;
use crate::orders::{IssuedCredential, Order, OrderFailure, OrderKind, OrderState};
use crate::worker::turn::Turn;

/// What every event about a channel carries.
#[derive(Debug, Serialize, ToSchema)]
struct AboutChannel {
    /// The channel.
    channel: ChannelId,
    /// Its name.
    name: String,
    /// Which way data moves.
    direction: Direction,
    /// How data moves.
    channel_profile: String,
    /// Its size.
    performance_profile: String,
    /// Where it is now.
    state: ChannelState,
    /// The order that brought it there; absent when the platform did.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderId>,
}

impl AboutChannel {
    fn of(channel: &Channel, state: ChannelState, order: Option<&Order>) -> Self {
        Self {
            channel: channel.id,
            name: channel.name.clone(),
            direction: channel.direction,
            channel_profile: channel.profile.clone(),
            performance_profile: channel.size.clone(),
            state,
            order: order.map(|order| order.id),
        }
    }

    fn at(turn: &Turn, state: ChannelState) -> Self {
        Self::of(&turn.channel, state, Some(&turn.order))
    }
}

headgate_events::payloads! {
    /// A channel can be used.
    ChannelReady {
        #[serde(flatten)]
        about: AboutChannel,
        /// Where it is reached.
        endpoint: Option<ChannelEndpoint>,
        /// Its credentials; a claim reveals each of them once.
        credentials: Vec<IssuedCredential>,
        /// Where snippets for clients are, below the control API.
        snippets_url: String,
    }
    /// A channel could not be made.
    ChannelFailed {
        #[serde(flatten)]
        about: AboutChannel,
        /// Why.
        error: Option<OrderFailure>,
    }
    /// A channel was changed, paused, resumed or released.
    ChannelUpdated {
        #[serde(flatten)]
        about: AboutChannel,
        /// The generation of its spec.
        generation: u64,
    }
    /// The platform stopped a channel.
    ChannelSuspended {
        #[serde(flatten)]
        about: AboutChannel,
        /// Why.
        reason: String,
    }
    /// A channel is gone.
    ChannelDeleted {
        #[serde(flatten)]
        about: AboutChannel,
    }
    /// A channel has new credentials beside the old ones.
    CredentialRotated {
        #[serde(flatten)]
        about: AboutChannel,
        /// The new ones; a claim reveals each of them once.
        credentials: Vec<IssuedCredential>,
        /// How long the old ones stay good, in seconds.
        grace_seconds: u64,
    }
    /// An order ended well.
    OrderSucceeded {
        /// The order.
        order: OrderId,
        /// The channel it was for.
        channel: ChannelId,
        /// What was ordered.
        kind: OrderKind,
        /// Where it ended.
        state: OrderState,
    }
    /// An order failed.
    OrderFailed {
        /// The order.
        order: OrderId,
        /// The channel it was for.
        channel: ChannelId,
        /// What was ordered.
        kind: OrderKind,
        /// Where it ended.
        state: OrderState,
        /// Why.
        error: Option<OrderFailure>,
    }
    /// An element can be found and ordered.
    ElementPublished {
        /// The element.
        element: ElementId,
        /// The data-in channel that brings its records.
        channel: ChannelId,
    }
}

async fn send<D: EventData>(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    subject: impl ToString,
    data: &D,
) -> Result<(), OrderError> {
    emit(tx, clock, NewEvent::new(channel.tenant, subject, data)).await?;
    Ok(())
}

/// The order is over. A cancelled order is no news to whoever cancelled it.
pub(crate) async fn order_ended(tx: &mut Tx, clock: &SharedClock, order: &Order) -> Result<(), OrderError> {
    let (tenant, channel, kind, state) = (order.tenant, order.channel, order.kind(), order.state);
    let event = match state {
        OrderState::Succeeded => {
            NewEvent::new(tenant, order.id, &OrderSucceeded { order: order.id, channel, kind, state })
        }
        OrderState::Failed => {
            let error = order.error.clone();
            NewEvent::new(tenant, order.id, &OrderFailed { order: order.id, channel, kind, state, error })
        }
        _ => return Ok(()),
    };
    emit(tx, clock, event).await?;
    Ok(())
}

/// The channel can be used: where it is and how its keys are fetched.
pub(crate) async fn channel_ready(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let channel = &turn.channel;
    let data = ChannelReady {
        about: AboutChannel::at(turn, ChannelState::Active),
        endpoint: turn.order.result.endpoint.clone(),
        credentials: turn.order.result.credentials.clone(),
        snippets_url: format!("/v1/data-{}-channels/{}/snippets", channel.direction, channel.id),
    };
    send(tx, clock, channel, channel.id, &data).await
}

/// The channel was changed, paused or resumed.
pub(crate) async fn channel_updated(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let channel = &turn.channel;
    let data = ChannelUpdated { about: AboutChannel::at(turn, channel.state), generation: channel.generation };
    send(tx, clock, channel, channel.id, &data).await
}

/// The channel could not be made.
pub(crate) async fn channel_failed(tx: &mut Tx, clock: &SharedClock, turn: &Turn) -> Result<(), OrderError> {
    let data = ChannelFailed { about: AboutChannel::at(turn, ChannelState::Failed), error: turn.order.error.clone() };
    send(tx, clock, &turn.channel, turn.channel.id, &data).await
}

/// The channel is gone.
pub(crate) async fn channel_deleted(
    tx: &mut Tx,
    clock: &SharedClock,
    order: &Order,
    channel: &Channel,
) -> Result<(), OrderError> {
    let data = ChannelDeleted { about: AboutChannel::of(channel, ChannelState::Deleted, Some(order)) };
    send(tx, clock, channel, channel.id, &data).await
}

/// The platform stopped the channel.
pub(crate) async fn channel_suspended(
    tx: &mut Tx,
    clock: &SharedClock,
    channel: &Channel,
    reason: &str,
) -> Result<(), OrderError> {
    let about = AboutChannel::of(channel, ChannelState::Suspended, None);
    send(tx, clock, channel, channel.id, &ChannelSuspended { about, reason: reason.to_owned() }).await
}

/// The platform lets the channel go on.
pub(crate) async fn channel_released(tx: &mut Tx, clock: &SharedClock, channel: &Channel) -> Result<(), OrderError> {
    let about = AboutChannel::of(channel, ChannelState::Active, None);
    send(tx, clock, channel, channel.id, &ChannelUpdated { about, generation: channel.generation }).await
}

/// New credentials were issued beside the old ones.
pub(crate) async fn credentials_rotated(
    tx: &mut Tx,
    clock: &SharedClock,
    turn: &Turn,
    grace_seconds: u64,
) -> Result<(), OrderError> {
    let channel = &turn.channel;
    let credentials = turn.order.result.credentials.clone();
    let data = CredentialRotated { about: AboutChannel::at(turn, channel.state), credentials, grace_seconds };
    send(tx, clock, channel, channel.id, &data).await
}

/// An element born with the channel can be found and ordered.
pub(crate) async fn element_published(
    tx: &mut Tx,
    clock: &SharedClock,
    turn: &Turn,
    element: ElementId,
) -> Result<(), OrderError> {
    send(tx, clock, &turn.channel, element, &ElementPublished { element, channel: turn.channel.id }).await
}
