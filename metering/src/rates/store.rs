//! The rows of rate cards. They belong to no tenant; only the platform writes them.

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, Json, Tx, args};
use headgate_types::RateCardId;
use serde_json::json;
use uuid::Uuid;

use super::{NewRateCard, RateCard, standard};
use crate::error::MeteringError;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    revision: i64,
    valid_from: DateTime<Utc>,
    document: Json<NewRateCard>,
    created_at: DateTime<Utc>,
}

impl From<Row> for RateCard {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            revision: u32::try_from(row.revision).unwrap_or_default(),
            valid_from: row.valid_from,
            created_at: row.created_at,
            card: row.document.0,
        }
    }
}

async fn select(tx: &mut Tx, rest: &str, arguments: Arguments) -> Result<Vec<RateCard>, MeteringError> {
    let sql = format!("SELECT id, revision, valid_from, document, created_at FROM rate_cards {rest}");
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(RateCard::from).collect())
}

/// Enters a revision of the rate card, in a transaction of the platform.
///
/// # Errors
/// `Refused` when the card is wrong.
pub async fn put_rate_card(
    tx: &mut Tx,
    card: &NewRateCard,
    valid_from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<RateCard, MeteringError> {
    MeteringError::unless_empty("rate_card", card.errors())?;
    let id = RateCardId::new();
    tx.execute(
        "INSERT INTO rate_cards (id, revision, valid_from, document, created_at)
         SELECT $1, COALESCE(MAX(revision), 0) + 1, $2, $3, $4 FROM rate_cards",
        args![id, valid_from, json!(card), now],
    )
    .await?;
    rate_card(tx, id).await
}

/// Enters the card the product comes with, where there is none yet, in a transaction of the platform.
///
/// # Errors
/// When the database fails.
pub async fn ensure_standard(tx: &mut Tx, now: DateTime<Utc>) -> Result<(), MeteringError> {
    if select(tx, "LIMIT 1", args![]).await?.is_empty() {
        // From the beginning, so that there is a price for every moment.
        put_rate_card(tx, &standard()?, DateTime::<Utc>::UNIX_EPOCH, now).await?;
    }
    Ok(())
}

/// The revision that holds at `at`: of those valid by then the last one entered.
///
/// # Errors
/// `NotFound` when none is valid by then.
pub async fn current_rate_card(tx: &mut Tx, at: DateTime<Utc>) -> Result<RateCard, MeteringError> {
    let found = select(tx, "WHERE valid_from <= $1 ORDER BY valid_from DESC, revision DESC LIMIT 1", args![at]).await?;
    found.into_iter().next().ok_or(MeteringError::NotFound("rate card"))
}

/// A revision by its id.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn rate_card(tx: &mut Tx, id: RateCardId) -> Result<RateCard, MeteringError> {
    select(tx, "WHERE id = $1", args![id]).await?.pop().ok_or(MeteringError::NotFound("rate card"))
}

/// The revisions, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn list_rate_cards(tx: &mut Tx, before: Option<u32>, limit: u32) -> Result<Vec<RateCard>, MeteringError> {
    let before = before.map_or(i64::MAX, i64::from);
    select(tx, "WHERE revision < $1 ORDER BY revision DESC LIMIT $2", args![before, limit]).await
}
