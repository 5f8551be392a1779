//! The trading company: one data-in channel with four feeds, one consumer with four channels over
//! several elements each, and a second delivery that changes, moves and deletes rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Database, Organisation, Platform, Receiver, Records, assert_close, delivered, file, order};
use crate::harness::world::send_to;

/// A column: name, type, whether it belongs to the key.
type Column = (&'static str, &'static str, bool);

/// Feeds with their columns.
const FEEDS: [(&str, &[Column]); 4] = [
    (
        "customers",
        &[
            ("CustomerID", "string", true),
            ("CompanyName", "string", false),
            ("City", "string", false),
            ("Country", "string", false),
            ("Phone", "string", false),
        ],
    ),
    (
        "orders",
        &[
            ("OrderID", "int64", true),
            ("CustomerID", "string", false),
            ("OrderDate", "timestamp", false),
            ("ShippedDate", "timestamp", false),
            ("Freight", "float64", false),
            ("ShipAddress", "string", false),
            ("ShipCity", "string", false),
            ("ShipCountry", "string", false),
        ],
    ),
    (
        "order_lines",
        &[
            ("OrderID", "int64", true),
            ("ProductID", "int64", true),
            ("UnitPrice", "float64", false),
            ("Quantity", "int64", false),
            ("Discount", "float64", false),
        ],
    ),
    (
        "products",
        &[
            ("ProductID", "int64", true),
            ("ProductName", "string", false),
            ("UnitPrice", "float64", false),
            ("UnitsInStock", "int64", false),
            ("Discontinued", "int64", false),
        ],
    ),
];

type Row = Map<String, Value>;
/// The rows of an element by key.
type Table = BTreeMap<String, Row>;
/// What a scope makes of a row; `None`: it is out of scope.
type Scope = fn(&Row) -> Option<Value>;

#[tokio::test]
async fn northwind_changes_moves_and_deletes_reach_every_kind_of_channel_on_sqlite() {
    northwind(Database::Sqlite).await;
}

#[tokio::test]
async fn northwind_changes_moves_and_deletes_reach_every_kind_of_channel_on_postgres() {
    northwind(Database::Postgres).await;
}

