//! A commit's records as bytes: an Arrow IPC record batch without its schema, compressed whole.
//!
//! The schema is not repeated in every commit; it is looked up by the id in the directory. What
//! would be the same in every row or can be derived (`_offset`, `_ingested_at`, an `_op` that is
//! always `insert`, an all-null `_before`) is left out, so a commit of one small record takes a few
//! hundred bytes.
//!
//! The compressed frame carries a checksum of its content, because the Arrow reader trusts the lengths
//! it finds there: a damaged body is an error, never a panic or other records.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};

use crate::error::{LakeError, Result};
use crate::layout::{BEFORE, OP};

const VERSION: u8 = 2;
const WITH_OP: u8 = 1;
const WITH_BEFORE: u8 = 2;
/// version, uncompressed bytes (u64).
const HEADER: usize = 1 + 8;
/// At the start of what is compressed: flags, rows (u32), IPC message bytes (u32); the rest are zeros,
/// so that the columns behind it stay aligned.
const INNER: usize = 16;
/// More than any commit has: what a damaged header could ask for beyond it is not reserved.
const MAX_PLAIN: u64 = 4 << 30;
const INSERT: &str = "insert";

/// Encodes a batch with the columns of [`crate::layout::log_schema`].
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut flags = 0;
    let mut kept = Vec::with_capacity(batch.num_columns());
    for (index, field) in batch.schema_ref().fields().iter().enumerate() {
        let column = batch.column(index);
        match field.name().as_str() {
            OP if is_all_insert(column) => {}
            OP => {
                flags |= WITH_OP;
                kept.push(index);
            }
            BEFORE if column.null_count() == column.len() => {}
            BEFORE => {
                flags |= WITH_BEFORE;
                kept.push(index);
            }
            _ => kept.push(index),
        }
    }
    let lean = batch.project(&kept)?;
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let (_, encoded) = IpcDataGenerator::default().encode(
        &lean,
        &mut DictionaryTracker::new(true),
        &options,
        &mut Default::default(),
    )?;
    let mut inner = [0; INNER];
    inner[0] = flags;
    inner[4..8].copy_from_slice(&(batch.num_rows() as u32).to_le_bytes());
    inner[8..12].copy_from_slice(&(encoded.ipc_message.len() as u32).to_le_bytes());
    let plain = [inner.as_slice(), &encoded.ipc_message, &encoded.arrow_data].concat();
    let compressed = compress(&plain)?;
    let mut body = Vec::with_capacity(HEADER + compressed.len());
    body.push(VERSION);
    body.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    body.extend_from_slice(&compressed);
    Ok(body)
}

thread_local! {
    // Setting a compressor up costs more than compressing a small commit.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

fn compress(plain: &[u8]) -> Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => {
                let mut compressor = zstd::bulk::Compressor::new(1)?;
                compressor.include_checksum(true)?;
                kept.insert(compressor)
            }
        };
        Ok(compressor.compress(plain)?)
    })
}

/// Decodes a body into the columns of `schema`, that of the commit.
pub(super) fn decode(body: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let damaged = || LakeError::Damaged("a commit's body is cut off".to_owned());
    let (header, compressed) = body.split_at_checked(HEADER).ok_or_else(damaged)?;
    if header[0] != VERSION {
        return Err(LakeError::Damaged(format!("a commit's body has the unknown version {}", header[0])));
    }
    let plain = u64::from_le_bytes(header[1..].try_into().map_err(|_| damaged())?);
    let plain = Some(plain).filter(|bytes| *bytes <= MAX_PLAIN).ok_or_else(damaged)? as usize;
    let plain = zstd::bulk::decompress(compressed, plain)
        .map_err(|error| LakeError::Damaged(format!("a commit's body cannot be unpacked: {error}")))?;
    let plain = Buffer::from_vec(plain);
    let inner = plain.get(..INNER).ok_or_else(damaged)?;
    let flags = inner[0];
    let rows = u32::from_le_bytes(inner[4..8].try_into().map_err(|_| damaged())?) as usize;
    let message = u32::from_le_bytes(inner[8..12].try_into().map_err(|_| damaged())?) as usize;
    let plain = plain.slice(INNER);
    if plain.len() < message {
        return Err(damaged());
    }
    let kept = |name: &str| match name {
        OP => flags & WITH_OP != 0,
        BEFORE => flags & WITH_BEFORE != 0,
        _ => true,
    };
    let fields: Vec<_> = schema.fields().iter().filter(|field| kept(field.name())).cloned().collect();
    let parsed = root_as_message(&plain.as_slice()[..message])
        .map_err(|error| LakeError::Damaged(format!("a commit's message cannot be read: {error}")))?;
    let header = parsed.header_as_record_batch().ok_or_else(damaged)?;
    let lean = read_record_batch(
        &plain.slice(message),
        header,
        Arc::new(ArrowSchema::new(fields)),
        &HashMap::new(),
        None,
        &parsed.version(),
    )?;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match lean.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if field.name() == OP => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(INSERT, rows))),
            None => new_null_array(field.data_type(), rows),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn is_all_insert(column: &ArrayRef) -> bool {
    column.as_any().downcast_ref::<StringArray>().is_some_and(|ops| ops.iter().all(|op| op == Some(INSERT)))
}
