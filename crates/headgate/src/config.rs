//! Settings: flags win over the environment, the environment over the file, the file over the
//! defaults. One struct serves all four, so a setting cannot exist in one place only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use headgate_aws::Reach;
use serde::Deserialize;

const HOUR: Duration = Duration::from_secs(3_600);
/// How finely usage is cut: what a tenant waits for at most before it sees what was delivered.
const USAGE_SPAN: Duration = Duration::from_secs(300);
/// Of less than this hardly one payload of the larger sizes would fit into a tenant's part.
const LEAST_LANDING: u64 = 1 << 30;

/// What `headgate serve` can be told.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder for everything that is kept: databases, landing zone, log, lake, channels, keys
    #[arg(long, env = "HEADGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// PostgreSQL instead of the embedded SQLite: postgres://user:password@host/database
    #[arg(long, env = "HEADGATE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Where the control API listens [default: 127.0.0.1:7400]
    #[arg(long, env = "HEADGATE_CONTROL_LISTEN", value_name = "ADDR")]
    pub control_listen: Option<SocketAddr>,

    /// Where channels take and hand out data over HTTP [default: 127.0.0.1:7401]
    #[arg(long, env = "HEADGATE_DATA_LISTEN", value_name = "ADDR")]
    pub data_listen: Option<SocketAddr>,

    /// Where the engine's internal API and /metrics listen; never public [default: 127.0.0.1:7402]
    #[arg(long, env = "HEADGATE_INTERNAL_LISTEN", value_name = "ADDR")]
    pub internal_listen: Option<SocketAddr>,

    /// How clients reach the control API [default: from the listener]
    #[arg(long, env = "HEADGATE_CONTROL_URL", value_name = "URL")]
    pub control_url: Option<String>,

    /// How clients reach the data listener [default: from the listener]
    #[arg(long, env = "HEADGATE_DATA_URL", value_name = "URL")]
    pub data_url: Option<String>,

    /// How the control plane reaches the engine when it runs in another process
    #[arg(long, env = "HEADGATE_ENGINE_URL", value_name = "URL")]
    pub engine_url: Option<String>,

    /// What this process does, by commas: api, worker, engine, metering [default: all]
    ///
    /// Several processes share a PostgreSQL and the master key (HEADGATE_MASTER_KEY, or a copy of master.key);
    /// worker and engine run on one machine, where channels have their directories.
    #[arg(long, env = "HEADGATE_ROLES", value_name = "ROLES", value_delimiter = ',')]
    pub roles: Option<Vec<Role>>,

    /// Certificate chain for TLS on the control and data listeners, PEM; read again when it changes
    #[arg(long, env = "HEADGATE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key for TLS, PEM
    #[arg(long, env = "HEADGATE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Allows plain HTTP on addresses that other machines reach
    #[arg(long, env = "HEADGATE_INSECURE_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_http: Option<bool>,

    /// Networks that webhooks may reach although they are private, by plain http and on any port too,
    /// for example 10.1.0.0/16; elsewhere only https on ports 443 and 8443 is spoken
    #[arg(long, env = "HEADGATE_OUTBOUND_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    pub outbound_allow: Option<Vec<ipnet::IpNet>>,

    /// Channel profiles and sizes, in place of the built-in ones
    #[arg(long, env = "HEADGATE_PROFILES", value_name = "FILE")]
    pub profiles: Option<PathBuf>,

    /// Channel profiles whose new channels are CloudFormation stacks in an AWS account, by commas: file, queue,
    /// stream [default: none; nothing of AWS is used then]
    ///
    /// Credentials are found as by every AWS program: environment, profile, role of the machine.
    #[arg(long, env = "HEADGATE_AWS_PROFILES", value_name = "PROFILES", value_delimiter = ',')]
    pub aws_profiles: Option<Vec<String>>,

    /// Issuers whose tokens are taken beside those of the built-in one: OpenID Connect providers, and Amazon
    /// Cognito user pools, which can also keep the logins of tenants' clients (docs/issuers.md)
    #[arg(long, env = "HEADGATE_ISSUERS", value_name = "FILE")]
    pub issuers: Option<PathBuf>,

    /// Name of this installation in tags of its stacks and names of its app clients; two in one account or
    /// pool need two names [default: headgate]
    #[arg(long, env = "HEADGATE_AWS_INSTALLATION", value_name = "NAME")]
    pub aws_installation: Option<String>,

    /// ARN of the role that Headgate runs under; it alone may take up the roles of channels
    #[arg(long, env = "HEADGATE_AWS_PLATFORM_ROLE", value_name = "ARN")]
    pub aws_platform_role: Option<String>,

    /// ARN of the policy that users and roles of channels may do no more than: `BoundaryArn` of
    /// templates/platform-role.yaml, whose role makes none without it
    #[arg(long, env = "HEADGATE_AWS_BOUNDARY", value_name = "ARN")]
    pub aws_boundary: Option<String>,

    /// Region of the stacks [default: AWS_REGION, or as the AWS profile says]
    #[arg(long, env = "HEADGATE_AWS_REGION", value_name = "REGION")]
    pub aws_region: Option<String>,

    /// Where AWS is reached, in place of its public endpoints [default: AWS_ENDPOINT_URL]
    #[arg(long, env = "HEADGATE_AWS_ENDPOINT_URL", value_name = "URL")]
    pub aws_endpoint_url: Option<String>,

    /// How long an access token is good, in seconds [default: 3600]
    #[arg(long, env = "HEADGATE_TOKEN_SECONDS", value_name = "N")]
    pub token_seconds: Option<u32>,

    /// How finely usage is cut: an hour or a whole fraction of one [default: 5m]
    #[arg(long, env = "HEADGATE_USAGE_SPAN", value_name = "DURATION")]
    pub usage_span: Option<String>,

    /// What may wait in the landing zone before payloads are refused, as 16GiB; a quarter of it for each tenant, and
    /// for each channel what its size says of that [default: 16GiB]
    #[arg(long, env = "HEADGATE_LANDING_BYTES", value_name = "SIZE")]
    pub landing_bytes: Option<String>,

    /// Bytes of an element's log from which they become part of its table [default: 8388608]
    #[arg(long, env = "HEADGATE_LAKE_ROLL_BYTES", value_name = "N", hide = true)]
    pub lake_roll_bytes: Option<u64>,

    /// Small files of a table from which they are merged [default: 8]
    #[arg(long, env = "HEADGATE_LAKE_COMPACT_FILES", value_name = "N", hide = true)]
    pub lake_compact_files: Option<usize>,

    /// Commits of a table between two checkpoints [default: 100]
    #[arg(long, env = "HEADGATE_LAKE_CHECKPOINT_EVERY", value_name = "N", hide = true)]
    pub lake_checkpoint_every: Option<u64>,

    /// Seconds for which a data file is kept that its table no longer names [default: 86400]
    #[arg(long, env = "HEADGATE_LAKE_VACUUM_AGE", value_name = "SECONDS", hide = true)]
    pub lake_vacuum_age: Option<u64>,

    /// Seconds without a record or a reader after which a channel is kept as what has it called for [default: 60]
    #[arg(long, env = "HEADGATE_REST_AFTER", value_name = "SECONDS", hide = true)]
    pub rest_after: Option<u64>,

    /// Log lines as JSON
    #[arg(long, env = "HEADGATE_LOG_JSON", num_args = 0..=1, default_missing_value = "true")]
    pub log_json: Option<bool>,
}

