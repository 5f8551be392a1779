use headgate_types::channel::Direction;

use super::World;
use crate::ChannelHours;
use crate::orders::OrderRequest;

#[tokio::test]
async fn a_channel_is_charged_for_the_seconds_from_its_first_use_to_its_end_once() {
    for (db, world) in World::all().await {
        let hours = ChannelHours::new(world.control.clone(), db.data.clone(), world.shared_clock());
        let failed = world.order_channel(Direction::Out).await;
        world.cancel(failed.id).await.unwrap();
        let id = world.active_channel(Direction::Out).await;
        assert_eq!(hours.run_once().await.unwrap(), 0, "{}: the hour is not over", world.name);
        world.clock.advance(chrono::TimeDelta::hours(2));
        assert_eq!(hours.run_once().await.unwrap(), 2);
        assert_eq!(hours.run_once().await.unwrap(), 0, "booked hours stay booked");
        world.place(id, OrderRequest::Delete).await.unwrap();
        world.settle(&world.worker()).await;
        world.clock.advance(chrono::TimeDelta::hours(5));
        assert_eq!(hours.run_once().await.unwrap(), 1, "only the hour in which it ended");

        let channel = world.channel(id).await;
        let existed = channel.deleted_at.unwrap().timestamp() - channel.activated_at.unwrap().timestamp();
        let mut tx = db.data.read_tenant(world.tenant).await.unwrap();
        let (seconds,): (i64,) = tx
            .fetch_one(
                "SELECT CAST(SUM(quantity) AS BIGINT) FROM usage_records WHERE tenant_id = $1 AND meter = 'channel.hours'",
                headgate_database::args![world.tenant],
            )
            .await
            .unwrap();
        assert_eq!(seconds, existed, "{}", world.name);
    }
}
