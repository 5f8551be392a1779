//! An engine that answers from memory: the control plane needs nothing else of a real one.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use headgate_types::channel::Direction;
use headgate_types::engine::{
    ChannelStatistics, CheckInput, CheckScope, DeadLetter, ElementStatistics, Engine, EngineError, InferSchema,
    InferredSchema, ListDeadLetters, ScopeReport,
};
use headgate_types::model::InputModel;
use headgate_types::page::Page;
use headgate_types::schema::{DataType, Field, Schema};
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, DeadLetterId, ElementId, ErrorKind, FieldError, TenantId};
use parking_lot::Mutex;
use serde_json::json;

/// The engine of the tests. A filter or null marker that is the word `broken` does not compile.
#[derive(Debug, Default)]
pub(crate) struct FakeEngine {
    /// How often it was woken.
    pub woken: AtomicUsize,
    /// How often somebody waited until it follows the catalog.
    pub followed: AtomicUsize,
    /// What it lists, with the tenant each belongs to.
    pub dead_letters: Mutex<Vec<(TenantId, DeadLetter)>>,
    /// Whether every call fails.
    pub down: std::sync::atomic::AtomicBool,
}

impl FakeEngine {
    async fn up(&self) -> Result<(), EngineError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(EngineError::unreachable("the engine does not answer"));
        }
        Ok(())
    }
}

fn technology(key: &str, aliases: &[&str], direction: Direction) -> TechnologyDescriptor {
    TechnologyDescriptor {
        key: key.to_owned(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        title: key.to_uppercase(),
        description: format!("moves data by {key}"),
        directions: vec![direction],
        settings: json!({"type": "object"}),
        issues_key: true,
        issues_signing_secret: key == "webhook",
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError> {
        self.up().await?;
        Ok(vec![
            technology("http", &[], Direction::In),
            technology("api", &["rest"], Direction::Out),
            technology("file", &[], Direction::Out),
            technology("stream", &[], Direction::Out),
            technology("webhook", &[], Direction::Out),
        ])
    }

    async fn check_scope(&self, request: CheckScope) -> Result<ScopeReport, EngineError> {
        self.up().await?;
        let broken = request.scope.filter.as_deref() == Some("broken");
        let error = FieldError::new("/filter", "unknown_column", "there is no column \"broken\"");
        Ok(ScopeReport {
            errors: if broken { vec![error] } else { Vec::new() },
            output_schema: Schema { fields: vec![Field::new("id", DataType::Int64)] },
            preview: vec![json!({"id": 1})],
            records_in_scope: 1_000,
            bytes_in_scope: 20_000,
        })
    }

    async fn check_input(&self, request: CheckInput) -> Result<Vec<FieldError>, EngineError> {
        self.up().await?;
        let broken = request.model.null_markers.iter().any(|marker| marker == "broken");
        let error = FieldError::new("/null_markers/0", "invalid_marker", "the marker is broken");
        Ok(if broken { vec![error] } else { Vec::new() })
    }

    async fn infer_schema(&self, request: InferSchema) -> Result<InferredSchema, EngineError> {
        self.up().await?;
        if request.sample.is_empty() {
            return Err(EngineError::new(ErrorKind::Unprocessable, "sample_empty", "the sample holds no record"));
        }
        let mut id = Field::new("id", DataType::Int64);
        if request.keys.iter().any(|key| key == "id") {
            id = id.as_key();
        }
        Ok(InferredSchema { schema: Schema { fields: vec![id] }, input_model: InputModel::default(), records: 1 })
    }

    async fn channel_statistics(&self, _channel: ChannelId) -> Result<ChannelStatistics, EngineError> {
        self.up().await?;
        Ok(ChannelStatistics { stored_bytes: 42, ..ChannelStatistics::default() })
    }

    async fn element_statistics(&self, _element: ElementId) -> Result<ElementStatistics, EngineError> {
        self.up().await?;
        Ok(ElementStatistics { rows: 7, ..ElementStatistics::default() })
    }

    async fn list_dead_letters(&self, request: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError> {
        self.up().await?;
        let letters = self.dead_letters.lock();
        let mut items: Vec<_> = letters
            .iter()
            .filter(|(tenant, letter)| *tenant == request.tenant && letter.channel == request.channel)
            .filter(|(_, letter)| request.before.is_none_or(|before| letter.id < before))
            .map(|(_, letter)| letter.clone())
            .collect();
        items.sort_by_key(|letter| std::cmp::Reverse(letter.id));
        Ok(Page::of(items, request.page_size, |letter| letter.id.to_string()))
    }

    async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineError> {
        self.up().await?;
        let letters = self.dead_letters.lock();
        let found = letters.iter().find(|(owner, letter)| *owner == tenant && letter.id == id);
        found
            .map(|(_, letter)| letter.clone())
            .ok_or_else(|| EngineError::new(ErrorKind::NotFound, "not_found", "there is no such dead letter"))
    }

    async fn follow(&self) -> Result<(), EngineError> {
        self.followed.fetch_add(1, Ordering::SeqCst);
        self.up().await
    }

    async fn wake(&self) -> Result<(), EngineError> {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.up().await
    }
}
