//! A small client of the control API, as a tenant would write one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// One client of the control API with a token of its own.
#[derive(Clone)]
pub struct ApiClient {
    pub http: reqwest::Client,
    /// `http://host:port` of the API.
    pub base: String,
    /// The access token.
    pub token: String,
}

/// An answer of the control API.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    /// When to ask again, where it says so.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The body of a success; a problem document becomes an error that quotes it.
    pub fn ok(self) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let detail = self.body["detail"].as_str().unwrap_or_default();
        let places: Vec<String> = self.body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| {
                format!("{}: {}", e["pointer"].as_str().unwrap_or_default(), e["detail"].as_str().unwrap_or_default())
            })
            .collect();
        bail!("{} {}: {detail} {}", self.status.as_u16(), self.body["code"], places.join("; "))
    }
}

impl ApiClient {
    /// Gets a token by the client-credentials grant (RFC 6749 §4.4).
    pub async fn sign_in(base: &str, client_id: &str, client_secret: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let response = http
            .post(format!("{base}/oauth2/token"))
            .form(&[("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", client_secret)])
            .send()
            .await
            .context("failed to reach the token endpoint")?;
        let status = response.status();
        let body: Value = response.json().await?;
        let Some(token) = body["access_token"].as_str() else { bail!("no token for {client_id}: {status} {body}") };
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.patient(Method::GET, path, None, &[]).await
    }

    /// Posts with an idempotency key of its own.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let key = uuid::Uuid::now_v7().to_string();
        self.patient(Method::POST, path, Some(body), &[("idempotency-key", &key)]).await
    }

    /// Sends a request, again for as long as it comes too fast.
    async fn patient(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Value> {
        loop {
            let answer = self.send(method.clone(), path, body, headers).await?;
            match answer.retry_after {
                Some(pause) if answer.status == StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(pause).await,
                _ => return answer.ok(),
            }
        }
    }

    /// Sends a request and takes any answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut request: RequestBuilder =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("failed to reach {path}"))?;
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, retry_after: seconds.map(Duration::from_secs) })
    }
}
