//! What needs keys or memory: tokens, channel keys, sealed secrets.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Db;
use headgate_types::{ChannelId, ClientId, CredentialId, SharedClock};
use parking_lot::Mutex;
use url::Url;
use zeroize::Zeroizing;

use crate::audit;
use crate::clients::LoginRow;
use crate::credentials::{KeyRow, SigningSecret};
use crate::envelope::{Envelope, MasterKey};
use crate::error::AccessError;
use crate::foreign::{ForeignIssuer, ForeignIssuers};
use crate::issuer::SigningKeys;

/// How long a row that decides about access is trusted without looking again. The longest time
/// another process takes to notice a revocation.
const CACHE_SECONDS: i64 = 5;
const CACHE_ROWS: usize = 10_000;

/// How tokens and credentials are made.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// The `iss` of tokens, exactly as clients see it.
    pub issuer_url: Url,
    /// The `aud` of tokens.
    pub audience: String,
    /// Seals every secret at rest.
    pub master_key: MasterKey,
    /// How long a token is good.
    pub token_lifetime: TimeDelta,
    /// How long a rotated channel credential is still good.
    pub channel_key_grace: TimeDelta,
    /// How long a claim can be redeemed.
    pub claim_lifetime: TimeDelta,
    /// Issuers whose tokens are taken beside the built-in one's.
    pub foreign: Vec<ForeignIssuer>,
}

impl AccessConfig {
    /// The usual times: tokens for an hour, a day of grace, claims for a week. No other issuer.
    #[must_use]
    pub fn new(issuer_url: Url, audience: impl Into<String>, master_key: MasterKey) -> Self {
        Self {
            issuer_url,
            audience: audience.into(),
            master_key,
            token_lifetime: TimeDelta::hours(1),
            channel_key_grace: TimeDelta::days(1),
            claim_lifetime: TimeDelta::days(7),
            foreign: Vec::new(),
        }
    }
}

/// The keeper of keys. Cheap to clone.
#[derive(Clone)]
pub struct Access(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) clock: SharedClock,
    pub(crate) config: AccessConfig,
    pub(crate) envelope: Envelope,
    pub(crate) keys: SigningKeys,
    pub(crate) clients: Recent<ClientId, Option<LoginRow>>,
    pub(crate) channel_keys: Recent<CredentialId, Option<KeyRow>>,
    pub(crate) signing_secrets: Recent<ChannelId, Arc<[SigningSecret]>>,
    pub(crate) foreign: ForeignIssuers,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("issuer", &self.0.config.issuer_url.as_str())
            .field("kek_id", &self.0.envelope.kek_id())
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Loads the signing keys, or makes the first.
    ///
    /// # Errors
    /// When the database fails, its keys were sealed under another master key, or another issuer cannot be
    /// used as configured.
    pub async fn open(db: Db, clock: SharedClock, config: AccessConfig) -> Result<Self, AccessError> {
        let envelope = Envelope::new(&config.master_key);
        let keys = SigningKeys::open(&db, &clock, &envelope).await?;
        let foreign = ForeignIssuers::open(&config.foreign, &config.issuer_url)?;
        Ok(Self(Arc::new(Inner {
            db,
            clock,
            config,
            envelope,
            keys,
            clients: Recent::default(),
            channel_keys: Recent::default(),
            signing_secrets: Recent::default(),
            foreign,
        })))
    }

    /// Seals and opens secrets of other crates.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// A key for one purpose of another crate, derived from the master key.
    #[must_use]
    pub fn derive_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.0.config.master_key.derive(purpose)
    }

    /// The `iss` of tokens.
    #[must_use]
    pub fn issuer_url(&self) -> &Url {
        &self.0.config.issuer_url
    }

    /// Forgets what was read about clients, identities, tenants and credentials of channels. Call it after committing a
    /// change of them, so that this process sees the change at once.
    pub fn forget(&self) {
        self.0.clients.clear();
        self.0.channel_keys.clear();
        self.0.signing_secrets.clear();
        self.0.foreign.forget();
    }

    /// Records a denial or a failure in a transaction of its own, because that of the request is
    /// rolled back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, entry: audit::Entry) -> Result<(), AccessError> {
        let tenant = entry.tenant;
        let mut tx = self.0.db.platform().await?;
        tx.act_for(tenant).await?;
        audit::record(&mut tx, entry, &self.0.clock).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Rows read a moment ago.
pub(crate) struct Recent<K, V>(Mutex<Rows<K, V>>);

struct Rows<K, V> {
    /// Counts the clearings.
    generation: u64,
    by_key: HashMap<K, (DateTime<Utc>, V)>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Rows { generation: 0, by_key: HashMap::new() }))
    }
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// The row, or a ticket for putting it here once it has been read.
    pub(crate) fn get(&self, key: &K, now: DateTime<Utc>) -> Result<V, u64> {
        let rows = self.0.lock();
        // The absolute difference: a clock that was set back must not keep a row for long.
        let fresh = |read_at: DateTime<Utc>| (now - read_at).abs() < TimeDelta::seconds(CACHE_SECONDS);
        match rows.by_key.get(key) {
            Some((read_at, value)) if fresh(*read_at) => Ok(value.clone()),
            _ => Err(rows.generation),
        }
    }

    /// Keeps a row, unless everything was forgotten since the ticket was given: the row may have
    /// been read before the change that made us forget.
    pub(crate) fn put(&self, key: K, value: V, now: DateTime<Utc>, ticket: u64) {
        let mut rows = self.0.lock();
        if rows.generation != ticket {
            return;
        }
        // Ids come from outside, so the number of rows has to be bounded.
        if rows.by_key.len() >= CACHE_ROWS {
            rows.by_key.clear();
        }
        rows.by_key.insert(key, (now, value));
    }

    pub(crate) fn clear(&self) {
        let mut rows = self.0.lock();
        rows.generation += 1;
        rows.by_key.clear();
    }
}
