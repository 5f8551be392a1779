//! What shares a commit, and what does not.

use std::io::Write;
use std::time::Instant;

use headgate_types::FeedId;

use super::hostile::refused_by_commit;
use super::*;
use crate::ingest::COMMIT_BUDGET;
use crate::ingest::side::{Origin, PayloadPart};
use crate::ingest::store::{Left, add_parts, receipt};

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_payloads_are_conformed_in_their_order_with_whatever_stands_between_them() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        process.ingest.stop_tasks(bench.channel).await;
        let mut sent: Vec<(ReceiptId, u64, u64)> = Vec::new();
        let mut send = async |incoming, records, refused| {
            sent.push((process.take(incoming).await, records, refused));
        };
        let events = |body: &str| bench.incoming("events", body);
        send(events(&lines([1])), 1, 0).await;
        send(events(&lines([2, 3])), 2, 0).await;
        send(Incoming { content_type: Some("text/csv".to_owned()), ..events("id,site\n4,a\n") }, 1, 0).await;
        let gzip = axum::body::Body::from(packed(&lines([5])));
        send(Incoming { content_encoding: Some("gzip".to_owned()), body: gzip, ..events("") }, 1, 0).await;
        send(events(&lines([6])), 1, 0).await;
        send(events(&lines(7..=506)), 500, 0).await;
        send(events("not a record"), 0, 1).await;
        send(events(&lines([507])), 1, 0).await;
        // Small, and with the fourth of them a commit is full before its last record.
        for _ in 0..5 {
            send(events(&"x\n".repeat(2_000)), 0, 2_000).await;
        }
        send(events(&lines([508])), 1, 0).await;
        send(events(&lines([509])), 1, 0).await;

        assert_eq!(drain_over_crashes(&bench, &process).await, 0);
        let first = 8_192 - 507;
        assert_eq!(refused_by_commit(&process).await, [first, 10_001 - first], "{}", bench.db.name);
        let logged: Vec<_> = (1..=509).zip(1..).collect();
        assert_eq!(process.logged(bench.events).await, logged);
        process.settle().await;
        for (receipt, records, refused) in sent {
            let receipt = process.ingest.receipt(bench.channel, receipt).await.unwrap();
            assert_eq!((receipt.state, receipt.records, receipt.refused), ("conformed", records, refused));
        }
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_commit_is_fresh_shares_the_next() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let process = bench.process(|_| ()).await;
        process.ingest.reconcile().await.unwrap();
        let begun = Instant::now();
        for id in 1..=300 {
            process.take(bench.incoming("events", &lines([id]))).await;
        }
        process.settle().await;
        let most = begun.elapsed().as_millis() / COMMIT_BUDGET.as_millis() + 1;
        assert_eq!(process.logged(bench.events).await.len(), 300, "{}", bench.db.name);
        let commits = process.lake.log().read(bench.events, 0, usize::MAX).await.unwrap().len();
        assert!(commits as u128 <= most, "{commits} commits where {most} fit in");
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_derived_together_count_once_each_and_add_up_as_they_do_alone() {
    for db in databases().await.unwrap() {
        let bench = Bench::new(db).await;
        let part = |receipt, after, through| {
            let origin = Origin {
                tenant: bench.tenant,
                channel: bench.channel,
                feed: FeedId::new(),
                feed_name: "events".to_owned(),
                receipt,
                model_version: 1,
            };
            let part = PayloadPart {
                origin,
                sequence: 1,
                landed_at: bench.clock.now(),
                after,
                through,
                records: through - after,
                unchanged: 0,
                refused: 0,
                bytes: 10,
                offsets: Some((after + 1, through)),
                done: through == 9,
                profile: "http".to_owned(),
                size: "S".to_owned(),
                timing: "immediate".to_owned(),
            };
            Left { of: part, element: bench.events, at: bench.clock.now() }
        };
        let (one, two) = (ReceiptId::new(), ReceiptId::new());
        let others: Vec<_> = (0..20).map(|_| ReceiptId::new()).collect();
        let mut parts: Vec<_> = others.iter().map(|id| part(*id, 0, 9)).collect();
        // A payload in two commits; one whose commit was made again after a log was restored.
        parts.extend([part(one, 0, 4), part(two, 0, 9), part(one, 4, 9), part(two, 0, 9)]);
        let mut tx = bench.db.data.platform().await.unwrap();
        tx.act_for(bench.tenant).await.unwrap();
        let counted = add_parts(&mut tx, &parts).await.unwrap();
        assert_eq!(counted, [vec![true; 23], vec![false]].concat(), "{}", bench.db.name);
        assert_eq!(add_parts(&mut tx, &parts).await.unwrap(), [false; 24]);
        for id in others.into_iter().chain([one, two]) {
            let receipt = receipt(&mut tx, bench.tenant, bench.channel, id).await.unwrap().unwrap();
            assert_eq!((receipt.state, receipt.records), ("conformed", 9));
        }
        tx.commit().await.unwrap();
    }
}
