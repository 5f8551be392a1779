//! Working on a queue: `GET /` (what it holds), `POST /receive`, `/ack`, `/nack`, `/extend`,
//! `GET /dead`, `POST /redrive`, `/discard`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query as QueryOf, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use headgate_types::limits::Limits;
use headgate_types::{ErrorKind, FieldError, Problem, SharedClock};
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::VISIBILITY;
use super::store::{Queue, Receipt, Received, Verdict};
use crate::addresses::Addresses;
use crate::technology::OpenChannel;
use crate::technology::problem::Refused;

/// Messages per answer when none are asked for, and at most.
const MESSAGES: (u64, u64) = (10, 1_000);
/// The longest a receiver waits, in seconds.
const MAX_WAIT: u64 = 60;
/// Receipts or dead letters in one request.
const MAX_NAMED: usize = 1_000;

/// What the handlers work on.
#[derive(Debug, Clone)]
pub struct Working {
    queue: Arc<Queue>,
    elements: Arc<[String]>,
    answer_bytes: usize,
    clock: SharedClock,
}

/// The router of one queue channel.
pub fn router(queue: Arc<Queue>, channel: &OpenChannel) -> Addresses {
    let elements = channel.elements.iter().map(|output| output.name.clone()).collect();
    addresses().with_state(Working::new(queue, &channel.limits, elements, channel.clock.clone()))
}

impl Working {
    /// A queue of the elements with these names.
    pub fn new(queue: Arc<Queue>, limits: &Limits, elements: Vec<String>, clock: SharedClock) -> Self {
        Self {
            queue,
            elements: elements.into(),
            answer_bytes: usize::try_from(limits.payload_bytes).unwrap_or(usize::MAX).max(1),
            clock,
        }
    }
}

/// What a queue channel answers.
pub fn addresses() -> Addresses<Working> {
    Addresses::default()
        .get("/", depth)
        .post("/receive", receive)
        .post("/ack", acknowledge)
        .post("/nack", give_back)
        .post("/extend", extend)
        .get("/dead", dead)
        .post("/redrive", redrive)
        .post("/discard", discard)
}

type Asked<T> = Result<QueryOf<T>, QueryRejection>;
type Given<T> = Result<Json<T>, JsonRejection>;
type Answer = Result<Json<Value>, Refused>;

fn out_of_range(place: &str, range: std::ops::RangeInclusive<u64>) -> Refused {
    let detail = format!("{place} is a whole number from {} to {}", range.start(), range.end());
    Refused::field(FieldError::new(place, "out_of_range", detail))
}

fn within(place: &str, given: Option<u64>, default: u64, range: std::ops::RangeInclusive<u64>) -> Result<u64, Refused> {
    match given {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(_) => Err(out_of_range(place, range)),
    }
}

