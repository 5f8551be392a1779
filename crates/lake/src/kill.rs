//! Killed without warning, again and again: what was acknowledged is there, each offset once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, ElementId, FeedId, SchemaId, SystemClock};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fixtures::{append_events, assert_tiles, layout};
use crate::{Body, ElementLayout, Lake, LakeConfig, LakeWriter, NewPayload};

const DIRECTORY: &str = "HEADGATE_LAKE_KILL_DIRECTORY";

fn element() -> ElementLayout {
    ElementLayout {
        element: ElementId::from_uuid(Uuid::from_u128(1)),
        schema_id: SchemaId::from_uuid(Uuid::from_u128(2)),
        ..layout(ElementKind::Events)
    }
}

fn feed() -> (ChannelId, FeedId) {
    (ChannelId::from_uuid(Uuid::from_u128(3)), FeedId::from_uuid(Uuid::from_u128(4)))
}

async fn open(directory: &Path) -> Lake {
    let mut config = LakeConfig::new(directory);
    config.roll_bytes = 1;
    config.compact_files = 3;
    config.checkpoint_every = 5;
    let lake = Lake::open(config, SystemClock::shared()).await.unwrap();
    lake.register(element()).await.unwrap();
    lake
}

/// The process that is killed: lands, appends, rolls, and says what it was told is durable.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the test below"]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let lake = open(Path::new(&directory)).await;
    let layout = element();
    let writer = LakeWriter::new(lake.clone());
    tokio::spawn(async move {
        loop {
            writer.run_once(&CancellationToken::new()).await;
        }
    });
    let (channel, feed) = feed();
    for round in 0_u64.. {
        let appended = append_events(&lake, &layout, 1 + (round % 7) as i64).await;
        println!("head {}", appended.last);
        let size = if round % 20 == 19 { 1_100_000 } else { 100 };
        let payload = NewPayload {
            channel,
            feed,
            idempotency_key: None,
            content_type: "text/csv".to_owned(),
            encoding: None,
            max_bytes: 2_000_000,
            body: Body::from(vec![1; size]),
        };
        println!("landed {}", lake.landing().append(payload).await.unwrap().sequence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_any_kill_each_offset_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut head, mut landed) = (0, 0);
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("head", offset)) => head = offset.parse().unwrap(),
                Some(("landed", sequence)) => landed = sequence.parse().unwrap(),
                _ => continue,
            }
            seen += 1;
            if seen == 60 + round * 17 {
                // SIGKILL; what the pipe still holds was acknowledged before it.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 60, "the child worked: {seen}");

        let lake = open(directory.path()).await;
        assert_eq!(lake.take_fenced(), []);
        let (element, (channel, feed)) = (element().element, feed());
        let found = lake.log().head(element);
        assert!(found >= head, "offset {head} was acknowledged, the head is {found}");
        let mut at = 0;
        while at < found {
            let batches = lake.read(element, at, 1 << 20).await.unwrap();
            let last = batches.last().unwrap().last;
            assert_tiles(&batches, at, last);
            at = last;
        }
        let payloads = lake.landing().read(channel, feed, 0, u64::MAX).await.unwrap();
        assert!(payloads.last().unwrap().sequence >= landed);
        for payload in payloads {
            let mut body = payload.body.open().unwrap();
            assert_eq!(std::io::copy(&mut body, &mut std::io::sink()).unwrap(), payload.bytes);
        }
    }
}
