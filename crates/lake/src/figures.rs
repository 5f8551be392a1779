//! Figures, printed and never asserted: `cargo test --release -p headgate-lake -- --ignored --nocapture figures`.

use std::sync::Arc;
use std::time::Instant;

use headgate_types::schema::ElementKind;
use headgate_types::{ChannelId, FeedId};

use crate::fixtures::{append_events, commit, events, lake, layout};
use crate::{Body, NewPayload};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures() {
    let directory = tempfile::tempdir_in(std::env::var("HEADGATE_FIGURES_DIR").unwrap_or("/tmp".to_owned())).unwrap();
    let lake = lake(directory.path()).await;
    for writers in [1_usize, 64] {
        let total = if writers == 1 { 500 } else { 20_000 };
        let channel = ChannelId::new();
        let start = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let lake = lake.clone();
                tokio::spawn(async move {
                    for _ in 0..total / writers {
                        let payload = NewPayload {
                            channel,
                            feed: FeedId::new(),
                            idempotency_key: None,
                            content_type: "application/json".to_owned(),
                            encoding: None,
                            max_bytes: 1 << 20,
                            body: Body::from(vec![7; 1_000]),
                        };
                        lake.landing().append(payload).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!("landing, 1 KB, {writers} writers: {:.0}/s", total as f64 / start.elapsed().as_secs_f64());

        let start = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let lake = lake.clone();
                tokio::spawn(async move {
                    let layout = layout(ElementKind::Events);
                    lake.register(layout.clone()).await.unwrap();
                    for _ in 0..total / writers {
                        append_events(&lake, &layout, 1).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!("log, 1 record, {writers} elements: {:.0}/s", total as f64 / start.elapsed().as_secs_f64());
    }

    let layout = Arc::new(layout(ElementKind::Events));
    lake.register((*layout).clone()).await.unwrap();
    let start = Instant::now();
    for step in 0..50 {
        let ids = step * 10_000 + 1..=(step + 1) * 10_000;
        lake.log().append(commit(&layout, step as u64 * 10_000, events(&layout, ids))).await.unwrap();
    }
    println!("log, 10,000 records a commit: {:.0} records/s", 500_000.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    lake.roll(layout.element).await.unwrap();
    println!("roll of 500,000 records: {:.0} records/s", 500_000.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    for _ in 0..50 {
        append_events(&lake, &layout, 1_000).await;
        lake.inner.roll(layout.element).await.unwrap();
    }
    println!("append and roll of 1,000 records: {:.1} ms", start.elapsed().as_secs_f64() * 20.0);
    let element = layout.element;
    drop(lake);
    let lake = crate::fixtures::lake(directory.path()).await;
    lake.register((*layout).clone()).await.unwrap();
    let start = Instant::now();
    let mut at = 0;
    while at < 500_000 {
        at = lake.read(element, at, 8 << 20).await.unwrap().last().unwrap().last;
    }
    println!("read from the table: {:.0} records/s", 500_000.0 / start.elapsed().as_secs_f64());
}
