//! Wiring: opens the stores, starts what the roles ask for, and ends it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_access::{Access, AccessConfig, ForeignIssuer, PoolSweep};
use headgate_control_api::{ApiConfig, ApiParts, ApiState, RateLimits};
use headgate_database::{Db, Options, Part, Signal};
use headgate_events::{Events, Sender};
use headgate_fanout_engine::cloud::Cloud;
use headgate_fanout_engine::ingest::{Ingest, IngestParts};
use headgate_fanout_engine::listener::{self, Listener};
use headgate_fanout_engine::{Engine, EngineConfig, EngineDeps, internal};
use headgate_lake::{Lake, LakeConfig, LakeWriter};
use headgate_provisioning::worker::{Worker, WorkerConfig, WorkerParts};
use headgate_provisioning::{
    ChannelHours, CloudFormationDriver, CloudFormationSettings, Drivers, EmbeddedDriver, Profiles, Sweep,
};
use headgate_types::{SharedClock, SystemClock};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Config, Role};
use crate::directory::Directory;
use crate::issuers::{self, Issuers};
use crate::listen::Bound;
use crate::telemetry;

/// The audience of tokens.
const AUDIENCE: &str = "headgate";
/// How often left-over resources are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// PostgreSQL connections per database role and part.
const CONNECTIONS: u32 = 16;
/// Open files below which the operator is warned.
const ENOUGH_FILES: u64 = 4_096;
/// The limit where it cannot be asked for.
const USUAL_FILES: u64 = 1_024;
/// Files of the platform's own stores.
const STORE_FILES: u64 = 256;
/// The most connections of the data listener and of the control API, where files are plenty.
const DATA_CONNECTIONS: usize = 32_768;
const CONTROL_CONNECTIONS: usize = 4_096;

/// A running Headgate.
pub struct Running {
    /// Where this machine reaches the control API, if it is served here.
    pub control_url: Option<String>,
    /// Where this machine reaches the data listener, if it is served here.
    pub data_url: Option<String>,
    /// Where this machine reaches the internal listener.
    pub internal_url: String,
    /// The first administrator's id and secret, on an empty database.
    pub admin: Option<(String, String)>,
    engine: Option<Engine>,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<()>>,
    databases: Vec<Db>,
    _directory: Directory,
}

/// Opens the two parts of the state.
pub async fn databases(config: &Config, directory: &Directory) -> Result<(Db, Db)> {
    let options = database_options(config, directory);
    let control = Db::open(&options, Part::Control).await.context("failed to open the control database")?;
    let data = Db::open(&options, Part::Data).await.context("failed to open the data database")?;
    Ok((control, data))
}

/// Where the databases are.
pub fn database_options(config: &Config, directory: &Directory) -> Options {
    match &config.database_url {
        Some(url) => Options::Postgres { url: url.clone(), connections: CONNECTIONS },
        None => Options::Sqlite { directory: directory.root().to_owned() },
    }
}

/// Opens access over the control database; its public address is the issuer of tokens. They are good for
/// `token_seconds`; those of `foreign` issuers are taken, too.
pub async fn access(
    directory: &Directory,
    control: &Db,
    clock: &SharedClock,
    issuer: &Url,
    token_seconds: u32,
    foreign: Vec<ForeignIssuer>,
) -> Result<Access> {
    let mut tx = control.read_platform().await?;
    let fresh = headgate_access::is_fresh(&mut tx).await?;
    drop(tx);
    let master_key = directory.master_key(fresh)?;
    let mut access_config = AccessConfig::new(issuer.clone(), AUDIENCE, master_key);
    access_config.token_lifetime = chrono::TimeDelta::seconds(token_seconds.into());
    access_config.foreign = foreign;
    Access::open(control.clone(), Arc::clone(clock), access_config).await.context("failed to set up access")
}

/// The AsyncAPI document: the events of every crate that has any.
pub fn asyncapi() -> serde_json::Value {
    let events = [headgate_provisioning::events(), headgate_fanout_engine::events(), headgate_events::events()];
    headgate_events::asyncapi(&events.concat())
}

