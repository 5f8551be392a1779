//! A list request as one statement over one table.

use headgate_access::Seal;
use headgate_types::FieldError;
use headgate_types::filter;
use headgate_types::page::page_size;
use headgate_types::schema::DataType;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::filter::condition;
use super::table::{Column, Table, quoted};

/// More sort fields than this are of no use.
const MAX_ORDER: usize = 8;

/// The parameters of a list, as they come.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Rows per page.
    pub page_size: Option<u32>,
    /// Where to go on.
    pub page_token: Option<String>,
    /// Which rows.
    pub filter: Option<String>,
    /// Sort fields, each with ` desc` behind it where wanted.
    pub order_by: Option<String>,
    /// Which fields.
    pub fields: Option<String>,
    /// Whether the number of all rows that match is wanted.
    pub count: Option<bool>,
    /// `json`, `ndjson` or `csv`; the `Accept` header decides when absent.
    pub format: Option<String>,
}

/// What a page is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sort {
    sql: String,
    descending: bool,
    /// Whether no value is absent, so that row values compare as the rows are ordered.
    total: bool,
}

/// A list request, understood.
#[derive(Debug)]
pub struct Query {
    /// The fields wanted, by their place in the table.
    pub fields: Vec<usize>,
    /// Rows per page.
    pub size: usize,
    /// Whether the number of all rows is wanted.
    pub count: bool,
    condition: String,
    values: Vec<Value>,
    order: Vec<Sort>,
    place: Option<Vec<Value>>,
    digest: [u8; 32],
}

impl Query {
    /// Understands a request.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn new(table: &Table, seal: &Seal, parameters: &Parameters) -> Result<Self, FieldError> {
        let mut values = Vec::new();
        let condition = match parameters.filter.as_deref().filter(|text| !text.trim().is_empty()) {
            Some(text) => format!("_deleted = 0 AND {}", condition(&filter::parse(text)?, table, &mut values)?),
            None => "_deleted = 0".to_owned(),
        };
        let order = order(table, parameters.order_by.as_deref().unwrap_or(""))?;
        let mut digest = Sha256::new();
        for part in [table.sql_name(), &table.shape(), parameters.filter.as_deref().unwrap_or("")] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        for sort in &order {
            digest.update(&sort.sql);
            digest.update([u8::from(sort.descending)]);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let place =
            parameters.page_token.as_deref().map(|token| open(seal, &digest, token, order.len())).transpose()?;
        Ok(Self {
            fields: fields(table, parameters.fields.as_deref())?,
            size: page_size(parameters.page_size) as usize,
            count: parameters.count.unwrap_or(false),
            condition,
            values,
            order,
            place,
            digest,
        })
    }

    /// The statement and its values: the fields, `_id`, then what the page is sorted by. It asks
    /// for one row more than the page holds.
    pub fn select(&self, table: &Table) -> (String, Vec<Value>) {
        let mut columns: Vec<String> = self.fields.iter().map(|place| quoted(&table.columns[*place].name)).collect();
        columns.push("_id".to_owned());
        columns.extend(self.order.iter().map(|sort| sort.sql.clone()));
        let mut values = self.values.clone();
        let after = match &self.place {
            Some(place) => format!(" AND {}", self.after(place, &mut values)),
            None => String::new(),
        };
        let direction = |sort: &Sort| format!("{}{}", sort.sql, if sort.descending { " DESC" } else { "" });
        let order: Vec<_> = self.order.iter().map(direction).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {}{after} ORDER BY {} LIMIT {}",
            columns.join(", "),
            table.sql_name(),
            self.condition,
            order.join(", "),
            self.size + 1
        );
        (sql, values)
    }

    /// The statement that counts all rows, and its values.
    pub fn total(&self, table: &Table) -> (String, Vec<Value>) {
        (format!("SELECT COUNT(*) FROM {} WHERE {}", table.sql_name(), self.condition), self.values.clone())
    }

    /// How many columns the page is sorted by.
    pub fn sort_columns(&self) -> usize {
        self.order.len()
    }

    /// The token for the page after the row with these sort values.
    pub fn token(&self, seal: &Seal, place: &[Value]) -> Option<String> {
        let place: Vec<Cell> = place.iter().map(Cell::from).collect();
        Some(seal.seal(&self.digest, &serde_json::to_vec(&place).ok()?))
    }

    /// The rows behind a place. SQLite sorts absent values before all others.
    fn after(&self, place: &[Value], values: &mut Vec<Value>) -> String {
        let same_way = self.order.iter().all(|sort| sort.total && sort.descending == self.order[0].descending);
        if same_way {
            // The form that indexes answer.
            values.extend_from_slice(place);
            let columns: Vec<_> = self.order.iter().map(|sort| sort.sql.as_str()).collect();
            let operator = if self.order[0].descending { "<" } else { ">" };
            return format!("({}) {operator} ({})", columns.join(", "), vec!["?"; place.len()].join(", "));
        }
        let mut alternatives = Vec::new();
        for (at, sort) in self.order.iter().enumerate() {
            let mut parts = Vec::new();
            for (sort, value) in self.order[..at].iter().zip(place) {
                parts.push(format!("{} IS ?", sort.sql));
                values.push(value.clone());
            }
            let column = &sort.sql;
            match (&place[at], sort.descending) {
                (Value::Null, false) => parts.push(format!("{column} IS NOT NULL")),
                (Value::Null, true) => parts.push("FALSE".to_owned()),
                (value, descending) => {
                    parts.push(if descending {
                        format!("({column} < ? OR {column} IS NULL)")
                    } else {
                        format!("{column} > ?")
                    });
                    values.push(value.clone());
                }
            }
            alternatives.push(format!("({})", parts.join(" AND ")));
        }
        format!("({})", alternatives.join(" OR "))
    }
}

