//! Technologies as data: what the control plane and the console know of a channel profile.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::Direction;

/// Describes one channel profile. The engine's registry is its source; nobody else names
/// technologies in code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TechnologyDescriptor {
    /// The key in orders, for example `webhook`.
    pub key: String,
    /// Other names accepted in orders, for example `jdbc` for `sql`.
    pub aliases: Vec<String>,
    /// One line for a catalog of choices.
    pub title: String,
    /// What it does, for a person choosing.
    pub description: String,
    /// The directions it offers.
    pub directions: Vec<Direction>,
    /// JSON Schema of the `options` of an output model.
    pub settings: serde_json::Value,
    /// Whether a key of its own is issued to the owner when the channel is made.
    pub issues_key: bool,
    /// Whether a secret is issued to the owner that signs what the channel sends.
    pub issues_signing_secret: bool,
}
