//! The rows of channels, conditions and lanes.

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, Json, Tx, args};
use headgate_types::channel::{Binding, ChannelState, Direction};
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, FieldError, TenantId};
use uuid::Uuid;

use super::{Channel, ChannelHead, ChannelSpec, Desired, NewChannel, SpecChange, is_allowed, lanes, terms};
use crate::error::CatalogError;
use crate::row::{count, document, placeholders, small, word};
use crate::{feeds, subscriptions};

const TABLE: &str = "channels";

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    direction: String,
    profile: String,
    size: String,
    profile_revision: i64,
    name: String,
    state: String,
    state_reason: Option<String>,
    spec: Json<ChannelSpec>,
    limits: Json<Limits>,
    generation: i64,
    observed_generation: i64,
    binding: Option<Json<Binding>>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    activated_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Channel {
    type Error = CatalogError;

    fn try_from(row: Row) -> Result<Self, CatalogError> {
        Ok(Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            direction: word(TABLE, &row.direction)?,
            profile: row.profile,
            size: row.size,
            profile_revision: small(row.profile_revision),
            name: row.name,
            state: word(TABLE, &row.state)?,
            state_reason: row.state_reason,
            spec: row.spec.0,
            limits: row.limits.0,
            generation: count(row.generation),
            observed_generation: count(row.observed_generation),
            binding: row.binding.map(|binding| binding.0),
            version: count(row.version),
            created_at: row.created_at,
            updated_at: row.updated_at,
            activated_at: row.activated_at,
            deleted_at: row.deleted_at,
        })
    }
}

pub(super) async fn select(tx: &mut Tx, rest: String, arguments: Arguments) -> Result<Vec<Channel>, CatalogError> {
    let sql = format!(
        "SELECT tenant_id, id, direction, profile, size, profile_revision, name, state, state_reason, spec, limits,
                generation, observed_generation, binding, version, created_at, updated_at, activated_at, deleted_at
         FROM channels {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    rows.into_iter().map(Channel::try_from).collect()
}

/// Makes a channel in PROVISIONING.
///
/// # Errors
/// `Refused` when the name or the spec is wrong; pointers are relative to `{name, spec…}` flattened,
/// as an order has them.
pub async fn insert(tx: &mut Tx, new: &NewChannel, now: DateTime<Utc>) -> Result<Channel, CatalogError> {
    let mut errors = new.spec.errors();
    errors.extend(crate::elements::label_error("/name", &new.name));
    CatalogError::unless_empty("channel", errors)?;
    tx.execute(
        "INSERT INTO channels (tenant_id, id, direction, profile, size, profile_revision, name, state, spec, limits,
                               follows, generation, observed_generation, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, 0, 1, $12, $12)",
        args![
            new.tenant,
            new.id,
            new.spec.direction().as_str(),
            new.profile.as_str(),
            new.size.size.as_str(),
            new.size.profile_revision,
            new.name.as_str(),
            ChannelState::Provisioning.as_str(),
            document(TABLE, &new.spec)?,
            document(TABLE, &new.size.limits)?,
            new.spec.follows(),
            now
        ],
    )
    .await?;
    if new.spec.follows() {
        subscriptions::note_channel(tx, new.tenant, new.id, now).await?;
    }
    get(tx, new.tenant, new.id).await
}

/// A tenant's channel, tombstones included.
///
/// # Errors
/// `NotFound` when the tenant has no such channel.
pub async fn get(tx: &mut Tx, tenant: TenantId, id: ChannelId) -> Result<Channel, CatalogError> {
    let found = select(tx, "WHERE tenant_id = $1 AND id = $2".to_owned(), args![tenant, id]).await?;
    found.into_iter().next().ok_or(CatalogError::NotFound("channel"))
}

/// A channel whoever owns it, for the platform's own work.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, id: ChannelId) -> Result<Option<Channel>, CatalogError> {
    Ok(select(tx, "WHERE id = $1".to_owned(), args![id]).await?.into_iter().next())
}

