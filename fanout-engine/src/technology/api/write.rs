//! Writing a range: records and cursor in one transaction.

use chrono::TimeDelta;
use headgate_types::channel::Lane;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params, params_from_iter};

use super::cells::stored;
use super::store::failed;
use super::table::Table;
use crate::technology::{Committed, Delivery, FlowKey, SinkError};

/// How long a lane that does not move may still bring records from before a delete.
const LANE_REST: TimeDelta = TimeDelta::days(7);

/// How far the store holds a flow; 0: nothing.
pub fn cursor(connection: &Connection, flow: FlowKey) -> Result<u64, SinkError> {
    committed(connection, flow).map(|committed| committed.offset)
}

/// The place the store holds for a flow. One that stands at 0 was put there when the table began anew.
pub fn committed(connection: &Connection, flow: FlowKey) -> Result<Committed, SinkError> {
    let held: Option<i64> = connection
        .prepare_cached("SELECT last_offset FROM cursors WHERE element = ?1 AND lane = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![flow.element.to_string(), flow.lane.as_str()], |row| row.get(0)).optional()
        })
        .map_err(failed)?;
    Ok(Committed { offset: held.unwrap_or(0) as u64, begun_anew: held == Some(0) })
}

/// Writes what of the range the store does not hold yet, and moves the cursor, or neither.
/// Returns how far the flow is held.
pub fn write(connection: &mut Connection, table: &Table, delivery: &Delivery, now: i64) -> Result<u64, SinkError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let (element, lane) = (delivery.flow.element.to_string(), delivery.flow.lane);
    tx.prepare_cached(
        "INSERT INTO cursors (element, lane, start_offset, last_offset, epoch, moved_at)
         VALUES (?1, ?2, ?3, ?3, 0, ?4)
         ON CONFLICT (element, lane) DO UPDATE
            SET start_offset = excluded.start_offset, last_offset = excluded.last_offset WHERE last_offset = 0",
    )
    .and_then(|mut statement| statement.execute(params![element, lane.as_str(), delivery.after as i64, now]))
    .map_err(failed)?;
    let held = cursor(&tx, delivery.flow)?;
    // Live records come once, in order. History and replays may be ordered again from anywhere; what
    // of them the store has changes nothing.
    let from = if lane == Lane::Live { held } else { delivery.after };
    if delivery.to <= from {
        return Ok(from);
    }
    if delivery.after > from {
        tracing::warn!(%element, %lane, held = from, after = delivery.after, "a store ends before what is to be written");
        return Err(SinkError::retry("the store ends before what is to be written"));
    }
    let (mut epoch, mut written) = (0, 0);
    {
        let mut upsert = tx.prepare_cached(&table.upsert()).map_err(failed)?;
        let mut values: Vec<Value> = Vec::with_capacity(table.columns.len() + 3);
        for (encoded, row) in delivery.rows() {
            epoch = epoch.max(encoded.epoch());
            if encoded.offset(row) <= from {
                continue;
            }
            if encoded.batch().num_columns() != table.columns.len() {
                return Err(SinkError::retry(
                    "the records have another shape than the store; it is about to be reopened",
                ));
            }
            values.clear();
            values.push(Value::Integer(encoded.offset(row) as i64));
            values.push(Value::Blob(encoded.id(row).0.to_vec()));
            values.push(Value::Integer(i64::from(encoded.is_delete(row))));
            let columns = table.columns.iter().enumerate();
            values.extend(columns.map(|(place, column)| stored(encoded.batch(), place, column.data_type, row)));
            written += upsert.execute(params_from_iter(&values)).map_err(failed)?;
        }
    }
    let moved = tx
        .prepare_cached(
            "UPDATE cursors SET last_offset = ?4, epoch = MAX(epoch, ?5), moved_at = ?6
             WHERE element = ?1 AND lane = ?2 AND last_offset = ?3",
        )
        .and_then(|mut statement| {
            statement.execute(params![element, lane.as_str(), held as i64, delivery.to as i64, epoch, now])
        })
        .map_err(failed)?;
    if moved != 1 {
        return Err(SinkError::retry("the cursor was moved by somebody else"));
    }
    if written > 0 {
        tx.prepare_cached("UPDATE elements SET changes = changes + 1 WHERE element = ?1")
            .and_then(|mut statement| statement.execute([&element]))
            .map_err(failed)?;
    }
    tx.commit().map_err(failed)?;
    headgate_types::reach(headgate_types::Failpoint::ApiWritten);
    Ok(delivery.to)
}

/// Removes the traces of deletes that no other lane can contradict any more: history that ends
/// where live records began, or a lane that has rested for a week.
pub fn forget_deletes(connection: &mut Connection, table: &Table, now: i64) -> Result<(), SinkError> {
    if !table.keyed {
        return Ok(());
    }
    let element = table.element.to_string();
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let rested = now - LANE_REST.num_milliseconds();
    let live: Option<(i64, i64)> = tx
        .query_row(
            "SELECT start_offset, last_offset FROM cursors WHERE element = ?1 AND lane = 'live'",
            [&element],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(failed)?;
    let Some((start, last)) = live else { return Ok(()) };
    let (lanes, open): (i64, i64) = tx
        .query_row(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE last_offset < ?2 AND moved_at > ?3)
             FROM cursors WHERE element = ?1 AND lane <> 'live'",
            params![element, start, rested],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(failed)?;
    // Live records that began behind 0 may have a history still to come.
    if open > 0 || (lanes == 0 && start > 0) {
        return Ok(());
    }
    let sql = format!("DELETE FROM {} WHERE _deleted = 1 AND _offset <= ?1", table.sql_name());
    if tx.execute(&sql, [last]).map_err(failed)? > 0 {
        crate::sqlite::shrink(&tx);
    }
    tx.commit().map_err(failed)
}
