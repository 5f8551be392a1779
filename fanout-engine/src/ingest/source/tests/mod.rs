//! Sources against an account of AWS for tests: lost, repeated and refused calls, and a process that ends between any two
//! effects. An end is played by dropping the process while calls behind an effect are lost: `ended_while`.

mod bucket;
mod queue;
mod stream;

use std::time::{Duration, Instant};

use headgate_aws::SdkConfig;

use headgate_types::channel::{Binding, CloudBinding, CloudClient};
use headgate_types::limits::Limits;
use headgate_types::timing::Timing;
use headgate_types::{ChannelId, SystemClock};

use super::Pace;
use crate::cloud::Cloud;
use crate::delivery::limits::PLENTY;
use crate::ingest::tests::{Bench, Process, Setup};

use crate::aws_account::Account;

/// How long a state may take to come before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

const QUICK: Pace = Pace {
    long_poll: Duration::from_secs(1),
    after_failure: Duration::from_millis(20),
    dead: Duration::from_millis(50),
    list: Duration::from_secs(3_600),
    unannounced: Duration::ZERO,
    shards: Duration::from_millis(50),
    busy: Duration::from_millis(1),
    idle: Duration::from_millis(20),
};

/// An account, what a client asks it with, and a channel whose source is in it.
struct World {
    account: Account,
    config: SdkConfig,
}

impl World {
    async fn start() -> Option<Self> {
        let account = Account::start().await?;
        let config = headgate_aws::testing::config(&account.url, "AKIATEST", "secret", None).await;
        Some(Self { account, config })
    }

    async fn bench(&self, url: &str, further: &[(&str, &str)], second: bool, limits: Limits) -> Bench {
        let further = further.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned()));
        let cloud = CloudBinding {
            region: "us-east-1".to_owned(),
            role: "arn:aws:iam::123456789012:role/of-the-channel".to_owned(),
            external_id: ChannelId::new().to_string(),
            further: further.collect(),
            client: CloudClient::User { name: "client".to_owned() },
        };
        let binding = Binding { cloud: Some(cloud), ..Binding::plain(url) };
        let db = headgate_database::testing::databases().await.unwrap().swap_remove(0);
        let setup = Setup { timing: Timing::Immediate, limits, binding, second };
        let mut bench = Bench::set_up(db, SystemClock::shared(), setup).await;
        bench.cloud = Cloud::of(self.config.clone());
        bench.pace = QUICK;
        bench
    }

    async fn simple(&self, url: &str) -> Bench {
        self.bench(url, &[], false, PLENTY).await
    }
}

fn line(id: usize) -> String {
    format!("{{\"id\":{id},\"site\":\"a\"}}")
}

/// Ids in the log, in its order.
async fn ids(bench: &Bench, process: &Process) -> Vec<i64> {
    if process.lake.log().layout(bench.events).is_err() {
        return Vec::new();
    }
    process.logged(bench.events).await.into_iter().map(|(id, _)| id).collect()
}

/// Lets the process work until `what` has come, with everything landed decided.
async fn until(process: &Process, what: &str, mut has_come: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    loop {
        process.settle().await;
        if has_come().await {
            // Nothing more may have come with it.
            process.settle().await;
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each of `0..count` once, in whatever order.
async fn all_once(bench: &Bench, process: &Process, count: usize) {
    until(process, "every record", async || ids(bench, process).await.len() >= count).await;
    let mut found = ids(bench, process).await;
    found.sort_unstable();
    assert_eq!(found, (0..count as i64).collect::<Vec<_>>());
}
