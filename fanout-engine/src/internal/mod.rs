//! `/internal/v1`: the engine's internal API over HTTP. Never public: a listener of its own, one
//! bearer token shared by the roles of one deployment.
//!
//! Every operation of [`headgate_types::engine::Engine`] is one `POST` with a JSON body, and every
//! failure a problem document, so that [`Remote`] answers exactly as the engine in-process does.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::Remote;
pub use server::{addresses, router};

/// The path of each operation, in one place for both ends.
mod path {
    pub const TECHNOLOGIES: &str = "/internal/v1/technologies";
    pub const CHECK_SCOPE: &str = "/internal/v1/check-scope";
    pub const CHECK_INPUT: &str = "/internal/v1/check-input";
    pub const INFER_SCHEMA: &str = "/internal/v1/infer-schema";
    pub const CHANNEL_STATISTICS: &str = "/internal/v1/channel-statistics";
    pub const ELEMENT_STATISTICS: &str = "/internal/v1/element-statistics";
    pub const LIST_DEAD_LETTERS: &str = "/internal/v1/list-dead-letters";
    pub const DEAD_LETTER: &str = "/internal/v1/dead-letter";
    pub const WAKE: &str = "/internal/v1/wake";
    pub const FOLLOW: &str = "/internal/v1/follow";
}

/// Bodies of the operations that take ids only.
mod body {
    use headgate_types::{ChannelId, DeadLetterId, ElementId, TenantId};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub struct OfChannel {
        pub channel: ChannelId,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub struct OfElement {
        pub element: ElementId,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub struct OfDeadLetter {
        pub tenant: TenantId,
        pub id: DeadLetterId,
    }
}
