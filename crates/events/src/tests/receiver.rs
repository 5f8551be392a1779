//! A webhook receiver on this machine that answers as it is told.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// A status and a `Retry-After`.
pub(super) type Told = (u16, Option<&'static str>);

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Told>>>,
    count: Arc<watch::Sender<usize>>,
    released: Arc<Notify>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", socket.local_addr().unwrap()),
            received: Arc::default(),
            answers: Arc::default(),
            count: Arc::new(watch::Sender::new(0)),
            released: Arc::default(),
        };
        let router = Router::new()
            .route("/hook", post(Self::take))
            .route("/hang", post(Self::hang))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(socket, router).await });
        receiver
    }

    async fn take(State(receiver): State<Self>, headers: HeaderMap, body: Bytes) -> Response {
        receiver.received.lock().push(Received { headers, body });
        receiver.count.send_modify(|count| *count += 1);
        let (status, retry_after) = receiver.answers.lock().pop_front().unwrap_or((204, None));
        let mut response = (StatusCode::from_u16(status).unwrap(), "thanks\0").into_response();
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
        }
        response
    }

    /// Answers only when it is released.
    async fn hang(State(receiver): State<Self>) {
        receiver.released.notified().await;
    }

    /// Lets one request to `/hang` go.
    pub(super) fn release(&self) {
        self.released.notify_one();
    }

    /// What to answer next; 204 after that.
    pub(super) fn answer(&self, answers: &[Told]) {
        self.answers.lock().extend(answers);
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    pub(super) async fn wait_for(&self, count: usize) {
        self.count.subscribe().wait_for(|have| *have >= count).await.unwrap();
    }
}