/// What makes the resources of channels. Without a setting for AWS nothing of it is begun.
async fn drivers(config: &Config, directory: &Directory) -> Result<Drivers> {
    let drivers = Drivers::only(Arc::new(EmbeddedDriver::open(&directory.folder("channels")?)?));
    let Some(aws) = &config.aws else { return Ok(drivers) };
    let settings = CloudFormationSettings {
        aws: config.reach.clone(),
        boundary: aws.boundary.clone(),
        ..CloudFormationSettings::new(&config.installation, &aws.platform_role)
    };
    let cloud = CloudFormationDriver::open(settings).await.context("failed to set up the AWS account")?;
    Ok(drivers.and(aws.profiles.clone(), Arc::new(cloud)))
}

/// Raises the soft limit of open files to the hard one: every channel keeps a few open, and the
/// usual soft limit of 1,024 would end at some two hundred channels. Returns the limit.
fn raise_open_files() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            if limit < ENOUGH_FILES {
                tracing::warn!(limit, "few files may be open at once; raise the limit (ulimit -Hn) for many channels");
            }
            limit
        }
        Err(error) => {
            tracing::warn!(%error, "failed to raise the limit of open files");
            USUAL_FILES
        }
    }
}

/// Starts everything the roles ask for. When it returns, every listener answers.
pub async fn start(config: Config) -> Result<Running> {
    let files = raise_open_files();
    let directory = Directory::open(&config.data_dir)?;
    let clock = SystemClock::shared();
    let (control, data) = databases(&config, &directory).await?;

    // Only what is served here is bound: another process of this machine may serve the rest.
    let bind = |role, name, address, connections| {
        config.has(role).then(|| Bound::new(name, address, config.tls.clone(), connections)).transpose()
    };
    // Sources and clients may take half of the files that the stores leave, callers of the control API an eighth: the
    // rest is for channels, and nobody can keep the others out.
    let share =
        |part, most: usize| usize::try_from(files.saturating_sub(STORE_FILES) / part).unwrap_or(most).clamp(16, most);
    let few = share(8, CONTROL_CONNECTIONS);
    let control_listener = bind(Role::Api, "the control API", config.control_listen, few)?;
    let data_listener = bind(Role::Engine, "data", config.data_listen, share(2, DATA_CONNECTIONS))?;
    let internal_listener = Bound::new("the internal API", config.internal_listen, None, few)?;
    let control_url = control_listener.as_ref().map(Bound::url).transpose()?;
    let data_url = data_listener.as_ref().map(Bound::url).transpose()?;
    let internal_url = internal_listener.url()?;
    let public = |configured: &Option<String>, local: &Option<String>, address: SocketAddr| -> Result<Url> {
        let text = configured.clone().or_else(|| local.clone()).unwrap_or_else(|| format!("http://{address}"));
        text.parse().with_context(|| format!("{text} is not a URL"))
    };
    let public_control = public(&config.control_url, &control_url, config.control_listen)?;
    let public_data = public(&config.data_url, &data_url, config.data_listen)?;

    let issuers = Issuers::load(config.issuers.as_deref(), &config.installation, &config.outbound_allow)?;
    let foreign = issuers.foreign.clone();
    let access = access(&directory, &control, &clock, &public_control, config.token_seconds, foreign).await?;
    let mut tx = control.platform().await?;
    let admin = access.bootstrap_admin(&mut tx).await?;
    tx.commit().await?;
    let admin = admin.map(|(client, secret)| (client.to_string(), secret.expose_secret().to_owned()));

    let profiles = match &config.profiles {
        Some(file) => Profiles::load(file).with_context(|| format!("failed to read {}", file.display()))?,
        None => Profiles::embedded()?,
    };
    let profiles = Arc::new(profiles.held_by_a_cloud(config.aws.as_ref().map_or(&[], |aws| &aws.profiles)));
    let mut tx = data.platform().await?;
    headgate_metering::ensure_standard(&mut tx, clock.now()).await?;
    tx.commit().await?;
    let outbound = GuardedClient::new(OutboundPolicy { allow: config.outbound_allow.clone() })?;
    let events = Events::new(control.clone(), Arc::clone(&clock), access.clone(), outbound.clone());
    let internal_token = SecretString::from(hex::encode(*access.derive_key("internal api")));
    let metrics = telemetry::start_metrics()?;

    let shutdown = CancellationToken::new();
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let mut internal_router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/metrics", get(move || std::future::ready(metrics.render())));

    let stop = shutdown.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = headgate_database::sync_failed() => {
                anyhow::bail!("a store can no longer be trusted; the log above says why")
            }
        }
    });

    let mut local = None;
    // Only control API and worker speak to an engine elsewhere, and the configuration made sure of it.
    let engine: Option<Arc<dyn headgate_types::engine::Engine>> = if let Some(data_listener) = data_listener {
        let mut lake_config = LakeConfig::new(directory.folder("lake")?);
        if let Some(bytes) = config.landing_bytes {
            lake_config = lake_config.with_landing(bytes);
        }
        lake_config.roll_bytes = config.lake_roll_bytes.unwrap_or(lake_config.roll_bytes);
        lake_config.compact_files = config.lake_compact_files.unwrap_or(lake_config.compact_files);
        lake_config.checkpoint_every = config.lake_checkpoint_every.unwrap_or(lake_config.checkpoint_every).max(1);
        lake_config.vacuum_age = config.lake_vacuum_age.unwrap_or(lake_config.vacuum_age);
        let lake = Lake::open(lake_config, Arc::clone(&clock)).await.context("failed to open the lake")?;
        let cloud = Cloud::new(config.reach.clone());
        let ingest = Ingest::new(IngestParts {
            control: control.clone(),
            data: data.clone(),
            lake: lake.clone(),
            cloud: cloud.clone(),
            clock: Arc::clone(&clock),
            events: events.clone(),
            projections: directory.folder("projections")?,
            attempts: directory.folder("attempts")?,
        });
        let usual = EngineConfig::default();
        let engine_config = EngineConfig {
            public_url: public_data.as_str().trim_end_matches('/').to_owned(),
            usage_span: config.usage_span,
            rest_after: config.rest_after.unwrap_or(usual.rest_after),
            ..usual
        };
        let engine = Engine::start(
            engine_config,
            EngineDeps {
                control: control.clone(),
                data: data.clone(),
                lake: lake.clone(),
                access: access.clone(),
                ingest: Arc::clone(&ingest),
                outbound,
                cloud,
                clock: Arc::clone(&clock),
            },
        )
        .await
        .context("failed to start the engine")?;
        let listener = listener::router(Listener { access: access.clone(), ingest, served: engine.served() });
        tasks.spawn(data_listener.serve(listener, shutdown.clone()));
        let stop = shutdown.clone();
        let (running, failing) = (engine.clone(), lake.clone());
        tasks.spawn(async move {
            let failed = tokio::select! {
                () = stop.cancelled() => None,
                // A store that failed to sync refuses everything from then on: nothing may be
                // acknowledged any more, and a restart reads what is really there.
                () = failing.failed() => Some("the lake can no longer be trusted; the log above says why"),
                () = running.broken() => Some("a part of the engine ended; the log above says why"),
            };
            running.shutdown().await;
            failed.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
        });
        let stop = shutdown.clone();
        tasks.spawn(async move {
            LakeWriter::new(lake).run(stop).await;
            Ok(())
        });
        local = Some(engine.clone());
        let engine: Arc<dyn headgate_types::engine::Engine> = Arc::new(engine);
        internal_router = internal_router.merge(internal::router(Arc::clone(&engine), internal_token));
        Some(engine)
    } else {
        let remote = |url: &String| anyhow::Ok(internal::Remote::new(url.parse()?, internal_token)?);
        config.engine_url.as_ref().map(remote).transpose()?.map(|remote| Arc::new(remote) as _)
    };
    tasks.spawn(internal_listener.serve(internal_router, shutdown.clone()));

    // Only these two ask a pool; the engine knows tokens by their issuers' keys.
    let pool = if config.has(Role::Api) || config.has(Role::Worker) { issuers.pool().await? } else { None };
    let orders = Signal::default();
    if config.has(Role::Worker)
        && let Some(engine) = engine.clone()
    {
        let worker = Worker::new(WorkerParts {
            control: control.clone(),
            clock: Arc::clone(&clock),
            access: access.clone(),
            events: events.clone(),
            engine,
            drivers: drivers(&config, &directory).await?,
            profiles: Arc::clone(&profiles),
            signal: orders.clone(),
            config: WorkerConfig::new(format!("worker-{}", directory.node()), public_data.clone()),
        });
        // The lock of the data directory is ours, so whoever worked under this name is gone.
        let ended = worker.take_over().await.context("failed to end the leases of the process before this one")?;
        if ended > 0 {
            tracing::info!(ended, "orders that a killed process was at are taken up");
        }
        let (sweep, stop) = (Sweep::new(worker.clone()), shutdown.clone());
        tasks.spawn(async move {
            sweep.run(SWEEP_EVERY, stop).await;
            Ok(())
        });
        let stop = shutdown.clone();
        tasks.spawn(async move {
            worker.run(stop).await;
            Ok(())
        });
        if let Some(pool) = &pool {
            let (sweep, every) = (PoolSweep::new(access.clone(), Arc::clone(&pool.clients)), pool.sweep_every);
            let stop = shutdown.clone();
            tasks.spawn(async move {
                issuers::sweep(sweep, every, stop).await;
                Ok(())
            });
        }
        let (sender, stop) = (Sender::new(events.clone()), shutdown.clone());
        tasks.spawn(async move {
            sender.run(stop).await;
            Ok(())
        });
    }
    if config.has(Role::Metering) {
        let hours = ChannelHours::new(control.clone(), data.clone(), Arc::clone(&clock));
        let stop = shutdown.clone();
        tasks.spawn(async move {
            hours.run(stop).await;
            Ok(())
        });
    }
    if let Some((control_listener, engine)) = control_listener.zip(engine) {
        let state = ApiState::new(ApiParts {
            control: control.clone(),
            data: data.clone(),
            access: access.clone(),
            pool: pool.as_ref().map(|pool| Arc::clone(&pool.clients)),
            events,
            engine,
            profiles,
            clock,
            orders,
            shutdown: shutdown.clone(),
            config: ApiConfig {
                data_url: public_data,
                page_token_key: *access.derive_key("page tokens"),
                rate_limits: RateLimits::default(),
                asyncapi: asyncapi(),
            },
        });
        let (router, _) = headgate_control_api::router(state.clone());
        let stop = shutdown.clone();
        tasks.spawn(async move {
            let counting = tokio::spawn({
                let state = state.clone();
                async move { state.run().await }
            });
            let served = control_listener.serve(router, stop).await;
            counting.await.context("counting requests ended badly")?;
            // The last requests are charged only once nothing more can come.
            state.flush().await.context("failed to book the last requests")?;
            served
        });
    }
    Ok(Running {
        control_url,
        data_url,
        internal_url,
        admin,
        engine: local,
        shutdown,
        tasks,
        databases: vec![control, data],
        _directory: directory,
    })
}

impl Running {
    /// Waits until something that should run for ever has ended, and says why.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) => anyhow::anyhow!("a part of Headgate ended by itself"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::Error::new(error).context("a part of Headgate panicked"),
            None => anyhow::anyhow!("nothing runs"),
        }
    }

    /// Cuts usage now instead of at the end of its span, so that a bill can be shown.
    pub async fn cut_usage(&self) {
        if let Some(engine) = &self.engine {
            engine.cut_usage().await;
        }
    }

    /// Ends everything: listeners let open requests finish, workers the step at hand.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.cancel();
        let mut failed = None;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended.map_err(anyhow::Error::new).and_then(|result| result) {
                tracing::error!(%error, "a part of Headgate ended badly");
                failed.get_or_insert(error);
            }
        }
        for database in &self.databases {
            database.close().await;
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The signals that end the server. Listen for them before saying that it is ready: one that
/// comes before anybody listens ends the process at once.
pub struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Listens from now on.
    pub fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("failed to listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the first one.
    pub async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
