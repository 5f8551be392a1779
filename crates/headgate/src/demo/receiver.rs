//! A webhook receiver, as a client would write one: checks the Standard Webhooks signature, drops
//! repeats by `webhook-id`, keeps the records.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::Mutex;

/// What has been received so far.
#[derive(Debug, Default)]
pub struct Received {
    /// The secrets whose signatures are accepted; none: nothing is.
    pub secrets: Vec<String>,
    /// Bodies in order of arrival, repeats left out.
    pub bodies: Vec<Value>,
    /// Requests whose signature did not fit.
    pub refused: usize,
    /// The status that is answered; 204 by default. Tests make it fail.
    pub answer: Option<u16>,
    ids: HashSet<String>,
}

impl Received {
    /// The records of all bodies, in order of arrival.
    pub fn records(&self) -> Vec<Value> {
        self.bodies.iter().flat_map(|body| body["records"].as_array().cloned().unwrap_or_default()).collect()
    }
}

/// A running receiver; ends with its runtime.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    received: Arc<Mutex<Received>>,
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start() -> Result<Self> {
        let received = Arc::new(Mutex::new(Received::default()));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&received));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, received })
    }

    /// Looks at, or changes, what is there.
    pub async fn with<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut *self.received.lock().await)
    }
}

async fn receive(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = received.lock().await;
    if let Some(status) = received.answer {
        return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    }
    match verified(&received.secrets, &headers, &body) {
        Ok((id, body)) => {
            if received.ids.insert(id) {
                received.bodies.push(body);
            }
            StatusCode::NO_CONTENT
        }
        Err(_) => {
            received.refused += 1;
            StatusCode::UNAUTHORIZED
        }
    }
}

/// Checks a request as <https://www.standardwebhooks.com> says.
fn verified(secrets: &[String], headers: &HeaderMap, body: &[u8]) -> Result<(String, Value)> {
    let header =
        |name: &str| -> Result<String> { Ok(headers.get(name).with_context(|| name.to_owned())?.to_str()?.to_owned()) };
    let (id, timestamp, signatures) =
        (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    let signed = |secret: &String| -> Result<bool> {
        let key = STANDARD.decode(secret.trim_start_matches("whsec_"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        Ok(signatures.split(' ').any(|signature| signature == expected))
    };
    let fits = secrets.iter().any(|secret| signed(secret).unwrap_or(false));
    anyhow::ensure!(fits, "no signature fits");
    Ok((id, serde_json::from_slice(body)?))
}
