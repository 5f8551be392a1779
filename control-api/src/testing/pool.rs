//! A pool of app clients in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use headgate_access::{ClientPool, PoolError, PoolLogin, PoolMember, Scopes};
use parking_lot::Mutex;

use super::POOL;

/// What it does next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Works,
    DoesNotAnswer,
    Refuses,
}

#[derive(Debug, Default)]
pub(crate) struct FakePool {
    /// By `client_id`, with the scopes asked for.
    pub clients: Mutex<BTreeMap<String, Scopes>>,
    pub mood: Mutex<Mood>,
    /// The `client_id` of the next app client, in place of one of its own.
    pub next: Mutex<Option<String>>,
}

impl FakePool {
    fn check(&self) -> Result<(), PoolError> {
        match *self.mood.lock() {
            Mood::Works => Ok(()),
            Mood::DoesNotAnswer => Err(PoolError::Unavailable("it does not answer".to_owned())),
            Mood::Refuses => Err(PoolError::Refused("it refuses".to_owned())),
        }
    }
}

#[async_trait]
impl ClientPool for FakePool {
    fn issuer(&self) -> &str {
        POOL
    }

    fn token_url(&self) -> Option<&str> {
        Some("https://pool.example.com/oauth2/token")
    }

    fn scope(&self, scopes: &Scopes) -> String {
        scopes.iter().map(|scope| format!("headgate/{scope}")).collect::<Vec<_>>().join(" ")
    }

    async fn create(&self, member: &PoolMember) -> Result<PoolLogin, PoolError> {
        self.check()?;
        let client_id = self.next.lock().take().unwrap_or_else(|| format!("app-{}", member.id));
        self.clients.lock().insert(client_id.clone(), member.scopes.clone());
        let secret = format!("secret-of-{client_id}").into();
        Ok(PoolLogin { client_id, secret })
    }

    async fn remove(&self, client_id: &str) -> Result<(), PoolError> {
        self.check()?;
        self.clients.lock().remove(client_id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>, PoolError> {
        self.check()?;
        Ok(self.clients.lock().keys().cloned().collect())
    }
}
