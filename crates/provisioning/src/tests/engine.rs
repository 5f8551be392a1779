//! An engine that observes what the catalog desires, as the real one does, one turn at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use headgate_catalog::channels::{self, NewCondition};
use headgate_database::Db;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType, Direction};
use headgate_types::engine::{
    ChannelStatistics, CheckInput, CheckScope, DeadLetter, ElementStatistics, Engine, EngineError, InferSchema,
    InferredSchema, ListDeadLetters, ScopeReport,
};
use headgate_types::page::Page;
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, DeadLetterId, ElementId, ErrorKind, FieldError, SharedClock, TenantId};

#[derive(Debug)]
pub(super) struct FakeEngine {
    control: Db,
    clock: SharedClock,
    /// It sees nothing and says nothing.
    pub away: AtomicBool,
    /// It refuses every channel for its schema.
    pub refuses: AtomicBool,
    /// It knows no technology.
    pub ignorant: AtomicBool,
}

impl FakeEngine {
    pub(super) fn new(control: Db, clock: SharedClock) -> Self {
        let no = || AtomicBool::new(false);
        Self { control, clock, away: no(), refuses: no(), ignorant: no() }
    }

    /// Observes every channel once.
    pub(super) async fn turn(&self) {
        if self.away.load(Ordering::SeqCst) {
            return;
        }
        let heads = {
            let mut tx = self.control.read_platform().await.unwrap();
            channels::heads(&mut tx, None).await.unwrap()
        };
        for head in heads {
            let mut tx = self.control.platform().await.unwrap();
            tx.act_for(head.tenant).await.unwrap();
            let desired = channels::desired(&mut tx, head.tenant, head.id).await.unwrap().unwrap();
            let refuses = self.refuses.load(Ordering::SeqCst);
            let started = desired.channel.binding.is_some() && desired.lanes.live;
            let mut observed = Vec::new();
            match desired.channel.state {
                ChannelState::Deleting => {
                    observed.push((ConditionType::Drained, true));
                    observed.push((ConditionType::Serving, false));
                    observed.push((ConditionType::Syncing, false));
                }
                ChannelState::Paused | ChannelState::Suspended => observed.push((ConditionType::Syncing, false)),
                _ if started => {
                    observed.push((ConditionType::SchemaCompatible, !refuses));
                    observed.push((ConditionType::Serving, true));
                    observed.push((ConditionType::InitialLoadComplete, true));
                    observed.push((ConditionType::Syncing, true));
                }
                _ => continue,
            }
            for (condition, holds) in observed {
                let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
                let new = NewCondition { condition, status, reason: "Observed", message: "as the test wants it" };
                channels::set_condition(&mut tx, head.tenant, head.id, new, self.clock.now()).await.unwrap();
            }
            let generation = desired.channel.generation;
            channels::set_observed(&mut tx, head.tenant, head.id, generation).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
}

fn unused<T>() -> Result<T, EngineError> {
    Err(EngineError::new(ErrorKind::Internal, "internal", "no order asks this"))
}

#[async_trait]
impl Engine for FakeEngine {
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError> {
        if self.ignorant.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let technology = |key: &str, direction, issues_key| TechnologyDescriptor {
            key: key.to_owned(),
            aliases: Vec::new(),
            title: key.to_owned(),
            description: String::new(),
            directions: vec![direction],
            settings: serde_json::json!({}),
            issues_key,
            issues_signing_secret: !issues_key,
        };
        Ok(vec![
            technology("http", Direction::In, true),
            technology("api", Direction::Out, true),
            technology("file", Direction::Out, true),
            technology("stream", Direction::Out, true),
            technology("webhook", Direction::Out, false),
        ])
    }

    async fn check_scope(&self, _: CheckScope) -> Result<ScopeReport, EngineError> {
        unused()
    }

    async fn check_input(&self, _: CheckInput) -> Result<Vec<FieldError>, EngineError> {
        unused()
    }

    async fn infer_schema(&self, _: InferSchema) -> Result<InferredSchema, EngineError> {
        unused()
    }

    async fn channel_statistics(&self, _: ChannelId) -> Result<ChannelStatistics, EngineError> {
        Ok(ChannelStatistics::default())
    }

    async fn element_statistics(&self, _: ElementId) -> Result<ElementStatistics, EngineError> {
        unused()
    }

    async fn list_dead_letters(&self, _: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError> {
        unused()
    }

    async fn dead_letter(&self, _: TenantId, _: DeadLetterId) -> Result<DeadLetter, EngineError> {
        unused()
    }

    async fn follow(&self) -> Result<(), EngineError> {
        unused()
    }

    async fn wake(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
