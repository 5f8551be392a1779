//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Settings;

/// Multi-tenant data distribution: tenants pick data from a catalog, order channels in sizes, and
/// get every new record in them, metered to the byte.
///
/// Start with `headgate demo`: it runs the whole product on data it makes itself and tells you
/// where to look. Then `headgate serve`, open http://127.0.0.1:7400/docs and authorize with the
/// admin credential it printed.
#[derive(Debug, Parser)]
#[command(name = "headgate", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the platform
    ///
    /// On an empty data directory it prints one admin credential, once. Every flag can also be an
    /// environment variable or a line of the configuration file.
    ///
    ///   headgate serve
    ///   headgate serve --data-dir /var/lib/headgate --database-url postgres://headgate@db/headgate
    ///   headgate serve --roles engine --database-url … --internal-listen 127.0.0.1:7402
    #[command(verbatim_doc_comment)]
    Serve(ServeArguments),
    /// Shows the whole product on a temporary data directory
    ///
    /// Two tenants, one provider feed, one channel of each kind with a model and size of its own;
    /// history, then live data; every channel read back as a client would and compared.
    ///
    ///   headgate demo
    ///   headgate demo --exit --json result.json
    ///   headgate demo --input readings.csv --format csv
    #[command(verbatim_doc_comment)]
    Demo(DemoArguments),
    /// Measures this machine's Headgate beside peers in the same run
    ///
    /// Durable ingestion (B1, B2), delivery with few and many models (B6), latency (B7) and idle
    /// channels (B12). Figures mean something in the release profile only:
    ///
    ///   cargo run --release -- bench --json benchmarks.json
    #[command(verbatim_doc_comment)]
    Bench(BenchArguments),
    /// Brings the tables up to date and ends
    Migrate(ServeArguments),
    /// Prints the OpenAPI document of the control API
    Openapi {
        /// Writes it there instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Prints the AsyncAPI document of the events
    Asyncapi {
        /// Writes it there instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Usage and bills
    #[command(subcommand)]
    Usage(UsageCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The keys that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
}

#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Proves that usage equals deliveries, or names the first difference
    Reconcile(ServeArguments),
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Proves that no audit row was changed or removed, or names the first that was
    Verify(ServeArguments),
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Signs with a new key from now on
    ///
    /// Tokens of the key before are good until they expire, so that nobody is locked out. With an embedded
    /// database the platform has to be stopped meanwhile; other processes over PostgreSQL follow within a minute.
    Rotate(ServeArguments),
}

#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// Configuration file (TOML; the names of the flags with underscores)
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

impl ServeArguments {
    /// Flags and environment over the file.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let file = self.config.as_deref().map(Settings::from_file).transpose()?.unwrap_or_default();
        Ok(self.settings.over(file))
    }
}

#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Ends after the verification; the exit status is 0 only if every channel agrees
    #[arg(long)]
    pub exit: bool,
    /// Writes the result there as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Uses this file instead of generated sensor readings
    #[arg(long, value_name = "FILE", requires = "format")]
    pub input: Option<PathBuf>,
    /// The format of --input
    #[arg(long, value_enum, requires = "input")]
    pub format: Option<InputFormat>,
    /// Records to generate when there is no --input; a fifth of them arrive live
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub rows: usize,
    /// Uses these ports from this one on instead of free ones
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// PostgreSQL instead of the embedded SQLite
    #[arg(long, env = "HEADGATE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct BenchArguments {
    /// Only these, by commas: B1,B2,B3,B4,B5,B6,B7,B8,B12,B13
    #[arg(long, value_name = "NAMES")]
    pub only: Option<String>,
    /// How often each is measured, peers in turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: u32,
    /// How long one measurement lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub seconds: u64,
    /// Channels in B6, B7, B8 (at most) and B12
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub channels: usize,
    /// The most subscriptions in B5
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub subscriptions: u64,
    /// Writes the figures there as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The NATS server that is the peer of B1, B2, B6 and B7 (2.12 or later), if it is there
    #[arg(long, value_name = "PROGRAM", default_value = "nats-server")]
    pub nats_server: PathBuf,
    /// Serves as the peer of B1 and B2, appending to this file
    #[arg(long, value_name = "FILE", hide = true)]
    pub peer: Option<PathBuf>,
    /// Serves as the peer of B8: posts to ADDRESS,ENDPOINTS,MESSAGES
    #[arg(long, value_name = "LOAD", hide = true)]
    pub posts: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// RFC 4180 with a header row
    Csv,
    /// One JSON object per line
    Ndjson,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