/// One service of the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The control API.
    Api,
    /// Orders and events.
    Worker,
    /// Ingestion, the lake and fan-out.
    Engine,
    /// The hours that channels exist.
    Metering,
}

impl Role {
    /// Everything, as `headgate serve` runs it on a laptop.
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Engine, Self::Metering];
}

/// Settings with every gap filled.
#[derive(Debug, Clone)]
pub struct Config {
    /// See [`Settings::data_dir`].
    pub data_dir: PathBuf,
    /// See [`Settings::database_url`].
    pub database_url: Option<String>,
    /// See [`Settings::control_listen`].
    pub control_listen: SocketAddr,
    /// See [`Settings::data_listen`].
    pub data_listen: SocketAddr,
    /// See [`Settings::internal_listen`].
    pub internal_listen: SocketAddr,
    /// See [`Settings::control_url`]; `None` until the listener is bound.
    pub control_url: Option<String>,
    /// See [`Settings::data_url`]; `None` until the listener is bound.
    pub data_url: Option<String>,
    /// See [`Settings::engine_url`].
    pub engine_url: Option<String>,
    /// See [`Settings::roles`].
    pub roles: Vec<Role>,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// See [`Settings::outbound_allow`].
    pub outbound_allow: Vec<ipnet::IpNet>,
    /// See [`Settings::profiles`].
    pub profiles: Option<PathBuf>,
    /// See [`Settings::issuers`].
    pub issuers: Option<PathBuf>,
    /// See [`Settings::aws_installation`].
    pub installation: String,
    /// The AWS account that holds channels of some profiles; `None`: no channel is.
    pub aws: Option<Aws>,
    /// How AWS is reached, for channels made before a change of `aws` too.
    pub reach: Reach,
    /// See [`Settings::token_seconds`].
    pub token_seconds: u32,
    /// See [`Settings::usage_span`].
    pub usage_span: Duration,
    /// See [`Settings::landing_bytes`].
    pub landing_bytes: Option<u64>,
    /// See [`Settings::lake_roll_bytes`].
    pub lake_roll_bytes: Option<u64>,
    /// See [`Settings::lake_compact_files`].
    pub lake_compact_files: Option<usize>,
    /// See [`Settings::lake_checkpoint_every`].
    pub lake_checkpoint_every: Option<u64>,
    /// See [`Settings::lake_vacuum_age`].
    pub lake_vacuum_age: Option<Duration>,
    /// See [`Settings::rest_after`].
    pub rest_after: Option<Duration>,
}

