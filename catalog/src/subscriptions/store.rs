//! The rows of subscriptions and of noted changes.

use chrono::{DateTime, Utc};
use headgate_database::{Argument, Arguments, DbError, Json, Tx, args};
use headgate_types::model::OutputModel;
use headgate_types::selection::{Policy, Scope};
use headgate_types::{ChannelId, ElementId, SubscriptionId, TenantId};
use uuid::Uuid;

use super::Subscription;
use crate::error::CatalogError;
use crate::row::{document, placeholders, small};

const TABLE: &str = "subscriptions";

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    channel_id: Uuid,
    element_id: Uuid,
    name: String,
    row_filter: Option<String>,
    columns: Json<Vec<String>>,
    policy: Json<Policy>,
    model: Json<OutputModel>,
    model_version: i64,
    created_at: DateTime<Utc>,
}

impl From<Row> for Subscription {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            channel: row.channel_id.into(),
            scope: Scope {
                element: row.element_id.into(),
                name: row.name,
                filter: row.row_filter,
                columns: row.columns.0,
                policy: row.policy.0,
                model: row.model.0,
                model_version: small(row.model_version),
            },
            created_at: row.created_at,
        }
    }
}

async fn select(tx: &mut Tx, rest: &str, arguments: Arguments) -> Result<Vec<Subscription>, CatalogError> {
    let sql = format!(
        "SELECT tenant_id, id, channel_id, element_id, name, row_filter, columns, policy, model, model_version, created_at
         FROM subscriptions {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Subscription::from).collect())
}

/// The subscriptions of a channel, in the order of its selection.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Subscription>, CatalogError> {
    select(tx, "WHERE tenant_id = $1 AND channel_id = $2 ORDER BY position", args![tenant, channel]).await
}

/// The subscriptions of all tenants to an element, for the platform's own work.
///
/// # Errors
/// When the database fails.
pub async fn for_element(tx: &mut Tx, element: ElementId) -> Result<Vec<Subscription>, CatalogError> {
    select(tx, "WHERE element_id = $1 ORDER BY id", args![element]).await
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    position: usize,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    let inserted = tx
        .execute(
            "INSERT INTO subscriptions (tenant_id, id, channel_id, element_id, position, name, row_filter, columns,
                                        policy, model, model_version, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            args![
                tenant,
                SubscriptionId::new(),
                channel,
                scope.element,
                position,
                scope.name.as_str(),
                scope.filter.as_deref(),
                document(TABLE, &scope.columns)?,
                document(TABLE, &scope.policy)?,
                document(TABLE, &scope.model)?,
                scope.model_version,
                now
            ],
        )
        .await;
    match inserted {
        Err(DbError::Reference) => Err(CatalogError::NotFound("channel")),
        other => Ok(other.map(drop)?),
    }
}

pub(super) async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    id: SubscriptionId,
    position: usize,
    scope: &Scope,
) -> Result<(), CatalogError> {
    tx.execute(
        "UPDATE subscriptions SET position = $3, row_filter = $4, columns = $5, policy = $6, model = $7,
                model_version = $8
         WHERE tenant_id = $1 AND id = $2",
        args![
            tenant,
            id,
            position,
            scope.filter.as_deref(),
            document(TABLE, &scope.columns)?,
            document(TABLE, &scope.policy)?,
            document(TABLE, &scope.model)?,
            scope.model_version
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: SubscriptionId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM subscriptions WHERE tenant_id = $1 AND id = $2", args![tenant, id]).await?;
    Ok(())
}

pub(crate) async fn remove(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM subscriptions WHERE tenant_id = $1 AND channel_id = $2", args![tenant, channel]).await?;
    Ok(())
}

/// A noted reason to resolve selections again.
pub(super) struct Change {
    pub(super) owner: TenantId,
    pub(super) id: Uuid,
    pub(super) element: Option<ElementId>,
    pub(super) channel: Option<ChannelId>,
}

/// Notes that an element's visibility or place changed, in the transaction that changes it: its owner
/// may not touch the channels of others, so the platform follows up.
pub(crate) async fn note_change(
    tx: &mut Tx,
    owner: TenantId,
    element: ElementId,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "INSERT INTO selection_changes (tenant_id, id, element_id, created_at) VALUES ($1, $2, $3, $4)",
        args![owner, Uuid::now_v7(), element, now],
    )
    .await?;
    Ok(())
}

/// Notes that a channel got a selection that follows the catalog, in the transaction that gives it
/// one: an element published meanwhile saw neither the channel nor its selection.
pub(crate) async fn note_channel(
    tx: &mut Tx,
    tenant: TenantId,
    channel: ChannelId,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "INSERT INTO selection_changes (tenant_id, id, channel_id, created_at) VALUES ($1, $2, $3, $4)",
        args![tenant, Uuid::now_v7(), channel, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn changes(tx: &mut Tx, limit: u32) -> Result<Vec<Change>, CatalogError> {
    let rows: Vec<(Uuid, Uuid, Option<Uuid>, Option<Uuid>)> = tx
        .fetch_all(
            "SELECT tenant_id, id, element_id, channel_id FROM selection_changes ORDER BY id LIMIT $1",
            args![limit],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(owner, id, element, channel)| Change {
            owner: owner.into(),
            id,
            element: element.map(Into::into),
            channel: channel.map(Into::into),
        })
        .collect())
}

pub(super) async fn forget_change(tx: &mut Tx, change: &Change) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM selection_changes WHERE tenant_id = $1 AND id = $2", args![change.owner, change.id])
        .await?;
    Ok(())
}

/// The channels whose selection may come down to something else after these changes.
pub(super) async fn affected(tx: &mut Tx, changes: &[Change]) -> Result<Vec<(TenantId, ChannelId)>, CatalogError> {
    let elements: Vec<_> = changes.iter().filter_map(|change| change.element).collect();
    let channels: Vec<_> = changes.iter().filter_map(|change| change.channel).collect();
    let mut reasons = Vec::new();
    if !elements.is_empty() {
        reasons.push(format!(
            "c.follows = TRUE OR EXISTS (SELECT 1 FROM subscriptions s
               WHERE s.tenant_id = c.tenant_id AND s.channel_id = c.id AND s.element_id IN ({}))",
            placeholders(1, elements.len())
        ));
    }
    if !channels.is_empty() {
        reasons.push(format!("c.id IN ({})", placeholders(elements.len() + 1, channels.len())));
    }
    let sql = format!(
        "SELECT c.tenant_id, c.id FROM channels c
         WHERE c.direction = 'out' AND c.state NOT IN ('DELETING', 'DELETED', 'FAILED') AND ({})
         ORDER BY c.id",
        reasons.join(" OR ")
    );
    let elements = elements.into_iter().map(Argument::from);
    let arguments = elements.chain(channels.into_iter().map(Argument::from)).collect();
    let rows: Vec<(Uuid, Uuid)> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(|(tenant, channel)| (tenant.into(), channel.into())).collect())
}
