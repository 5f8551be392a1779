//! Serving a router on a listener, with or without TLS, until shutdown.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use crate::connections::Limit;

/// How long open requests may go on after shutdown was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long a request's head may take, and a connection between two requests: longer than the minute for which balancers
/// keep one.
const HEAD: Duration = Duration::from_secs(75);
/// How often the certificate's files are looked at.
const RELOAD: Duration = Duration::from_secs(30);

/// A bound listener that does not serve yet, so that every address is known before anything runs.
pub struct Bound {
    name: &'static str,
    listener: TcpListener,
    tls: Option<(PathBuf, PathBuf)>,
    connections: usize,
}

impl Bound {
    /// Binds `address` for at most `connections` at once.
    pub fn new(
        name: &'static str,
        address: SocketAddr,
        tls: Option<(PathBuf, PathBuf)>,
        connections: usize,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("failed to listen on {address} for {name}: is another Headgate running?"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { name, listener, tls, connections })
    }

    /// The URL under which this machine reaches it.
    pub fn url(&self) -> Result<String> {
        let address = self.listener.local_addr()?;
        let host =
            if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
        Ok(format!("{}://{host}", if self.tls.is_some() { "https" } else { "http" }))
    }

    /// Serves until `shutdown`, then lets open requests end.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) -> Result<()> {
        let handle = Handle::new();
        let stop = handle.clone();
        let stopped = shutdown.clone();
        let stopper = tokio::spawn(async move {
            stopped.cancelled().await;
            stop.graceful_shutdown(Some(GRACE));
        });
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let limit = Limit::new(self.connections, self.tls.is_none());
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle);
        // Without a timer, hyper waits for ever.
        server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
        let served = match self.tls {
            None => server.acceptor(limit).serve(service).await,
            Some((certificate, key)) => {
                let config = RustlsConfig::from_pem_file(&certificate, &key)
                    .await
                    .with_context(|| format!("failed to load the certificate {}", certificate.display()))?;
                let reloader = tokio::spawn(reload(config.clone(), certificate, key, shutdown.clone()));
                let acceptor = RustlsAcceptor::new(config).acceptor(limit);
                let served = server.acceptor(acceptor).serve(service).await;
                reloader.abort();
                served
            }
        };
        stopper.abort();
        served.with_context(|| format!("the {} listener failed", self.name))
    }
}

/// Takes up a renewed certificate without a restart. A pair that does not fit is logged and the
/// old one stays: half of a renewal may be on disk.
async fn reload(config: RustlsConfig, certificate: PathBuf, key: PathBuf, shutdown: CancellationToken) {
    let modified = |file: &PathBuf| -> Option<SystemTime> { std::fs::metadata(file).ok()?.modified().ok() };
    let mut seen = (modified(&certificate), modified(&key));
    while shutdown.run_until_cancelled(tokio::time::sleep(RELOAD)).await.is_some() {
        let now = (modified(&certificate), modified(&key));
        if now == seen {
            continue;
        }
        match config.reload_from_pem_file(&certificate, &key).await {
            Ok(()) => {
                seen = now;
                tracing::info!(certificate = %certificate.display(), "took up a renewed certificate");
            }
            Err(error) => {
                tracing::error!(%error, certificate = %certificate.display(), "failed to take up a renewed certificate")
            }
        }
    }
}