/// The AWS account that holds channels.
#[derive(Debug, Clone)]
pub struct Aws {
    /// See [`Settings::aws_profiles`].
    pub profiles: Vec<String>,
    /// See [`Settings::aws_platform_role`].
    pub platform_role: String,
    /// See [`Settings::aws_boundary`].
    pub boundary: Option<String>,
}

macro_rules! overlay {
    ($over:expr, $under:expr; $($field:ident)*) => {
        Settings { $($field: $over.$field.or($under.$field)),* }
    };
}

impl Settings {
    /// Reads a configuration file (TOML; the names are those of the flags with underscores).
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("failed to read {}", file.display()))
    }

    /// These settings, with the gaps filled from `under`.
    pub fn over(self, under: Self) -> Self {
        overlay!(self, under;
            data_dir database_url control_listen data_listen internal_listen control_url data_url engine_url roles
            tls_cert tls_key insecure_http outbound_allow profiles issuers aws_profiles aws_installation aws_platform_role
            aws_boundary aws_region aws_endpoint_url token_seconds usage_span landing_bytes lake_roll_bytes
            lake_compact_files lake_checkpoint_every lake_vacuum_age rest_after log_json)
    }

    /// Fills what is left with the defaults and refuses what cannot work.
    pub fn resolve(self) -> Result<Config> {
        let address =
            |chosen: Option<SocketAddr>, port| chosen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
        let aws = self.aws()?;
        let config = Config {
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from("headgate-data")),
            database_url: self.database_url,
            control_listen: address(self.control_listen, 7400),
            data_listen: address(self.data_listen, 7401),
            internal_listen: address(self.internal_listen, 7402),
            control_url: self.control_url,
            data_url: self.data_url,
            engine_url: self.engine_url,
            roles: self.roles.filter(|roles| !roles.is_empty()).unwrap_or_else(|| Role::ALL.to_vec()),
            tls: self.tls_cert.zip(self.tls_key),
            outbound_allow: self.outbound_allow.unwrap_or_default(),
            profiles: self.profiles,
            issuers: self.issuers,
            installation: self.aws_installation.unwrap_or_else(|| "headgate".to_owned()),
            aws,
            reach: Reach { region: self.aws_region, endpoint_url: self.aws_endpoint_url },
            token_seconds: self.token_seconds.unwrap_or(3_600),
            usage_span: self.usage_span.as_deref().map_or(Ok(USAGE_SPAN), usage_span)?,
            landing_bytes: self.landing_bytes.as_deref().map(landing_bytes).transpose()?,
            lake_roll_bytes: self.lake_roll_bytes,
            lake_compact_files: self.lake_compact_files,
            lake_checkpoint_every: self.lake_checkpoint_every,
            lake_vacuum_age: self.lake_vacuum_age.map(Duration::from_secs),
            rest_after: self.rest_after.map(Duration::from_secs),
        };
        if !(1..=86_400).contains(&config.token_seconds) {
            bail!("an access token is good for 1 to 86400 seconds, not {}", config.token_seconds);
        }
        let insecure = self.insecure_http.unwrap_or(false);
        for (name, listener) in [("control", config.control_listen), ("data", config.data_listen)] {
            if config.tls.is_none() && !insecure && !listener.ip().is_loopback() {
                bail!(
                    "the {name} listener {listener} is reachable from other machines without TLS: give --tls-cert and \
                     --tls-key, or --insecure-http when something in front of Headgate terminates TLS"
                );
            }
        }
        if !config.internal_listen.ip().is_loopback() && !insecure {
            bail!(
                "the internal listener {} has no TLS: keep it on loopback, or give --insecure-http on a trusted network",
                config.internal_listen
            );
        }
        let is_postgres = |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if config.database_url.as_ref().is_some_and(|url| !is_postgres(url)) {
            bail!("the database URL must begin with postgres:// (without one, SQLite is used)");
        }
        let needs_engine = config.has(Role::Api) || config.has(Role::Worker);
        if needs_engine && !config.has(Role::Engine) && config.engine_url.is_none() {
            bail!("the roles api and worker need the engine: run it here too, or give --engine-url");
        }
        if needs_engine && !config.has(Role::Engine) && config.data_url.is_none() {
            bail!("the roles api and worker tell clients where the engine takes and hands out data: give --data-url");
        }
        if config.has(Role::Engine) && !config.has(Role::Api) && config.control_url.is_none() {
            bail!("the engine knows access tokens by the control API's address: give --control-url");
        }
        if config.database_url.is_none() && config.roles.len() < Role::ALL.len() {
            bail!("roles in several processes need a database that they can share: give --database-url");
        }
        Ok(config)
    }
}

