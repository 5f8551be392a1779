//! One signed request, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headgate_access::outbound::{Answer, GuardedClient, OutboundError};
use headgate_events::signing;
use headgate_types::{ChannelId, SharedClock};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use url::Url;

use super::batch::{self, Row};
use crate::technology::{Delivery, OpenChannel, Secrets, SinkError};

/// How much of an answer is repeated to the channel's owner.
const EXCERPT: usize = 300;

/// Posts batches of one channel.
#[derive(Debug)]
pub struct Poster {
    channel: ChannelId,
    client: GuardedClient,
    secrets: Arc<dyn Secrets>,
    clock: SharedClock,
}

impl Poster {
    /// A poster for a channel.
    pub fn new(channel: OpenChannel) -> Self {
        Self { channel: channel.channel, client: channel.outbound, secrets: channel.secrets, clock: channel.clock }
    }

    /// Posts one batch.
    pub async fn post(&self, url: &Url, element: &str, delivery: &Delivery, rows: &[Row<'_>]) -> Result<(), SinkError> {
        let body = batch::body(self.channel, element, delivery, rows);
        let headers = self.headers(&batch::id(self.channel, delivery.flow, rows), &body).await?;
        match self.client.post(url, headers, Bytes::from(body)).await {
            Ok(answer) => judge(&answer, rows),
            Err(OutboundError::Refused(why)) => Err(SinkError::Retry {
                // Nothing changes by itself: the owner has to name another address.
                after: Some(Duration::from_secs(300)),
                reason: format!("the receiver's address is refused: {why}; order the channel with another url"),
            }),
            Err(error) => Err(SinkError::retry(format!("the receiver did not answer: {error}"))),
        }
    }

    async fn headers(&self, id: &str, body: &[u8]) -> Result<HeaderMap, SinkError> {
        let failed = |error: String| SinkError::retry(format!("failed to sign a request: {error}"));
        let secrets = self.secrets.signing_secrets(self.channel).await.map_err(failed)?;
        if secrets.is_empty() {
            return Err(SinkError::NotYet("the channel has no signing secret yet"));
        }
        let now = self.clock.now().timestamp();
        let mut headers = signing::headers(&secrets, None, id, now, body).map_err(|error| failed(error.to_string()))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(headers)
    }
}

/// 2xx is delivered; 400, 409, 413, 415 and 422 refuse the records; everything else is the receiver
/// being in the way.
fn judge(answer: &Answer, rows: &[Row<'_>]) -> Result<(), SinkError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("the receiver answered {status}{}", excerpt(&answer.body));
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            Err(SinkError::Reject { records: rows.iter().map(|row| row.offset).collect(), reason })
        }
        _ => Err(SinkError::Retry { after: retry_after(&answer.headers), reason }),
    }
}

fn excerpt(body: &str) -> String {
    let text: String = body.trim().chars().take(EXCERPT).collect();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Seconds only; a date would need the receiver's clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16) -> Result<(), SinkError> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: "no".to_owned() };
        judge(&answer, &[Row { offset: 4, json: b"{}" }])
    }

    #[test]
    fn only_a_refusal_of_the_records_is_a_refusal() {
        assert!(judged(204).is_ok());
        for refused in [400, 409, 413, 415, 422] {
            assert!(matches!(judged(refused), Err(SinkError::Reject { records, .. }) if records == [4]), "{refused}");
        }
        for in_the_way in [301, 401, 403, 404, 408, 410, 429, 500, 503] {
            let Err(SinkError::Retry { after, reason }) = judged(in_the_way) else { panic!("{in_the_way}") };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(reason.ends_with(": no"), "{reason}");
        }
    }
}
