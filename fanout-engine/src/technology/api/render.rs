//! Pages and records as bytes: JSON, NDJSON, CSV.

use rusqlite::types::ValueRef;
use rusqlite::{Row, Rows};

use super::cells::{text, write_json};
use super::query::Query;
use super::table::Table;
use crate::shape::write_string;

/// The representations of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object with `items`.
    Json,
    /// One object per line.
    Ndjson,
    /// RFC 4180 with a header row.
    Csv,
}

impl Format {
    /// What a request asks for, by parameter or else by `Accept`; `Err` with what was not understood.
    pub fn choose(parameter: Option<&str>, accept: Option<&str>) -> Result<Self, String> {
        if let Some(name) = parameter {
            return match name {
                "json" => Ok(Self::Json),
                "ndjson" => Ok(Self::Ndjson),
                "csv" => Ok(Self::Csv),
                other => Err(other.to_owned()),
            };
        }
        let Some(accept) = accept else { return Ok(Self::Json) };
        accept
            .split(',')
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .find_map(|range| match range.as_str() {
                "" | "*/*" | "application/*" | "application/json" => Some(Self::Json),
                "application/x-ndjson" | "application/ndjson" => Some(Self::Ndjson),
                "text/csv" | "text/*" => Some(Self::Csv),
                _ => None,
            })
            .ok_or_else(|| accept.to_owned())
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// The rows of one page.
#[derive(Debug)]
pub struct Rendered {
    /// The rows; for JSON the objects with commas between them.
    pub body: Vec<u8>,
    /// Sort values of the last row, if there are rows behind it.
    pub next: Option<Vec<rusqlite::types::Value>>,
}

/// Writes the rows of a page, which ends with the row that makes it `most` bytes or more.
pub fn rows(
    table: &Table,
    query: &Query,
    format: Format,
    most: usize,
    rows: &mut Rows<'_>,
) -> rusqlite::Result<Rendered> {
    let mut body = Vec::new();
    if format == Format::Csv {
        let mut names: Vec<&str> = query.fields.iter().map(|place| table.columns[*place].name.as_str()).collect();
        names.push("_id");
        write_csv(&mut body, names.into_iter().map(|name| Some(name.to_owned())));
    }
    let (mut count, mut last) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        if count == query.size || body.len() >= most {
            return Ok(Rendered { body, next: Some(last) });
        }
        match format {
            Format::Json => {
                if count > 0 {
                    body.push(b',');
                }
                object(&mut body, table, &query.fields, row)?;
            }
            Format::Ndjson => {
                object(&mut body, table, &query.fields, row)?;
                body.push(b'\n');
            }
            Format::Csv => {
                let mut cells = Vec::with_capacity(query.fields.len() + 1);
                for (at, place) in query.fields.iter().enumerate() {
                    cells.push(text(table.columns[*place].data_type, row.get_ref(at)?));
                }
                cells.push(Some(record_id(row.get_ref(query.fields.len())?)));
                write_csv(&mut body, cells.into_iter());
            }
        }
        count += 1;
        last.clear();
        for at in 0..query.sort_columns() {
            last.push(row.get(query.fields.len() + 1 + at)?);
        }
    }
    Ok(Rendered { body, next: None })
}

/// Writes one record: the fields in order, then `_id`.
pub fn object(out: &mut Vec<u8>, table: &Table, fields: &[usize], row: &Row<'_>) -> rusqlite::Result<()> {
    out.push(b'{');
    for (at, place) in fields.iter().enumerate() {
        let column = &table.columns[*place];
        write_string(out, &column.name);
        out.push(b':');
        write_json(out, column.data_type, row.get_ref(at)?);
        out.push(b',');
    }
    out.extend_from_slice(b"\"_id\":");
    write_string(out, &record_id(row.get_ref(fields.len())?));
    out.push(b'}');
    Ok(())
}

fn record_id(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Blob(bytes) => hex::encode(bytes),
        _ => String::new(),
    }
}

/// One line of RFC 4180. An absent value is an empty cell, an empty text is `""`.
fn write_csv(out: &mut Vec<u8>, cells: impl Iterator<Item = Option<String>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let Some(cell) = cell else { continue };
        if cell.is_empty() || cell.contains([',', '"', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}
