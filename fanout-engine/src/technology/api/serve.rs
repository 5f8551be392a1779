//! Reading the store: `GET /`, `GET /openapi.json`, `GET /{table}`, `GET /{table}/{key}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as QueryParameters, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use headgate_types::{ErrorKind, FieldError, Problem};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::document;
use super::query::{self, Parameters, Query};
use super::render::{self, Format};
use super::store::{Store, failed};
use super::table::Table;
use crate::addresses::Addresses;
use crate::technology::conditional::is_known;
use crate::technology::problem::{Refused, finished};
use crate::technology::{Read, SinkError};

/// How long one statement may run.
const DEADLINE: Duration = Duration::from_secs(10);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Reading {
    store: Arc<Store>,
    name: Arc<str>,
    url: Arc<str>,
}

/// What an api channel answers. A query counts as a read until it ends, even if nobody waits for it any more.
pub fn addresses() -> Addresses<Reading> {
    Addresses::default().get("/", index).get("/openapi.json", openapi).get("/{table}", list).get("/{table}/{key}", one)
}

/// The router of the channel `name` at `url`.
///
/// # Errors
/// An origin of the options is no header value.
pub fn router(store: Arc<Store>, name: &str, url: &str) -> Result<Addresses, SinkError> {
    let mut origins: Vec<HeaderValue> = Vec::new();
    for origin in store.tables().iter().flat_map(|table| &table.settings.cors_origins) {
        let value = HeaderValue::from_str(origin).map_err(|_| SinkError::reject(format!("{origin:?} is no origin")))?;
        if !origins.contains(&value) {
            origins.push(value);
        }
    }
    let reading = Reading { store, name: name.into(), url: url.into() };
    let router = addresses().with_state(reading);
    if origins.is_empty() {
        return Ok(router);
    }
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::AUTHORIZATION, header::ACCEPT, header::IF_NONE_MATCH])
        .expose_headers([header::ETAG, header::LINK, NEXT_PAGE, TOTAL])
        .max_age(Duration::from_secs(3_600));
    Ok(router.cors(cors))
}

const NEXT_PAGE: HeaderName = HeaderName::from_static("x-next-page-token");
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

async fn index(State(reading): State<Reading>) -> Response {
    let items: Vec<Value> = reading
        .store
        .tables()
        .iter()
        .map(|table| {
            json!({
                "name": table.name,
                "kind": if table.keyed { "entity" } else { "events" },
                "url": format!("{}/{}", reading.url, table.name),
                "model_version": table.model_version,
                "fields": table.schema.fields,
            })
        })
        .collect();
    let openapi = format!("{}/openapi.json", reading.url);
    Json(json!({"name": &*reading.name, "items": items, "openapi_url": openapi})).into_response()
}

async fn openapi(State(reading): State<Reading>) -> Response {
    Json(document::openapi(&reading.name, &reading.url, reading.store.tables())).into_response()
}

