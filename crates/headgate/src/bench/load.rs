//! The load: senders with one request outstanding each, over HTTP/1.1 connections that stay open.
//! They speak HTTP by hand, because a client library would cost more than the servers measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Where and as whom requests are sent.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The path with its leading slash.
    pub path: String,
    /// The bearer key; empty: none.
    pub key: String,
    /// The type of the bodies.
    pub content_type: &'static str,
}

impl Target {
    /// The target behind `url`.
    pub fn new(url: &str, key: &str, content_type: &'static str) -> Result<Self> {
        let url = url::Url::parse(url)?;
        let address = format!("{}:{}", url.host_str().context("no host")?, url.port().context("no port")?);
        Ok(Self { address, path: url.path().to_owned(), key: key.to_owned(), content_type })
    }

    /// A request with further headers.
    pub fn request(&self, body: &[u8], headers: &[(&str, &str)]) -> Vec<u8> {
        let mut request = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            self.path,
            self.address,
            self.content_type,
            body.len()
        );
        if !self.key.is_empty() {
            request.push_str(&format!("authorization: Bearer {}\r\n", self.key));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        request
    }
}

impl Connection {
    /// Connects.
    pub async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a request and reads its answer: anything but 2xx is an error.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(head) = find(&self.received, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.received[..head]).to_lowercase();
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:"))
                    .and_then(|value| value.trim().parse::<usize>().ok())
                    .unwrap_or(0);
                let end = head + 4 + length;
                if self.received.len() >= end {
                    if !text.starts_with("http/1.1 2") {
                        bail!("{}", String::from_utf8_lossy(&self.received[..end]));
                    }
                    self.received.drain(..end);
                    return Ok(());
                }
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the connection was closed");
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// What senders measured.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Requests answered with success.
    pub requests: u64,
    /// From the first request to the last answer.
    pub wall: Duration,
    /// Time to answer of each request, sorted.
    latencies: Vec<Duration>,
}

impl Sent {
    /// What was answered, after how long each, and how long all of it took.
    pub fn new(mut latencies: Vec<Duration>, wall: Duration) -> Self {
        latencies.sort_unstable();
        Self { requests: latencies.len() as u64, wall, latencies }
    }

    /// Time to answer below which this share of the requests stayed.
    pub fn percentile(&self, share: f64) -> Duration {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Sends for `time` over `senders` connections. `body` makes the body of a sender's n-th request.
pub async fn send(
    target: &Target,
    senders: u64,
    time: Duration,
    body: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
) -> Result<Sent> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..senders {
        let (target, body) = (target.clone(), body.clone());
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            let mut latencies = Vec::new();
            while start.elapsed() < time {
                let request = target.request(&body(sender, latencies.len() as u64), &[]);
                let sent = Instant::now();
                connection.exchange(&request).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(Sent::new(all, start.elapsed()))
}
