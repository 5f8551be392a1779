//! One turn at one endpoint: take what is due, try each, write down what came of it.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use headgate_access::outbound::{Answer, OutboundError};
use headgate_types::{EndpointId, EventId, TenantId};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{EndpointDisabled, Sender, schedule};
use crate::Events;
use crate::endpoints::{Attempt, DeliveryState, store};
use crate::error::EventsError;
use crate::event::{CloudEvent, Event, EventType, NewEvent};
use crate::{outbox, signing};

/// How many events one turn takes; small, so that a deletion or a change of the URL counts soon.
const PER_TURN: u32 = 10;
/// Longer than a turn can take: ten tries of 15 seconds.
const LEASE: TimeDelta = TimeDelta::minutes(5);

impl Sender {
    /// Tries what is due at an endpoint, in order, until one fails; returns the number of tries.
    pub(super) async fn serve(
        &self,
        tenant: TenantId,
        id: EndpointId,
        shutdown: &CancellationToken,
    ) -> Result<usize, EventsError> {
        let events = &self.events;
        let now = events.clock.now();
        let mut tx = events.db.platform().await?;
        tx.act_for(tenant).await?;
        let Some(endpoint) = store::find(&mut tx, tenant, id).await?.filter(store::EndpointRow::is_active) else {
            return Ok(0);
        };
        let taken = store::take(&mut tx, tenant, id, now, now + LEASE, PER_TURN).await?;
        let mut due = Vec::with_capacity(taken.len());
        for delivery in taken {
            if let Some(event) = outbox::store::find(&mut tx, tenant, delivery.event_id.into()).await? {
                due.push((delivery, event));
            }
        }
        tx.commit().await?;
        headgate_types::reach(headgate_types::Failpoint::EventTaken);
        let (mut tried, mut failed) = (0, None);
        for (delivery, event) in due {
            // Those after a failure wait as long as it does: they would fail for the same reason.
            if failed.is_some() || shutdown.is_cancelled() {
                self.put_back(tenant, id, &delivery, failed.unwrap_or(now)).await?;
                continue;
            }
            let sent = events.send(&endpoint, &event.cloud_event(), delivery.attempts + 1).await?;
            headgate_types::reach(headgate_types::Failpoint::EventSent);
            tried += 1;
            failed = self.settle(tenant, id, &event, &delivery, sent).await?;
        }
        Ok(tried)
    }

