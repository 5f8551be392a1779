//! One suite over both implementations of the internal API: what a caller sees must not depend on
//! whether the engine runs in its own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use headgate_types::engine::{
    ChannelStatistics, CheckInput, CheckScope, ColumnStatistics, DeadLetter, DeadLetterSide, ElementStatistics, Engine,
    EngineError, InferSchema, InferredSchema, ListDeadLetters, Look, ScopeReport,
};
use headgate_types::model::{InputModel, OutputModel, PayloadFormat};
use headgate_types::page::Page;
use headgate_types::schema::{DataType, ElementKind, Field, Schema};
use headgate_types::selection::{Policy, Scope};
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, DeadLetterId, ElementId, ErrorKind, FieldError, TenantId};
use serde_json::json;

use super::{Remote, router};
use crate::technology;

/// An engine that answers what the suite expects.
#[derive(Debug)]
struct Scripted {
    letter: DeadLetter,
    tenant: TenantId,
    element: ElementId,
    wakes: AtomicU32,
    follows: AtomicU32,
}

fn scripted() -> Scripted {
    Scripted {
        letter: DeadLetter {
            id: DeadLetterId::new(),
            channel: ChannelId::new(),
            feed: None,
            element: ElementId::new(),
            side: DeadLetterSide::Out,
            code: "refused_by_receiver".to_owned(),
            reason: "no".to_owned(),
            field_path: None,
            model_version: 2,
            receipt: None,
            ordinal: None,
            raw: "{\"a\":\"\u{1F4A7}\"}".to_owned(),
            created_at: "2026-05-01T10:00:00.123456Z".parse().unwrap(),
        },
        tenant: TenantId::new(),
        element: ElementId::new(),
        wakes: AtomicU32::new(0),
        follows: AtomicU32::new(0),
    }
}

fn schema() -> Schema {
    Schema { fields: vec![Field::new("a", DataType::Int64).as_key()] }
}

fn not_found() -> EngineError {
    EngineError::new(ErrorKind::NotFound, "not_found", "no such thing")
}

#[async_trait]
impl Engine for Scripted {
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError> {
        Ok(technology::descriptors())
    }

    async fn check_scope(&self, request: CheckScope) -> Result<ScopeReport, EngineError> {
        Ok(ScopeReport {
            errors: vec![FieldError::new("/filter", "unknown_column", request.scope.filter.unwrap_or_default())],
            output_schema: schema(),
            preview: vec![json!({"a": 1.5, "b": null})],
            records_in_scope: u64::from(request.look.map_or(0, |look| look.preview_records)),
            bytes_in_scope: 9,
        })
    }

    async fn check_input(&self, request: CheckInput) -> Result<Vec<FieldError>, EngineError> {
        Ok(request.schema.fields.iter().map(|field| FieldError::new("/fields", "x", &field.name)).collect())
    }

    async fn infer_schema(&self, request: InferSchema) -> Result<InferredSchema, EngineError> {
        if request.sample.is_empty() {
            let fields = vec![FieldError::new("/sample", "empty", "there is nothing to look at")];
            let problem = headgate_types::Problem::new(ErrorKind::Unprocessable, "sample_refused", "refused");
            return Err(EngineError(problem.with_fields(fields).with_retry_after(7)));
        }
        Ok(InferredSchema { schema: schema(), input_model: InputModel::default(), records: 3 })
    }

    async fn channel_statistics(&self, _: ChannelId) -> Result<ChannelStatistics, EngineError> {
        Ok(ChannelStatistics { dead_letters: 4, ..ChannelStatistics::default() })
    }

    async fn element_statistics(&self, element: ElementId) -> Result<ElementStatistics, EngineError> {
        if element != self.element {
            return Err(not_found());
        }
        let column = ColumnStatistics {
            name: "a".to_owned(),
            nulls: 1,
            distinct: 2,
            min: Some(json!(-1)),
            max: Some(json!("z")),
        };
        Ok(ElementStatistics { rows: 5, columns: vec![column], ..ElementStatistics::default() })
    }

