//! Counts over the batches of one element.

use arrow::array::Array;
use chrono::{DateTime, Utc};
use headgate_lake::LakeBatch;
use headgate_types::engine::ElementStatistics;
use headgate_types::schema::{DataType, Schema};

use super::column::Column;

/// Running counts.
#[derive(Debug, Clone)]
pub struct Fold {
    rows: u64,
    bytes: u64,
    fresh_at: Option<DateTime<Utc>>,
    columns: Vec<(String, DataType, Column)>,
}

impl Fold {
    /// Nothing yet.
    pub fn new(schema: &Schema) -> Self {
        let mut fold = Self { rows: 0, bytes: 0, fresh_at: None, columns: Vec::new() };
        fold.widen(schema);
        fold
    }

    /// Takes in columns that a newer schema added; earlier records have no value in them.
    pub fn widen(&mut self, schema: &Schema) {
        for field in &schema.fields {
            if !self.columns.iter().any(|(name, ..)| *name == field.name) {
                self.columns.push((field.name.clone(), field.data_type, Column::with_nulls(self.rows)));
            }
        }
    }

    /// Counts a batch of inserts.
    pub fn add(&mut self, batch: &LakeBatch) {
        let rows = batch.batch.num_rows() as u64;
        self.rows += rows;
        self.fresh_at = self.fresh_at.max(Some(batch.committed_at));
        for (name, data_type, column) in &mut self.columns {
            match batch.batch.column_by_name(name) {
                Some(values) => {
                    self.bytes += values.to_data().get_slice_memory_size().unwrap_or(0) as u64;
                    column.add(values, *data_type);
                }
                None => column.add_nulls(rows),
            }
        }
    }

    /// What is known.
    pub fn statistics(&self) -> ElementStatistics {
        ElementStatistics {
            rows: self.rows,
            bytes: self.bytes,
            fresh_at: self.fresh_at,
            columns: self.columns.iter().map(|(name, _, column)| column.statistics(name)).collect(),
        }
    }
}