    async fn put_back(
        &self,
        tenant: TenantId,
        id: EndpointId,
        delivery: &store::Taken,
        due: DateTime<Utc>,
    ) -> Result<(), EventsError> {
        let mut tx = self.events.db.platform().await?;
        tx.act_for(tenant).await?;
        store::put_back(&mut tx, tenant, id, delivery.event_id, due).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes down what came of a try; returns when to go on after a failure.
    async fn settle(
        &self,
        tenant: TenantId,
        id: EndpointId,
        event: &Event,
        delivery: &store::Taken,
        sent: Sent,
    ) -> Result<Option<DateTime<Utc>>, EventsError> {
        let events = &self.events;
        let now = events.clock.now();
        let tries = delivery.tries + 1;
        let pause = schedule::pause(event.id, tries, sent.retry_after);
        let gone = sent.attempt.status == Some(StatusCode::GONE.as_u16());
        let state = match (sent.taken, pause) {
            (true, _) => DeliveryState::Delivered,
            (false, Some(_)) if !gone => DeliveryState::Pending,
            (false, _) => DeliveryState::Failed,
        };
        let due = now + pause.unwrap_or_default();
        let mut tx = events.db.platform().await?;
        tx.act_for(tenant).await?;
        store::finish(&mut tx, tenant, id, &sent.attempt, tries, state, due).await?;
        let mut disabled = false;
        if sent.taken {
            store::set_failing_since(&mut tx, tenant, id, None).await?;
        } else if let Some(endpoint) = store::find(&mut tx, tenant, id).await? {
            let since = endpoint.failing_since.unwrap_or(now);
            if endpoint.failing_since.is_none() {
                store::set_failing_since(&mut tx, tenant, id, Some(now)).await?;
            }
            let reason = match gone {
                true => Some("the endpoint answered 410 Gone"),
                false if now - since >= schedule::DISABLE_AFTER => Some("every attempt of five days has failed"),
                false => None,
            };
            if let Some(reason) = reason
                && store::disable(&mut tx, tenant, id, reason, now).await?
            {
                let data = EndpointDisabled { endpoint: id, url: endpoint.url, reason: reason.to_owned() };
                outbox::emit(&mut tx, &events.clock, NewEvent::new(tenant, id, &data)).await?;
                disabled = true;
            }
        }
        tx.commit().await?;
        headgate_types::reach(headgate_types::Failpoint::EventSettled);
        if disabled {
            events.announce();
        }
        Ok((!sent.taken).then_some(due))
    }
}

/// What came of one try.
struct Sent {
    attempt: Attempt,
    taken: bool,
    retry_after: Option<i64>,
}

impl Events {
    /// Sends an example of a type to an endpoint, now and once. It is in no log and no list; what
    /// came of it is the answer.
    ///
    /// # Errors
    /// [`EventsError::NotFound`]; a failure of the endpoint is in the [`Attempt`].
    pub async fn send_example(
        &self,
        tenant: TenantId,
        id: EndpointId,
        event_type: EventType,
    ) -> Result<Attempt, EventsError> {
        let mut tx = self.db.read_tenant(tenant).await?;
        let endpoint = store::find(&mut tx, tenant, id).await?.ok_or(EventsError::NotFound("endpoint"))?;
        drop(tx);
        let example = Event {
            tenant,
            sequence: 0,
            id: EventId::new(),
            event_type: event_type.as_str().to_owned(),
            subject: "example".to_owned(),
            data: json!({ "example": true, "message": "an example, sent on request" }),
            created_at: self.clock.now(),
        };
        Ok(self.send(&endpoint, &example.cloud_event(), 1).await?.attempt)
    }

    /// The public key that fits the `v1a` signatures of every endpoint: `whpk_…`.
    #[must_use]
    pub fn public_key(&self) -> String {
        signing::public_key_text(&self.signing_key().verifying_key())
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.access.derive_key("event-signature"))
    }

    async fn send(&self, endpoint: &store::EndpointRow, event: &CloudEvent, attempt: i64) -> Result<Sent, EventsError> {
        let now = self.clock.now();
        let body = Bytes::from(serde_json::to_vec(event).unwrap_or_else(|_| Value::Null.to_string().into_bytes()));
        let id = event.id.to_string();
        let secrets = self.secrets(endpoint)?;
        let mut headers = signing::headers(&secrets, Some(&self.signing_key()), &id, now.timestamp(), &body)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8"));
        let started = tokio::time::Instant::now();
        let result = match Url::parse(&endpoint.url) {
            Ok(url) => self.outbound.post(&url, headers, body).await,
            Err(error) => Err(OutboundError::Unreachable(error.to_string())),
        };
        let milliseconds = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut record = Attempt {
            id: Uuid::now_v7(),
            event: event.id,
            attempt,
            created_at: now,
            status: None,
            error: None,
            response: None,
            milliseconds,
        };
        let (mut taken, mut wait) = (false, None);
        match result {
            Ok(answer) => {
                taken = answer.status.is_success();
                wait = retry_after(&answer);
                record.status = Some(answer.status.as_u16());
                record.response = Some(answer.body);
            }
            Err(error) => record.error = Some(error.to_string()),
        }
        Ok(Sent { attempt: record, taken, retry_after: wait })
    }
}

/// Seconds; the form with a date is rare and not worth a parser.
fn retry_after(answer: &Answer) -> Option<i64> {
    let asks = matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let header = answer.headers.get(RETRY_AFTER).filter(|_| asks)?;
    header.to_str().ok()?.trim().parse().ok()
}