/// Where the key of one record is in a path: its values, with commas between them; for events the
/// record's id.
///
/// # Errors
/// The path is no key of this table.
pub fn key(table: &Table, path: &str) -> Result<(String, Vec<Value>), String> {
    if !table.keyed {
        let id: crate::shape::RecordId =
            path.parse().map_err(|_| "a record is addressed by its _id, 32 hexadecimal digits".to_owned())?;
        return Ok(("_deleted = 0 AND _id = ?".to_owned(), vec![Value::Blob(id.0.to_vec())]));
    }
    let keys: Vec<&Column> = table.keys().collect();
    let parts: Vec<&str> = if keys.len() == 1 { vec![path] } else { path.split(',').collect() };
    if parts.len() != keys.len() {
        let names: Vec<_> = keys.iter().map(|column| column.name.as_str()).collect();
        return Err(format!("a record is addressed by {}, with commas between them", names.join(", ")));
    }
    let mut condition = "_deleted = 0".to_owned();
    let mut values = Vec::with_capacity(keys.len());
    for (column, part) in keys.into_iter().zip(parts) {
        condition.push_str(&format!(" AND {} = ?", quoted(&column.name)));
        values.push(super::cells::parse(column, part)?);
    }
    Ok((condition, values))
}

/// The fields named by a comma-separated list; all when there is none.
///
/// # Errors
/// One does not exist.
pub fn fields(table: &Table, text: Option<&str>) -> Result<Vec<usize>, FieldError> {
    let Some(text) = text else { return Ok((0..table.columns.len()).collect()) };
    let mut places = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "_id") {
        let (place, _) = table
            .column(name)
            .ok_or_else(|| FieldError::new("fields", "unknown_field", format!("there is no field {name:?}")))?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

fn order(table: &Table, text: &str) -> Result<Vec<Sort>, FieldError> {
    let refused = |code: &str, detail: String| FieldError::new("order_by", code, detail);
    let mut order: Vec<Sort> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let mut words = item.split_whitespace();
        let name = words.next().unwrap_or_default();
        let descending = match (words.next(), words.next()) {
            (None, _) | (Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => return Err(refused("invalid_order", format!("{item:?} is not a field, or a field and desc"))),
        };
        let (_, column) =
            table.column(name).ok_or_else(|| refused("unknown_field", format!("there is no field {name:?}")))?;
        if column.data_type == DataType::Json {
            return Err(refused("invalid_order", format!("{name} holds JSON, which has no order")));
        }
        let sql = quoted(name);
        if order.iter().any(|sort| sort.sql == sql) {
            return Err(refused("invalid_order", format!("{name} is named twice")));
        }
        order.push(Sort { sql, descending, total: column.key && table.keyed });
    }
    if order.len() > MAX_ORDER {
        return Err(refused("invalid_order", format!("a list is sorted by at most {MAX_ORDER} fields")));
    }
    // Something unique comes last, in the direction of the rest, or pages would overlap.
    let descending = order.last().is_some_and(|sort| sort.descending);
    if table.keyed {
        for column in table.keys() {
            let sql = quoted(&column.name);
            if !order.iter().any(|sort| sort.sql == sql) {
                order.push(Sort { sql, descending, total: true });
            }
        }
    } else {
        order.push(Sort { sql: "_offset".to_owned(), descending, total: true });
    }
    Ok(order)
}

fn open(seal: &Seal, digest: &[u8], token: &str, columns: usize) -> Result<Vec<Value>, FieldError> {
    seal.open(digest, token)
        .and_then(|bytes| serde_json::from_slice::<Vec<Cell>>(&bytes).ok())
        .filter(|place| place.len() == columns)
        .map(|place| place.into_iter().map(Value::from).collect())
        .ok_or_else(|| {
            let detail = "the token is not from this list; filter and order_by must be those of the first page";
            FieldError::new("page_token", "invalid_page_token", detail)
        })
}

/// A sort value inside a token.
#[derive(Serialize, Deserialize)]
enum Cell {
    Null,
    Integer(i64),
    /// The bits: a place must come back exactly.
    Real(u64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<&Value> for Cell {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            Value::Real(value) => Self::Real(value.to_bits()),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Blob(value) => Self::Blob(value.clone()),
        }
    }
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Integer(value) => Self::Integer(value),
            Cell::Real(bits) => Self::Real(f64::from_bits(bits)),
            Cell::Text(value) => Self::Text(value),
            Cell::Blob(value) => Self::Blob(value),
        }
    }
}
