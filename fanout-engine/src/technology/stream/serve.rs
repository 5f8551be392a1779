//! Reading a stream: `GET /` (its ends), `/records` (NDJSON long poll), `/sse`, `/ws`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query as QueryOf, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt};
use headgate_types::{ErrorKind, Problem, SharedClock};
use serde_json::json;

use super::block::Kept;
use super::follow::{Follower, Next};
use super::query::Query;
use super::ring::Ring;
use crate::addresses::Addresses;
use crate::technology::problem::Refused;
use crate::technology::{OpenChannel, Read};

/// The header that says where to read on.
const NEXT_POSITION: &str = "headgate-next-position";
/// How often a quiet connection shows that it lives; below the idle limits of common proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A connection that stays ends after this long, and the client comes back with its last position: whoever
/// had its key rotated, or was revoked, does not read on for longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How long a client that does not read is waited for when its connection ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// Records taken from the ring at once by a connection that stays.
const CHUNK: usize = 500;

/// What the handlers read from.
#[derive(Debug, Clone)]
pub struct Reading {
    ring: Arc<Ring>,
    elements: Arc<[String]>,
    clock: SharedClock,
    longest: Duration,
}

/// The router of one stream channel.
pub fn router(ring: Arc<Ring>, channel: &OpenChannel) -> Addresses {
    let elements = channel.elements.iter().map(|output| output.name.clone()).collect();
    addresses().with_state(Reading::new(ring, elements, channel.clock.clone()))
}

/// What a stream channel answers.
pub fn addresses() -> Addresses<Reading> {
    Addresses::default().get("/", ends).get("/records", poll).get("/sse", sse).get("/ws", socket)
}

type Asked = Result<QueryOf<Query>, QueryRejection>;

impl Reading {
    /// A ring read by the names of its elements.
    pub fn new(ring: Arc<Ring>, elements: Vec<String>, clock: SharedClock) -> Self {
        Self { elements: elements.into(), clock, longest: LONGEST, ring }
    }

    /// The same with connections that end after `longest`.
    #[cfg(test)]
    pub fn ending_after(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Checks the request.
    async fn begin(&self, asked: Asked, headers: &HeaderMap) -> Result<(Query, Follower), Refused> {
        let QueryOf(query) = asked?;
        if let Some(name) = &query.element
            && !self.elements.contains(name)
        {
            let detail = format!("the channel has no element {name:?}; it carries {}", self.elements.join(", "));
            return Err(Problem::new(ErrorKind::Invalid, "unknown_element", detail).into());
        }
        // What aged out while nothing was written must not be shown.
        if let Err(error) = self.ring.trim(self.clock.now()).await {
            tracing::warn!(%error, "failed to trim a stream");
        }
        let ends = *self.ring.ends().borrow();
        let start = query.start(headers, ends)?;
        let follower = Follower::new(Arc::clone(&self.ring), start, query.element.clone());
        Ok((query, follower))
    }
}

async fn ends(State(reading): State<Reading>) -> Response {
    let ends = *reading.ring.ends().borrow();
    Json(json!({
        "elements": &*reading.elements,
        "earliest": ends.floor,
        "latest": ends.last,
        "bytes": ends.bytes,
        "records": "records?after=earliest&wait=30",
        "sse": "sse",
        "ws": "ws",
    }))
    .into_response()
}

async fn poll(State(reading): State<Reading>, headers: HeaderMap, asked: Asked) -> Result<Response, Refused> {
    let (query, mut follower) = reading.begin(asked, &headers).await?;
    let records = match follower.next(query.limit(), query.wait()).await? {
        Next::Records(records) => records,
        Next::Nothing | Next::Closed => Vec::new(),
    };
    let mut body = Vec::with_capacity(records.iter().map(|record| record.json.len() + 96).sum());
    for record in &records {
        envelope(record, &mut body);
        body.push(b'\n');
    }
    let response = Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .header(header::CACHE_CONTROL, "no-store")
        .header(NEXT_POSITION, follower.position())
        .body(Body::from(body));
    Ok(response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
}

async fn sse(State(reading): State<Reading>, headers: HeaderMap, asked: Asked) -> Result<Response, Refused> {
    let (_, follower) = reading.begin(asked, &headers).await?;
    let events = events(follower).take_until(tokio::time::sleep(reading.longest));
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Buffering proxies would hold events back.
    Ok(([("x-accel-buffering", "no")], stream).into_response())
}

fn events(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    let chunks = futures::stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next(CHUNK, KEEP_ALIVE).await {
            Ok(Next::Records(records)) => {
                let events = records.iter().map(event).collect::<Vec<_>>();
                Some((events, Some(follower)))
            }
            Ok(Next::Nothing) => Some((Vec::new(), Some(follower))),
            Ok(Next::Closed) => None,
            Err(problem) => {
                let event = Event::default().event("problem").data(json!(problem).to_string());
                Some((vec![event], None))
            }
        }
    });
    chunks.flat_map(|events| futures::stream::iter(events.into_iter().map(Ok)))
}