async fn depth(State(working): State<Working>) -> Answer {
    let depth = working.queue.depth(working.clock.now()).await?;
    let settings = working.queue.settings();
    Ok(Json(json!({
        "elements": &*working.elements,
        "messages": depth.messages,
        "in_flight": depth.in_flight,
        "dead": depth.dead,
        "bytes": depth.bytes,
        "visibility_seconds": settings.visibility.as_secs(),
        "max_receives": settings.max_receives,
        "receive": "receive?max=10&wait=20",
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Messages per answer.
    max: Option<u64>,
    /// Seconds to wait for a message when there is none; 0 when absent.
    wait: Option<u64>,
    /// Seconds for which nobody else gets the messages; the channel's when absent.
    visibility: Option<u64>,
}

async fn receive(State(working): State<Working>, asked: Asked<Wanted>) -> Result<Response, Refused> {
    let QueryOf(wanted) = asked?;
    let max = within("max", wanted.max, MESSAGES.0, 1..=MESSAGES.1)?;
    let wait = within("wait", wanted.wait, 0, 0..=MAX_WAIT)?;
    let queue = &working.queue;
    let visibility = within("visibility", wanted.visibility, queue.settings().visibility.as_secs(), VISIBILITY)?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait);
    let (mut news, mut closed) = (queue.news(), queue.closed());
    loop {
        news.borrow_and_update();
        let now = working.clock.now();
        let visibility = Duration::from_secs(visibility);
        let received =
            queue.receive(usize::try_from(max).unwrap_or(usize::MAX), working.answer_bytes, visibility, now).await?;
        if !received.is_empty() || *closed.borrow() || tokio::time::Instant::now() >= deadline {
            return Ok(messages(&received));
        }
        // What becomes visible by itself announces itself to nobody.
        let visible = match queue.next_visible(now).await? {
            Some(at) => (at - now).to_std().unwrap_or_default().max(Duration::from_millis(1)),
            None => Duration::from_secs(MAX_WAIT),
        };
        let until = deadline.min(tokio::time::Instant::now() + visible);
        tokio::select! {
            _ = news.changed() => {}
            _ = closed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// `{"messages":[{"receipt":…,"element":…,"lane":…,"sent_at":…,"receives":…,"data":{…}}]}`; `data`
/// keeps its canonical bytes, so that the receiver can recompute the checksum over it.
fn messages(received: &[Received]) -> Response {
    let mut body = Vec::with_capacity(32 + received.iter().map(|message| message.json.len() + 192).sum::<usize>());
    body.extend_from_slice(b"{\"messages\":[");
    for (index, message) in received.iter().enumerate() {
        let head = json!({
            "receipt": message.receipt.to_string(),
            "element": message.element,
            "lane": message.lane,
            "sent_at": message.sent_at,
            "receives": message.receives,
        })
        .to_string();
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(head.trim_end_matches('}').as_bytes());
        body.extend_from_slice(b",\"data\":");
        body.extend_from_slice(&message.json);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipts {
    receipts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenBack {
    receipts: Vec<String>,
    /// Seconds until the messages can be received again; 0 when absent.
    #[serde(default)]
    delay_seconds: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extended {
    receipts: Vec<String>,
    /// Seconds from now for which nobody else gets the messages.
    visibility_seconds: u64,
}

async fn acknowledge(State(working): State<Working>, given: Given<Receipts>) -> Answer {
    let Json(given) = given?;
    decide(&working, given.receipts, Verdict::Done).await
}

async fn give_back(State(working): State<Working>, given: Given<GivenBack>) -> Answer {
    let Json(given) = given?;
    let delay = within("/delay_seconds", Some(given.delay_seconds), 0, VISIBILITY)?;
    decide(&working, given.receipts, Verdict::Invisible(Duration::from_secs(delay))).await
}

async fn extend(State(working): State<Working>, given: Given<Extended>) -> Answer {
    let Json(given) = given?;
    let time = within("/visibility_seconds", Some(given.visibility_seconds), 0, VISIBILITY)?;
    decide(&working, given.receipts, Verdict::Invisible(Duration::from_secs(time))).await
}

/// Answers how many messages were decided, and which receipts name nothing any more.
async fn decide(working: &Working, receipts: Vec<String>, verdict: Verdict) -> Answer {
    at_most(receipts.len(), "/receipts")?;
    let mut known = Vec::with_capacity(receipts.len());
    for (index, text) in receipts.iter().enumerate() {
        known.push(text.parse::<Receipt>().map_err(|()| {
            let detail = format!("{text:?} is not a receipt: name those that came with the messages");
            let field = FieldError::new(format!("/receipts/{index}"), "invalid_receipt", detail.clone());
            Problem::new(ErrorKind::Invalid, "invalid_receipt", detail).with_fields(vec![field])
        })?);
    }
    let count = known.len();
    let gone = working.queue.decide(known, verdict, working.clock.now()).await?;
    let gone: Vec<String> = gone.iter().map(Receipt::to_string).collect();
    Ok(Json(json!({"decided": count - gone.len(), "gone": gone})))
}

fn at_most(count: usize, place: &str) -> Result<(), Refused> {
    if count <= MAX_NAMED {
        return Ok(());
    }
    let detail = format!("a request names at most {MAX_NAMED}, this names {count}");
    let field = FieldError::new(place, "too_many", detail.clone());
    Err(Problem::new(ErrorKind::Invalid, "invalid_body", detail).with_fields(vec![field]).into())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Dead letters behind this number.
    after: Option<u64>,
    /// Dead letters per answer.
    limit: Option<u64>,
}

async fn dead(State(working): State<Working>, asked: Asked<Page>) -> Answer {
    let QueryOf(page) = asked?;
    let limit = within("limit", page.limit, 100, 1..=MESSAGES.1)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let letters = working.queue.dead(page.after.unwrap_or(0), limit, working.answer_bytes).await?;
    let letters = letters.iter().map(|dead| {
        json!({
            "id": dead.id,
            "element": dead.element,
            "dead_at": dead.dead_at,
            "receives": dead.receives,
            "superseded": dead.superseded,
            "data": serde_json::from_slice::<Value>(&dead.json).unwrap_or_default(),
        })
    });
    Ok(Json(json!({"items": letters.collect::<Vec<_>>()})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    /// Dead letters by number; all of them when absent.
    ids: Option<Vec<u64>>,
}

async fn redrive(State(working): State<Working>, given: Given<Named>) -> Answer {
    let Json(named) = given?;
    at_most(named.ids.as_ref().map_or(0, Vec::len), "/ids")?;
    Ok(Json(json!({"redriven": working.queue.redrive(named.ids).await?})))
}

async fn discard(State(working): State<Working>, given: Given<Named>) -> Answer {
    let Json(named) = given?;
    at_most(named.ids.as_ref().map_or(0, Vec::len), "/ids")?;
    Ok(Json(json!({"discarded": working.queue.discard(named.ids).await?})))
}
