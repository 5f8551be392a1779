//! The audit log: append-only, and chained per tenant by hashes, so that a row that was changed,
//! removed or put in between is found. Platform rows stand under [`crate::PLATFORM`].

mod store;

use chrono::{DateTime, SecondsFormat, Utc};
use headgate_database::Tx;
use headgate_types::{AuditId, SharedClock, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::caller::{AdminCaller, TenantCaller};
use crate::error::AccessError;
use crate::tenants::{self, PLATFORM};

/// How an audited action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was tried and failed.
    Failed,
}

impl Outcome {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "allowed" => Self::Allowed,
            "denied" => Self::Denied,
            _ => Self::Failed,
        }
    }
}

/// Something to be recorded. No field may hold a secret.
#[derive(Debug, Clone)]
pub struct Entry {
    /// In whose chain.
    pub tenant: TenantId,
    /// Who: a client id, or `platform` for its own work.
    pub actor: String,
    /// What, `noun.verb`, for example `channel.create`.
    pub action: &'static str,
    /// On what: an id, or empty.
    pub resource: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// What else matters.
    pub detail: Value,
}

impl Entry {
    /// An action done by a tenant's caller.
    #[must_use]
    pub fn by(caller: &TenantCaller, action: &'static str, resource: impl ToString) -> Self {
        Self::new(caller.tenant, caller.actor(), action, resource, Some(caller.request_id.clone()))
    }

    /// An action done by an administrator, in the platform's chain.
    #[must_use]
    pub fn by_admin(caller: &AdminCaller, action: &'static str, resource: impl ToString) -> Self {
        Self::new(PLATFORM, caller.actor(), action, resource, Some(caller.request_id.clone()))
    }

    /// An action of the platform itself.
    #[must_use]
    pub fn by_platform(tenant: TenantId, action: &'static str, resource: impl ToString) -> Self {
        Self::new(tenant, "platform".to_owned(), action, resource, None)
    }

    fn new(
        tenant: TenantId,
        actor: String,
        action: &'static str,
        resource: impl ToString,
        request_id: Option<String>,
    ) -> Self {
        let (resource, outcome, detail) = (resource.to_string(), Outcome::Allowed, Value::Null);
        Self { tenant, actor, action, resource, outcome, request_id, detail }
    }

    /// The same entry in another chain.
    #[must_use]
    pub const fn under(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// The same entry with another outcome.
    #[must_use]
    pub const fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same entry with more to say.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A recorded row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Its id.
    pub id: AuditId,
    /// Its place in the tenant's chain, from 1.
    pub sequence: i64,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub resource: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What else matters.
    pub detail: Value,
    /// SHA-256 over this row and the hash of the row before it, in hexadecimal.
    pub hash: String,
}

/// What checking a chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// Rows whose hashes fit.
    pub intact: i64,
    /// The sequence of the first row that is changed, missing or surplus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<i64>,
}

/// Appends to the chain of `entry.tenant`, in the transaction of what is recorded. The transaction
/// acts for that tenant. Other appends of the tenant wait for its end, so call it late.
///
/// # Errors
/// When the database fails.
pub async fn record(tx: &mut Tx, entry: Entry, clock: &SharedClock) -> Result<AuditId, AccessError> {
    tenants::lock(tx, entry.tenant).await?;
    let (sequence, previous) = store::head(tx, entry.tenant).await?;
    let mut row = store::Stored {
        sequence: sequence + 1,
        id: AuditId::new().uuid(),
        at: clock.now(),
        actor: entry.actor,
        action: entry.action.to_owned(),
        resource: entry.resource,
        outcome: entry.outcome.as_str().to_owned(),
        request_id: entry.request_id,
        detail: entry.detail.to_string(),
        previous_hash: previous,
        hash: Vec::new(),
    };
    row.hash = hash(entry.tenant, &row).to_vec();
    store::append(tx, entry.tenant, &row).await?;
    Ok(row.id.into())
}

/// Rows of a chain, newest first, before the sequence `before`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRow>, AccessError> {
    let rows = store::before(tx, tenant, before.unwrap_or(i64::MAX), limit).await?;
    Ok(rows.into_iter().map(AuditRow::from).collect())
}

/// Checks a whole chain. Rows cut off the end are found by the head, unless that was changed too:
/// whoever has to prove more keeps the last hash elsewhere.
///
/// # Errors
/// When the database fails.
pub async fn verify(tx: &mut Tx, tenant: TenantId) -> Result<AuditReport, AccessError> {
    const STEP: u32 = 1_000;
    let (head, head_hash) = store::head(tx, tenant).await?;
    let (mut intact, mut previous) = (0, GENESIS.to_vec());
    loop {
        let rows = store::after(tx, tenant, intact, STEP).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let fits = row.sequence == intact + 1 && row.previous_hash == previous && row.hash == hash(tenant, &row);
            if !fits {
                return Ok(AuditReport { intact, broken_at: Some(intact + 1) });
            }
            intact = row.sequence;
            previous = row.hash;
        }
    }
    let complete = intact == head && previous == head_hash;
    Ok(AuditReport { intact, broken_at: (!complete).then_some(intact.min(head) + 1) })
}

/// The tenants that have a chain, in a transaction of the platform.
///
/// # Errors
/// When the database fails.
pub async fn tenants(tx: &mut Tx) -> Result<Vec<TenantId>, AccessError> {
    Ok(store::tenants(tx).await?)
}

/// What the first row of a chain follows.
const GENESIS: [u8; 32] = [0; 32];

/// Every field with its length before it, so that no two rows have the same bytes.
fn hash(tenant: TenantId, row: &store::Stored) -> [u8; 32] {
    let at = row.at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let sequence = row.sequence.to_be_bytes();
    let request_id = row.request_id.as_deref().map(|id| format!("={id}")).unwrap_or_default();
    let tenant = tenant.uuid();
    let fields: [&[u8]; 11] = [
        tenant.as_bytes(),
        &sequence,
        row.id.as_bytes(),
        at.as_bytes(),
        row.actor.as_bytes(),
        row.action.as_bytes(),
        row.resource.as_bytes(),
        row.outcome.as_bytes(),
        request_id.as_bytes(),
        row.detail.as_bytes(),
        &row.previous_hash,
    ];
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

impl From<store::Stored> for AuditRow {
    fn from(row: store::Stored) -> Self {
        Self {
            id: row.id.into(),
            sequence: row.sequence,
            created_at: row.at,
            actor: row.actor,
            action: row.action,
            resource: row.resource,
            outcome: Outcome::from_word(&row.outcome),
            request_id: row.request_id,
            detail: serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
            hash: hex::encode(row.hash),
        }
    }
}