impl Settings {
    fn aws(&self) -> Result<Option<Aws>> {
        let profiles = self.aws_profiles.clone().filter(|profiles| !profiles.is_empty());
        let Some(profiles) = profiles else {
            // App clients of a pool carry the installation's name, too.
            let named = self.aws_installation.is_some() && self.issuers.is_none();
            if self.aws_platform_role.is_some() || self.aws_boundary.is_some() || named {
                bail!("nothing is held by AWS: name the channel profiles with --aws-profiles");
            }
            return Ok(None);
        };
        let known = headgate_provisioning::driver::cloudformation::PROFILES;
        if let Some(unknown) = profiles.iter().find(|profile| !known.contains(&profile.as_str())) {
            bail!("--aws-profiles {unknown}: there are templates for {}", known.join(", "));
        }
        let Some(platform_role) = self.aws_platform_role.clone() else {
            bail!("--aws-profiles needs --aws-platform-role: the role that Headgate runs under in its AWS account");
        };
        Ok(Some(Aws { profiles, platform_role, boundary: self.aws_boundary.clone() }))
    }
}

/// Spans must not straddle an hour: usage is reported by hours and days.
fn usage_span(text: &str) -> Result<Duration> {
    let span = headgate_types::duration::parse(text).map_err(|detail| anyhow::anyhow!("usage_span: {detail}"))?;
    let seconds = u64::try_from(span.num_seconds()).unwrap_or_default();
    if seconds == 0 || !HOUR.as_secs().is_multiple_of(seconds) {
        bail!("usage_span {text} is not an hour or a whole fraction of one");
    }
    Ok(Duration::from_secs(seconds))
}

/// As [`Settings::landing_bytes`].
fn landing_bytes(text: &str) -> Result<u64> {
    let bytes = headgate_types::byte_size::parse(text).map_err(|detail| anyhow::anyhow!("landing_bytes: {detail}"))?;
    if bytes < LEAST_LANDING {
        bail!("landing_bytes {text}: the landing zone holds 1GiB at least, a quarter of it for each tenant");
    }
    Ok(bytes)
}

