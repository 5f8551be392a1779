//! A pool in which tenants' clients log in: app clients at another issuer, made and removed by the platform.
//!
//! The pool is asked outside of any transaction. An app client is written down with the client it stands for
//! after it was made; one that could not be written down is found by its name and removed by the sweep.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use headgate_types::{ClientId, Coded, ErrorKind, IdentityId};
use secrecy::SecretString;

use crate::access::Access;
use crate::error::AccessError;
use crate::identities;
use crate::scopes::Scopes;

/// Seconds after which a pool may be asked again.
const RETRY_AFTER: u64 = 5;

/// Why a pool did not do what it was asked. Told to administrators only.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It cannot be reached, or asks to be asked less often.
    #[error("the pool of app clients cannot be used now: {0}")]
    Unavailable(String),
    /// It refuses: rights, limits, settings. Asking again does not help.
    #[error("the pool of app clients refuses: {0}")]
    Refused(String),
}

impl Coded for PoolError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "pool_unavailable",
            Self::Refused(_) => "pool_refused",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Unavailable(_)).then_some(RETRY_AFTER)
    }
}

/// Whom an app client is made for. Its name in the pool carries both ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMember {
    /// The row it will have here.
    pub id: IdentityId,
    /// The client of ours.
    pub client: ClientId,
    /// What its tokens can have.
    pub scopes: Scopes,
}

/// What a client logs in with.
#[derive(Debug, Clone)]
pub struct PoolLogin {
    /// Its `client_id` at the pool's issuer.
    pub client_id: String,
    /// Its secret.
    pub secret: SecretString,
}

/// A pool of app clients.
#[async_trait]
pub trait ClientPool: fmt::Debug + Send + Sync {
    /// The `iss` of its tokens.
    fn issuer(&self) -> &str;

    /// Where its clients get tokens, if that is known.
    fn token_url(&self) -> Option<&str>;

    /// What a client asks for at the token endpoint to have these scopes.
    fn scope(&self, scopes: &Scopes) -> String;

    /// Makes an app client. When it fails none is left, as far as the pool can be asked.
    ///
    /// # Errors
    /// See [`PoolError`].
    async fn create(&self, member: &PoolMember) -> Result<PoolLogin, PoolError>;

    /// Removes an app client; one that is gone is fine.
    ///
    /// # Errors
    /// See [`PoolError`].
    async fn remove(&self, client_id: &str) -> Result<(), PoolError>;

    /// The `client_id`s of all app clients that this installation made.
    ///
    /// # Errors
    /// See [`PoolError`].
    async fn list(&self) -> Result<Vec<String>, PoolError>;
}

/// Removes app clients by which nobody logs in any more, and those that no row knows.
#[derive(Debug)]
pub struct PoolSweep {
    access: Access,
    pool: Arc<dyn ClientPool>,
    /// Unknown at the last look. One that is being made is not written down yet: only what is unknown at two
    /// looks is left over.
    unknown: HashSet<String>,
}

impl PoolSweep {
    /// A sweep of this pool; looks should lie minutes apart.
    #[must_use]
    pub fn new(access: Access, pool: Arc<dyn ClientPool>) -> Self {
        Self { access, pool, unknown: HashSet::new() }
    }

    /// Looks once; returns how many were removed.
    ///
    /// # Errors
    /// When the pool or the database fails; the next look goes on.
    pub async fn look(&mut self) -> Result<usize, AccessError> {
        // Listed first: what is written down in between is known.
        let listed = self.pool.list().await?;
        let inner = &self.access.0;
        let mut tx = inner.db.read_platform().await?;
        let rows = identities::app_clients(&mut tx, self.pool.issuer(), inner.clock.now()).await?;
        drop(tx);
        let mut removed = 0;
        for (app, _) in rows.iter().filter(|(_, good)| !good) {
            self.pool.remove(&app.client_id).await?;
            let mut tx = inner.db.platform().await?;
            tx.act_for(app.tenant).await?;
            identities::detach(&mut tx, app).await?;
            tx.commit().await?;
            removed += 1;
        }
        let known: HashSet<&str> = rows.iter().map(|(app, _)| app.client_id.as_str()).collect();
        let unknown: HashSet<String> = listed.into_iter().filter(|id| !known.contains(id.as_str())).collect();
        for left_over in unknown.intersection(&self.unknown) {
            self.pool.remove(left_over).await?;
            removed += 1;
        }
        self.unknown = unknown;
        Ok(removed)
    }
}