/// The channels of all tenants that are not DELETED or FAILED, for the platform's own work. The
/// engine compares versions with what it serves and reads [`desired`] where they differ; a channel
/// that is no longer listed is gone.
///
/// # Errors
/// When the database fails.
pub async fn heads(tx: &mut Tx, direction: Option<Direction>) -> Result<Vec<ChannelHead>, CatalogError> {
    let rows: Vec<(Uuid, Uuid, String, i64)> = tx
        .fetch_all(
            "SELECT tenant_id, id, state, version FROM channels
             WHERE state NOT IN ('DELETED', 'FAILED') AND direction = COALESCE($1, direction) ORDER BY id",
            args![direction.map(Direction::as_str)],
        )
        .await?;
    rows.into_iter()
        .map(|(tenant, id, state, version)| {
            Ok(ChannelHead {
                tenant: tenant.into(),
                id: id.into(),
                state: word(TABLE, &state)?,
                version: count(version),
            })
        })
        .collect()
}

/// A number that is greater after every change of what [`heads`] lists for one direction: versions
/// only grow, and no row of a channel is ever removed. Asking for it costs a fraction of the list.
///
/// # Errors
/// When the database fails.
pub async fn versions(tx: &mut Tx, direction: Direction) -> Result<u64, CatalogError> {
    let sum = "SELECT CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM channels WHERE direction = $1";
    let (versions,): (i64,) = tx.fetch_one(sum, args![direction.as_str()]).await?;
    Ok(count(versions))
}

