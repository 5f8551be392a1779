//! One element as a table: its columns, its statements.

use headgate_types::schema::{DataType, ElementKind, Schema};
use headgate_types::{ElementId, FieldError};

use super::settings::Settings;
use crate::technology::OutputElement;

/// A column of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The field's name; a letter, then letters, digits and underscores, so it is safe in quotes.
    pub name: String,
    /// The declared type.
    pub data_type: DataType,
    /// Whether it belongs to the key.
    pub key: bool,
}

/// An element in the store.
#[derive(Debug, Clone)]
pub struct Table {
    /// The element.
    pub element: ElementId,
    /// The name in paths.
    pub name: String,
    /// Whether records replace one another by key.
    pub keyed: bool,
    /// The output fields, in order.
    pub columns: Vec<Column>,
    /// The fields with their meaning, for the document.
    pub schema: Schema,
    /// Revision of the output model.
    pub model_version: u32,
    /// What the owner chose.
    pub settings: Settings,
    sql: String,
}

impl Table {
    /// The table of one element in scope.
    ///
    /// # Errors
    /// The options are wrong, or an index names a field that does not exist.
    pub fn new(output: &OutputElement) -> Result<Self, Vec<FieldError>> {
        let settings = Settings::read(&output.options)?;
        let columns: Vec<Column> = output
            .schema
            .fields
            .iter()
            .map(|field| Column { name: field.name.clone(), data_type: field.data_type, key: field.key })
            .collect();
        let unknown = settings.indexes.iter().enumerate().filter(|(_, name)| !columns.iter().any(|c| c.name == **name));
        let errors: Vec<_> = unknown
            .map(|(at, name)| {
                FieldError::new(format!("/indexes/{at}"), "unknown_field", format!("there is no field {name:?}"))
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            element: output.element,
            name: output.name.clone(),
            keyed: output.kind != ElementKind::Events,
            columns,
            schema: output.schema.clone(),
            model_version: output.model_version,
            settings,
            sql: format!("r_{}", output.element.uuid().simple()),
        })
    }

    /// The table's name in SQL.
    pub fn sql_name(&self) -> &str {
        &self.sql
    }

    /// The column of this name, and its place.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// The key columns.
    pub fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key)
    }

    /// What the rows were shaped by. Rows of another shape are of no use: the table starts again.
    pub fn shape(&self) -> String {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|c| format!("{} {}{}", c.name, c.data_type, if c.key { " key" } else { "" }))
            .collect();
        format!("{}; {}; {}", if self.keyed { "keyed" } else { "events" }, self.model_version, columns.join(", "))
    }

    /// Statements that make the table and its indexes.
    pub fn create(&self) -> String {
        let columns: String = self
            .columns
            .iter()
            .map(|column| format!(", {} {}", quoted(&column.name), sql_type(column.data_type)))
            .collect();
        let table = &self.sql;
        let position = if self.keyed { "_offset INTEGER NOT NULL" } else { "_offset INTEGER PRIMARY KEY" };
        let mut statements =
            format!("CREATE TABLE {table} ({position}, _id BLOB NOT NULL, _deleted INTEGER NOT NULL{columns});");
        if self.keyed {
            let keys: Vec<_> = self.keys().map(|column| quoted(&column.name)).collect();
            statements.push_str(&format!("CREATE UNIQUE INDEX {table}_key ON {table} ({});", keys.join(", ")));
            statements.push_str(&format!("CREATE INDEX {table}_gone ON {table} (_offset) WHERE _deleted = 1;"));
        } else {
            statements.push_str(&format!("CREATE UNIQUE INDEX {table}_id ON {table} (_id);"));
        }
        statements
    }

    /// Statements that make the chosen indexes and drop those chosen no more, given which exist.
    pub fn index(&self, existing: &[String]) -> String {
        let prefix = format!("{}_on_", self.sql);
        let wanted: Vec<String> = self.settings.indexes.iter().map(|name| format!("{prefix}{name}")).collect();
        let gone = existing.iter().filter(|name| name.starts_with(&prefix) && !wanted.contains(name));
        let mut statements: String = gone.map(|name| format!("DROP INDEX {};", quoted(name))).collect();
        for (name, index) in self.settings.indexes.iter().zip(&wanted) {
            let (index, column) = (quoted(index), quoted(name));
            statements.push_str(&format!("CREATE INDEX IF NOT EXISTS {index} ON {} ({column});", self.sql));
        }
        statements
    }

    /// Writes one record; parameters: offset, id, deleted, then the columns. A record that is not
    /// newer than the one held changes nothing (rule 25).
    pub fn upsert(&self) -> String {
        let (mut names, mut places) = (String::new(), String::new());
        for (at, column) in self.columns.iter().enumerate() {
            names.push_str(&format!(", {}", quoted(&column.name)));
            places.push_str(&format!(", ?{}", at + 4));
        }
        let insert =
            format!("INSERT INTO {} AS t (_offset, _id, _deleted{names}) VALUES (?1, ?2, ?3{places})", self.sql);
        if !self.keyed {
            return format!("{insert} ON CONFLICT (_offset) DO NOTHING");
        }
        let keys: Vec<_> = self.keys().map(|column| quoted(&column.name)).collect();
        let sets: String = self
            .columns
            .iter()
            .filter(|column| !column.key)
            .map(|column| format!(", {0} = excluded.{0}", quoted(&column.name)))
            .collect();
        format!(
            "{insert} ON CONFLICT ({}) DO UPDATE SET _offset = excluded._offset, _id = excluded._id, \
             _deleted = excluded._deleted{sets} WHERE excluded._offset > t._offset",
            keys.join(", ")
        )
    }
}

/// A name in SQL. Names hold letters, digits and underscores only.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Booleans are 0 and 1, times microseconds since 1970 in UTC, dates days since then: integers
/// compare and index as the values they stand for.
const fn sql_type(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool | DataType::Int64 | DataType::Timestamp | DataType::Date => "INTEGER",
        DataType::Float64 => "REAL",
        DataType::String | DataType::Json => "TEXT",
    }
}
