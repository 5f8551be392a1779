//! Reading channels back as a client would: plain HTTP, with the channel's own key.

use anyhow::{Context, Result, bail};
use headgate_types::checksum::Checksum;
use serde_json::Value;

/// A client of one channel.
pub struct ChannelReader {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl ChannelReader {
    /// A client for the channel at `url` (`…/v1/out/{channel}`).
    pub fn new(url: impl Into<String>, key: impl Into<String>) -> Self {
        Self { http: reqwest::Client::new(), url: url.into(), key: key.into() }
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key).send().await?;
        let status = response.status();
        if !status.is_success() {
            bail!("GET {path} answered {status}: {}", response.text().await.unwrap_or_default());
        }
        Ok(response)
    }

    /// Every record of an `api` channel's table, page by page.
    pub async fn api(&self, table: &str) -> Result<Vec<Value>> {
        let mut records = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = match &token {
                None => format!("/{table}?page_size=1000"),
                Some(token) => format!("/{table}?page_size=1000&page_token={token}"),
            };
            let mut page: Value = self.get(&page).await?.json().await?;
            let Value::Array(items) = page["items"].take() else { bail!("the page has no items: {page}") };
            records.extend(items);
            match page["next_page_token"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(records),
            }
        }
    }

    /// Every record of the NDJSON files of a `file` channel.
    pub async fn files(&self) -> Result<Vec<Value>> {
        let mut records = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = token.as_ref().map_or_else(|| "/".to_owned(), |token| format!("/?page_token={token}"));
            let page: Value = self.get(&page).await?.json().await?;
            for file in page["items"].as_array().into_iter().flatten() {
                let name = file["name"].as_str().context("a file has a name")?;
                let text = self.get(&format!("/files/{name}")).await?.text().await?;
                for line in text.lines() {
                    records.push(serde_json::from_str(line)?);
                }
            }
            match page["next_page_token"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(records),
            }
        }
    }

    /// Every record of a `stream` channel, by long poll from the earliest one.
    pub async fn stream(&self) -> Result<Vec<Value>> {
        let mut records = Vec::new();
        let mut after = "earliest".to_owned();
        loop {
            let response = self.get(&format!("/records?after={after}&limit=10000")).await?;
            let next =
                response.headers().get("headgate-next-position").context("no next position")?.to_str()?.to_owned();
            let body = response.text().await?;
            if body.is_empty() {
                return Ok(records);
            }
            for line in body.lines() {
                records.push(serde_json::from_str::<Value>(line)?["data"].take());
            }
            after = next;
        }
    }
}

/// The delivery checksum over records as they were read.
pub fn checksum(records: &[Value]) -> Result<String> {
    let mut sum = Checksum::EMPTY;
    for record in records {
        sum.add(&serde_json_canonicalizer::to_vec(record)?);
    }
    Ok(sum.to_string())
}