async fn northwind(database: Database) {
    let platform = Platform::start(database).await.unwrap();
    let admin = platform.admin().await.unwrap();
    let provider = Organisation::create(&admin, &platform.control, "Northwind Traders").await.unwrap();
    let consumer = Organisation::create(&admin, &platform.control, "Forwarder").await.unwrap();
    let ordered_in = json!({
        "name": "northwind", "channel_profile": "http", "performance_profile": "L",
        "feeds": FEEDS.iter().map(|(name, columns)| feed(name, columns)).collect::<Vec<_>>(),
    });
    let channel = provider.order("in", &ordered_in, |_| {}, async |_, _| {}).await.unwrap();
    let mut elements = BTreeMap::new();
    for stream in channel.endpoint["streams"].as_array().unwrap() {
        let element = stream["element"].as_str().unwrap();
        provider
            .api
            .post(&format!("/v1/elements/{element}/grants"), &json!({"tenant": consumer.tenant}))
            .await
            .unwrap();
        elements.insert(stream["name"].as_str().unwrap().to_owned(), element.to_owned());
    }

    let payloads: BTreeMap<&str, Vec<Row>> =
        FEEDS.iter().map(|(name, _)| (*name, payload(&file(&format!("northwind/{name}.ndjson"))))).collect();
    let mut tables = BTreeMap::new();
    for (name, columns) in FEEDS {
        let receipt = send_to(&channel, name, "application/x-ndjson", ndjson(&payloads[name])).await.unwrap();
        assert_eq!((&receipt["records"], &receipt["refused"]), (&json!(payloads[name].len()), &json!(0)), "{name}");
        let mut table = Table::new();
        apply(&mut table, columns, &payloads[name]);
        assert_eq!(table.len(), payloads[name].len(), "{name} has unique keys");
        tables.insert(name, table);
    }

    let receiver = Receiver::start().await.unwrap();
    let plans = plans(&elements, &receiver.url);
    let orders = plans.iter().map(|plan| order(&consumer, &receiver, &plan.order));
    let channels = futures::future::join_all(orders).await;
    let inserts: Vec<Vec<Value>> = plans
        .iter()
        .map(|plan| {
            plan.scopes.iter().flat_map(|(name, scope)| changes(name, &Table::new(), &tables[name], *scope)).collect()
        })
        .collect();
    for ((plan, channel), inserts) in plans.iter().zip(&channels).zip(&inserts) {
        let read = delivered(&consumer, channel, plan.profile(), &receiver, inserts.len()).await;
        assert_close(&Records::of(inserts), &Records::of(&read), plan.profile());
    }

    let before = tables.clone();
    for (name, columns) in FEEDS {
        let (second, unchanged) = second_delivery(name, &payloads[name]);
        let receipt = send_to(&channel, name, "application/x-ndjson", ndjson(&second)).await.unwrap();
        let counts = ["records", "unchanged", "refused"].map(|count| receipt[count].as_u64().unwrap());
        assert_eq!(counts, [(second.len() - unchanged) as u64, unchanged as u64, 0], "{name}: {receipt}");
        apply(tables.get_mut(name).unwrap(), columns, &second);
    }
    for ((plan, channel), inserts) in plans.iter().zip(&channels).zip(&inserts) {
        let profile = plan.profile();
        let mut expected = inserts.clone();
        let mut moved_out = 0;
        for (name, scope) in &plan.scopes {
            let live = changes(name, &before[name], &tables[name], *scope);
            let left = |(key, row): (&String, &Row)| {
                scope(row).is_some() && tables[name].get(key).is_some_and(|row| scope(row).is_none())
            };
            moved_out += before[name].iter().filter(|row| left(*row)).count();
            expected.extend(live);
        }
        assert!(moved_out > 0, "{profile}: some row leaves the scope without being deleted at its source");
        let read = delivered(&consumer, channel, profile, &receiver, expected.len()).await;
        if profile == "api" {
            let rows: Vec<Value> =
                plan.scopes.iter().flat_map(|(name, scope)| tables[name].values().filter_map(*scope)).collect();
            assert_close(&Records::of(&rows), &Records::of(&read), profile);
        } else {
            assert_close(&Records::of_changes(&expected), &Records::of_changes(&read), profile);
        }
    }
}

