//! What makes a channel's resource real.
//!
//! A driver is told the desired state and answers at once with what it found: `ensure` and
//! `release` are idempotent, never wait for a cloud, and can be repeated after a crash at any
//! point. There is no separate undo: undoing is `release`.

mod choice;
pub mod cloudformation;
pub mod conformance;
pub mod embedded;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use headgate_types::channel::{Binding, Direction};
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, OrderId, TenantId};
use indexmap::IndexMap;
use secrecy::SecretString;
use serde_json::Value;

pub use self::choice::Drivers;
use crate::failpoint::Killed;
use crate::orders::Progress;

/// The resource a channel shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSpec {
    /// The owner; for tags and cost allocation.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// The order on whose behalf this is done; for tags and as request token.
    pub order: OrderId,
    /// Failed attempts of the order's step so far: what is asked again after a failure is another
    /// request, what is asked again after a crash is the same one.
    pub attempt: u32,
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
    /// A principal of the client's own cloud account that takes up a role for the channel, in place
    /// of keys. Only for drivers that take one ([`Driver::admits_clients`]).
    pub client_principal: Option<String>,
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
        /// How far it is, where that can be counted.
        progress: Option<Progress>,
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
        /// How far it is, where that can be counted.
        progress: Option<Progress>,
    },
}

/// Who lets clients in to a channel's resource.
#[derive(Debug)]
pub enum Admission {
    /// The data listener, by keys of the platform's own.
    Listener,
    /// The resource itself, by this new key.
    Key(AccessKey),
    /// The resource itself, by a role that the client takes up: there is no secret.
    Role,
}

/// A key of a cloud, made for one channel.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Its public name.
    pub id: String,
    /// Shown once by the cloud, and once to the owner.
    pub secret: SecretString,
}

/// What is there now.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "it is looked at and dropped, never kept in numbers")]
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
    /// The driver's name in the `resources` table: `embedded`, `cloudformation`.
    fn name(&self) -> &'static str;

    /// Whether the resource itself lets clients in, by keys or roles of a cloud, and not the data
    /// listener.
    fn admits_clients(&self) -> bool {
        false
    }

    /// Makes the resource, or changes it to what is desired.
    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, DriverError>;

    /// Removes the resource with everything in it. A channel that has none is `Gone`.
    async fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<Released, DriverError>;

    /// What is there for a channel.
    async fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError>;

    /// Every channel of which something is there, whole or in part; the sweep compares it with the
    /// catalog.
    async fn list(&self) -> Result<Vec<ChannelId>, DriverError>;

    /// Lets the client in: makes a key beside those in `keep` and ends every other. After a crash,
    /// or an answer that was lost, the key that nobody knows of is among the others.
    async fn admit(&self, tenant: TenantId, channel: ChannelId, keep: &[String]) -> Result<Admission, DriverError> {
        let _ = (tenant, channel, keep);
        Ok(Admission::Listener)
    }

    /// Ends every key that is not in `keep`.
    async fn end_keys(&self, tenant: TenantId, channel: ChannelId, keep: &[String]) -> Result<(), DriverError> {
        let _ = (tenant, channel, keep);
        Ok(())
    }

    /// Nobody of the client's gets in any more, by key or by role; for good.
    async fn expel(&self, tenant: TenantId, channel: ChannelId) -> Result<(), DriverError> {
        let _ = (tenant, channel);
        Ok(())
    }
}
