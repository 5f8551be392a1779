//! `Idempotency-Key`: a POST that is sent again has its effect once and gets the first answer.
//!
//! The row that remembers the answer is written in the transaction of the effect, so there is never
//! one without the other. Keys belong to a tenant and a client, not to a token: a refreshed token
//! must not defeat a retry. Only successes are remembered; after a refusal nothing happened, and
//! the same key may be used with a corrected body.

mod store;

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::{Db, Tx};
use headgate_types::{ClientId, ErrorKind, FieldError, TenantId, idempotency};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::etag::ETag;
use super::problem::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How long an answer is remembered.
pub const RETENTION: TimeDelta = TimeDelta::hours(24);

/// The answer to a change, in a form that can be remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    status: StatusCode,
    location: Option<String>,
    etag: Option<String>,
    body: Value,
    replayed: bool,
}

impl Answer {
    /// An answer with a JSON document.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Self {
        // Documents of ours have text keys and finite numbers, so they always serialise.
        let body = serde_json::to_value(body).unwrap_or_default();
        Self { status, location: None, etag: None, body, replayed: false }
    }

    /// 200 with a document.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// 201 with the document of what was made, at `location`.
    pub fn created(location: String, body: &impl Serialize) -> Self {
        Self { location: Some(location), ..Self::new(StatusCode::CREATED, body) }
    }

    /// 202: the work goes on behind the order at `location`.
    pub fn accepted(location: String, body: &impl Serialize) -> Self {
        Self { location: Some(location), ..Self::new(StatusCode::ACCEPTED, body) }
    }

    /// The same answer with the entity tag of what it shows.
    #[must_use]
    pub fn with_etag(mut self, etag: &ETag) -> Self {
        self.etag = etag.header().to_str().ok().map(str::to_owned);
        self
    }

    /// The same answer without one member of its document: what may be remembered of a secret.
    #[must_use]
    pub fn without(&self, member: &str) -> Self {
        let mut answer = self.clone();
        if let Value::Object(members) = &mut answer.body {
            members.shift_remove(member);
        }
        answer
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [(header::LOCATION, self.location), (header::ETAG, self.etag)] {
            if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// The key a request came with, and the request it belongs to.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: Option<String>,
    request_line: String,
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let request_line = format!("{} {}", parts.method, parts.uri.path());
        let Some(header) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self { key: None, request_line });
        };
        let Some(key) = header.to_str().ok().and_then(idempotency::key) else {
            let wrong = FieldError::new("Idempotency-Key", "invalid_header", idempotency::WANTED);
            return Err(ApiError::parameter(wrong));
        };
        Ok(Self { key: Some(key.to_owned()), request_line })
    }
}

/// Whose key it is. The platform's own clients use the nil tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The client.
    pub client: ClientId,
}

/// Keys whose requests are being answered by this process.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<(Owner, String)>>>);

/// What to do with a request.
#[derive(Debug)]
pub enum Once {
    /// It was answered before: give this answer again.
    Replay(Answer),
    /// It is new: do it, and commit through [`Pending::commit`].
    New(Pending),
}

/// A request that is being answered for the first time.
#[derive(Debug)]
pub struct Pending {
    owner: Owner,
    claimed: Option<(String, Vec<u8>)>,
    now: DateTime<Utc>,
    in_flight: InFlight,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((key, _)) = &self.claimed {
            self.in_flight.0.lock().remove(&(self.owner, key.clone()));
        }
    }
}

impl IdempotencyKey {
    /// Refuses a request without a key.
    ///
    /// # Errors
    /// `idempotency_key_required` (400).
    pub fn required(self) -> Result<Self, ApiError> {
        if self.key.is_some() {
            return Ok(self);
        }
        let detail = "send an Idempotency-Key, for example a UUID, so that a retry cannot order twice";
        Err(ApiError::new(ErrorKind::Invalid, "idempotency_key_required", detail))
    }

    /// Finds out whether the request was answered before.
    ///
    /// # Errors
    /// `idempotency_key_reused` (422) when the key belongs to another request,
    /// `idempotency_key_in_flight` (409) while the first is still being answered.
    pub async fn once(
        self,
        control: &Db,
        in_flight: &InFlight,
        owner: Owner,
        fingerprint: &[u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Once, ApiError> {
        let Some(key) = self.key else {
            return Ok(Once::New(Pending { owner, claimed: None, now, in_flight: in_flight.clone() }));
        };
        if !in_flight.0.lock().insert((owner, key.clone())) {
            return Err(in_flight_error());
        }
        let mut hash = Sha256::new();
        hash.update(self.request_line);
        hash.update(fingerprint);
        let fingerprint = hash.finalize().to_vec();
        let pending =
            Pending { owner, claimed: Some((key.clone(), fingerprint.clone())), now, in_flight: in_flight.clone() };
        let mut tx = control.read_platform().await?;
        match store::find(&mut tx, owner, &key, now - RETENTION).await? {
            None => Ok(Once::New(pending)),
            Some((known, _)) if known != fingerprint => {
                let detail = "this idempotency key was used for another request; use a new one";
                Err(ApiError::new(ErrorKind::Unprocessable, "idempotency_key_reused", detail))
            }
            Some((_, answer)) => Ok(Once::Replay(Answer { replayed: true, ..answer })),
        }
    }
}

impl Pending {
    /// Remembers `answer` in the transaction of the effect, and commits it.
    ///
    /// # Errors
    /// `idempotency_key_in_flight` (409) when another process answered the same key meanwhile:
    /// nothing of this transaction remains then.
    pub async fn commit(self, tx: Tx, answer: Answer) -> Result<Answer, ApiError> {
        self.commit_remembering(tx, answer, None).await
    }

    /// As [`Pending::commit`], but a repetition gets `remembered`: an answer without its secret.
    ///
    /// # Errors
    /// As [`Pending::commit`].
    pub async fn commit_remembering(
        self,
        mut tx: Tx,
        answer: Answer,
        remembered: Option<&Answer>,
    ) -> Result<Answer, ApiError> {
        if let Some((key, fingerprint)) = &self.claimed {
            let remembered = remembered.unwrap_or(&answer);
            tx.act_for(self.owner.tenant).await?;
            store::forget_before(&mut tx, self.owner, self.now - RETENTION).await?;
            if !store::remember(&mut tx, self.owner, key, fingerprint, remembered, self.now).await? {
                return Err(in_flight_error());
            }
        }
        tx.commit().await?;
        Ok(answer)
    }
}

fn in_flight_error() -> ApiError {
    let detail = "the first request with this idempotency key is still being answered";
    let mut error = ApiError::new(ErrorKind::Conflict, "idempotency_key_in_flight", detail);
    error.problem.retry_after = Some(1);
    error
}

#[cfg(test)]
mod tests;
