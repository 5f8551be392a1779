//! The calling end: the engine of another process.

use std::time::Duration;

use async_trait::async_trait;
use headgate_types::engine::{
    ChannelStatistics, CheckInput, CheckScope, DeadLetter, ElementStatistics, Engine, EngineError, InferSchema,
    InferredSchema, ListDeadLetters, ScopeReport,
};
use headgate_types::page::Page;
use headgate_types::technology::TechnologyDescriptor;
use headgate_types::{ChannelId, DeadLetterId, ElementId, FieldError, Problem, TenantId};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{body, path};

/// An engine reached over HTTP.
#[derive(Debug, Clone)]
pub struct Remote {
    client: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl Remote {
    /// The engine whose internal listener is at `base`, for example `http://engine:7402`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base: Url, token: SecretString) -> Result<Self, EngineError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            // The address is the operator's own; a proxy of the environment is not meant for it.
            .no_proxy()
            .build()
            .map_err(|error| EngineError::unreachable(error.to_string()))?;
        Ok(Self { client, base, token })
    }

    async fn ask<A: Serialize + Sync, T: DeserializeOwned>(&self, path: &str, asked: &A) -> Result<T, EngineError> {
        let unreachable = |error: reqwest::Error| EngineError::unreachable(format!("the engine: {error}"));
        let url = self.base.join(path).map_err(|error| EngineError::unreachable(error.to_string()))?;
        let request = self.client.post(url).bearer_auth(self.token.expose_secret()).json(asked);
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return response.json().await.map_err(unreachable);
        }
        let (status, retry_after) = (response.status(), retry_after(&response));
        let mut problem: Problem = response.json().await.map_err(|_| {
            EngineError::unreachable(format!("the engine answered {status} without a problem document"))
        })?;
        problem.retry_after = retry_after;
        Err(EngineError(problem))
    }
}

fn retry_after(response: &reqwest::Response) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

#[async_trait]
impl Engine for Remote {
    async fn technologies(&self) -> Result<Vec<TechnologyDescriptor>, EngineError> {
        self.ask(path::TECHNOLOGIES, &()).await
    }

    async fn check_scope(&self, request: CheckScope) -> Result<ScopeReport, EngineError> {
        self.ask(path::CHECK_SCOPE, &request).await
    }

    async fn check_input(&self, request: CheckInput) -> Result<Vec<FieldError>, EngineError> {
        self.ask(path::CHECK_INPUT, &request).await
    }

    async fn infer_schema(&self, request: InferSchema) -> Result<InferredSchema, EngineError> {
        self.ask(path::INFER_SCHEMA, &request).await
    }

    async fn channel_statistics(&self, channel: ChannelId) -> Result<ChannelStatistics, EngineError> {
        self.ask(path::CHANNEL_STATISTICS, &body::OfChannel { channel }).await
    }

    async fn element_statistics(&self, element: ElementId) -> Result<ElementStatistics, EngineError> {
        self.ask(path::ELEMENT_STATISTICS, &body::OfElement { element }).await
    }

    async fn list_dead_letters(&self, request: ListDeadLetters) -> Result<Page<DeadLetter>, EngineError> {
        self.ask(path::LIST_DEAD_LETTERS, &request).await
    }

    async fn dead_letter(&self, tenant: TenantId, id: DeadLetterId) -> Result<DeadLetter, EngineError> {
        self.ask(path::DEAD_LETTER, &body::OfDeadLetter { tenant, id }).await
    }

    async fn wake(&self) -> Result<(), EngineError> {
        self.ask(path::WAKE, &()).await
    }

    async fn follow(&self) -> Result<(), EngineError> {
        self.ask(path::FOLLOW, &()).await
    }
}