/// One channel to order and what it is to hold.
struct Plan {
    order: Value,
    scopes: Vec<(&'static str, Scope)>,
}

impl Plan {
    fn profile(&self) -> &str {
        self.order["channel_profile"].as_str().unwrap()
    }
}

fn plans(elements: &BTreeMap<String, String>, webhook: &str) -> [Plan; 4] {
    let plan = |profile: &str, data: Value, model: Value, scopes: &[(&'static str, Scope)]| Plan {
        order: json!({"name": profile, "channel_profile": profile, "performance_profile": "L",
            "data": data, "output_data_model": model}),
        scopes: scopes.to_vec(),
    };
    let file = json!({"format": "ndjson", "roll_seconds": 1});
    [
        plan(
            "api",
            json!([
                {"element": elements["customers"], "filter": "Country IN ('Germany', 'France')",
                 "columns": ["CustomerID", "CompanyName", "City", "Country"]},
                {"element": elements["products"], "filter": "Discontinued = 0", "output_data_model": {"fields": [
                    {"name": "ProductID"}, {"name": "name", "from": "ProductName"},
                    {"name": "stock_value", "expression": "UnitPrice * UnitsInStock"},
                ]}},
            ]),
            json!({}),
            &[
                ("customers", |row| {
                    let inside = ["Germany", "France"].map(Value::from).contains(&row["Country"]);
                    inside.then(|| columns(row, &["CustomerID", "CompanyName", "City", "Country"]))
                }),
                ("products", |row| {
                    let value = float(row, "UnitPrice") * float(row, "UnitsInStock");
                    let product =
                        json!({"ProductID": row["ProductID"], "name": row["ProductName"], "stock_value": value});
                    (row["Discontinued"] == 0).then_some(product)
                }),
            ],
        ),
        plan(
            "file",
            json!([
                {"element": elements["order_lines"], "output_data_model": {"options": file, "fields": [
                    {"name": "OrderID"}, {"name": "ProductID"},
                    {"name": "total", "expression": "UnitPrice * Quantity * (1 - Discount)"},
                ]}},
                {"element": elements["orders"], "filter": "Freight >= 100",
                 "columns": ["OrderID", "CustomerID", "Freight"]},
            ]),
            json!({"options": file}),
            &[
                ("order_lines", |row| {
                    let total = float(row, "UnitPrice") * float(row, "Quantity") * (1.0 - float(row, "Discount"));
                    Some(json!({"OrderID": row["OrderID"], "ProductID": row["ProductID"], "total": total}))
                }),
                ("orders", |row| {
                    (float(row, "Freight") >= 100.0).then(|| columns(row, &["OrderID", "CustomerID", "Freight"]))
                }),
            ],
        ),
        plan(
            "stream",
            json!([
                {"element": elements["orders"], "filter": "ShipCountry = 'Germany'", "output_data_model": {"fields": [
                    {"name": "order", "from": "OrderID", "type": "string"},
                    {"name": "on", "from": "OrderDate", "type": "date"},
                    {"name": "to", "expression": "upper(ShipCity)"},
                ]}},
                {"element": elements["customers"], "filter": "Country = 'Germany'"},
            ]),
            json!({}),
            &[
                ("orders", |row| {
                    let date = row["OrderDate"].as_str().unwrap().split('T').next();
                    let city = row["ShipCity"].as_str().unwrap().to_uppercase();
                    let german = row["ShipCountry"] == "Germany";
                    german.then(|| json!({"order": row["OrderID"].to_string(), "on": date, "to": city}))
                }),
                ("customers", |row| (row["Country"] == "Germany").then(|| Value::Object(row.clone()))),
            ],
        ),
        plan(
            "webhook",
            json!([
                {"element": elements["orders"], "filter": "ShippedDate IS NOT NULL AND Freight > 50"},
                {"element": elements["order_lines"], "filter": "Quantity >= 40",
                 "columns": ["OrderID", "ProductID", "Quantity"]},
            ]),
            json!({"options": {"url": webhook, "batch_records": 500}}),
            &[
                ("orders", |row| {
                    let inside = !row["ShippedDate"].is_null() && float(row, "Freight") > 50.0;
                    inside.then(|| Value::Object(row.clone()))
                }),
                ("order_lines", |row| {
                    (float(row, "Quantity") >= 40.0).then(|| columns(row, &["OrderID", "ProductID", "Quantity"]))
                }),
            ],
        ),
    ]
}

fn feed(name: &str, columns: &[(&str, &str, bool)]) -> Value {
    let fields: Vec<Value> = columns
        .iter()
        .map(|(name, data_type, key)| json!({"name": name, "type": data_type, "key": key, "required": key}))
        .collect();
    // The file has `"0"` and `"1"`: text that a model turns into a number.
    let inputs: Vec<Value> =
        columns.iter().map(|(name, ..)| json!({"name": name, "cast": *name == "Discontinued"})).collect();
    json!({
        "name": name,
        "new_element": {
            "name": format!("northwind/{name}"), "kind": "entity", "schema": {"fields": fields},
            "metadata": {"context": "trade", "source": "Northwind", "format": "ndjson", "what": name,
                "identified_by": "its key"},
        },
        "input_model": {"fields": inputs},
    })
}

fn payload(text: &str) -> Vec<Row> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ndjson(rows: &[Row]) -> String {
    rows.iter().map(|row| json!(row).to_string() + "\n").collect()
}

/// The second payload of a feed and how many of its rows say nothing new.
fn second_delivery(name: &str, rows: &[Row]) -> (Vec<Row>, usize) {
    let mut sent = Vec::new();
    let mut unchanged = 0;
    for (index, row) in rows.iter().enumerate() {
        let mut row = row.clone();
        match (name, index % 7) {
            ("customers", 0) => row["Country"] = json!(if row["Country"] == "Germany" { "Austria" } else { "Germany" }),
            ("customers", 1) => row["Phone"] = json!("unlisted"),
            ("orders", 0) => {
                row["ShipCountry"] = json!(if row["ShipCountry"] == "Germany" { "Austria" } else { "Germany" })
            }
            ("orders", 1) => row["Freight"] = json!(row["Freight"].as_f64().unwrap() / 2.0),
            ("orders", 2) => row["ShipAddress"] = json!("PO box"),
            ("order_lines", 0) => row["Quantity"] = json!(turned(row["Quantity"].as_i64().unwrap())),
            ("products", 0) => row["UnitPrice"] = json!(99.5),
            ("products", 1) => row["Discontinued"] = json!(if row["Discontinued"] == "0" { "1" } else { "0" }),
            (_, 3) => unchanged += 1,
            (_, 4) if index % 35 == 4 => {
                row.insert("_op".to_owned(), json!("delete"));
            }
            _ => continue,
        }
        sent.push(row);
    }
    (sent, unchanged)
}

/// Applies a payload to a table as the feed's model says.
fn apply(table: &mut Table, columns: &[(&str, &str, bool)], rows: &[Row]) {
    for row in rows {
        let typed: Row = columns.iter().map(|(name, kind, _)| ((*name).to_owned(), typed(kind, &row[*name]))).collect();
        let key: Vec<String> =
            columns.iter().filter(|(.., key)| *key).map(|(name, ..)| row[*name].to_string()).collect();
        if row.get("_op").is_some() {
            table.remove(&key.join("/"));
        } else {
            table.insert(key.join("/"), typed);
        }
    }
}

fn typed(kind: &str, value: &Value) -> Value {
    match (kind, value) {
        ("timestamp", Value::String(text)) => {
            // Every one of the file is a whole second.
            json!(text.replace(' ', "T").replace(".000", "Z"))
        }
        ("int64", Value::String(text)) => json!(text.parse::<i64>().unwrap()),
        _ => value.clone(),
    }
}

/// What a scope is sent when a table goes from one state to another.
fn changes(name: &str, before: &Table, after: &Table, scope: Scope) -> Vec<Value> {
    let mut changes = Vec::new();
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (was, is) = (before.get(key).and_then(scope), after.get(key).and_then(scope));
        let (operation, mut record) = match (was, is) {
            (None, Some(record)) => ("upsert", record),
            (Some(was), Some(is)) if was != is => ("upsert", is),
            (Some(was), None) => ("delete", key_of(name, &was)),
            _ => continue,
        };
        record["_op"] = json!(operation);
        changes.push(record);
    }
    changes
}

/// The key fields of an output record, under the names that the models give them.
fn key_of(name: &str, record: &Value) -> Value {
    let keys: &[&str] = match name {
        "customers" => &["CustomerID"],
        "orders" => &["OrderID", "order"],
        "order_lines" => &["OrderID", "ProductID"],
        _ => &["ProductID"],
    };
    let record = record.as_object().unwrap();
    record.iter().filter(|(field, _)| keys.contains(&field.as_str())).map(|(f, v)| (f.clone(), v.clone())).collect()
}

fn columns(row: &Row, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect()
}

fn float(row: &Row, name: &str) -> f64 {
    row[name].as_f64().unwrap()
}

/// Another quantity, mostly on the other side of forty.
const fn turned(quantity: i64) -> i64 {
    if quantity >= 40 { quantity - 39 } else { quantity + 40 }
}
