//! A Headgate whose channels are held by an account of AWS that decides about every request, and clients
//! that have nothing but what their claims gave them.

use serde_json::{Value, json};

use crate::aws_account::{Account, BOUNDARY, PLATFORM_ROLE};
use crate::harness::world::Organisation;
use crate::harness::{Options, Platform, Stage, eventually};

/// The account and the product.
pub struct CloudStage {
    pub account: Account,
    pub stage: Stage,
    /// Who else there is, in other accounts (`tests/aws/client.py`).
    pub people: Value,
    /// What Headgate itself is to AWS: a session of its role.
    pub session: Value,
}

/// A channel that the account holds, and its client's keys.
#[derive(Debug, Clone)]
pub struct CloudChannel {
    /// Where it is looked at in the control API.
    pub path: String,
    /// `s3://…`, `sqs://…`, `kinesis://…`.
    pub url: String,
    /// Id and secret of the access key.
    pub key: Value,
}

impl CloudStage {
    /// None where there is no Python that has moto.
    pub async fn start(kind: &str) -> Option<Self> {
        Self::start_with(kind, []).await
    }

    /// The same with further variables in Headgate's environment.
    pub async fn start_with(kind: &str, further: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let mut account = Account::start().await?;
        let people = account.enforce("headgate").await;
        let session = account.platform().await;
        let mut environment = account.environment_of(&session);
        environment.extend(further);
        let role = ["--aws-platform-role", PLATFORM_ROLE, "--aws-boundary", BOUNDARY];
        let arguments = [["--aws-profiles", "file,stream,queue"].as_slice(), &role].concat();
        let options = Options { environment, ..Options::arguments(&arguments) };
        let stage = Stage::on(Platform::start_with(options).unwrap(), kind).await;
        Some(Self { account, stage, people, session })
    }

    /// Orders a channel of the consumer and takes up its keys.
    pub async fn order(&self, name: &str, profile: &str, options: Value) -> CloudChannel {
        let mut body = self.stage.order_out(profile, &options);
        // The fewer shards, the fewer requests of a reader.
        (body["name"], body["performance_profile"]) = (json!(name), json!("S"));
        order(&self.stage.consumer, &body).await
    }

    /// Orders a channel for a role of the client's own account, in place of keys; only the role opens it.
    pub async fn order_for(&self, principal: &str, profile: &str, options: Value) -> CloudChannel {
        let mut body = self.stage.order_out(profile, &options);
        (body["name"], body["performance_profile"]) = (json!("by role"), json!("S"));
        body["client_principal"] = json!(principal);
        let owner = &self.stage.consumer;
        let accepted = owner.api.post("/v1/data-out-channels", &body).await.unwrap();
        succeeded(owner, &accepted).await;
        let path = format!("/v1/data-out-channels/{}", accepted["channel"]["id"].as_str().unwrap());
        let endpoint = owner.api.get(&path).await.unwrap()["status"]["endpoint"].clone();
        let analyst = &self.people["analyst"];
        let roles = json!([{"arn": principal},
            {"arn": endpoint["cloud"]["role"], "external_id": endpoint["cloud"]["external_id"]}]);
        let key = json!({"id": analyst["id"], "secret": analyst["secret"], "roles": roles});
        CloudChannel { path, url: endpoint["url"].as_str().unwrap().to_owned(), key }
    }

    /// What a client finds in the resource.
    pub async fn read(&self, channel: &CloudChannel) -> Value {
        let mut job = channel.place(&self.account);
        job["as"] = channel.key.clone();
        self.account.read(&job).await
    }

    /// The records in a resource, each with what stands around it removed, in the order they were found.
    pub async fn records(&self, channel: &CloudChannel) -> Vec<Value> {
        let found = self.read(channel).await;
        if channel.url.starts_with("s3://") {
            let files = found["files"].as_array().unwrap().iter();
            let lines = files.flat_map(|file| file.as_str().unwrap().lines());
            return lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        let bodies = found.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap());
        bodies
            .map(|body| {
                let body: Value = serde_json::from_str(body).unwrap();
                assert_eq!((&body["element"], body.as_object().unwrap().len()), (&json!("readings"), 3), "{body}");
                body["data"].clone()
            })
            .collect()
    }
}

impl CloudChannel {
    /// The resource in the words of `tests/aws/client.py`.
    pub fn place(&self, account: &Account) -> Value {
        let (scheme, place) = self.url.split_once("://").unwrap();
        let name = place.rsplit('/').next().unwrap();
        match scheme {
            "s3" => json!({"bucket": name}),
            "sqs" => json!({"queue": format!("{}/123456789012/{name}", account.url)}),
            _ => json!({"stream": name}),
        }
    }

    /// A call of its client's that reads, and one that writes.
    pub fn read_and_write(&self, account: &Account, who: &Value) -> [Value; 2] {
        let place = self.place(account);
        let job =
            |service: &str, call: &str, with: Value| json!({"as": who, "service": service, "call": call, "with": with});
        if let Some(bucket) = place.get("bucket") {
            return [
                job("s3", "get_object", json!({"Bucket": bucket, "Key": "manifest.json"})),
                job("s3", "put_object", json!({"Bucket": bucket, "Key": "files/mine", "Body": "x"})),
            ];
        }
        if let Some(queue) = place.get("queue") {
            return [
                job("sqs", "receive_message", json!({"QueueUrl": queue, "VisibilityTimeout": 0, "WaitTimeSeconds": 0})),
                job("sqs", "send_message", json!({"QueueUrl": queue, "MessageBody": "x"})),
            ];
        }
        [
            job("kinesis", "list_shards", json!({"StreamName": place["stream"]})),
            job("kinesis", "put_record", json!({"StreamName": place["stream"], "Data": "x", "PartitionKey": "x"})),
        ]
    }
}

/// Orders a channel and waits until it is ready.
pub async fn order(owner: &Organisation, body: &Value) -> CloudChannel {
    let accepted = owner.api.post("/v1/data-out-channels", body).await.unwrap();
    let path = format!("/v1/data-out-channels/{}", accepted["channel"]["id"].as_str().unwrap());
    let order = succeeded(owner, &accepted).await;
    let key = revealed(owner, &order["result"]["credentials"][0]).await;
    let channel = owner.api.get(&path).await.unwrap();
    let url = channel["status"]["endpoint"]["url"].as_str().unwrap().to_owned();
    CloudChannel { path, url, key }
}

/// The end of the order that was accepted.
pub async fn succeeded(owner: &Organisation, accepted: &Value) -> Value {
    let path = format!("/v1/orders/{}", accepted["order"]["id"].as_str().unwrap());
    eventually("the order's end", async || {
        let order = owner.api.get(&path).await.unwrap();
        assert!(order["state"] != "FAILED", "{order:#}");
        (order["state"] == "SUCCEEDED").then_some(order)
    })
    .await
}

/// The access key of a claim.
pub async fn revealed(owner: &Organisation, credential: &Value) -> Value {
    let claim = credential["claim"].as_str().unwrap();
    let answer = owner.api.post(&format!("/v1/credential-claims/{claim}/reveal"), &json!({})).await.unwrap();
    json!({"id": answer["key_id"], "secret": answer["secret"]})
}
