//! Serving a router on a listener, with or without TLS, until shutdown.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio_util::sync::CancellationToken;

/// How long open requests may go on after shutdown was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at.
const RELOAD: Duration = Duration::from_secs(30);

/// A bound listener that does not serve yet, so that every address is known before anything runs.
pub struct Bound {
    name: &'static str,
    listener: TcpListener,
    tls: Option<(PathBuf, PathBuf)>,
}

impl Bound {
    /// Binds `address`.
    pub fn new(name: &'static str, address: SocketAddr, tls: Option<(PathBuf, PathBuf)>) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("failed to listen on {address} for {name}: is another Headgate running?"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { name, listener, tls })
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
        let served = match self.tls {
            None => axum_server::from_tcp(self.listener)?.handle(handle).serve(service).await,
            Some((certificate, key)) => {
                let config = RustlsConfig::from_pem_file(&certificate, &key)
                    .await
                    .with_context(|| format!("failed to load the certificate {}", certificate.display()))?;
                let reloader = tokio::spawn(reload(config.clone(), certificate, key, shutdown.clone()));
                let served = axum_server::from_tcp_rustls(self.listener, config)?.handle(handle).serve(service).await;
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
