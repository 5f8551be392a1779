//! Channels that come to rest, and what wakes them.

use super::*;

/// Waits until the channel rests.
async fn rests(runtime: &Runtime) {
    rest(runtime, 1).await;
}

/// Waits until so many channels rest.
pub(super) async fn rest(runtime: &Runtime, channels: usize) {
    for _ in 0..10_000 {
        // What was delivered meanwhile has to be cut first.
        runtime.cut_usage().await;
        if runtime.resting() == channels {
            return;
        }
        runtime.passed().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{} of {channels} channels come to rest", runtime.resting());
}

#[tokio::test]
async fn a_channel_that_nothing_happens_to_rests_until_somebody_wants_it() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::over(db, Some("id < 100")).await;
        bench.rest_after = Duration::from_millis(50);
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        let rests = async || rests(&runtime).await;
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        rests().await;
        assert!(bench.served.get(bench.channel).is_none(), "it is closed");
        assert_eq!(bench.served.tenant(bench.channel), Some(bench.tenant), "and can be read");
        let statistics = runtime.statistics(bench.channel).await.unwrap().unwrap();
        assert_eq!(statistics.flows.iter().map(|flow| flow.records).sum::<u64>(), 10);
        assert!(statistics.stored_bytes > 0);

        // What does not concern it leaves it at rest.
        bench.append(100..200).await;
        settled(&runtime).await;
        let statistics = runtime.statistics(bench.channel).await.unwrap().unwrap();
        assert!(statistics.flows.iter().all(|flow| flow.caught_up), "{statistics:?}");
        assert_eq!(runtime.resting(), 1);

        // A record, a reader, its owner.
        bench.append([11]).await;
        settled(&runtime).await;
        assert_eq!(bench.read().await, (1..=11).collect::<Vec<_>>(), "{}", bench.db.name);
        rests().await;
        assert_eq!(bench.read().await.len(), 11);
        rests().await;
        bench.go(ChannelState::Provisioning, ChannelState::Active).await;
        bench.go(ChannelState::Active, ChannelState::Paused).await;
        let paused = bench.until(ConditionType::Syncing, ConditionStatus::False).await;
        assert_eq!(paused.reason, "Paused");
        bench.append([12]).await;
        settled(&runtime).await;
        assert_eq!(runtime.resting(), 0, "what is stopped does not rest");
        bench.go(ChannelState::Paused, ChannelState::Active).await;
        bench.until(ConditionType::Syncing, ConditionStatus::True).await;
        rests().await;
        assert_eq!(bench.read().await.len(), 12);

        // A reader that follows keeps it open.
        rests().await;
        let following = bench.served.reach(bench.channel).await.unwrap();
        let read = following.read().unwrap();
        runtime.cut_usage().await;
        bench.append([13]).await;
        settled(&runtime).await;
        runtime.cut_usage().await;
        for _ in 0..20 {
            runtime.passed().await;
        }
        assert_eq!(runtime.resting(), 0, "somebody reads");
        drop(read);
        rests().await;

        bench.go(ChannelState::Active, ChannelState::Deleting).await;
        bench.until(ConditionType::Drained, ConditionStatus::True).await;
        assert!(bench.served.tenant(bench.channel).is_none());
        assert_eq!(bench.billed().await, 13, "each record was billed once");
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn records_that_come_while_a_channel_goes_to_rest_are_delivered() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(db).await;
        bench.rest_after = Duration::ZERO;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        for id in 11..=60 {
            runtime.cut_usage().await;
            match id % 4 {
                0 => {}
                1 => rests(&runtime).await,
                // Somewhere on its way there.
                _ => {
                    for _ in 0..id {
                        tokio::task::yield_now().await;
                    }
                    runtime.passed().await;
                }
            }
            bench.append([id]).await;
        }
        settled(&runtime).await;
        assert_eq!(bench.read().await, (1..=60).collect::<Vec<_>>(), "{}", bench.db.name);
        runtime.cut_usage().await;
        assert_eq!(bench.billed().await, 60);
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_changed_while_it_goes_to_rest_can_be_read_afterwards() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(db).await;
        bench.rest_after = Duration::ZERO;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        for round in 0..60 {
            // Open, and about to rest.
            assert_eq!(bench.read().await.len(), 10, "{}, round {round}", bench.db.name);
            runtime.cut_usage().await;
            for backfill in [false, true] {
                let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
                let lanes = Lanes { live: true, backfill };
                channels::set_lanes(&mut tx, bench.tenant, bench.channel, lanes, bench.clock.now()).await.unwrap();
                tx.commit().await.unwrap();
                runtime.passed().await;
            }
        }
        shutdown.cancel();
        task.await.unwrap();
    }
}