/// All that is desired of a channel; `None` when the tenant has no such.
///
/// # Errors
/// When the database fails.
pub async fn desired(tx: &mut Tx, tenant: TenantId, id: ChannelId) -> Result<Option<Desired>, CatalogError> {
    let channel = match get(tx, tenant, id).await {
        Ok(channel) => channel,
        Err(CatalogError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let wanted = lanes::lanes(tx, tenant, id).await?;
    let feeds = feeds::list(tx, tenant, id).await?;
    let scopes = subscriptions::scopes(tx, tenant, id).await?;
    Ok(Some(Desired { channel, lanes: wanted, feeds, scopes }))
}

/// How many channels a tenant has that are not DELETED or FAILED, for its quota.
///
/// # Errors
/// When the database fails.
pub async fn count_open(tx: &mut Tx, tenant: TenantId) -> Result<u64, CatalogError> {
    let (open,): (i64,) = tx
        .fetch_one(
            "SELECT COUNT(*) FROM channels WHERE tenant_id = $1 AND state NOT IN ('DELETED', 'FAILED')",
            args![tenant],
        )
        .await?;
    Ok(count(open))
}

/// Takes a channel from one of the states `from` to `to`, by compare-and-set.
///
/// A channel that gets DELETED or FAILED loses its lanes and subscriptions: nothing may keep
/// referring to elements on its behalf.
///
/// # Errors
/// `StateConflict` when it is in another state, `NotFound` when the tenant has no such channel,
/// `NoSuchTransition` when no channel ever goes this way.
pub async fn transition(
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    from: &[ChannelState],
    to: ChannelState,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    if let Some(wrong) = from.iter().find(|from| !is_allowed(**from, to)) {
        return Err(CatalogError::NoSuchTransition { from: *wrong, to });
    }
    let mut arguments = args![
        tenant,
        id,
        to.as_str(),
        reason,
        now,
        (to == ChannelState::Active).then_some(now),
        (to == ChannelState::Deleted).then_some(now)
    ];
    let sql = format!(
        "UPDATE channels SET state = $3, state_reason = $4, updated_at = $5, version = version + 1,
                activated_at = COALESCE(activated_at, $6), deleted_at = $7
         WHERE tenant_id = $1 AND id = $2 AND state IN ({})",
        placeholders(arguments.len() + 1, from.len())
    );
    arguments.extend(from.iter().map(|state| state.as_str().into()));
    if tx.execute_built(sql, arguments).await? == 0 {
        let actual = get(tx, tenant, id).await?.state;
        return Err(CatalogError::StateConflict { actual });
    }
    if to.is_final() {
        lanes::remove(tx, tenant, id).await?;
        subscriptions::remove(tx, tenant, id).await?;
    }
    Ok(())
}

/// Gives a channel a new spec: the generation counts one up. The state is the caller's business.
///
/// # Errors
/// `Refused` when the name or the spec is wrong, `Stale` when `expected_version` is given and is not
/// the channel's, `NotFound` when the tenant has no such channel.
pub async fn apply_spec(
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    change: &SpecChange,
    expected_version: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Channel, CatalogError> {
    let old = get(tx, tenant, id).await?;
    if expected_version.is_some_and(|expected| expected != old.version) {
        return Err(CatalogError::Stale("channel"));
    }
    let name = change.name.as_ref().unwrap_or(&old.name);
    let spec = change.spec.as_ref().unwrap_or(&old.spec);
    let mut errors = spec.errors();
    errors.extend(crate::elements::label_error("/name", name));
    if spec.direction() != old.direction {
        let detail = format!("this is a data-{} channel and stays one", old.direction);
        errors.push(FieldError::new("/direction", "immutable", detail));
    }
    CatalogError::unless_empty("channel", errors)?;
    let (size, revision, limits) =
        change.size.as_ref().map_or((&old.size, old.profile_revision, &old.limits), |size| {
            (&size.size, size.profile_revision, &size.limits)
        });
    let changed = tx
        .execute(
            "UPDATE channels SET name = $4, spec = $5, size = $6, profile_revision = $7, limits = $8, follows = $9,
                    updated_at = $10, generation = generation + 1, version = version + 1
             WHERE tenant_id = $1 AND id = $2 AND version = $3",
            args![
                tenant,
                id,
                old.version,
                name.as_str(),
                document(TABLE, spec)?,
                size.as_str(),
                revision,
                document(TABLE, limits)?,
                spec.follows(),
                now
            ],
        )
        .await?;
    if changed == 0 {
        return Err(CatalogError::Stale("channel"));
    }
    terms::note_change(tx, &old, size, spec, now).await?;
    if spec.follows() {
        subscriptions::note_channel(tx, tenant, id, now).await?;
    }
    get(tx, tenant, id).await
}

/// Says where the channel's resource is; `None` once it is released.
///
/// # Errors
/// `NotFound` when the tenant has no such channel.
pub async fn set_binding(
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    binding: Option<&Binding>,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    let binding = binding.map(|binding| document(TABLE, binding)).transpose()?;
    let changed = tx
        .execute(
            "UPDATE channels SET binding = $3, updated_at = $4, version = version + 1 WHERE tenant_id = $1 AND id = $2",
            args![tenant, id, binding, now],
        )
        .await?;
    found(changed)
}

/// Says which generation the engine serves.
///
/// # Errors
/// `NotFound` when the tenant has no such channel.
pub async fn set_observed(tx: &mut Tx, tenant: TenantId, id: ChannelId, generation: u64) -> Result<(), CatalogError> {
    let changed = tx
        .execute(
            "UPDATE channels SET observed_generation = $3 WHERE tenant_id = $1 AND id = $2",
            args![tenant, id, generation],
        )
        .await?;
    found(changed)
}

/// Counts a change of what belongs to the channel, so that the engine looks again.
///
/// # Errors
/// `NotFound` when the tenant has no such channel.
pub async fn touch(tx: &mut Tx, tenant: TenantId, id: ChannelId, now: DateTime<Utc>) -> Result<(), CatalogError> {
    let changed = tx
        .execute(
            "UPDATE channels SET version = version + 1, updated_at = $3 WHERE tenant_id = $1 AND id = $2",
            args![tenant, id, now],
        )
        .await?;
    found(changed)
}

/// Holds the row until the end of the transaction. SQLite has one writer at a time anyway.
pub(crate) async fn lock(tx: &mut Tx, tenant: TenantId, id: ChannelId) -> Result<(), CatalogError> {
    tx.execute("UPDATE channels SET follows = follows WHERE tenant_id = $1 AND id = $2", args![tenant, id]).await?;
    Ok(())
}

/// Says whether the channel's selection may come down to something else later.
pub(crate) async fn set_follows(
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    follows: bool,
) -> Result<(), CatalogError> {
    tx.execute("UPDATE channels SET follows = $3 WHERE tenant_id = $1 AND id = $2", args![tenant, id, follows]).await?;
    Ok(())
}

const fn found(changed: u64) -> Result<(), CatalogError> {
    if changed == 0 { Err(CatalogError::NotFound("channel")) } else { Ok(()) }
}
