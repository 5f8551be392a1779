//! Many orders at once.

use headgate_types::channel::{ChannelState, Direction};
use serde_json::json;

use super::world::Cloud;
use crate::orders::OrderState;

const ORDERS: usize = 100;

#[tokio::test]
async fn a_hundred_stacks_are_under_way_at_once_for_a_hundred_orders() {
    let Some(cloud) = Cloud::on_sqlite().await else { return };
    // No stack gets past its last resource, so one after the other would never come to the second.
    cloud.account.fault(json!({"resource": "PlatformRole", "operation": "create", "effect": "hold"})).await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        orders.push(cloud.world.order_of(Direction::Out, "file", None).await);
    }
    let worker = cloud.worker();
    let all_held = async || cloud.account.left().await.get("users").map_or(0, Vec::len) == ORDERS;
    cloud.until(|| worker.clone(), all_held).await;
    assert_eq!(cloud.world.open_orders().await, ORDERS, "none is done");
    cloud.account.no_faults().await;
    cloud.settle(&worker).await;
    for order in orders {
        let order = cloud.world.order(order.id).await;
        assert_eq!(order.state, OrderState::Succeeded, "{:?}", order.error);
        assert_eq!(cloud.world.channel(order.channel).await.state, ChannelState::Active);
    }
    let left = cloud.account.left().await;
    let count = |kind: &str| left[kind].len();
    assert_eq!(["stacks", "buckets", "roles", "users", "keys"].map(count), [ORDERS; 5]);
}
