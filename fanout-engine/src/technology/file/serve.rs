//! Reading files: `GET /` (the manifest), `GET|HEAD|DELETE /files/{name}`.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headgate_types::page::page_size;
use headgate_types::{ErrorKind, Problem, SharedClock};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::store::{Listed, Store};
use crate::addresses::Addresses;
use crate::technology::conditional::is_known;
use crate::technology::problem::{Refused, finished};
use crate::technology::{OpenChannel, problem};

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Reading {
    store: Arc<Store>,
    clock: SharedClock,
    url: Arc<str>,
}

/// What a file channel answers.
pub fn addresses() -> Addresses<Reading> {
    Addresses::default().get("/", manifest).get("/files/{name}", download).delete("/files/{name}", remove)
}

/// The router of one file channel.
pub fn router(store: Arc<Store>, channel: &OpenChannel) -> Addresses {
    let reading = Reading { store, clock: channel.clock.clone(), url: channel.public_url.as_str().into() };
    addresses().with_state(reading)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    page_size: Option<u32>,
    page_token: Option<u64>,
}

async fn manifest(
    State(reading): State<Reading>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(page) = page?;
    let size = page_size(page.page_size) as usize;
    let files = reading.store.list(page.page_token.unwrap_or(0), size + 1).await?;
    let next = (files.len() > size).then(|| files[size - 1].sequence.to_string());
    let items: Vec<_> = files
        .into_iter()
        .take(size)
        .map(|file| {
            let mut item = json!(file);
            item["url"] = json!(format!("{}/files/{}", reading.url, file.name));
            item
        })
        .collect();
    let mut page = json!({"items": items});
    if let Some(next) = next {
        page["next_page_token"] = json!(next);
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

async fn remove(State(reading): State<Reading>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    match reading.store.delete(name, reading.clock.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_found()),
    }
}

/// A whole file or one range of it (RFC 9110 §14). Files never change, so the digest is a strong
/// validator and an interrupted download can always be taken up again.
async fn download(
    State(reading): State<Reading>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (file, path) = reading.store.find(name).await?.ok_or_else(not_found)?;
    let etag = format!("\"{}\"", file.sha256);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let response = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, content_type(&file))
        .header(header::CACHE_CONTROL, "private, max-age=31536000, immutable");
    if text(header::IF_NONE_MATCH).is_some_and(|known| is_known(known, &etag)) {
        return Ok(finished(response.status(StatusCode::NOT_MODIFIED).body(Body::empty())));
    }
    let asked = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|tag| tag == etag));
    let range = match asked.map(|asked| range(asked, file.bytes)) {
        None | Some(Asked::Whole) => None,
        Some(Asked::Part(start, end)) => Some((start, end)),
        Some(Asked::Outside) => {
            let detail = format!("the file has {} bytes", file.bytes);
            let mut refused = problem(&Problem::new(ErrorKind::RangeNotSatisfiable, "range_not_satisfiable", detail));
            if let Ok(value) = format!("bytes */{}", file.bytes).parse() {
                refused.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return Ok(refused);
        }
    };
    let (start, end) = range.unwrap_or((0, file.bytes.saturating_sub(1)));
    let length = if file.bytes == 0 { 0 } else { end + 1 - start };
    let response = match range {
        None => response.status(StatusCode::OK),
        Some(_) => response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{end}/{}", file.bytes)),
    };
    let response = response.header(header::CONTENT_LENGTH, length);
    if method == Method::HEAD {
        return Ok(finished(response.body(Body::empty())));
    }
    let opened = async {
        let mut content = tokio::fs::File::open(&path).await?;
        content.seek(SeekFrom::Start(start)).await?;
        Ok::<_, std::io::Error>(content.take(length))
    };
    // It was deleted between the look-up and now.
    let content = opened.await.map_err(|_| not_found())?;
    Ok(finished(response.body(Body::from_stream(ReaderStream::with_capacity(content, 64 << 10)))))
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(u64, u64),
    Outside,
}

/// Reads a `Range` header for a file of `size` bytes. More than one range, or another unit, is
/// answered with the whole file, which RFC 9110 allows.
fn range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|ranges| ranges.split_once('-')) else {
        return Asked::Whole;
    };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last && first < size => Asked::Part(first, last.min(size - 1)),
        (Ok(first), Err(_)) if last.trim().is_empty() && first < size => Asked::Part(first, size - 1),
        (Err(_), Ok(suffix)) if first.trim().is_empty() && suffix > 0 && size > 0 => {
            Asked::Part(size.saturating_sub(suffix), size - 1)
        }
        (Ok(_), Ok(_)) => Asked::Outside,
        (Ok(_), Err(_)) if last.trim().is_empty() => Asked::Outside,
        _ => Asked::Whole,
    }
}

fn content_type(file: &Listed) -> &'static str {
    use super::Format;
    match file.format.as_str() {
        "csv" => Format::Csv.content_type(),
        "parquet" => Format::Parquet.content_type(),
        _ => Format::Ndjson.content_type(),
    }
}

fn not_found() -> Refused {
    let detail = "the channel has no such file; it may have been deleted";
    Problem::new(ErrorKind::NotFound, "file_not_found", detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_ranges_lie_within_the_file() {
        for size in [0, 1, 10, u64::MAX] {
            let seeds = ["bytes=0-3", "bytes=4-", "bytes=-4", "bytes=10-18446744073709551615"];
            crate::fuzz::text("fanout-engine/src/technology/file/serve.rs range", &seeds, |text| {
                let asked = range(text, size);
                if let Asked::Part(start, end) = asked {
                    assert!(start <= end && end < size, "{text} of {size}");
                }
                asked
            });
        }
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        assert_eq!(range("bytes=0-3", 10), Asked::Part(0, 3));
        assert_eq!(range("bytes=4-", 10), Asked::Part(4, 9));
        assert_eq!(range("bytes=-4", 10), Asked::Part(6, 9));
        assert_eq!(range("bytes=-40", 10), Asked::Part(0, 9));
        assert_eq!(range("bytes=8-40", 10), Asked::Part(8, 9));
        assert_eq!(range("bytes=10-", 10), Asked::Outside);
        assert_eq!(range("bytes=5-3", 10), Asked::Outside);
        assert_eq!(range("bytes=0-1,4-5", 10), Asked::Whole);
        assert_eq!(range("lines=0-1", 10), Asked::Whole);
    }
}
