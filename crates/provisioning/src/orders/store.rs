//! The statements over `orders` and `order_steps`.

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, DbError, Dialect, FromRow, Json, Tx, args};
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, OrderId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use super::order::{Order, OrderFailure, OrderResult, OrderStep, Progress, StepState};
use super::plan::{Phase, StepName};
use super::request::{OrderRequest, Previous};
use super::state::{Ending, OrderState, Standing};
use crate::error::OrderError;

const COLUMNS: &str = "tenant_id, id, channel_id, direction, state, ending, phase, step, request, previous, \
     result, error, price, profile_revision, requested_by, request_id, superseded_by, attempts, run_at, \
     step_started_at, created_at, started_at, finished_at, updated_at";

#[derive(Debug, FromRow)]
pub(crate) struct OrderRow {
    tenant_id: Uuid,
    id: Uuid,
    channel_id: Uuid,
    direction: String,
    state: String,
    ending: Option<String>,
    phase: String,
    step: Option<String>,
    request: Json<Value>,
    previous: Option<Json<Value>>,
    result: Json<Value>,
    error: Option<Json<Value>>,
    price: Option<Json<Value>>,
    profile_revision: i64,
    requested_by: String,
    request_id: Option<String>,
    superseded_by: Option<Uuid>,
    pub attempts: i64,
    pub run_at: DateTime<Utc>,
    pub step_started_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

fn broken(column: &str) -> OrderError {
    OrderError::Corrupt(format!("column {column} of orders holds an unknown value"))
}

impl OrderRow {
    /// What the channel was when the order was placed.
    pub(crate) fn previous(&self) -> Result<Option<Previous>, OrderError> {
        let previous = self.previous.as_ref().map(|previous| serde_json::from_value(previous.0.clone()));
        previous.transpose().map_err(|_| broken("previous"))
    }