    async fn list_dead_letters(&self, request: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError> {
        let items = if request.tenant == self.tenant { vec![self.letter.clone()] } else { Vec::new() };
        Ok(Page { items, next_page_token: request.before.map(|before| before.to_string()) })
    }

    async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineError> {
        let known = tenant == self.tenant && id == self.letter.id;
        if known { Ok(self.letter.clone()) } else { Err(not_found()) }
    }

    async fn wake(&self) -> Result<(), EngineError> {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn follow(&self) -> Result<(), EngineError> {
        self.follows.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

async fn suite(engine: &dyn Engine, script: &Scripted) {
    let keys: Vec<String> = engine.technologies().await.unwrap().into_iter().map(|found| found.key).collect();
    assert_eq!(keys, technology::descriptors().into_iter().map(|found| found.key).collect::<Vec<_>>());

    let scope = Scope {
        element: script.element,
        name: "a".to_owned(),
        filter: Some("b > 'ü'".to_owned()),
        columns: vec!["a".to_owned()],
        policy: Policy::default(),
        model: OutputModel::default(),
        model_version: 1,
    };
    let asked = CheckScope { scope, technology: "stream".to_owned(), look: Some(Look { preview_records: 12 }) };
    let report = engine.check_scope(asked).await.unwrap();
    assert_eq!((report.errors[0].detail.as_str(), report.records_in_scope), ("b > 'ü'", 12));
    assert_eq!(report.preview, [json!({"a": 1.5, "b": null})]);

    let asked = CheckInput { kind: ElementKind::Entity, schema: schema(), model: InputModel::default() };
    assert_eq!(engine.check_input(asked).await.unwrap(), [FieldError::new("/fields", "x", "a")]);

    let sample = |sample: &str| InferSchema { sample: sample.to_owned(), format: PayloadFormat::Csv, keys: Vec::new() };
    assert_eq!(engine.infer_schema(sample("a\n1\n")).await.unwrap().records, 3);
    let EngineError(problem) = engine.infer_schema(sample("")).await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str(), problem.retry_after), (422, "sample_refused", Some(7)));
    assert_eq!(problem.errors[0].pointer, "/sample");

    assert_eq!(engine.channel_statistics(ChannelId::new()).await.unwrap().dead_letters, 4);
    let known = engine.element_statistics(script.element).await.unwrap();
    assert_eq!((known.rows, known.columns[0].max.clone()), (5, Some(json!("z"))));
    let EngineError(problem) = engine.element_statistics(ElementId::new()).await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (404, "not_found"));

    let before = DeadLetterId::new();
    let list = |tenant| ListDeadLetters { tenant, channel: script.letter.channel, page_size: 5, before: Some(before) };
    let page = engine.list_dead_letters(list(script.tenant)).await.unwrap();
    assert_eq!(
        (page.items[0].raw.as_str(), page.next_page_token),
        (script.letter.raw.as_str(), Some(before.to_string()))
    );
    assert_eq!(engine.list_dead_letters(list(TenantId::new())).await.unwrap().items.len(), 0);
    let letter = engine.dead_letter(script.tenant, script.letter.id).await.unwrap();
    assert_eq!((letter.id, letter.created_at), (script.letter.id, script.letter.created_at));
    let EngineError(problem) = engine.dead_letter(TenantId::new(), script.letter.id).await.unwrap_err();
    assert_eq!(problem.status, 404);

    let wakes = script.wakes.load(Ordering::SeqCst);
    engine.wake().await.unwrap();
    assert_eq!(script.wakes.load(Ordering::SeqCst), wakes + 1);
    let follows = script.follows.load(Ordering::SeqCst);
    engine.follow().await.unwrap();
    assert_eq!(script.follows.load(Ordering::SeqCst), follows + 1);
}

async fn served(script: Arc<Scripted>) -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(script, "open sesame".into());
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().unwrap()
}

/// The HTTP client needs a cryptographic back-end even for plain HTTP; the guarded client picks it.
fn choose_back_end() {
    headgate_access::outbound::GuardedClient::new(headgate_access::outbound::OutboundPolicy::development()).unwrap();
}

#[tokio::test]
async fn the_internal_api_answers_alike_in_process_and_over_http() {
    choose_back_end();
    let script = Arc::new(scripted());
    suite(script.as_ref(), &script).await;
    let remote = Remote::new(served(Arc::clone(&script)).await, "open sesame".into()).unwrap();
    suite(&remote, &script).await;
}

#[tokio::test]
async fn the_internal_api_is_closed_to_those_without_its_token() {
    choose_back_end();
    let script = Arc::new(scripted());
    let remote = Remote::new(served(Arc::clone(&script)).await, "guess".into()).unwrap();
    let EngineError(problem) = remote.wake().await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (401, "unauthenticated"));
    assert_eq!(script.wakes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_engine_that_is_away_is_unavailable_for_now() {
    choose_back_end();
    let remote = Remote::new("http://127.0.0.1:9".parse().unwrap(), "open sesame".into()).unwrap();
    let EngineError(problem) = remote.wake().await.unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (503, "engine_unreachable"));
    assert!(problem.retry_after.is_some());
}