impl Config {
    /// Whether this process has the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_gaps_get_defaults() {
        let text = "data_dir = '/a'\ntoken_seconds = 60\ncontrol_listen = '127.0.0.1:1'";
        let file: Settings = toml::from_str(text).unwrap();
        let flags = Settings { data_dir: Some("/b".into()), ..Settings::default() };
        let config = flags.over(file).resolve().unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/b"));
        assert_eq!(config.control_listen.port(), 1);
        assert_eq!(config.data_listen.port(), 7401);
        assert_eq!(config.token_seconds, 60);
        assert!(Settings { token_seconds: Some(0), ..Settings::default() }.resolve().is_err());
        assert!(toml::from_str::<Settings>("data_dri = '/a'").is_err());
    }

    #[test]
    fn plain_http_beyond_loopback_is_refused_unless_asked_for() {
        let open = Settings { data_listen: Some(([0, 0, 0, 0], 80).into()), ..Settings::default() };
        let error = open.clone().resolve().unwrap_err().to_string();
        assert!(error.contains("--tls-cert"), "{error}");
        assert!(Settings { insecure_http: Some(true), ..open }.resolve().is_ok());
    }

    #[test]
    fn usage_is_cut_by_the_hour_or_by_a_fraction_of_it() {
        let span = |text: &str| Settings { usage_span: Some(text.into()), ..Settings::default() }.resolve();
        assert_eq!(Settings::default().resolve().unwrap().usage_span, Duration::from_secs(300));
        assert_eq!(span("90s").unwrap().usage_span, Duration::from_secs(90));
        assert!(span("7m").is_err(), "an hour is no multiple of it");
        assert!(span("2h").is_err());
    }

    #[test]
    fn the_landing_zone_is_as_large_as_said_or_refused() {
        let landing = |text: &str| Settings { landing_bytes: Some(text.into()), ..Settings::default() }.resolve();
        assert_eq!(Settings::default().resolve().unwrap().landing_bytes, None);
        assert_eq!(landing("2TiB").unwrap().landing_bytes, Some(2 << 40));
        for (wrong, why) in [("16", "landing_bytes"), ("1GB", "landing_bytes"), ("512MiB", "1GiB")] {
            assert!(landing(wrong).unwrap_err().to_string().contains(why), "{wrong}");
        }
    }

    #[test]
    fn aws_is_used_only_when_a_profile_is_named_and_with_a_role() {
        assert!(Settings::default().resolve().unwrap().aws.is_none());
        let role = || Some("arn:aws:iam::123456789012:role/headgate".to_owned());
        let lone = Settings { aws_platform_role: role(), ..Settings::default() };
        let bounded = Settings { aws_boundary: Some("arn".to_owned()), ..Settings::default() };
        for without_profiles in [&lone, &bounded] {
            assert!(without_profiles.clone().resolve().unwrap_err().to_string().contains("--aws-profiles"));
        }
        let named = |profile: &str| Settings { aws_profiles: Some(vec![profile.to_owned()]), ..Settings::default() };
        assert!(named("file").resolve().unwrap_err().to_string().contains("--aws-platform-role"));
        assert!(named("api").resolve().unwrap_err().to_string().contains("file, queue, stream"));
        let config = Settings { aws_platform_role: role(), ..named("file") }.resolve().unwrap();
        assert_eq!((config.installation.as_str(), config.aws.is_some()), ("headgate", true));
        let installation = Settings { aws_installation: Some("second".to_owned()), ..Settings::default() };
        assert!(installation.clone().resolve().is_err());
        let issuers = Settings { issuers: Some("issuers.toml".into()), ..installation };
        assert_eq!(issuers.resolve().unwrap().installation, "second");
    }

    #[test]
    fn roles_that_need_others_say_so() {
        let api = Settings {
            roles: Some(vec![Role::Api]),
            database_url: Some("postgres://x/y".into()),
            ..Settings::default()
        };
        assert!(api.clone().resolve().unwrap_err().to_string().contains("--engine-url"));
        let url = || Some("http://127.0.0.1:1".to_owned());
        let api = Settings { engine_url: url(), ..api };
        assert!(api.clone().resolve().unwrap_err().to_string().contains("--data-url"));
        assert!(Settings { data_url: url(), ..api.clone() }.resolve().is_ok());
        let engine = Settings { roles: Some(vec![Role::Engine]), ..api };
        assert!(engine.clone().resolve().unwrap_err().to_string().contains("--control-url"));
        let split = Settings { database_url: None, control_url: url(), ..engine };
        assert!(split.resolve().unwrap_err().to_string().contains("--database-url"));
    }
}
