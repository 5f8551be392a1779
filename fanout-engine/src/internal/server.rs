//! The serving end.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use headgate_types::engine::{Engine, EngineError};
use headgate_types::{ErrorKind, Problem};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{body, path};
use crate::addresses::Addresses;

/// The largest body: a schema sample of 64 MiB, quoted.
const MAX_BODY: usize = 160 << 20;

type Shared = Arc<dyn Engine>;

/// What the internal API answers.
#[must_use]
pub fn addresses() -> Addresses<Shared> {
    Addresses::default()
        .post(path::TECHNOLOGIES, technologies)
        .post(path::CHECK_SCOPE, check_scope)
        .post(path::CHECK_INPUT, check_input)
        .post(path::INFER_SCHEMA, infer_schema)
        .post(path::CHANNEL_STATISTICS, channel_statistics)
        .post(path::ELEMENT_STATISTICS, element_statistics)
        .post(path::LIST_DEAD_LETTERS, list_dead_letters)
        .post(path::DEAD_LETTER, dead_letter)
        .post(path::WAKE, wake)
        .post(path::FOLLOW, follow)
}

/// The internal API over `engine`, for callers that present `token`.
pub fn router(engine: Arc<dyn Engine>, token: SecretString) -> Router {
    // Digests have one length, so the comparison says nothing about the token's.
    let expected: [u8; 32] = Sha256::digest(token.expose_secret().as_bytes()).into();
    addresses()
        .into_router()
        .fallback(|| async { refuse(Problem::new(ErrorKind::NotFound, "not_found", "there is no such operation")) })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(move |request: Request, next: Next| authenticate(expected, request, next)))
        .with_state(engine)
}

async fn authenticate(expected: [u8; 32], request: Request, next: Next) -> Response {
    if presented(request.headers()).is_some_and(|digest| bool::from(digest.ct_eq(&expected))) {
        return next.run(request).await;
    }
    refuse(Problem::new(ErrorKind::Unauthenticated, "unauthenticated", "the internal API needs its bearer token"))
}

fn presented(headers: &HeaderMap) -> Option<[u8; 32]> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    Some(Sha256::digest(token.as_bytes()).into())
}

fn refuse(problem: Problem) -> Response {
    crate::technology::problem(&problem)
}

/// Reads the body, asks the engine, answers.
async fn answer<A, T, F>(bytes: &Bytes, ask: impl FnOnce(A) -> F) -> Response
where
    A: DeserializeOwned,
    T: Serialize,
    F: Future<Output = Result<T, EngineError>>,
{
    let asked = match serde_json::from_slice(bytes) {
        Ok(asked) => asked,
        Err(error) => return refuse(Problem::new(ErrorKind::Invalid, "invalid_body", error.to_string())),
    };
    match ask(asked).await {
        Ok(answer) => (StatusCode::OK, Json(answer)).into_response(),
        Err(EngineError(problem)) => refuse(problem),
    }
}

async fn technologies(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |(): ()| async move { engine.technologies().await }).await
}

async fn check_scope(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked| async move { engine.check_scope(asked).await }).await
}

async fn check_input(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked| async move { engine.check_input(asked).await }).await
}

async fn infer_schema(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked| async move { engine.infer_schema(asked).await }).await
}

async fn channel_statistics(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked: body::OfChannel| async move { engine.channel_statistics(asked.channel).await }).await
}

async fn element_statistics(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked: body::OfElement| async move { engine.element_statistics(asked.element).await }).await
}

async fn list_dead_letters(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked| async move { engine.list_dead_letters(asked).await }).await
}

async fn dead_letter(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |asked: body::OfDeadLetter| async move { engine.dead_letter(asked.tenant, asked.id).await }).await
}

async fn wake(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |(): ()| async move { engine.wake().await }).await
}

async fn follow(State(engine): State<Shared>, bytes: Bytes) -> Response {
    answer(&bytes, |(): ()| async move { engine.follow().await }).await
}
