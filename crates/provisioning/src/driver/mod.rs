//! What makes a channel's resource real.
//!
//! A driver is told the desired state and answers at once with what it found: `ensure` and
//! `release` are idempotent, never wait for a cloud, and can be repeated after a crash at any
//! point. There is no separate undo: undoing is `release`.

pub mod conformance;
pub mod embedded;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use headgate_types::channel::{Binding, Direction};
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, OrderId, TenantId};
use indexmap::IndexMap;
use serde_json::Value;

use crate::failpoint::Killed;

/// The resource a channel shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSpec {
    /// The owner; for tags and cost allocation.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// The order on whose behalf this is done; for tags and as request token.
    pub order: OrderId,
    /// Which way data moves.
    pub direction: Direction,
    /// Key of the channel profile.
    pub profile: String,
    /// Key of the performance profile.
    pub size: String,
    /// Revision of the profiles that the size was ordered at.
    pub revision: u32,
    /// What the size allows.
    pub limits: Limits,
    /// Parameters of the template.
    pub parameters: IndexMap<String, Value>,
}

/// How far a resource is.
#[derive(Debug, Clone, PartialEq)]
pub enum Ensured {
    /// It is as desired.
    Ready(Binding),
    /// It is being made or changed; look again.
    Pending {
        /// When to look again.
        after: Duration,
        /// What is going on, for the order's step.
        message: String,
    },
}

/// How far a removal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Nothing is left.
    Gone,
    /// It is being removed; look again.
    Pending {
        /// When to look again.
        after: Duration,
        /// What is going on, for the order's step.
        message: String,
    },
}

/// What is there now.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// Nothing at all.
    Absent,
    /// Part of a resource: an `ensure` or a `release` did not come to its end.
    Partial,
    /// A whole resource.
    Present(Binding),
}

/// Why a driver could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// It may work later; the worker repeats it.
    #[error("{message}")]
    Retry {
        /// What failed, for the order's step; names no secret.
        message: String,
        /// The earliest useful repetition, if the other side says so.
        after: Option<Duration>,
    },
    /// Repeating it is pointless.
    #[error("{message}")]
    Permanent {
        /// Stable code, `snake_case`.
        code: &'static str,
        /// What failed, for the order's error.
        message: String,
    },
    /// A test ended the worker inside the driver.
    #[error(transparent)]
    Killed(#[from] Killed),
}

impl DriverError {
    /// A failure that may pass.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry { message: message.into(), after: None }
    }
}

/// Makes, removes and looks at the resources of channels.
#[async_trait]
pub trait Driver: Debug + Send + Sync {
    /// The driver's name in the `resources` table: `embedded`, `servers`, `cloudformation`.
    fn name(&self) -> &'static str;

    /// Makes the resource, or changes it to what is desired.
    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, DriverError>;

    /// Removes the resource with everything in it. A channel that has none is `Gone`.
    async fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<Released, DriverError>;

    /// What is there for a channel.
    async fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError>;

    /// Every channel of which something is there, whole or in part; the sweep compares it with the
    /// catalog.
    async fn list(&self) -> Result<Vec<ChannelId>, DriverError>;
}
