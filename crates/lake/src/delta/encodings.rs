//! How the columns of Parquet files are encoded.

use arrow::datatypes::{DataType, Fields, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Properties of a file with these columns, zstd at level 1.
///
/// Whole numbers, dates and times are written as differences (`DELTA_BINARY_PACKED`): offsets, ids and times
/// ascend, and a dictionary of values that are all different costs more than the values. Everything else gets a
/// dictionary as long as it is small.
///
/// # Errors
/// When zstd is not available.
pub fn parquet_properties(schema: &Schema) -> Result<WriterPropertiesBuilder> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?));
    Ok(encoded(properties, &mut Vec::new(), schema.fields()))
}

fn encoded(
    mut properties: WriterPropertiesBuilder,
    path: &mut Vec<String>,
    fields: &Fields,
) -> WriterPropertiesBuilder {
    for field in fields {
        path.push(field.name().clone());
        match field.data_type() {
            DataType::Int64 | DataType::Timestamp(..) | DataType::Date32 => {
                let column = ColumnPath::new(path.clone());
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Struct(fields) => properties = encoded(properties, path, fields),
            _ => {}
        }
        path.pop();
    }
    properties
}
