use chrono::TimeDelta;
use headgate_database::{Db, args};
use headgate_types::Clock;
use headgate_types::channel::Direction;

use super::World;
use super::changes::resize;
use crate::ChannelHours;
use crate::orders::OrderRequest;

/// Seconds of channels that are booked for a size; for all with `%`.
async fn booked(world: &World, data: &Db, size: &str) -> i64 {
    let mut tx = data.read_tenant(world.tenant).await.unwrap();
    let (seconds,): (i64,) = tx
        .fetch_one(
            "SELECT CAST(SUM(quantity) AS BIGINT) FROM usage_records
             WHERE tenant_id = $1 AND meter = 'channel.hours' AND dims LIKE $2",
            args![world.tenant, format!("%\"{size}\"%")],
        )
        .await
        .unwrap();
    seconds
}

#[tokio::test]
async fn a_channel_is_charged_for_the_seconds_from_its_first_use_to_its_end_once() {
    for (db, world) in World::all().await {
        let hours = ChannelHours::new(world.control.clone(), db.data.clone(), world.shared_clock());
        let failed = world.order_channel(Direction::Out).await;
        world.cancel(failed.id).await.unwrap();
        let id = world.active_channel(Direction::Out).await;
        assert_eq!(hours.run_once().await.unwrap(), 0, "{}: the hour is not over", world.name);
        world.clock.advance(TimeDelta::hours(2));
        assert_eq!(hours.run_once().await.unwrap(), 2);
        assert_eq!(hours.run_once().await.unwrap(), 0, "booked hours stay booked");
        world.place(id, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        world.clock.advance(TimeDelta::hours(5));
        assert_eq!(hours.run_once().await.unwrap(), 1, "only the hour in which it ended");

        let channel = world.channel(id).await;
        let existed = channel.deleted_at.unwrap().timestamp() - channel.activated_at.unwrap().timestamp();
        assert_eq!(booked(&world, &db.data, "%").await, existed, "{}", world.name);
    }
}

#[tokio::test]
async fn each_part_of_an_hour_is_charged_as_the_size_it_had() {
    for (db, world) in World::all().await {
        let hours = ChannelHours::new(world.control.clone(), db.data.clone(), world.shared_clock());
        let id = world.active_channel(Direction::Out).await;
        let first = world.channel(id).await;
        let change = async |size: &str| {
            world.place(id, resize(size)).await.unwrap();
            world.settle(&world.worker()).await;
            assert_eq!(world.channel(id).await.size, size, "{}", world.name);
            world.channel(id).await.updated_at.timestamp()
        };
        world.clock.advance(TimeDelta::minutes(150));
        let grown = change("XL").await;
        world.clock.advance(TimeDelta::minutes(10));
        // As it was before, long before the hour ends.
        let shrunk = change(&first.size).await;
        world.clock.advance(TimeDelta::hours(1));
        hours.run_once().await.unwrap();
        assert_eq!(hours.run_once().await.unwrap(), 0);

        assert_eq!(booked(&world, &db.data, "XL").await, shrunk - grown, "{}", world.name);
        let over = world.clock.now().timestamp() / 3_600 * 3_600 - first.activated_at.unwrap().timestamp();
        assert_eq!(booked(&world, &db.data, "%").await, over, "{}", world.name);
    }
}