fn event(record: &Kept) -> Event {
    Event::default().id(record.position.to_string()).event(&*record.element).data(String::from_utf8_lossy(&record.json))
}

async fn socket(
    State(reading): State<Reading>,
    read: Option<Extension<Read>>,
    headers: HeaderMap,
    asked: Asked,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Refused> {
    let upgrade =
        upgrade.map_err(|rejection| Problem::new(ErrorKind::Invalid, "websocket_expected", rejection.body_text()))?;
    let (_, follower) = reading.begin(asked, &headers).await?;
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let ended = tokio::time::timeout(reading.longest, follow_socket(&mut socket, follower)).await;
        let again = || Some((1001, "this connection is old; go on after the last position".to_owned()));
        if let Some((code, reason)) = ended.unwrap_or_else(|_| again()) {
            let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // The peer may be gone already, which is what is wanted.
            let _ = tokio::time::timeout(FAREWELL, socket.send(farewell)).await;
        }
        // A connection counts until it is gone.
        drop(read);
    }))
}

/// Sends records as text frames until either side ends it. What the client sends is not looked
/// at; reading it answers pings and notices the end. Returns why we end it (RFC 6455 §7.4), if the client did not.
async fn follow_socket(socket: &mut WebSocket, mut follower: Follower) -> Option<(u16, String)> {
    loop {
        let next = tokio::select! {
            next = follower.next(CHUNK, KEEP_ALIVE) => next,
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            },
        };
        let sent = match next {
            Ok(Next::Records(records)) => send(socket, &records).await,
            Ok(Next::Nothing) => socket.send(Message::Ping(Vec::new().into())).await,
            Ok(Next::Closed) => return Some((1001, "the channel closed".to_owned())),
            // 1008: policy violation, the nearest there is to "gone".
            Err(problem) => return Some((1008, problem.code)),
        };
        if sent.is_err() {
            return None;
        }
    }
}

async fn send(socket: &mut WebSocket, records: &[Kept]) -> Result<(), axum::Error> {
    for record in records {
        let mut text = Vec::with_capacity(record.json.len() + 96);
        envelope(record, &mut text);
        socket.send(Message::Text(String::from_utf8_lossy(&text).into_owned().into())).await?;
    }
    Ok(())
}

/// `{"position":…,"element":…,"lane":…,"data":{…}}`; `data` keeps its canonical bytes, so that
/// the receiver can recompute the checksum over it.
fn envelope(record: &Kept, line: &mut Vec<u8>) {
    use std::io::Write;
    // Writing into memory does not fail, and a name is always a string.
    let _ = write!(line, "{{\"position\":{},\"element\":", record.position);
    let _ = serde_json::to_writer(&mut *line, &*record.element);
    let _ = write!(line, ",\"lane\":\"{}\",\"data\":", record.lane);
    line.extend_from_slice(&record.json);
    line.push(b'}');
}
