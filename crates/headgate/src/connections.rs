//! How many connections a listener holds, and for how long one may say nothing: whoever opens a thousand and leaves
//! them must not keep others out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// For how long a connection is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until the head of its first request is whole.
    first_head: Duration,
    /// While nothing moves in either direction.
    silence: Duration,
}

/// Silence longer than the longest poll and than the pauses of a live stream.
const PATIENCE: Patience = Patience { first_head: Duration::from_secs(10), silence: Duration::from_secs(120) };
/// How long what is still on its way in is read after the last answer, and how long nothing of it may come. A connection
/// that is closed over unread bytes is reset, and the peer, who still sends a payload that was refused by its head, never
/// sees why.
const LINGER: Duration = Duration::from_secs(15);
const LINGER_SILENCE: Duration = Duration::from_secs(1);
/// How many are told at once that there is no room, and how long that may take; the others are left without a word.
const FAREWELLS: usize = 32;
const FAREWELL: Duration = Duration::from_secs(1);
/// What one that finds no room hears, where it can be told in plain text.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 164\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"connections_exhausted\",\
    \"detail\":\"too many connections are open; try again in some seconds\"}";

/// Takes connections while there is room for them.
#[derive(Debug, Clone)]
pub struct Limit {
    room: Arc<Semaphore>,
    /// Room for telling others that there is none.
    farewells: Arc<Semaphore>,
    speaks_plainly: bool,
    patience: Patience,
}

impl Limit {
    /// Room for so many; `speaks_plainly` without TLS.
    pub fn new(connections: usize, speaks_plainly: bool) -> Self {
        let (room, farewells) = (Arc::new(Semaphore::new(connections)), Arc::new(Semaphore::new(FAREWELLS)));
        Self { room, farewells, speaks_plainly, patience: PATIENCE }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Limit {
    type Stream = Connection;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Self { room, farewells, speaks_plainly, patience } = self.clone();
        Box::pin(async move {
            let Ok(permit) = room.try_acquire_owned() else {
                metrics::counter!("headgate_connections_refused_total").increment(1);
                if speaks_plainly && let Ok(permit) = farewells.try_acquire_owned() {
                    let connection = Connection::new(stream, permit, speaks_plainly, patience);
                    // Who asks nothing need not be told.
                    let _ = tokio::time::timeout(FAREWELL, connection.refuse()).await;
                }
                return Err(io::ErrorKind::QuotaExceeded.into());
            };
            Ok((Connection::new(stream, permit, speaks_plainly, patience), service))
        })
    }
}

/// How far the end of the first head, an empty line, was heard. The preface of HTTP/2 has one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// So many characters of the end.
    Part(usize),
    Head,
}

impl Heard {
    fn then(self, bytes: &[u8]) -> Self {
        const END: &[u8] = b"\r\n\r\n";
        if self == Self::Head {
            // What follows may be gigabytes.
            return self;
        }
        bytes.iter().fold(self, |heard, byte| match heard {
            Self::Part(count) if END.get(count) == Some(byte) && count + 1 == END.len() => Self::Head,
            Self::Part(count) if END.get(count) == Some(byte) => Self::Part(count + 1),
            Self::Part(_) => Self::Part(usize::from(END.first() == Some(byte))),
            Self::Head => Self::Head,
        })
    }
}

