//! Where a reader wants to begin, and how much it wants at once.

use std::time::Duration;

use axum::http::HeaderMap;
use headgate_types::{ErrorKind, FieldError, Problem};
use serde::Deserialize;

use super::ring::Ends;

/// Records per answer when none are asked for.
const DEFAULT_LIMIT: usize = 1_000;
/// The most records per answer.
const MAX_LIMIT: usize = 10_000;
/// The longest a poll waits, in seconds.
const MAX_WAIT: u64 = 60;

/// The query of every way to read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// A position, `earliest` (the default) or `latest`.
    after: Option<String>,
    /// Records per answer (poll only).
    limit: Option<usize>,
    /// Seconds to wait for a record when there is none (poll only); 0 when absent.
    wait: Option<u64>,
    /// Only the records of this element.
    pub element: Option<String>,
}

impl Query {
    /// Records per answer.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
    }

    /// How long to wait for a record when there is none.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait.unwrap_or(0).min(MAX_WAIT))
    }

    /// The position to read behind. `Last-Event-ID` wins over `after`: a browser that reconnects
    /// repeats the first URL and adds the header.
    ///
    /// # Errors
    /// 400 for what is not a position of this stream, 410 for one that fell out of the ring.
    pub fn start(&self, headers: &HeaderMap, ends: Ends) -> Result<u64, Problem> {
        let header = headers.get("last-event-id").map(|value| ("Last-Event-ID", value.to_str().unwrap_or("?")));
        let query = self.after.as_deref().map(|value| ("after", value));
        let Some((place, text)) = header.or(query) else { return Ok(ends.floor) };
        match text {
            "earliest" => return Ok(ends.floor),
            "latest" => return Ok(ends.last),
            _ => {}
        }
        let invalid = |detail: String| {
            Problem::new(ErrorKind::Invalid, "invalid_position", detail.clone()).with_fields(vec![FieldError::new(
                place,
                "invalid_position",
                detail,
            )])
        };
        let position: u64 = text
            .parse()
            .map_err(|_| invalid(format!("{text:?} is neither a position of this stream nor earliest or latest")))?;
        if position > ends.last {
            return Err(invalid(format!("position {position} was not handed out yet; the newest is {}", ends.last)));
        }
        check(position, ends).map(|()| position)
    }
}

/// Whether reading can go on behind `position` without a gap.
pub fn check(position: u64, ends: Ends) -> Result<(), Problem> {
    if position >= ends.floor {
        return Ok(());
    }
    Err(Problem::new(
        ErrorKind::Gone,
        "position_too_old",
        format!(
            "the records behind position {position} are no longer retained; read from {} (after=earliest), or order the \
             channel anew with its history for what is missing",
            ends.floor
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends { floor: 10, last: 20, bytes: 0 };

    fn start(after: Option<&str>, header: Option<&str>) -> Result<u64, (u16, String)> {
        let query = Query { after: after.map(str::to_owned), ..Query::default() };
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("last-event-id", header.parse().unwrap());
        }
        query.start(&headers, ENDS).map_err(|problem| (problem.status, problem.code))
    }

    #[test]
    fn fuzzed_positions_lie_within_the_stream() {
        crate::fuzz::text(
            "fanout-engine/src/technology/stream/query.rs start",
            &["12", "latest", "earliest"],
            |text| {
                let started = start(Some(text), None);
                assert!(started.as_ref().map_or(true, |at| (ENDS.floor..=ENDS.last).contains(at)), "{text}");
                started
            },
        );
    }

    #[test]
    fn a_reader_begins_where_it_says_and_the_header_wins() {
        assert_eq!(start(None, None), Ok(10));
        assert_eq!(start(Some("latest"), None), Ok(20));
        assert_eq!(start(Some("12"), None), Ok(12));
        assert_eq!(start(Some("earliest"), Some("15")), Ok(15));
    }

    #[test]
    fn positions_out_of_reach_are_refused_with_the_reason() {
        assert_eq!(start(Some("9"), None), Err((410, "position_too_old".to_owned())));
        assert_eq!(start(Some("21"), None), Err((400, "invalid_position".to_owned())));
        assert_eq!(start(Some("x"), None), Err((400, "invalid_position".to_owned())));
    }
}
