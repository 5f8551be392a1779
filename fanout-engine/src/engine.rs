//! The engine of one process: starts everything, answers the internal API, ends everything.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headgate_access::Access;
use headgate_access::outbound::GuardedClient;
use headgate_catalog::elements;
use headgate_database::{Db, Signal, Tx};
use headgate_lake::Lake;
use headgate_metering::Booked;
use headgate_types::engine::{
    ChannelStatistics, CheckInput, CheckScope, DeadLetter, ElementStatistics, EngineError, InferSchema, InferredSchema,
    ListDeadLetters, ScopeReport,
};
use headgate_types::page::Page;
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, DeadLetterId, ElementId, ErrorKind, FieldError, SharedClock, TenantId};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::delivery::{Context, Ledger, Router, fence, refusals, store};
use crate::erasure::Erasure;
use crate::error::EngineFault;
use crate::ingest::Ingest;
use crate::runtime::{Runtime, Surroundings};
use crate::shape::{Looking, PlanCache, PlanInput, check_scope};
use crate::statistics::{Statistics, StatisticsLoop};
use crate::technology::{self, Secrets, ServedChannels};
use crate::tenant_quotas::QuotaLoop;

/// The purpose under which the key of record ids is derived from the platform's master key.
const RECORD_ID_PURPOSE: &str = "record-id";

/// The most rows of an element that are looked at to say how many are in a scope.
const LOOKED_AT: u64 = 1_000_000;
/// Scopes whose rows are looked at at once.
const LOOKING: usize = 4;
/// How long somebody waits for the engine to follow the catalog.
const FOLLOW_WITHIN: Duration = Duration::from_secs(5);

/// What an engine is set to.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data listener's address as clients see it, without a trailing slash.
    pub public_url: String,
    /// Usage is cut at whole multiples of this: an hour, or a whole fraction of one. It is what
    /// tenants wait for at most before they see what was delivered.
    pub usage_span: Duration,
    /// Bytes of shaped ranges kept for other channels of the same plan.
    pub plan_cache_bytes: usize,
    /// A channel that nothing was delivered to or read from for this long is kept as what has it called for.
    pub rest_after: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:7401".to_owned(),
            usage_span: Duration::from_secs(300),
            plan_cache_bytes: 256 << 20,
            rest_after: Duration::from_secs(60),
        }
    }
}

/// What an engine works with.
#[derive(Debug, Clone)]
pub struct EngineDeps {
    /// The catalog's database.
    pub control: Db,
    /// The engine's own and metering's.
    pub data: Db,
    /// The lake; its writer is run by the binary.
    pub lake: Lake,
    /// Credentials and keys.
    pub access: Access,
    /// The data-in side, open.
    pub ingest: Arc<Ingest>,
    /// The client for addresses that tenants name.
    pub outbound: GuardedClient,
    /// Sessions with the cloud that holds channels.
    pub cloud: Cloud,
    /// Time.
    pub clock: SharedClock,
}

/// A running engine. Cheap to clone; [`Engine::shutdown`] ends it.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deps: EngineDeps,
    context: Context,
    runtime: Arc<Runtime>,
    served: ServedChannels,
    statistics: Statistics,
    record_id_key: [u8; 32],
    wake: Signal,
    shutdown: CancellationToken,
    /// Cancelled when a part of it ended by itself.
    broken: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Turns to look at the rows of scopes.
    looking: Semaphore,
}

