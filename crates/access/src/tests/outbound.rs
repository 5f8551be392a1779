//! The guarded client against real listeners on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use url::Url;

use crate::outbound::{GuardedClient, OutboundError, OutboundPolicy};

async fn listener() -> (SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let router = Router::new()
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/long", get(|| async { "x".repeat(1_000_000) }))
        .route("/away", post(|| async { Redirect::temporary("/echo") }))
        .route("/slow", post(std::future::pending::<()>))
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { request }
        }));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, router).await });
    (address, hits)
}

fn url(address: SocketAddr, path: &str) -> Url {
    Url::parse(&format!("http://{address}{path}")).unwrap()
}

#[tokio::test]
async fn an_allowed_address_answers_and_only_the_beginning_is_kept() {
    let (address, _) = listener().await;
    let client = GuardedClient::new(OutboundPolicy::development()).unwrap();
    let answer = client.post(&url(address, "/echo"), HeaderMap::new(), Bytes::from("hello")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "hello"));
    let answer = client.post(&url(address, "/echo"), HeaderMap::new(), Bytes::from_static(b"a\0\xff")).await.unwrap();
    assert_eq!(answer.body, "a\u{fffd}\u{fffd}", "the owner is told it, and no database keeps U+0000");
    let answer =
        client.send(reqwest::Method::GET, &url(address, "/long"), HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!(answer.body.len(), 4_096);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_before_connecting() {
    let (address, hits) = listener().await;
    // Another network is named, so that plain http is not refused as such.
    let client = GuardedClient::new(OutboundPolicy { allow: vec!["10.20.0.0/16".parse().unwrap()] }).unwrap();
    // A name, so that the resolver's filter decides, not the check of literals.
    let by_name = Url::parse(&format!("http://localhost:{}/echo", address.port())).unwrap();
    let by_https = Url::parse("https://localhost/echo").unwrap();
    for url in [by_name, by_https, url(address, "/echo")] {
        let error = client.post(&url, HeaderMap::new(), Bytes::new()).await.unwrap_err();
        assert!(matches!(error, OutboundError::Refused(_)), "{error}");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (address, hits) = listener().await;
    let client = GuardedClient::new(OutboundPolicy::development()).unwrap();
    let answer = client.post(&url(address, "/away"), HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!((answer.status.as_u16(), hits.load(Ordering::SeqCst)), (307, 1));
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_left_in_time_and_a_dead_one_is_told_apart() {
    let (address, _) = listener().await;
    let client = GuardedClient::with_timeout(OutboundPolicy::development(), Duration::from_millis(200)).unwrap();
    let error = client.post(&url(address, "/slow"), HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert!(matches!(error, OutboundError::TimedOut), "{error}");
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = url(socket.local_addr().unwrap(), "/echo?token=secret");
    drop(socket);
    let error = client.post(&dead, HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert!(matches!(error, OutboundError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
