//! What an owner is told of its channel.

use headgate_types::selection::Policy;

use super::resting::rest;
use super::*;

/// What the grant of the channel's element allows of it.
async fn restrict(bench: &Bench, policy: &Policy) {
    let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
    let data = vec![SelectionItem { element: Some(bench.element.id), ..SelectionItem::default() }];
    let model = OutputModel::default();
    let mut scopes = subscriptions::resolve_selection(&mut tx, bench.tenant, &data, &model).await.unwrap();
    for scope in &mut scopes {
        scope.policy = policy.clone();
    }
    subscriptions::replace_scopes(&mut tx, bench.tenant, bench.channel, scopes, bench.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn how_many_records_wait_is_told_only_where_the_grant_withholds_nothing() {
    let some_rows = Policy { filter: Some("id < 5".to_owned()), ..Policy::default() };
    let some_columns = Policy { columns: vec!["id".to_owned()], ..Policy::default() };
    for (policy, delivered, told) in [(Policy::default(), 10, true), (some_rows, 4, false), (some_columns, 10, false)] {
        for db in databases().await.unwrap() {
            let mut bench = Bench::new(db).await;
            bench.rest_after = Duration::from_millis(50);
            restrict(&bench, &policy).await;
            let (runtime, shutdown, task) = bench.runtime();
            bench.provision().await;
            bench.until(ConditionType::InitialLoadComplete, ConditionStatus::True).await;
            rest(&runtime, 1).await;
            let flows = runtime.statistics(bench.channel).await.unwrap().unwrap().flows;
            assert_eq!(flows.iter().map(|flow| flow.records).sum::<u64>(), delivered);
            for flow in flows {
                assert_eq!((flow.caught_up, flow.lag_records), (true, told.then_some(0)), "{policy:?}");
            }

            bench.go(ChannelState::Provisioning, ChannelState::Active).await;
            bench.go(ChannelState::Active, ChannelState::Paused).await;
            bench.until(ConditionType::Syncing, ConditionStatus::False).await;
            bench.append([3].into_iter().chain(11..=16)).await;
            let flows = runtime.statistics(bench.channel).await.unwrap().unwrap().flows;
            let live = flows.iter().find(|flow| flow.lane == Lane::Live).unwrap();
            assert_eq!((live.caught_up, live.lag_records), (false, told.then_some(7)), "{policy:?}");
            shutdown.cancel();
            task.await.unwrap();
        }
    }
}