impl Engine {
    /// Holds every store against what others remember of it (DATA-PLANE rule 5), then starts
    /// everything. Nothing can be appended before that: payloads are taken by open channels only.
    ///
    /// # Errors
    /// When the books cannot be read or a store cannot be raised.
    pub async fn start(config: EngineConfig, deps: EngineDeps) -> Result<Self, EngineFault> {
        fence(&deps.data, &deps.lake).await?;
        deps.ingest.fence().await?;
        let record_id_key = *deps.access.derive_key(RECORD_ID_PURPOSE);
        let context = Context {
            ledger: Ledger::new(deps.data.clone()),
            data: deps.data.clone(),
            lake: deps.lake.clone(),
            shaper: PlanCache::new(config.plan_cache_bytes),
            router: Router::new(deps.lake.clone()),
            clock: Arc::clone(&deps.clock),
            usage_span: config.usage_span,
            tenant_quotas: deps.ingest.tenant_quotas(),
        };
        let (served, wake) = (ServedChannels::default(), Signal::default());
        let cuts = watch::Sender::new(0);
        let surroundings = Surroundings {
            context: context.clone(),
            served: served.clone(),
            secrets: Arc::new(AccessSecrets(deps.access.clone())),
            outbound: deps.outbound.clone(),
            cloud: deps.cloud.clone(),
            public_url: config.public_url,
            changed: wake.clone(),
            cuts: cuts.subscribe(),
            rest_after: config.rest_after,
        };
        let runtime = Arc::new(Runtime::new(deps.control.clone(), surroundings, cuts, record_id_key));
        let statistics = Statistics::new(deps.lake.clone());
        let shutdown = CancellationToken::new();
        let counting = StatisticsLoop::new(deps.control.clone(), statistics.clone(), Arc::clone(&deps.clock));
        let (control, data, clock) = (deps.control.clone(), deps.data.clone(), Arc::clone(&deps.clock));
        let quotas = QuotaLoop::new(control.clone(), data.clone(), clock, deps.ingest.tenant_quotas());
        let erasure = Erasure::new(control, data, deps.lake.clone(), Arc::clone(&deps.ingest));
        let broken = CancellationToken::new();
        let channels = {
            let (runtime, shutdown) = (Arc::clone(&runtime), shutdown.clone());
            async move { runtime.run(shutdown).await }
        };
        let tasks = vec![
            part(channels, &shutdown, &broken),
            part(Arc::clone(&deps.ingest).run(shutdown.clone()), &shutdown, &broken),
            part(counting.run(shutdown.clone()), &shutdown, &broken),
            part(quotas.run(shutdown.clone()), &shutdown, &broken),
            part(erasure.run(shutdown.clone()), &shutdown, &broken),
        ];
        let (tasks, looking) = (Mutex::new(tasks), Semaphore::new(LOOKING));
        Ok(Self(Arc::new(Inner {
            deps,
            context,
            runtime,
            served,
            statistics,
            record_id_key,
            wake,
            shutdown,
            broken,
            tasks,
            looking,
        })))
    }

    /// The routers of open data-out channels, for the data listener.
    #[must_use]
    pub fn served(&self) -> ServedChannels {
        self.0.served.clone()
    }

    /// Returns when a part of the engine ended although nobody asked it to: it panicked, and what it did is not done any
    /// more until a restart.
    pub async fn broken(&self) {
        self.0.broken.cancelled().await;
    }

    /// Cuts the open usage of every flow now instead of at the end of its span: before an invoice
    /// is shown, and at the end of a demonstration.
    pub async fn cut_usage(&self) {
        self.0.runtime.cut_usage().await;
    }

    /// Ends everything in order and waits for it. Again is no harm.
    pub async fn shutdown(&self) {
        self.0.shutdown.cancel();
        let tasks: Vec<_> = self.0.tasks.lock().drain(..).collect();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the engine ended badly");
            }
        }
    }
}

/// Runs a part of the engine; `broken` is cancelled when it ends before `shutdown`.
fn part(
    work: impl Future<Output = ()> + Send + 'static,
    shutdown: &CancellationToken,
    broken: &CancellationToken,
) -> JoinHandle<()> {
    let (shutdown, alarm) = (shutdown.clone(), broken.clone().drop_guard());
    tokio::spawn(async move {
        work.await;
        if shutdown.is_cancelled() {
            alarm.disarm();
        }
    })
}

#[async_trait]
impl headgate_types::engine::Engine for Engine {
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError> {
        Ok(technology::descriptors())
    }

    async fn check_scope(&self, request: CheckScope) -> Result<ScopeReport, EngineError> {
        let technology = technology::by_key(&request.technology).ok_or_else(|| {
            EngineError::new(ErrorKind::Unprocessable, "unknown_channel_profile", "no channel profile has this name")
        })?;
        let (deps, scope) = (&self.0.deps, &request.scope);
        let mut tx = deps.control.read_platform().await.map_err(fault)?;
        let element = elements::find(&mut tx, scope.element).await.map_err(fault)?;
        let element = element.ok_or_else(|| fault(EngineFault::NotFound("element")))?;
        let version = elements::schema(&mut tx, scope.element).await.map_err(fault)?;
        drop(tx);
        let input = PlanInput {
            element: scope.element,
            kind: element.kind,
            schema_id: version.id,
            schema: &version.schema,
            scope,
            record_id_key: &self.0.record_id_key,
        };
        let head = deps.lake.log().head(scope.element);
        let looking = request.look.map(|look| Looking {
            preview_records: look.preview_records as usize,
            rows: Box::pin(deps.lake.snapshot(scope.element, head, 0)),
            most: LOOKED_AT,
            all: async || {
                let extent = deps.lake.extent(scope.element).await?;
                Ok(extent.live.map_or(extent.records, |(live, _)| live))
            },
        });
        // Whoever asks for more at once waits: looking at rows is work for all cores.
        let _turn = match &looking {
            Some(_) => self.0.looking.acquire().await.ok(),
            None => None,
        };
        let report = check_scope(input, looking).await;
        let mut report =
            report.map_err(|error| EngineError::new(ErrorKind::Internal, "internal", error.to_string()))?;
        let options = technology.check_options(&scope.model.options);
        report.errors.extend(options.into_iter().map(|error| error.under("/model/options")));
        Ok(report)
    }

