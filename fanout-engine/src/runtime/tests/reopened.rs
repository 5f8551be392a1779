//! Channels that are opened anew because something of theirs changed.

use headgate_catalog::channels::SpecChange;

use super::*;

impl Bench {
    async fn generation(&self) -> u64 {
        let mut tx = self.db.control.read_tenant(self.tenant).await.unwrap();
        channels::get(&mut tx, self.tenant, self.channel).await.unwrap().generation
    }

    /// What is in the table of an api channel; nothing while it is not open.
    async fn ids(&self) -> Vec<u64> {
        let Some(served) = self.served.get(self.channel) else { return Vec::new() };
        let request = Request::get("/sensors").body(Body::empty()).unwrap();
        let response = served.router.oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        body["items"].as_array().into_iter().flatten().map(|item| item["id"].as_u64().unwrap()).collect()
    }

    async fn rename(&self, name: &str) {
        let mut tx = self.db.control.tenant(self.tenant).await.unwrap();
        let change = SpecChange { name: Some(name.to_owned()), ..SpecChange::default() };
        channels::apply_spec(&mut tx, self.tenant, self.channel, &change, None, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn delivered(runtime: &Runtime, channel: ChannelId) -> u64 {
    let statistics = runtime.statistics(channel).await.unwrap().unwrap();
    statistics.flows.iter().map(|flow| flow.records).sum()
}

#[tokio::test]
async fn a_channel_that_is_renamed_has_no_more_of_its_rate() {
    for db in databases().await.unwrap() {
        let bench = Bench::ordered(db, "stream", Limits { records_per_second: 1, ..PLENTY }, None).await;
        bench.provision().await;
        bench.append(11..=100).await;
        let begun = std::time::Instant::now();
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::Serving, ConditionStatus::True).await;
        for name in ["a", "b", "c", "d"] {
            bench.rename(name).await;
            let generation = bench.generation().await;
            for attempt in 0.. {
                runtime.passed().await;
                if runtime.observed(bench.channel).is_some_and(|(observed, _)| observed.generation == generation) {
                    break;
                }
                assert!(attempt < 100_000, "the channel is not opened as {name}");
            }
        }
        let delivered = delivered(&runtime, bench.channel).await;
        let allowed = 10 + begun.elapsed().as_secs() + 1;
        // A burst, what the time since has added, and the one that may overdraw.
        assert!((1..=allowed + 1).contains(&delivered), "{}: {delivered} records, {allowed} allowed", bench.db.name);
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_change_of_scope_fills_a_store_again_and_alarms_nobody() {
    for db in databases().await.unwrap() {
        let bench = Bench::ordered(db, "api", PLENTY, None).await;
        bench.provision().await;
        let (runtime, shutdown, task) = bench.runtime();
        bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
        bench.append([11, 12]).await;
        settled(&runtime).await;

        let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
        let mut scopes = subscriptions::scopes(&mut tx, bench.tenant, bench.channel).await.unwrap();
        scopes[0].filter = Some("id > 2".to_owned());
        let now = bench.clock.now();
        subscriptions::replace_scopes(&mut tx, bench.tenant, bench.channel, scopes, now).await.unwrap();
        channels::touch(&mut tx, bench.tenant, bench.channel, now).await.unwrap();
        tx.commit().await.unwrap();
        runtime.passed().await;
        for attempt in 0.. {
            let ids = bench.ids().await;
            if ids == (3..=12).collect::<Vec<_>>() {
                break;
            }
            assert!(attempt < 5_000, "{}: {ids:?}", bench.db.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        settled(&runtime).await;
        assert_eq!(delivered(&runtime, bench.channel).await, 12, "what came again is not billed");

        runtime.passed().await;
        let mut tx = bench.db.control.read_tenant(bench.tenant).await.unwrap();
        let events = headgate_events::list(&mut tx, bench.tenant, 0, 100, &[]).await.unwrap();
        let alarm = events.iter().find(|event| event.event_type == "io.headgate.delivery.degraded.v1");
        assert!(alarm.is_none(), "{}: {alarm:?}", bench.db.name);
        drop(tx);
        shutdown.cancel();
        task.await.unwrap();
    }
}
