//! The bare peer of B1 and B2: the same HTTP server over a plain file with group commit. It does
//! what a durable acknowledgement needs and nothing else: no keys, no receipts, no records.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::{mpsc, oneshot};

type Append = (Bytes, oneshot::Sender<()>);

/// Serves until it is killed; prints its address.
#[expect(clippy::print_stdout, reason = "the answer to whoever started it")]
pub async fn run(file: &Path) -> Result<()> {
    let mut file = std::fs::File::create(file).with_context(|| format!("failed to create {}", file.display()))?;
    let (queue, mut appends) = mpsc::channel::<Append>(65_536);
    std::thread::spawn(move || {
        let mut group = Vec::new();
        while appends.blocking_recv_many(&mut group, 65_536) > 0 {
            let bytes: Vec<u8> = group.iter().flat_map(|(body, _)| body.iter().copied()).collect();
            // A peer that cannot write has nothing to say; the load sees its connections end.
            if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
                return;
            }
            for (_, done) in group.drain(..) {
                // Whoever hung up does not wait for the answer.
                let _ = done.send(());
            }
        }
    });
    let router = Router::new().fallback(append).with_state(queue);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn append(State(queue): State<mpsc::Sender<Append>>, body: Bytes) -> StatusCode {
    let (done, written) = oneshot::channel();
    match (queue.send((body, done)).await, written.await) {
        (Ok(()), Ok(())) => StatusCode::ACCEPTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
