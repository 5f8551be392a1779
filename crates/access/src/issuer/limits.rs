//! Failed logins are counted, and too many of them close the door for a while.

use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Tx;
use headgate_types::ClientId;

use super::store;
use crate::error::AccessError;

/// How long failures are counted together, and how long the door stays closed at most.
const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// What is counted. A client is counted per address first: whoever knows a client's id could
/// otherwise lock it out from anywhere with a few requests.
pub(super) struct Counters(Vec<(String, i64)>);

impl Counters {
    pub(super) fn of(client: Option<ClientId>, remote: Option<IpAddr>) -> Self {
        let remote = remote.map(|address| network(address).to_string());
        let mut counters = Vec::new();
        if let Some(remote) = &remote {
            counters.push((format!("remote:{remote}"), 50));
        }
        if let Some(client) = client {
            counters.push((format!("client:{client}:{}", remote.as_deref().unwrap_or("-")), 10));
            counters.push((format!("client:{client}"), 200));
        }
        Self(counters)
    }

    /// Refuses while a counter is full, whatever the secret: a guess must not learn anything.
    pub(super) async fn check(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AccessError> {
        for (subject, limit) in &self.0 {
            if let Some((failures, end)) = store::failures(tx, subject, now).await?
                && failures >= *limit
            {
                let retry_after = (end - now).num_seconds().max(0).unsigned_abs() + 1;
                return Err(AccessError::TooManyLogins { retry_after });
            }
        }
        Ok(())
    }

    pub(super) async fn count(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AccessError> {
        store::remove_closed_windows(tx, now).await?;
        for (subject, _) in &self.0 {
            store::count_failure(tx, subject, now, now + WINDOW).await?;
        }
        Ok(())
    }

    /// A good login clears what this client failed from this address.
    pub(super) async fn forgive(&self, tx: &mut Tx) -> Result<(), AccessError> {
        for (subject, _) in self.0.iter().filter(|(subject, _)| subject.starts_with("client:")) {
            store::forgive(tx, subject).await?;
        }
        Ok(())
    }

    /// Whether anything has failed lately, so that a good login need not write otherwise.
    pub(super) async fn any(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<bool, AccessError> {
        for (subject, _) in self.0.iter().filter(|(subject, _)| subject.starts_with("client:")) {
            if store::failures(tx, subject, now).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What an address stands for where requests are counted: one machine can have a /64 of IPv6 addresses for itself.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}
