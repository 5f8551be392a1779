//! Channels for tests of technologies: here, and in the account of AWS for tests (`tests/aws`).

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use headgate_access::outbound::{GuardedClient, OutboundPolicy};
use headgate_aws::SdkConfig;
use headgate_types::channel::{Binding, CloudBinding, CloudClient, Lane};
use headgate_types::{ChannelId, FakeClock, TenantId};
use indexmap::IndexMap;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Delivery, FlowKey, OpenChannel, OutputElement, Secrets, Slice, Technology};
use crate::cloud::Cloud;
use crate::delivery::limits::PLENTY;
use crate::shape::testing::Element;

pub(super) use crate::aws_account::Account;

#[derive(Debug)]
struct OneSecret;

#[async_trait]
impl Secrets for OneSecret {
    async fn signing_secrets(&self, _: ChannelId) -> Result<Vec<SecretString>, String> {
        Ok(vec![format!("whsec_{}", base64::prelude::BASE64_STANDARD.encode([5; 32])).into()])
    }
}

/// The options a technology cannot do without.
pub(super) async fn options(technology: &dyn Technology) -> IndexMap<String, Value> {
    let required = technology.descriptor().settings["required"].as_array().cloned().unwrap_or_default();
    let mut options = IndexMap::new();
    for name in required {
        assert_eq!(name, "url", "the suite knows how to make a url only");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|| async { StatusCode::NO_CONTENT }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        options.insert("url".to_owned(), json!(format!("http://{address}/")));
    }
    options
}

/// A channel of one element, `sensors`.
pub(super) fn open_channel(
    element: &Element,
    binding: Binding,
    options: IndexMap<String, Value>,
    cloud: Cloud,
) -> OpenChannel {
    let output = OutputElement {
        element: element.id,
        name: "sensors".to_owned(),
        kind: element.kind,
        schema: element.compile(&element.scope()).unwrap().output_schema().clone(),
        model_version: 1,
        options,
    };
    OpenChannel {
        tenant: TenantId::new(),
        channel: ChannelId::new(),
        name: "channel".to_owned(),
        binding,
        elements: vec![output],
        limits: PLENTY,
        public_url: "http://127.0.0.1:7401/v1/out/x".to_owned(),
        clock: FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap()),
        secrets: Arc::new(OneSecret),
        outbound: GuardedClient::new(OutboundPolicy::development()).unwrap(),
        cloud,
    }
}

/// Records with ids `after + 1 ..= to`.
pub(super) fn delivery(element: &Element, lane: Lane, after: u64, to: u64) -> Delivery {
    of_rows(element, lane, after, (after + 1..=to).map(|id| json!({"id": id, "site": "a"})).collect())
}

/// These records behind `after`.
pub(super) fn of_rows(element: &Element, lane: Lane, after: u64, rows: Vec<Value>) -> Delivery {
    let plan = element.compile(&element.scope()).unwrap();
    let encoded = Arc::new(plan.encode(&element.rows(after + 1, &rows)).unwrap());
    let (to, rows) = (after + rows.len() as u64, 0..encoded.len());
    let flow = FlowKey { element: element.id, lane };
    Delivery { flow, after, to, parts: vec![Slice { encoded, rows }], repeated: false }
}

/// The account of AWS for tests, with resources that nobody's policies guard.
pub(super) struct World {
    pub account: Account,
    pub config: SdkConfig,
}

impl World {
    /// None where there is no Python that has moto.
    pub(super) async fn start() -> Option<Self> {
        let account = Account::start().await?;
        let config = headgate_aws::testing::config(&account.url, &account.key.0, &account.key.1, None).await;
        Some(Self { account, config })
    }

    pub(super) fn cloud(&self) -> Cloud {
        Cloud::of(self.config.clone())
    }

    pub(super) fn s3(&self) -> aws_sdk_s3::Client {
        let path_style = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(true);
        aws_sdk_s3::Client::from_conf(path_style.build())
    }

    /// New resources for a channel of a profile, as bindings name them.
    pub(super) async fn make(&self, profile: &str) -> Vec<String> {
        let name = format!("ch-{}", hex::encode(rand::random::<[u8; 8]>()));
        match profile {
            "file" => {
                self.s3().create_bucket().bucket(&name).send().await.unwrap();
                vec![format!("s3://{name}")]
            }
            "queue" => {
                use aws_sdk_sqs::types::QueueAttributeName::{DeduplicationScope, FifoQueue, FifoThroughputLimit};
                let sqs = aws_sdk_sqs::Client::new(&self.config);
                sqs.create_queue().queue_name(&name).send().await.unwrap();
                let fifo = sqs.create_queue().queue_name(format!("{name}.fifo")).attributes(FifoQueue, "true");
                let fifo = fifo.attributes(DeduplicationScope, "messageGroup");
                fifo.attributes(FifoThroughputLimit, "perMessageGroupId").send().await.unwrap();
                let url = format!("sqs://us-east-1/123456789012/{name}");
                vec![url.clone(), format!("{url}.fifo")]
            }
            "stream" => {
                let kinesis = aws_sdk_kinesis::Client::new(&self.config);
                kinesis.create_stream().stream_name(&name).shard_count(3).send().await.unwrap();
                vec![format!("kinesis://us-east-1/{name}")]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn binding(&self, url: &str) -> Binding {
        let cloud = CloudBinding {
            region: "us-east-1".to_owned(),
            role: "arn:aws:iam::123456789012:role/headgate-platform-of-a-channel".to_owned(),
            external_id: "an-external-id-of-it".to_owned(),
            further: IndexMap::new(),
            client: CloudClient::User { name: "client".to_owned() },
        };
        Binding { cloud: Some(cloud), ..Binding::plain(url) }
    }

    /// A channel over a resource.
    pub(super) fn channel(&self, element: &Element, url: &str, options: Value) -> OpenChannel {
        open_channel(element, self.binding(url), serde_json::from_value(options).unwrap(), self.cloud())
    }

    /// What is in a resource, as a client finds it (`tests/aws/client.py`).
    pub(super) async fn read(&self, url: &str) -> Value {
        let (scheme, place) = url.split_once("://").unwrap();
        let name = place.rsplit('/').next().unwrap();
        let who = json!({"id": self.account.key.0, "secret": self.account.key.1});
        let job = match scheme {
            "s3" => json!({"as": who, "bucket": name}),
            "sqs" => json!({"as": who, "queue": format!("{}/123456789012/{name}", self.account.url)}),
            _ => json!({"as": who, "stream": name}),
        };
        self.account.read(&job).await
    }
}
