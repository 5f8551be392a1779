//! The rows of feeds.

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, DbError, Json, Tx, args};
use headgate_types::model::InputModel;
use headgate_types::{ChannelId, ElementId, FeedId, TenantId};
use uuid::Uuid;

use super::{Feed, NewFeed};
use crate::channels;
use crate::error::CatalogError;
use crate::row::{document, small};

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    channel_id: Uuid,
    name: String,
    element_id: Uuid,
    input_model: Json<InputModel>,
    model_version: i64,
    created_at: DateTime<Utc>,
}

impl From<Row> for Feed {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            channel: row.channel_id.into(),
            name: row.name,
            element: row.element_id.into(),
            input_model: row.input_model.0,
            model_version: small(row.model_version),
            created_at: row.created_at,
        }
    }
}

async fn select(tx: &mut Tx, rest: &str, arguments: Arguments) -> Result<Vec<Feed>, CatalogError> {
    let sql = format!(
        "SELECT tenant_id, id, channel_id, name, element_id, input_model, model_version, created_at FROM feeds {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Feed::from).collect())
}

/// Makes a feed; the same name again is the same step again and changes nothing.
///
/// # Errors
/// `NotFound` when the tenant has no such channel or element.
pub async fn insert(tx: &mut Tx, new: &NewFeed, now: DateTime<Utc>) -> Result<Feed, CatalogError> {
    let inserted = tx
        .execute(
            "INSERT INTO feeds (tenant_id, id, channel_id, name, element_id, input_model, model_version, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
             ON CONFLICT (tenant_id, channel_id, name) DO NOTHING",
            args![
                new.tenant,
                FeedId::new(),
                new.channel,
                new.name.as_str(),
                new.element,
                document("feeds", &new.input_model)?,
                now
            ],
        )
        .await;
    match inserted {
        Ok(0) => {}
        Ok(_) => channels::touch(tx, new.tenant, new.channel, now).await?,
        Err(DbError::Reference) => return Err(CatalogError::NotFound("channel or element")),
        Err(error) => return Err(error.into()),
    }
    find(tx, new.tenant, new.channel, &new.name).await?.ok_or(CatalogError::NotFound("feed"))
}

/// The feed of a channel with this name.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, tenant: TenantId, channel: ChannelId, name: &str) -> Result<Option<Feed>, CatalogError> {
    let rest = "WHERE tenant_id = $1 AND channel_id = $2 AND name = $3";
    Ok(select(tx, rest, args![tenant, channel, name]).await?.into_iter().next())
}

/// The feeds of a channel, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<Feed>, CatalogError> {
    select(tx, "WHERE tenant_id = $1 AND channel_id = $2 ORDER BY name", args![tenant, channel]).await
}

/// The feeds bound to an element, of channels that are not gone.
///
/// # Errors
/// When the database fails.
pub async fn for_element(tx: &mut Tx, tenant: TenantId, element: ElementId) -> Result<Vec<Feed>, CatalogError> {
    let rest = "WHERE tenant_id = $1 AND element_id = $2 AND EXISTS (SELECT 1 FROM channels c
        WHERE c.tenant_id = feeds.tenant_id AND c.id = feeds.channel_id AND c.state NOT IN ('DELETED', 'FAILED'))
        ORDER BY id";
    select(tx, rest, args![tenant, element]).await
}

/// Gives a feed another input model; the same model is no change.
///
/// # Errors
/// `NotFound` when the tenant has no such feed.
pub async fn set_model(
    tx: &mut Tx,
    tenant: TenantId,
    id: FeedId,
    model: &InputModel,
    now: DateTime<Utc>,
) -> Result<Feed, CatalogError> {
    let by_id = "WHERE tenant_id = $1 AND id = $2";
    let old = select(tx, by_id, args![tenant, id]).await?.pop().ok_or(CatalogError::NotFound("feed"))?;
    if old.input_model == *model {
        return Ok(old);
    }
    tx.execute(
        "UPDATE feeds SET input_model = $3, model_version = model_version + 1 WHERE tenant_id = $1 AND id = $2",
        args![tenant, id, document("feeds", model)?],
    )
    .await?;
    channels::touch(tx, tenant, old.channel, now).await?;
    select(tx, by_id, args![tenant, id]).await?.pop().ok_or(CatalogError::NotFound("feed"))
}

/// Removes the feeds of a channel: the undo of [`insert`] when a creation fails.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM feeds WHERE tenant_id = $1 AND channel_id = $2", args![tenant, channel]).await?;
    Ok(())
}
