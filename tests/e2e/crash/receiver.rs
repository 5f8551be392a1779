//! A webhook receiver with bad days: slow, failing before it took a request, failing after.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It answers at once.
    Well,
    /// It takes its time.
    Slow,
    /// It answers 503 to every second request, half of them after it took the records.
    Failing,
}

#[derive(Debug)]
struct Inside {
    mood: Mood,
    rng: StdRng,
    bodies: Vec<Value>,
}

/// A running receiver; ends with its runtime.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    inside: Arc<Mutex<Inside>>,
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start(seed: u64) -> Result<Self> {
        let inside = Inside { mood: Mood::Well, rng: StdRng::seed_from_u64(seed), bodies: Vec::new() };
        let inside = Arc::new(Mutex::new(inside));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inside));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, inside })
    }

    /// Changes how it behaves from now on.
    pub fn set(&self, mood: Mood) {
        self.inside.lock().unwrap().mood = mood;
    }

    /// Every body it took, in order of arrival, repeats included.
    pub fn bodies(&self) -> Vec<Value> {
        self.inside.lock().unwrap().bodies.clone()
    }
}

async fn receive(State(inside): State<Arc<Mutex<Inside>>>, body: Bytes) -> StatusCode {
    let (mood, fails, takes) = {
        let mut inside = inside.lock().unwrap();
        (inside.mood, inside.rng.gen_bool(0.5), inside.rng.gen_bool(0.5))
    };
    if mood == Mood::Slow {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let fails = mood == Mood::Failing && fails;
    if !fails || takes {
        let Ok(body) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
        inside.lock().unwrap().bodies.push(body);
    }
    if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}