    pub(crate) fn order(&self) -> Result<Order, OrderError> {
        let json = |value: &Json<Value>, column| serde_json::from_value(value.0.clone()).map_err(|_| broken(column));
        let request: OrderRequest = json(&self.request, "request")?;
        let result: OrderResult = serde_json::from_value(self.result.0.clone()).map_err(|_| broken("result"))?;
        let error = self.error.as_ref().map(|error| serde_json::from_value::<OrderFailure>(error.0.clone()));
        Ok(Order {
            id: self.id.into(),
            tenant: self.tenant_id.into(),
            channel: self.channel_id.into(),
            direction: self.direction.parse().map_err(|_| broken("direction"))?,
            request,
            state: OrderState::from_word(&self.state).ok_or_else(|| broken("state"))?,
            ending: self
                .ending
                .as_deref()
                .map(|word| Ending::from_word(word).ok_or_else(|| broken("ending")))
                .transpose()?,
            phase: Phase::from_word(&self.phase).ok_or_else(|| broken("phase"))?,
            step: self
                .step
                .as_deref()
                .map(|word| StepName::from_word(word).ok_or_else(|| broken("step")))
                .transpose()?,
            result,
            error: error.transpose().map_err(|_| broken("error"))?,
            price: self.price.as_ref().map(|price| price.0.clone()),
            profile_revision: u32::try_from(self.profile_revision).map_err(|_| broken("profile_revision"))?,
            requested_by: self.requested_by.clone(),
            request_id: self.request_id.clone(),
            superseded_by: self.superseded_by.map(Into::into),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            updated_at: self.updated_at,
            run_at: self.run_at,
            steps: Vec::new(),
        })
    }
}

#[derive(Debug, FromRow)]
struct StepRow {
    phase: String,
    name: String,
    state: String,
    attempts: i64,
    message: Option<String>,
    progress: Option<Json<Value>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl StepRow {
    fn step(self) -> Result<OrderStep, OrderError> {
        Ok(OrderStep {
            name: StepName::from_word(&self.name).ok_or_else(|| broken("order_steps.name"))?,
            phase: Phase::from_word(&self.phase).ok_or_else(|| broken("order_steps.phase"))?,
            state: StepState::from_word(&self.state).ok_or_else(|| broken("order_steps.state"))?,
            attempts: u32::try_from(self.attempts).map_err(|_| broken("order_steps.attempts"))?,
            message: self.message,
            progress: self
                .progress
                .map(|progress| serde_json::from_value::<Progress>(progress.0))
                .transpose()
                .map_err(|_| broken("order_steps.progress"))?,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

/// A row to insert.
#[derive(Debug)]
pub(crate) struct Insert<'a> {
    pub tenant: TenantId,
    pub id: OrderId,
    pub channel: ChannelId,
    pub direction: Direction,
    pub request: &'a OrderRequest,
    pub previous: Option<&'a Previous>,
    pub first: StepName,
    pub price: Option<&'a Value>,
    pub profile_revision: u32,
    pub requested_by: &'a str,
    pub request_id: Option<&'a str>,
    pub now: DateTime<Utc>,
}

/// Inserts an order; false when another exclusive order of the channel is open.
pub(crate) async fn insert(tx: &mut Tx, row: Insert<'_>) -> Result<bool, OrderError> {
    let kind = row.request.kind();
    let json = |error: serde_json::Error| OrderError::Corrupt(error.to_string());
    let request = serde_json::to_value(row.request).map_err(json)?;
    let previous = row.previous.map(serde_json::to_value).transpose().map_err(json)?;
    let inserted = tx
        .execute(
            "INSERT INTO orders (tenant_id, id, channel_id, direction, kind, exclusive, state, phase, position, step,
                 request, previous, result, price, profile_revision, requested_by, request_id, attempts, run_at,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12, $13, $14, $15, $16, 0, $17, $17, $17)
             ON CONFLICT DO NOTHING",
            args![
                row.tenant,
                row.id,
                row.channel,
                row.direction.as_str(),
                kind.as_str(),
                kind.is_exclusive(),
                Standing::NEW.state.as_str(),
                Phase::Do.as_str(),
                row.first.as_str(),
                request,
                previous,
                Value::Object(serde_json::Map::new()),
                row.price.cloned(),
                row.profile_revision,
                row.requested_by,
                row.request_id,
                row.now,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Writes down the steps of a phase.
pub(crate) async fn insert_steps(
    tx: &mut Tx,
    tenant: TenantId,
    order: OrderId,
    phase: Phase,
    steps: &[StepName],
) -> Result<(), DbError> {
    for (position, step) in steps.iter().enumerate() {
        tx.execute(
            "INSERT INTO order_steps (tenant_id, order_id, phase, position, name, state, attempts)
             VALUES ($1, $2, $3, $4, $5, $6, 0)",
            args![tenant, order, phase.as_str(), position, step.as_str(), StepState::Pending.as_str()],
        )
        .await?;
    }
    Ok(())
}

pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, id: OrderId) -> Result<Option<OrderRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM orders WHERE tenant_id = $1 AND id = $2");
    Ok(tx.fetch_all_built(sql, args![tenant, id]).await?.pop())
}

/// Locks an order's row to the end of the transaction. Whoever changes an order locks it before its
/// steps, its channel and the tenant's event log, so that nobody waits in a circle. SQLite has one
/// writer at a time.
pub(crate) async fn lock(tx: &mut Tx, tenant: TenantId, id: OrderId) -> Result<(), DbError> {
    if tx.dialect() == Dialect::Postgres {
        let sql = "SELECT 1 FROM orders WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
        tx.fetch_optional::<(i32,)>(sql, args![tenant, id]).await?;
    }
    Ok(())
}

pub(crate) async fn steps(tx: &mut Tx, tenant: TenantId, order: OrderId) -> Result<Vec<OrderStep>, OrderError> {
    // "do" sorts before "undo".
    let rows: Vec<StepRow> = tx
        .fetch_all(
            "SELECT phase, name, state, attempts, message, progress, started_at, finished_at FROM order_steps
             WHERE tenant_id = $1 AND order_id = $2 ORDER BY phase, position",
            args![tenant, order],
        )
        .await?;
    rows.into_iter().map(StepRow::step).collect()
}

/// The open orders of a channel, oldest first.
pub(crate) async fn open_of(tx: &mut Tx, tenant: TenantId, channel: ChannelId) -> Result<Vec<OrderRow>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM orders
         WHERE tenant_id = $1 AND channel_id = $2 AND state IN ('PENDING', 'RUNNING') ORDER BY id"
    );
    tx.fetch_all_built(sql, args![tenant, channel]).await
}

/// One page of orders, newest first. Each condition is a constant text with its parameter.
pub(crate) async fn page(
    tx: &mut Tx,
    conditions: &[String],
    arguments: Arguments,
    limit: u32,
) -> Result<Vec<OrderRow>, DbError> {
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!("SELECT {COLUMNS} FROM orders {filter} ORDER BY id DESC LIMIT {limit}");
    tx.fetch_all_built(sql, arguments).await
}

/// An order that a worker could take up, and its channel.
#[derive(Debug, FromRow)]
pub(crate) struct Due {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub channel_id: Uuid,
}

/// Orders whose time has come and whose channel nobody works on, most overdue first.
pub(crate) async fn due(tx: &mut Tx, now: DateTime<Utc>, limit: u32) -> Result<Vec<Due>, DbError> {
    tx.fetch_all(
        "SELECT o.tenant_id, o.id, o.channel_id FROM orders o
         WHERE o.state IN ('PENDING', 'RUNNING') AND o.run_at <= $1 AND NOT EXISTS (
             SELECT 1 FROM order_leases l
             WHERE l.tenant_id = o.tenant_id AND l.channel_id = o.channel_id AND l.until > $1)
         ORDER BY o.run_at, o.id LIMIT $2",
        args![now, limit],
    )
    .await
}

/// When the next order is due whose channel nobody works on.
pub(crate) async fn next_due(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, DbError> {
    let (next,): (Option<DateTime<Utc>>,) = tx
        .fetch_one(
            "SELECT MIN(o.run_at) FROM orders o
             WHERE o.state IN ('PENDING', 'RUNNING') AND NOT EXISTS (
                 SELECT 1 FROM order_leases l
                 WHERE l.tenant_id = o.tenant_id AND l.channel_id = o.channel_id AND l.until > $1)",
            args![now],
        )
        .await?;
    Ok(next)
}

/// What a save writes into an order's row.
#[derive(Debug)]
pub(crate) struct Save<'a> {
    pub tenant: TenantId,
    pub id: OrderId,
    /// The standing that was read; the save is refused when it changed since.
    pub from: Standing,
    /// And the step.
    pub from_step: (Phase, Option<StepName>),
    pub to: Standing,
    pub phase: Phase,
    pub position: i64,
    pub step: Option<StepName>,
    pub result: &'a OrderResult,
    pub error: Option<&'a OrderFailure>,
    pub attempts: i64,
    pub run_at: DateTime<Utc>,
    pub step_started_at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

/// Compare-and-set of an order; false when its standing is no longer what was read.
pub(crate) async fn save(tx: &mut Tx, save: Save<'_>) -> Result<bool, OrderError> {
    let json = |error: serde_json::Error| OrderError::Corrupt(error.to_string());
    let result = serde_json::to_value(save.result).map_err(json)?;
    let error = save.error.map(serde_json::to_value).transpose().map_err(json)?;
    let finished = save.to.state.is_final().then_some(save.now);
    let started = (save.to.state == OrderState::Running).then_some(save.now);
    let changed = tx
        .execute(
            "UPDATE orders SET state = $5, ending = $6, phase = $7, position = $8, step = $9, result = $10,
                 error = coalesce($11, error), attempts = $12, run_at = $13, step_started_at = $14, updated_at = $15,
                 finished_at = $16, started_at = coalesce(started_at, $17)
             WHERE tenant_id = $1 AND id = $2 AND state = $3 AND coalesce(ending, '') = $4
                 AND phase = $18 AND coalesce(step, '') = $19",
            args![
                save.tenant,
                save.id,
                save.from.state.as_str(),
                save.from.ending.map_or("", Ending::as_str),
                save.to.state.as_str(),
                save.to.ending.map(Ending::as_str),
                save.phase.as_str(),
                save.position,
                save.step.map(StepName::as_str),
                result,
                error,
                save.attempts,
                save.run_at,
                save.step_started_at,
                save.now,
                finished,
                started,
                save.from_step.0.as_str(),
                save.from_step.1.map_or("", StepName::as_str),
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Notes which delete order took an order's place.
pub(crate) async fn set_superseded_by(tx: &mut Tx, tenant: TenantId, id: OrderId, by: OrderId) -> Result<(), DbError> {
    tx.execute("UPDATE orders SET superseded_by = $3 WHERE tenant_id = $1 AND id = $2", args![tenant, id, by])
        .await
        .map(drop)
}

/// What a save writes into a step's row.
#[derive(Debug)]
pub(crate) struct SaveStep<'a> {
    pub state: StepState,
    pub attempts: i64,
    pub message: Option<&'a str>,
    pub progress: Option<&'a Progress>,
    pub now: DateTime<Utc>,
}

pub(crate) async fn save_step(
    tx: &mut Tx,
    tenant: TenantId,
    order: OrderId,
    at: (Phase, StepName),
    save: SaveStep<'_>,
) -> Result<(), OrderError> {
    let progress =
        save.progress.map(serde_json::to_value).transpose().map_err(|e| OrderError::Corrupt(e.to_string()))?;
    let over = matches!(save.state, StepState::Done | StepState::Failed | StepState::Skipped).then_some(save.now);
    tx.execute(
        "UPDATE order_steps SET state = $5, attempts = $6, message = $7, progress = coalesce($8, progress),
             started_at = coalesce(started_at, $9), finished_at = $10
         WHERE tenant_id = $1 AND order_id = $2 AND phase = $3 AND name = $4",
        args![
            tenant,
            order,
            at.0.as_str(),
            at.1.as_str(),
            save.state.as_str(),
            save.attempts,
            save.message,
            progress,
            save.now,
            over,
        ],
    )
    .await?;
    Ok(())
}

/// Marks the steps that an order will not take any more.
pub(crate) async fn skip_steps(tx: &mut Tx, tenant: TenantId, order: OrderId, phase: Phase) -> Result<(), DbError> {
    tx.execute(
        "UPDATE order_steps SET state = $4
         WHERE tenant_id = $1 AND order_id = $2 AND phase = $3 AND state IN ('PENDING', 'RUNNING')",
        args![tenant, order, phase.as_str(), StepState::Skipped.as_str()],
    )
    .await
    .map(drop)
}