    async fn check_input(&self, request: CheckInput) -> Result<Vec<FieldError>, EngineError> {
        Ok(crate::conform::check(request.kind, &request.schema, &request.model))
    }

    async fn infer_schema(&self, request: InferSchema) -> Result<InferredSchema, EngineError> {
        let inferred = tokio::task::spawn_blocking(move || crate::conform::infer(&request)).await;
        inferred.map_err(|error| fault(EngineFault::unfinished("inferring a schema", &error)))?.map_err(fault)
    }

    async fn channel_statistics(&self, channel: ChannelId) -> Result<ChannelStatistics, EngineError> {
        let Some(mut statistics) = self.0.runtime.statistics(channel).await.map_err(fault)? else {
            return self.0.deps.ingest.statistics(channel).await.map_err(|error| EngineError::from(&error));
        };
        let mut tx = self.0.context.data.read_platform().await.map_err(fault)?;
        statistics.dead_letters = refusals::count(&mut tx, channel).await.map_err(fault)?;
        Ok(statistics)
    }

    async fn element_statistics(&self, element: ElementId) -> Result<ElementStatistics, EngineError> {
        let mut tx = self.0.deps.control.read_platform().await.map_err(fault)?;
        let Some(found) = elements::find(&mut tx, element).await.map_err(fault)? else {
            return Err(fault(EngineFault::NotFound("element")));
        };
        let version = elements::schema(&mut tx, element).await.map_err(fault)?;
        drop(tx);
        self.0.statistics.refresh(element, found.kind, &version.schema).await.map_err(fault)?;
        Ok(self.0.statistics.get(element).unwrap_or_default())
    }

    async fn list_dead_letters(&self, request: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError> {
        let mut tx = self.0.context.data.read_tenant(request.tenant).await.map_err(fault)?;
        // A channel has one direction, so at most one of the two tables has rows of it.
        let refused = refusals::list(&mut tx, &request).await.map_err(fault)?;
        if !refused.items.is_empty() {
            return Ok(refused);
        }
        drop(tx);
        self.0.deps.ingest.list_dead_letters(&request).await.map_err(|error| EngineError::from(&error))
    }

    async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineError> {
        let mut tx = self.0.context.data.read_tenant(tenant).await.map_err(fault)?;
        if let Some(refused) = refusals::get(&mut tx, tenant, id).await.map_err(fault)? {
            return Ok(refused);
        }
        drop(tx);
        self.0.deps.ingest.dead_letter(tenant, id).await.map_err(|error| EngineError::from(&error))
    }

    async fn wake(&self) -> Result<(), EngineError> {
        self.0.wake.wake();
        self.0.deps.ingest.wake();
        Ok(())
    }

    async fn follow(&self) -> Result<(), EngineError> {
        let passed = async { tokio::join!(self.0.runtime.passed(), self.0.deps.ingest.passed()) };
        let late = |_| EngineError::unreachable("the engine has not come to look at the catalog; it will");
        tokio::time::timeout(FOLLOW_WITHIN, passed).await.map(drop).map_err(late)
    }
}

/// The books of every flow, for those who have no engine running.
///
/// # Errors
/// When the database fails.
pub async fn books(tx: &mut Tx) -> Result<Vec<Booked>, EngineFault> {
    Ok(store::all(tx).await?.iter().map(store::FlowRow::cut).collect())
}

fn fault(error: impl Into<EngineFault>) -> EngineError {
    let fault = error.into();
    tracing::debug!(error = %fault, "the internal API failed");
    EngineError::from(&fault)
}

/// Secrets of channels, from `crates/access`.
#[derive(Debug)]
struct AccessSecrets(Access);

#[async_trait]
impl Secrets for AccessSecrets {
    async fn signing_secrets(&self, channel: ChannelId) -> Result<Vec<SecretString>, String> {
        self.0.signing_secrets(channel).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_noticed_and_one_that_was_asked_to_is_not() {
        for panics in [true, false] {
            let (shutdown, broken) = (CancellationToken::new(), CancellationToken::new());
            let task = part(async move { assert!(!panics, "as a fault would") }, &shutdown, &broken);
            assert_eq!(task.await.is_err(), panics);
            broken.cancelled().await;
        }
        let (shutdown, broken) = (CancellationToken::new(), CancellationToken::new());
        let task = part(shutdown.clone().cancelled_owned(), &shutdown, &broken);
        shutdown.cancel();
        task.await.unwrap();
        assert!(!broken.is_cancelled());
    }
}
