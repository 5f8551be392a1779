//! Logs and metrics.

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info,deltalake=warn,buoyant_kernel=warn,sqlx=warn,datafusion=warn";

/// Starts logging to standard error. A second call in one process changes nothing.
pub fn start_logging(json: bool, default_filter: Option<&str>) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    // What cannot be logged is lost: saying so would be written to the same place, and a print that fails panics. A disk
    // that is full of logs must not end the process.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // The only failure is that a subscriber is there already.
    let _ = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
}

/// Installs the recorder behind `/metrics`.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    PrometheusBuilder::new()
        .set_buckets(&buckets)
        .context("the histogram buckets are invalid")?
        .install_recorder()
        .context("failed to install the metrics recorder")
}
