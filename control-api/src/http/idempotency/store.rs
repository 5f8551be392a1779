//! The table of remembered answers.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};
use http::StatusCode;
use serde_json::Value;

use super::{Answer, Owner};

#[derive(FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    status: i64,
    location: Option<String>,
    etag: Option<String>,
    body: headgate_database::Json<Value>,
}

/// The remembered fingerprint and answer of a key used since `since`.
pub(super) async fn find(
    tx: &mut Tx,
    owner: Owner,
    key: &str,
    since: DateTime<Utc>,
) -> Result<Option<(Vec<u8>, Answer)>, DbError> {
    let row: Option<Row> = tx
        .fetch_optional(
            "SELECT fingerprint, status, location, etag, body FROM idempotency_keys
             WHERE tenant_id = $1 AND client_id = $2 AND idempotency_key = $3 AND created_at >= $4",
            args![owner.tenant, owner.client, key, since],
        )
        .await?;
    Ok(row.map(|row| {
        let status = u16::try_from(row.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        let answer = Answer {
            status: status.unwrap_or(StatusCode::OK),
            location: row.location,
            etag: row.etag,
            body: row.body.0,
            replayed: false,
        };
        (row.fingerprint, answer)
    }))
}

/// Remembers an answer; `false` when the key is taken.
pub(super) async fn remember(
    tx: &mut Tx,
    owner: Owner,
    key: &str,
    fingerprint: &[u8],
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let inserted = tx
        .execute(
            "INSERT INTO idempotency_keys
               (tenant_id, client_id, idempotency_key, fingerprint, status, location, etag, body, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT DO NOTHING",
            args![
                owner.tenant,
                owner.client,
                key,
                fingerprint,
                i64::from(answer.status.as_u16()),
                answer.location.as_ref(),
                answer.etag.as_ref(),
                &answer.body,
                now
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Forgets the answers of a client that nobody can ask for any more.
pub(super) async fn forget_before(tx: &mut Tx, owner: Owner, before: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND client_id = $2 AND created_at < $3",
        args![owner.tenant, owner.client, before],
    )
    .await?;
    Ok(())
}
