//! The peer of B1, B2, B6 and B7: a NATS server with JetStream, in a process of its own.
//!
//! It is spoken to by hand over the [client protocol](https://docs.nats.io/reference/reference-protocols/nats-protocol),
//! as Headgate is over HTTP: a client library would cost more than the servers measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::load::Sent;
use super::server::Server;

/// The stream, and what its subjects begin with.
const STREAM: &str = "rows";

/// When JetStream syncs what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges.
    Always,
    /// Every two minutes: its default.
    Default,
}

/// A running server with an empty stream.
pub struct JetStream {
    /// Its process.
    pub server: Server,
    address: String,
    _directory: tempfile::TempDir,
}

impl JetStream {
    /// `None` when there is no server of this name.
    pub async fn start(program: &Path, sync: Sync) -> Result<Option<Self>> {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("headgate-bench-").tempdir()?;
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let interval = if sync == Sync::Always { ", sync_interval: always" } else { "" };
        let configuration = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{}\"\nmax_payload: 1MB\njetstream {{ store_dir: \"{}\"{interval} }}\n",
            directory.path().display(),
            path("store"),
        );
        std::fs::write(path("nats.conf"), configuration)?;
        let (server, _) = Server::start_program(program, &["-c", &path("nats.conf"), "-l", &path("log")])?;
        let ports = path(&format!("{}_{}.ports", program.file_name().context("a program")?.display(), server.pid()));
        let begun = Instant::now();
        let address = loop {
            let ports: Option<Value> =
                std::fs::read_to_string(&ports).ok().and_then(|text| serde_json::from_str(&text).ok());
            if let Some(url) = ports.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
                break url.trim_start_matches("nats://").to_owned();
            }
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("the NATS server did not say where it listens: {}", std::fs::read_to_string(path("log"))?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let peer = Self { server, address, _directory: directory };
        let stream = json!({"name": STREAM, "subjects": [format!("{STREAM}.>")], "storage": "file", "num_replicas": 1});
        peer.connect().await?.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
        Ok(Some(peer))
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection { stream, received: Vec::new(), at: 0 };
        connection.write(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n").await?;
        while connection.line().await? != "PONG" {}
        Ok(connection)
    }

    /// A connection to which everything behind now is pushed that has one of these subjects.
    pub async fn consumer(&self, name: &str, subjects: &[String]) -> Result<Connection> {
        let mut connection = self.connect().await?;
        connection.write(format!("SUB deliver.{name} 1\r\n").as_bytes()).await?;
        let config = json!({
            "name": name, "deliver_subject": format!("deliver.{name}"), "deliver_policy": "new", "ack_policy": "none",
            "replay_policy": "instant", "filter_subjects": subjects,
        });
        let create = format!("$JS.API.CONSUMER.CREATE.{STREAM}.{name}");
        connection.ask(&create, &json!({"stream_name": STREAM, "config": config})).await?;
        Ok(connection)
    }

    /// Publishes for `time` over so many connections, each with so many messages on their way.
    pub async fn publish(
        &self,
        senders: u64,
        window: usize,
        time: Duration,
        body: impl Fn(u64, u64) -> Vec<u8> + Clone + Send + 'static,
    ) -> Result<Sent> {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for sender in 0..senders {
            let (mut connection, body) = (self.connect().await?, body.clone());
            tasks.spawn(async move {
                connection.write(format!("SUB acks.{sender} 1\r\n").as_bytes()).await?;
                let (mut latencies, mut on_their_way) = (Vec::new(), std::collections::VecDeque::new());
                let mut nth = 0;
                while start.elapsed() < time || !on_their_way.is_empty() {
                    let mut out = Vec::new();
                    while on_their_way.len() < window && start.elapsed() < time {
                        let subject = format!("{STREAM}.{}", nth % 100);
                        message(&mut out, &subject, &format!("acks.{sender}"), &body(sender, nth));
                        on_their_way.push_back(Instant::now());
                        nth += 1;
                    }
                    connection.write(&out).await?;
                    if let Some(sent) = on_their_way.pop_front() {
                        acknowledged(&connection.message().await?)?;
                        latencies.push(sent.elapsed());
                    }
                    // Whatever else was acknowledged meanwhile.
                    while !on_their_way.is_empty()
                        && let Some(answer) = connection.buffered()?
                    {
                        acknowledged(&answer)?;
                        latencies.extend(on_their_way.pop_front().map(|sent| sent.elapsed()));
                    }
                }
                Ok::<_, anyhow::Error>(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(some) = tasks.join_next().await {
            latencies.extend(some??);
        }
        Ok(Sent::new(latencies, start.elapsed()))
    }
}

/// One connection of a client.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// What was taken of `received`.
    at: usize,
}

impl Connection {
    /// Sends a request and returns the answer.
    pub async fn ask(&mut self, subject: &str, body: &Value) -> Result<Value> {
        let mut out = b"SUB answers 9\r\n".to_vec();
        message(&mut out, subject, "answers", body.to_string().as_bytes());
        out.extend_from_slice(b"UNSUB 9 1\r\n");
        self.write(&out).await?;
        let answer: Value = serde_json::from_slice(&self.message().await?)?;
        if !answer["error"].is_null() {
            bail!("{subject}: {}", answer["error"]);
        }
        Ok(answer)
    }

    /// Publishes without asking for an acknowledgement.
    pub async fn tell(&mut self, rows: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
        let mut out = Vec::new();
        for (subject, body) in rows {
            message(&mut out, &format!("{STREAM}.{subject}"), "", &body);
        }
        self.write(&out).await
    }

    /// The body of the next message.
    pub async fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(body) = self.buffered()? {
                return Ok(body);
            }
            self.more().await?;
        }
    }

    /// The body of the next message, if all of it is here.
    pub fn buffered(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let rest = &self.received[self.at..];
            let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
            let line = std::str::from_utf8(&rest[..end])?;
            if line.starts_with("-ERR") {
                bail!("the NATS server said {line}");
            }
            if !line.starts_with("MSG ") {
                // INFO, +OK, PING: a run is shorter than the server's patience with a silent client.
                self.at += end + 2;
                continue;
            }
            let length: usize = line.rsplit(' ').next().context("a length")?.parse()?;
            let body = end + 2..end + 2 + length;
            if rest.len() < body.end + 2 {
                return Ok(None);
            }
            let bytes = rest[body.clone()].to_vec();
            self.at += body.end + 2;
            return Ok(Some(bytes));
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            let rest = &self.received[self.at..];
            if let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.at += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        self.received.drain(..self.at);
        self.at = 0;
        if self.stream.read_buf(&mut self.received).await? == 0 {
            bail!("the NATS server closed the connection");
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }
}

fn message(out: &mut Vec<u8>, subject: &str, reply: &str, body: &[u8]) {
    out.extend_from_slice(format!("PUB {subject} {reply} {}\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

fn acknowledged(answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    if answer["seq"].is_u64() { Ok(()) } else { bail!("not acknowledged: {answer}") }
}
