//! The one binary: configuration, telemetry, wiring, roles, command line. It knows every crate and
//! no business rule.

mod bench;
mod cli;
mod config;
mod connections;
mod demo;
mod directory;
mod issuers;
mod listen;
mod maintenance;
mod serve;
mod telemetry;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use cli::{AuditCommand, BenchArguments, Cli, Command, KeysCommand, ServeArguments, UsageCommand};
use serve::StopSignals;

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}", in_one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

/// What failed and why. Errors that already say their cause are not followed by it again, and no
/// stack hides the line.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.contains(&cause) {
        true => line,
        false if line.is_empty() => cause,
        false => format!("{line}: {cause}"),
    })
}

fn start(cli: Cli) -> Result<()> {
    // Two providers end up linked; without a choice the first TLS connection panics.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nobody installs a provider before main");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start the runtime")?;
    runtime.block_on(run(cli.command))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(arguments) => run_server(arguments).await,
        Command::Demo(arguments) => {
            telemetry::start_logging(false, Some("warn"));
            demo::run(arguments).await
        }
        Command::Bench(BenchArguments { peer: Some(file), .. }) => bench::peer::run(&file).await,
        Command::Bench(BenchArguments { posts: Some(load), .. }) => bench::webhooks::post(&load).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Migrate(arguments) => maintenance::migrate(arguments.settings()?.resolve()?).await,
        Command::Openapi { output } => maintenance::openapi(output.as_deref()),
        Command::Asyncapi { output } => maintenance::asyncapi(output.as_deref()),
        Command::Usage(UsageCommand::Reconcile(arguments)) => {
            maintenance::reconcile(arguments.settings()?.resolve()?).await
        }
        Command::Audit(AuditCommand::Verify(arguments)) => {
            maintenance::verify_audit(arguments.settings()?.resolve()?).await
        }
        Command::Keys(KeysCommand::Rotate(arguments)) => {
            maintenance::rotate_keys(arguments.settings()?.resolve()?).await
        }
    }
}

async fn run_server(arguments: ServeArguments) -> Result<()> {
    let settings = arguments.settings()?;
    telemetry::start_logging(settings.log_json.unwrap_or(false), None);
    // Not a setting: a file or a flag must not be able to, and a release does not know it.
    #[cfg(debug_assertions)]
    if let Some(place) = std::env::var(headgate_types::failpoint::VARIABLE).ok().filter(|place| !place.is_empty()) {
        headgate_types::failpoint::arm(&place).map_err(anyhow::Error::msg)?;
    }
    let mut running = serve::start(settings.resolve()?).await?;
    let mut stop = StopSignals::listen()?;
    announce(&running);
    let failed = tokio::select! {
        () = stop.first() => None,
        error = running.failed() => Some(error),
    };
    tracing::info!("stopping");
    let stopped = running.stop().await;
    failed.map_or(stopped, Err)
}

/// What a person or a script that started the server needs to know.
#[expect(clippy::print_stdout, reason = "the answer to whoever started the server")]
fn announce(running: &serve::Running) {
    let served = [("control", &running.control_url), ("data", &running.data_url)];
    for (name, url) in served.iter().filter_map(|(name, url)| Some((name, url.as_deref()?))) {
        println!("{name:<15}{url}");
    }
    println!("internal       {}", running.internal_url);
    if let Some(control) = &running.control_url {
        println!("docs           {control}/docs");
    }
    if let Some((client_id, client_secret)) = &running.admin {
        println!("\nThe first administrator. The secret is shown this once:");
        println!("client_id      {client_id}");
        println!("client_secret  {client_secret}\n");
    }
    println!("ready");
}

#[expect(clippy::print_stderr, reason = "the answer to whoever started the program")]
fn complain(text: &str) {
    eprintln!("{text}");
}
