//! Hands requests to the router of the channel they are for.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use headgate_access::Scope;
use headgate_types::{ChannelId, ErrorKind, Problem};
use tower::ServiceExt;

use super::{Listener, Refusal, authenticate};
use crate::technology::{Read, Served};

/// `/v1/out/{channel}/…`
pub async fn forward(State(listener): State<Listener>, request: Request) -> Result<Response, Refusal> {
    let Some((channel, inner)) = split(request.uri()) else {
        return Err(Refusal(Problem::new(ErrorKind::NotFound, "not_found", "there is nothing at this address")));
    };
    let id: ChannelId = channel.parse().unwrap_or_default();
    // A browser asks before it may present anything; the channel's own router knows which origins
    // its owner allows, and a preflight reveals nothing else.
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key("access-control-request-method");
    if !preflight {
        let headers = request.headers();
        let tenant = authenticate::caller(&listener.access, headers, request.uri(), id, Scope::DataRead).await?;
        if listener.served.tenant(id) != Some(tenant) {
            return Err(unknown());
        }
    }
    let served = listener.served.reach(id).await.ok_or_else(unknown)?;
    let mut request = request;
    *request.uri_mut() = inner.ok_or_else(unknown)?;
    // Whoever presents nothing takes no connection from those who do.
    if preflight { Ok(ask(served, request).await) } else { read(served, request).await }
}

/// Answers a read, as one of those that the channel's size allows at once.
async fn read(served: Served, mut request: Request) -> Result<Response, Refusal> {
    let read = served.read().ok_or_else(|| Refusal(too_many_connections()))?;
    // A WebSocket goes on when its answer has ended, and keeps this as long.
    request.extensions_mut().insert(read.clone());
    Ok(ask(served, request).await.map(|body| Body::new(Reading { body, _read: read })))
}

async fn ask(served: Served, request: Request) -> Response {
    served.router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
}

/// All connections that the channel's size allows are taken.
fn too_many_connections() -> Problem {
    let detail = "the channel's size allows no further connection; close one or order a larger size";
    Problem::new(ErrorKind::TooManyRequests, "too_many_connections", detail).with_retry_after(1)
}

/// A body that is part of a read until its last frame is taken.
struct Reading {
    body: Body,
    _read: Read,
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn unknown() -> Refusal {
    let detail = "there is no such data-out channel for this caller, or it serves no reads now";
    Refusal(Problem::new(ErrorKind::NotFound, "channel_not_found", detail))
}

/// The channel, and the address as its router sees it; `None` outside `/v1/out/`.
fn split(uri: &Uri) -> Option<(String, Option<Uri>)> {
    let rest = uri.path().strip_prefix("/v1/out/")?;
    let (channel, path) = rest.split_once('/').unwrap_or((rest, ""));
    // A key among the parameters was read by now; no technology has to know of it, or gets to see it.
    let parameters: Vec<&str> = uri.query().into_iter().flat_map(|query| query.split('&')).collect();
    let others: Vec<&str> = parameters.into_iter().filter(|pair| pair.split('=').next() != Some("key")).collect();
    let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    Some((channel.to_owned(), format!("/{path}{query}").parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::to_bytes;
    use axum::routing::get;
    use headgate_types::TenantId;

    use super::*;
    use crate::technology::Reads;

    /// A channel of any technology: a request takes a connection until its answer was taken to the end.
    #[tokio::test]
    async fn the_size_caps_the_connections_of_every_technology() {
        let router = Router::new().route("/", get(|| async { "a file" }));
        let (tenant, reads) = (TenantId::new(), Arc::<Reads>::default());
        let served = |connections| Served::new(tenant, router.clone(), connections, Arc::clone(&reads));
        let ask = |connections| read(served(connections), Request::get("/").body(Body::empty()).unwrap());
        let code = |refused: Result<Response, Refusal>| {
            let Refusal(problem) = refused.expect_err("too many connections");
            (problem.status, problem.code, problem.retry_after)
        };
        let refused = || (429, "too_many_connections".to_owned(), Some(1));

        let (first, second) = (ask(2).await.unwrap(), ask(2).await.unwrap());
        assert_eq!(code(ask(2).await), refused());
        // Opened anew for another size, it has the same readers.
        assert_eq!(code(ask(1).await), refused());
        let third = ask(3).await.unwrap();
        assert_eq!(code(ask(3).await), refused());
        drop(first);
        to_bytes(second.into_body(), 100).await.unwrap();
        assert_eq!(code(ask(1).await), refused());
        drop(third);
        assert!(ask(1).await.is_ok());
    }

    #[test]
    fn the_channel_is_cut_off_the_address() {
        let cut = |uri: &'static str| {
            let (channel, inner) = split(&Uri::from_static(uri)).unwrap();
            (channel, inner.unwrap().to_string())
        };
        assert_eq!(cut("/v1/out/ch_1"), ("ch_1".into(), "/".into()));
        assert_eq!(cut("/v1/out/ch_1/"), ("ch_1".into(), "/".into()));
        assert_eq!(cut("/v1/out/ch_1/files/a?b=c"), ("ch_1".into(), "/files/a?b=c".into()));
        assert_eq!(cut("/v1/out/ch_1/a?b=c&key=hgk_1&keys=2"), ("ch_1".into(), "/a?b=c&keys=2".into()));
        assert_eq!(cut("/v1/out/ch_1/a?key=hgk_1"), ("ch_1".into(), "/a".into()));
    }
}
