//! The two organisations of the demo and what they order, all through the control API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::client::ApiClient;

/// An organisation with a client of its own.
pub struct Organisation {
    /// Its tenant id.
    pub tenant: String,
    /// Its client of the control API.
    pub api: ApiClient,
}

impl Organisation {
    /// Creates a tenant and a client with all of a tenant's scopes.
    pub async fn create(admin: &ApiClient, control_url: &str, name: &str) -> Result<Self> {
        let tenant = admin.post("/v1/admin/tenants", &json!({"name": name})).await?;
        let id = tenant["id"].as_str().context("a tenant has an id")?.to_owned();
        let created = admin.post(&format!("/v1/admin/tenants/{id}/clients"), &json!({"name": "demo"})).await?;
        let client = created["id"].as_str().context("a client has an id")?;
        let secret = created["client_secret"].as_str().context("a new client has a secret")?;
        let api = ApiClient::sign_in(control_url, client, secret).await?;
        Ok(Self { tenant: id, api })
    }

    /// Orders a channel and waits until it is ready. `seen` gets the order's states on the way;
    /// `revealed` gets each secret as soon as it is issued, because a receiver of webhooks needs its
    /// secret before the history arrives.
    pub async fn order(
        &self,
        direction: &str,
        body: &Value,
        mut seen: impl FnMut(&Value),
        mut revealed: impl AsyncFnMut(&str, &str),
    ) -> Result<Channel> {
        let accepted = self.api.post(&format!("/v1/data-{direction}-channels"), body).await?;
        let id = accepted["channel"]["id"].as_str().context("a channel has an id")?.to_owned();
        let order = accepted["order"]["id"].as_str().context("an order has an id")?.to_owned();
        let mut secrets = Vec::new();
        loop {
            let state = self.api.get(&format!("/v1/orders/{order}")).await?;
            seen(&state);
            for credential in state["result"]["credentials"].as_array().into_iter().flatten().skip(secrets.len()) {
                let (kind, secret) = self.reveal(credential).await?;
                revealed(&kind, &secret).await;
                secrets.push((kind, secret));
            }
            match state["state"].as_str() {
                Some("SUCCEEDED") => break,
                Some("FAILED" | "CANCELLED") => bail!("order {order} ended {}: {}", state["state"], state["error"]),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        let path = format!("/v1/data-{direction}-channels/{id}");
        let channel = self.api.get(&path).await?;
        Ok(Channel { id, path, endpoint: channel["status"]["endpoint"].clone(), secrets })
    }

    /// Redeems the claim that an order tells of: kind and secret.
    pub async fn reveal(&self, credential: &Value) -> Result<(String, String)> {
        let claim = credential["claim"].as_str().context("a credential comes with a claim")?;
        let answer = self.api.post(&format!("/v1/credential-claims/{claim}/reveal"), &json!({})).await?;
        let secret = answer["secret"].as_str().context("a claim reveals a secret")?.to_owned();
        Ok((answer["kind"].as_str().unwrap_or_default().to_owned(), secret))
    }
}

/// A channel that is ready, with what its owner needs to use it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// Where it is looked at in the control API.
    pub path: String,
    /// Its `endpoint`: `url` and `streams`.
    pub endpoint: Value,
    /// Its secrets by kind.
    pub secrets: Vec<(String, String)>,
}

impl Channel {
    /// The start of its addresses.
    pub fn url(&self) -> &str {
        self.endpoint["url"].as_str().unwrap_or_default()
    }

    /// The name of its first feed or table.
    pub fn stream(&self) -> &str {
        self.endpoint["streams"][0]["name"].as_str().unwrap_or_default()
    }

    /// The element behind its first feed or table.
    pub fn element(&self) -> &str {
        self.endpoint["streams"][0]["element"].as_str().unwrap_or_default()
    }

    /// The secret of a kind.
    pub fn secret(&self, kind: &str) -> &str {
        self.secrets.iter().find(|(found, _)| found == kind).map_or("", |(_, secret)| secret)
    }
}

/// Sends one payload to the channel's first feed and waits until it is conformed; returns the receipt.
pub async fn send(channel: &Channel, content_type: &str, payload: String) -> Result<Value> {
    send_to(channel, channel.stream(), content_type, payload).await
}

/// Sends one payload to a feed and waits until it is conformed; returns the receipt.
pub async fn send_to(
    channel: &Channel,
    feed: &str,
    content_type: &str,
    payload: impl Into<reqwest::Body>,
) -> Result<Value> {
    let http = reqwest::Client::new();
    let url = format!("{}/{feed}", channel.url());
    let key = channel.secret("channel_key");
    let response = http
        .post(&url)
        .bearer_auth(key)
        .header("content-type", content_type)
        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
        .body(payload)
        .send()
        .await?;
    let status = response.status();
    let landed: Value = response.json().await?;
    anyhow::ensure!(status == 202, "the payload was refused: {status} {landed}");
    let id = landed["receipt"].as_str().or(landed["id"].as_str()).context("a landed payload has a receipt")?;
    loop {
        let receipt: Value =
            http.get(format!("{}/receipts/{id}", channel.url())).bearer_auth(key).send().await?.json().await?;
        if receipt["state"] == "conformed" {
            return Ok(receipt);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
