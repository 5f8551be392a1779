//! The channel's own OpenAPI document, made from what it carries.

use std::sync::Arc;

use headgate_types::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};
use headgate_types::schema::{DataType, Field};
use serde_json::{Map, Value, json};

use super::table::Table;

/// OpenAPI 3.1 for the channel at `url`.
pub fn openapi(name: &str, url: &str, tables: &[Arc<Table>]) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    schemas.insert("Problem".to_owned(), problem_schema());
    for table in tables {
        schemas.insert(table.name.clone(), record_schema(table));
        paths.insert(format!("/{}", table.name), json!({"get": list(table)}));
        paths.insert(format!("/{}/{{key}}", table.name), json!({"get": one(table)}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name, "version": "1",
            "description": "Records of this channel, kept up to date. Values are as the channel's output model makes them."
        },
        "servers": [{"url": url}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {
                "type": "http", "scheme": "bearer", "description": "The channel's key, or a token with data.read."
            }},
            "schemas": schemas
        }
    })
}

fn list(table: &Table) -> Value {
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let reference = format!("#/components/schemas/{}", table.name);
    let parameter = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description});
    let text = || json!({"type": "string"});
    json!({
        "operationId": format!("list_{}", table.name),
        "summary": format!("Records of {}", table.name),
        "parameters": [
            parameter("page_size", json!({
                "type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE
            }), "Records per page; fewer where they would have more bytes than the size of the channel allows an answer."),
            parameter("page_token", text(), "Where to go on: next_page_token of the page before, same filter and order_by."),
            parameter("filter", text(), &format!(
                "AIP-160 over the fields, for example `{} != null`. Fields: {}.", names.first().unwrap_or(&"_id"), names.join(", ")
            )),
            parameter("order_by", text(), "Fields with commas between them, each with ` desc` behind it where wanted."),
            parameter("fields", text(), "The fields wanted, with commas between them."),
            parameter("count", json!({"type": "boolean", "default": false}), "Whether to count all records that match."),
            parameter("format", json!({"enum": ["json", "ndjson", "csv"]}), "Representation; else by Accept.")
        ],
        "responses": {
            "200": {
                "description": "A page.",
                "headers": {
                    "ETag": {"schema": text()},
                    "Link": {"schema": text(), "description": "The next page (rel=next)."},
                    "X-Next-Page-Token": {"schema": text()},
                    "X-Total-Count": {"schema": {"type": "integer"}}
                },
                "content": {
                    "application/json": {"schema": {
                        "type": "object", "required": ["items"],
                        "properties": {
                            "items": {"type": "array", "items": {"$ref": reference}},
                            "next_page_token": text(),
                            "total_count": {"type": "integer"}
                        }
                    }},
                    "application/x-ndjson": {"schema": {"$ref": reference}},
                    "text/csv": {"schema": text()}
                }
            },
            "304": {"description": "Nothing changed since the page with this ETag."},
            "default": problem()
        }
    })
}

fn one(table: &Table) -> Value {
    let keys: Vec<_> = table.keys().map(|column| column.name.as_str()).collect();
    let description = if table.keyed {
        format!("{}, with commas between them.", keys.join(", "))
    } else {
        "The record's _id.".to_owned()
    };
    json!({
        "operationId": format!("get_{}", table.name),
        "summary": format!("One record of {}", table.name),
        "parameters": [
            {"name": "key", "in": "path", "required": true, "schema": {"type": "string"}, "description": description},
            {"name": "fields", "in": "query", "required": false, "schema": {"type": "string"},
             "description": "The fields wanted, with commas between them."}
        ],
        "responses": {
            "200": {
                "description": "The record.",
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{}", table.name)}}}
            },
            "304": {"description": "It did not change."},
            "default": problem()
        }
    })
}

fn problem() -> Value {
    json!({
        "description": "A problem document (RFC 9457).",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string"}, "code": {"type": "string"}, "request_id": {"type": "string"},
            "errors": {"type": "array", "items": {"type": "object", "properties": {
                "pointer": {"type": "string"}, "code": {"type": "string"}, "detail": {"type": "string"}
            }}}
        }
    })
}

fn record_schema(table: &Table) -> Value {
    let mut properties: Map<String, Value> =
        table.schema.fields.iter().map(|field| (field.name.clone(), field_schema(field))).collect();
    let id = json!({"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The record's id."});
    properties.insert("_id".to_owned(), id);
    json!({"type": "object", "required": ["_id"], "properties": properties})
}

fn field_schema(field: &Field) -> Value {
    let (name, format) = match field.data_type {
        DataType::Bool => ("boolean", None),
        DataType::Int64 => ("integer", Some("int64")),
        DataType::Float64 => ("number", Some("double")),
        DataType::String => ("string", None),
        DataType::Timestamp => ("string", Some("date-time")),
        DataType::Date => ("string", Some("date")),
        DataType::Json => return described(json!({}), field),
    };
    let mut schema = json!({"type": if field.required { json!(name) } else { json!([name, "null"]) }});
    if let Some(format) = format {
        schema["format"] = json!(format);
    }
    described(schema, field)
}

fn described(mut schema: Value, field: &Field) -> Value {
    if let Some(description) = &field.description {
        schema["description"] = json!(description);
    }
    if let Some(unit) = &field.unit {
        schema["x-unit"] = json!(unit);
    }
    schema
}