/// A connection that ends when nothing has moved for too long.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When something moved last.
    moved: Instant,
    /// How much of the end of the first head was heard.
    heard: Heard,
    patience: Patience,
    alarm: Pin<Box<Sleep>>,
    /// Until when the peer may send what nobody wants any more.
    lingers: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit, is_plain: bool, patience: Patience) -> Self {
        let alarm = Box::pin(tokio::time::sleep(patience.first_head));
        // What is encrypted has a time of its own for its handshake.
        let heard = if is_plain { Heard::Part(0) } else { Heard::Head };
        Self { stream, moved: Instant::now(), heard, patience, alarm, lingers: None, _permit: permit }
    }

    /// Says that there is no room, to a request: an answer that comes before it is taken for a fault.
    async fn refuse(mut self) -> io::Result<()> {
        let mut unwanted = [0; 4 << 10];
        while self.heard != Heard::Head {
            if self.read(&mut unwanted).await? == 0 {
                return Ok(());
            }
        }
        self.write_all(NO_ROOM).await?;
        self.shutdown().await
    }

    /// What waiting comes to: for ever, or an error once it has been too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Patience { first_head, silence } = self.patience;
        let patience = if self.heard == Heard::Head { silence } else { first_head };
        while self.alarm.as_mut().poll(cx).is_ready() {
            let end = self.moved + patience;
            if end <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // Moved since it was set: it is set anew only when it rings, not at every byte.
            self.alarm.as_mut().reset(end);
        }
        Poll::Pending
    }

    fn note<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Pending => self.wait(cx),
            ready => {
                // Who sends its first head a byte at a time gets no more time for it.
                if self.heard == Heard::Head {
                    self.moved = Instant::now();
                }
                ready
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.heard = self.heard.then(buffer.filled().get(before..).unwrap_or_default());
        self.note(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = match self.lingers {
            Some(end) => end,
            None => {
                std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                let end = Instant::now() + LINGER;
                self.lingers = Some(end);
                self.alarm.as_mut().reset(Instant::now() + LINGER_SILENCE);
                end
            }
        };
        let mut unwanted = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut unwanted);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && Instant::now() < end => {
                    self.alarm.as_mut().reset(Instant::now() + LINGER_SILENCE);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return self.alarm.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair(limit: &Limit) -> (TcpStream, io::Result<(Connection, ())>) {
        let (client, server) = sockets().await;
        (client, limit.accept(server, ()).await)
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[test]
    fn what_no_room_says_is_a_whole_answer() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} {head}", body.len());
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 503);
    }

    #[tokio::test]
    async fn one_too_many_is_told_to_come_again_and_finds_room_when_another_ends() {
        let limit = Limit::new(1, true);
        let (_first, held) = pair(&limit).await;
        let held = held.unwrap();
        let (mut second, server) = sockets().await;
        let asking = async {
            second.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            second.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let (refused, answer) = tokio::join!(limit.accept(server, ()), asking);
        assert!(refused.is_err());
        assert_eq!(answer, NO_ROOM);
        drop(held);
        assert!(pair(&limit).await.1.is_ok());
    }

    #[tokio::test]
    async fn who_still_sends_when_it_is_answered_sees_the_answer() {
        let limit = Limit::new(1, true);
        let (mut peer, connection) = pair(&limit).await;
        let (mut connection, ()) = connection.unwrap();
        let sending = tokio::spawn(async move {
            let written = peer.write_all(&[0; 8 << 20]).await;
            let mut answer = Vec::new();
            let read = peer.read_to_end(&mut answer).await;
            (written.is_ok(), read.is_ok(), answer)
        });
        let mut buffer = [0; 8];
        connection.read_exact(&mut buffer).await.unwrap();
        connection.write_all(b"no").await.unwrap();
        connection.shutdown().await.unwrap();
        drop(connection);
        assert_eq!(sending.await.unwrap(), (true, true, b"no".to_vec()));
    }

    #[tokio::test]
    async fn who_says_nothing_is_left_and_who_says_something_may_pause() {
        let (first_head, silence) = (Duration::from_millis(50), Duration::from_millis(400));
        let limit = Limit { patience: Patience { first_head, silence }, ..Limit::new(2, true) };
        let (_silent, connection) = pair(&limit).await;
        let (mut connection, ()) = connection.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(connection.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut talker, connection) = pair(&limit).await;
        let (mut connection, ()) = connection.unwrap();
        talker.write_all(b"x\r\n\r").await.unwrap();
        assert_eq!(connection.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(connection.heard, Heard::Part(3));
        talker.write_all(b"\n").await.unwrap();
        assert_eq!(connection.read(&mut buffer).await.unwrap(), 1);
        let start = Instant::now();
        assert_eq!(connection.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= silence, "{:?}", start.elapsed());
    }
}
