//! The first administrator.

use headgate_database::Tx;
use headgate_types::ClientId;
use secrecy::SecretString;

use crate::access::Access;
use crate::audit::{self, Entry};
use crate::clients::{self, NewClient};
use crate::error::AccessError;
use crate::scopes::Scopes;
use crate::tenants::{self, PLATFORM};

/// Whether nothing was ever sealed in this database, so that a new master key may be made.
///
/// # Errors
/// When the database fails.
pub async fn is_fresh(tx: &mut Tx) -> Result<bool, AccessError> {
    let (keys,): (i64,) = tx.fetch_one("SELECT count(*) FROM signing_keys", Vec::new()).await?;
    Ok(keys == 0)
}

impl Access {
    /// Creates the first administrator when there never was one; none otherwise. Whoever calls it
    /// commits, then shows the secret: it exists nowhere else.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bootstrap_admin(&self, tx: &mut Tx) -> Result<Option<(ClientId, SecretString)>, AccessError> {
        tx.act_for(PLATFORM).await?;
        // Two processes may come up at once on an empty database.
        tenants::lock(tx, PLATFORM).await?;
        // Revoked ones count: once there was an administrator, the next is made by one.
        if !clients::list(tx, None).await?.is_empty() {
            return Ok(None);
        }
        let new = NewClient { tenant: None, name: "first administrator".to_owned(), scopes: Scopes::admin() };
        let (client, secret) = clients::create(tx, new, &self.0.clock).await?;
        audit::record(tx, Entry::by_platform(PLATFORM, "client.create", client.id), &self.0.clock).await?;
        Ok(Some((client.id, secret)))
    }
}
