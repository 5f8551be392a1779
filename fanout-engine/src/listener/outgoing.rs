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
use crate::technology::Read;

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
    let read = served.read();
    let mut request = request;
    *request.uri_mut() = inner.ok_or_else(unknown)?;
    let response = served.router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
    Ok(response.map(|body| Body::new(Reading { body, _read: read })))
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
    use super::*;

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
