//! The data listener: where sources post records and clients read what channels hold.
//!
//! ```text
//! POST /v1/in/{channel}/{feed}                 a payload; 202 once it is durable
//! GET  /v1/in/{channel}/receipts/{receipt}     what became of it
//! ANY  /v1/out/{channel}/…                     the channel's own router
//! GET  /livez
//! ```
//! Every request is recognised by the channel's key or a tenant's token before anything else of it
//! is read; whatever is not the caller's answers 404. Every refusal is a problem document.

mod authenticate;
mod incoming;
mod outgoing;
mod refusal;
mod request_id;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use headgate_access::Access;
use headgate_types::{ErrorKind, Problem};
use tower_http::catch_panic::CatchPanicLayer;

use crate::addresses::Addresses;
use crate::ingest::Ingest;
use crate::technology::ServedChannels;

pub use refusal::Refusal;

/// What the listener works with.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Recognises keys and tokens.
    pub access: Access,
    /// Takes payloads.
    pub ingest: Arc<Ingest>,
    /// Answers for data-out channels.
    pub served: ServedChannels,
}

/// What the listener itself answers; under `/v1/out/{channel}` are the addresses of the channel's
/// technology.
#[must_use]
pub fn addresses() -> Addresses<Listener> {
    Addresses::default()
        .get("/livez", || async { "ok" })
        .post("/v1/in/{channel}/{feed}", incoming::accept)
        .get("/v1/in/{channel}/receipts/{receipt}", incoming::receipt)
}

/// The router of the data listener.
pub fn router(listener: Listener) -> Router {
    addresses()
        .into_router()
        .method_not_allowed_fallback(|| async {
            refused(ErrorKind::MethodNotAllowed, "method_not_allowed", "the method is not offered here")
        })
        // Not a route with parameters: they would be taken for those of the channel's own router.
        .fallback(outgoing::forward)
        // The size's own limit is enforced while the payload streams in.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            axum::response::IntoResponse::into_response(refused(
                ErrorKind::Internal,
                "internal",
                "the request failed on our side",
            ))
        }))
        .layer(middleware::from_fn(request_id::attach))
        .with_state(listener)
}

fn refused(kind: ErrorKind, code: &'static str, detail: &str) -> Refusal {
    Refusal(Problem::new(kind, code, detail))
}