async fn list(
    State(reading): State<Reading>,
    read: Option<Extension<Read>>,
    Path(name): Path<String>,
    parameters: Result<QueryParameters<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let QueryParameters(parameters) = parameters?;
    let table = reading.table(&name)?;
    let query = Query::new(&table, reading.store.seal(), &parameters).map_err(Refused::field)?;
    let format = format(parameters.format.as_deref(), &headers)?;
    let store = Arc::clone(&reading.store);
    let known = text(&headers, header::IF_NONE_MATCH);
    let asked = digest(&parameters, format);
    let page = store
        .clone()
        .read(move |connection| {
            let _read = read;
            page(connection, &store, &table, &query, format, &asked, known.as_deref())
        })
        .await?;
    Ok(match page {
        Page::Same { etag } => unchanged(&etag),
        Page::Rows { etag, body, next, total } => {
            let mut response = answer(format, &etag);
            if let Some(next) = &next {
                response = response.header(NEXT_PAGE, next);
                response = response.header(header::LINK, reading.link(&name, &parameters, next));
            }
            if let Some(total) = total {
                response = response.header(TOTAL, total);
            }
            finished(response.body(Body::from(enveloped(format, body, next, total))))
        }
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneParameters {
    fields: Option<String>,
}

async fn one(
    State(reading): State<Reading>,
    read: Option<Extension<Read>>,
    Path((name, key)): Path<(String, String)>,
    parameters: Result<QueryParameters<OneParameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let QueryParameters(parameters) = parameters?;
    let table = reading.table(&name)?;
    let fields = query::fields(&table, parameters.fields.as_deref()).map_err(Refused::field)?;
    let (condition, values) = query::key(&table, &key).map_err(|_| no_record())?;
    let found = reading
        .store
        .read(move |connection| {
            let _read = read;
            limited(connection, |connection| {
                let names = fields.iter().map(|place| super::table::quoted(&table.columns[*place].name));
                let columns: Vec<_> = names.chain(["_id".to_owned()]).collect();
                let sql = format!("SELECT {} FROM {} WHERE {condition}", columns.join(", "), table.sql_name());
                let mut statement = connection.prepare_cached(&sql)?;
                let object = |row: &rusqlite::Row<'_>| {
                    let mut body = Vec::new();
                    render::object(&mut body, &table, &fields, row)?;
                    Ok(body)
                };
                statement.query_row(params_from_iter(values), object).optional()
            })
        })
        .await?;
    let body = found.ok_or_else(no_record)?;
    // A record's bytes are all there is to it.
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
    if text(&headers, header::IF_NONE_MATCH).is_some_and(|known| is_known(&known, &etag)) {
        return Ok(unchanged(&etag));
    }
    Ok(finished(answer(Format::Json, &etag).body(Body::from(body))))
}

impl Reading {
    fn table(&self, name: &str) -> Result<Arc<Table>, Refused> {
        let found = self.store.tables().iter().find(|table| table.name == name);
        found.cloned().ok_or_else(|| {
            Problem::new(ErrorKind::NotFound, "table_not_found", format!("the channel has no {name:?}")).into()
        })
    }

    /// The address of the next page (RFC 8288).
    fn link(&self, name: &str, parameters: &Parameters, next: &str) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        let size = parameters.page_size.map(|size| size.to_string());
        for (key, value) in [
            ("filter", parameters.filter.as_deref()),
            ("order_by", parameters.order_by.as_deref()),
            ("fields", parameters.fields.as_deref()),
            ("format", parameters.format.as_deref()),
            ("page_size", size.as_deref()),
            ("page_token", Some(next)),
        ] {
            if let Some(value) = value {
                pairs.append_pair(key, value);
            }
        }
        format!("<{}/{name}?{}>; rel=\"next\"", self.url, pairs.finish())
    }
}

enum Page {
    Same { etag: String },
    Rows { etag: String, body: Vec<u8>, next: Option<String>, total: Option<u64> },
}

fn page(
    connection: &mut Connection,
    store: &Store,
    table: &Table,
    query: &Query,
    format: Format,
    asked: &[u8],
    known: Option<&str>,
) -> Result<Page, Refused> {
    limited(connection, |connection| {
        // One snapshot for the count of changes, the rows and their number.
        let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let changes: i64 = tx
            .prepare_cached("SELECT changes FROM elements WHERE element = ?1")?
            .query_row([table.element.to_string()], |row| row.get(0))?;
        let etag = etag(store.instance(), table, changes, asked);
        if known.is_some_and(|known| is_known(known, &etag)) {
            return Ok(Page::Same { etag });
        }
        let (sql, values) = query.select(table);
        let mut statement = tx.prepare_cached(&sql)?;
        let rendered =
            render::rows(table, query, format, store.answer_bytes(), &mut statement.query(params_from_iter(values))?)?;
        let total: Option<u64> = match query.count {
            true => {
                let (sql, values) = query.total(table);
                let count: i64 = tx.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?;
                Some(count as u64)
            }
            false => None,
        };
        let next = rendered.next.and_then(|place| query.token(store.seal(), &place));
        Ok(Page::Rows { etag, body: rendered.body, next, total })
    })
}

/// Runs statements until the deadline.
fn limited<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Refused> {
    let end = Instant::now() + DEADLINE;
    connection.progress_handler(STEPS, Some(move || Instant::now() > end)).map_err(failed)?;
    let result = work(connection);
    connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
    result.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => {
            let detail = format!(
                "the query took longer than {} seconds; index the fields it filters and sorts by (option indexes)",
                DEADLINE.as_secs()
            );
            Problem::new(ErrorKind::Unprocessable, "query_too_slow", detail).into()
        }
        _ => Refused::from(failed(error)),
    })
}

fn etag(instance: u64, table: &Table, changes: i64, asked: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(instance.to_be_bytes());
    digest.update(table.element.uuid().as_bytes());
    digest.update(changes.to_be_bytes());
    digest.update(asked);
    format!("\"{}\"", hex::encode(&digest.finalize()[..16]))
}

/// What distinguishes one list request from another.
fn digest(parameters: &Parameters, format: Format) -> Vec<u8> {
    format!("{parameters:?} {format:?}").into_bytes()
}

fn format(parameter: Option<&str>, headers: &HeaderMap) -> Result<Format, Refused> {
    Format::choose(parameter, text(headers, header::ACCEPT).as_deref()).map_err(|asked| match parameter {
        Some(_) => {
            let detail = format!("{asked:?} is none of json, ndjson and csv");
            Refused::field(FieldError::new("format", "invalid_format", detail))
        }
        None => {
            let detail = "lists are application/json, application/x-ndjson or text/csv";
            Problem::new(ErrorKind::NotAcceptable, "not_acceptable", detail).into()
        }
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn enveloped(format: Format, rows: Vec<u8>, next: Option<String>, total: Option<u64>) -> Vec<u8> {
    if format != Format::Json {
        return rows;
    }
    let mut body = Vec::with_capacity(rows.len() + 128);
    body.extend_from_slice(b"{\"items\":[");
    body.extend_from_slice(&rows);
    body.push(b']');
    if let Some(next) = next {
        body.extend_from_slice(format!(",\"next_page_token\":\"{next}\"").as_bytes());
    }
    if let Some(total) = total {
        body.extend_from_slice(format!(",\"total_count\":{total}").as_bytes());
    }
    body.push(b'}');
    body
}

fn answer(format: Format, etag: &str) -> axum::http::response::Builder {
    Response::builder()
        .header(header::CONTENT_TYPE, format.content_type())
        .header(header::ETAG, etag)
        .header(header::CACHE_CONTROL, "private, no-cache")
        .header(header::VARY, "Accept, Authorization")
}

fn unchanged(etag: &str) -> Response {
    let response = Response::builder().status(StatusCode::NOT_MODIFIED).header(header::ETAG, etag);
    finished(response.header(header::CACHE_CONTROL, "private, no-cache").body(Body::empty()))
}

fn no_record() -> Refused {
    Problem::new(ErrorKind::NotFound, "record_not_found", "there is no such record").into()
}
