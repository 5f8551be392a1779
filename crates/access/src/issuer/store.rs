//! The tables of signing keys and failed logins; both are the platform's.

use chrono::{DateTime, Utc};
use headgate_database::{DbError, FromRow, Tx, args};

#[derive(FromRow)]
pub(super) struct KeyRow {
    pub(super) kid: String,
    pub(super) sealed: Vec<u8>,
    pub(super) published_until: Option<DateTime<Utc>>,
}

pub(super) async fn signing(tx: &mut Tx) -> Result<Option<KeyRow>, DbError> {
    tx.fetch_optional(
        "SELECT kid, sealed, published_until FROM signing_keys WHERE published_until IS NULL
         ORDER BY created_at DESC, kid LIMIT 1",
        args![],
    )
    .await
}

/// Newest first: the first without an end signs.
pub(super) async fn published(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<KeyRow>, DbError> {
    tx.fetch_all(
        "SELECT kid, sealed, published_until FROM signing_keys
         WHERE published_until IS NULL OR published_until > $1 ORDER BY created_at DESC, kid",
        args![now],
    )
    .await
}

pub(super) async fn insert(
    tx: &mut Tx,
    kid: &str,
    public: &[u8],
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO signing_keys (kid, public_key, sealed, created_at) VALUES ($1, $2, $3, $4)",
        args![kid, public, sealed, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn retire_all(tx: &mut Tx, until: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute("UPDATE signing_keys SET published_until = $1 WHERE published_until IS NULL", args![until]).await?;
    Ok(())
}

pub(super) async fn remove_expired(tx: &mut Tx, now: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute("DELETE FROM signing_keys WHERE published_until <= $1", args![now]).await?;
    Ok(())
}

/// Failures in the window that is open now, and its end.
pub(super) async fn failures(
    tx: &mut Tx,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<Option<(i64, DateTime<Utc>)>, DbError> {
    tx.fetch_optional(
        "SELECT failures, window_end FROM login_failures WHERE subject = $1 AND window_end > $2",
        args![subject, now],
    )
    .await
}

pub(super) async fn count_failure(
    tx: &mut Tx,
    subject: &str,
    now: DateTime<Utc>,
    window_end: DateTime<Utc>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO login_failures (subject, failures, window_end) VALUES ($1, 1, $3)
         ON CONFLICT (subject) DO UPDATE SET
           failures = CASE WHEN login_failures.window_end > $2 THEN login_failures.failures + 1 ELSE 1 END,
           window_end = CASE WHEN login_failures.window_end > $2 THEN login_failures.window_end ELSE $3 END",
        args![subject, now, window_end],
    )
    .await?;
    Ok(())
}

pub(super) async fn forgive(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM login_failures WHERE subject = $1", args![subject]).await?;
    Ok(())
}

pub(super) async fn remove_closed_windows(tx: &mut Tx, now: DateTime<Utc>) -> Result<(), DbError> {
    tx.execute("DELETE FROM login_failures WHERE window_end <= $1", args![now]).await?;
    Ok(())
}
