use headgate_access::credentials::{self, CredentialState};
use headgate_catalog::channels;
use headgate_types::channel::{ChannelState, ConditionStatus, Direction};

use super::{World, setup};
use crate::orders::{OrderState, StepName, StepState};

#[tokio::test]
async fn a_data_out_channel_ends_active_with_binding_credential_and_one_ready_event() {
    for (_db, world) in World::all().await {
        let placed = world.order_channel(Direction::Out).await;
        assert_eq!(placed.state, OrderState::Pending);
        assert!(placed.steps.iter().all(|step| step.state == StepState::Pending), "every step is shown beforehand");
        world.settle(&world.worker()).await;

        let order = world.order(placed.id).await;
        assert_eq!(order.state, OrderState::Succeeded, "{}: {:?}", world.name, order.error);
        let steps: Vec<_> = order.steps.iter().map(|step| step.name).collect();
        use StepName as S;
        assert_eq!(steps, [S::Validate, S::Provision, S::Serve, S::Credentials, S::InitialLoad, S::Live, S::Ready]);
        assert!(order.steps.iter().all(|step| step.state == StepState::Done && step.finished_at.is_some()));
        assert!(order.started_at.is_some() && order.finished_at.is_some());

        let channel = world.channel(order.channel).await;
        assert_eq!(channel.state, ChannelState::Active);
        assert!(channel.binding.unwrap().url.starts_with("file:///"));
        assert_eq!(world.directories(), 1);
        let endpoint = order.result.endpoint.unwrap();
        assert_eq!(endpoint.url, format!("https://data.example.org:8443/v1/out/{}", order.channel));
        assert_eq!(order.result.credentials.len(), 1);
        let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
        let issued = credentials::list(&mut tx, world.tenant, order.channel, order.updated_at).await.unwrap();
        assert_eq!(issued.len(), 1);
        assert_eq!((issued[0].id, issued[0].state), (order.result.credentials[0].credential, CredentialState::Active));
        let conditions = channels::conditions(&mut tx, world.tenant, order.channel).await.unwrap();
        for condition in conditions {
            assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
        }
        drop(tx);
        assert_eq!(world.event_types().await, ["channel.ready", "order.succeeded"]);
    }
}

#[tokio::test]
async fn a_data_in_channel_publishes_its_elements_when_it_is_live() {
    for (_db, world) in World::all().await {
        let order = world.order_channel(Direction::In).await;
        world.settle(&world.worker()).await;
        let order = world.order(order.id).await;
        assert_eq!(order.state, OrderState::Succeeded, "{}: {:?}", world.name, order.error);
        let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
        assert_eq!(setup::element_states(&mut tx, world.tenant).await, ["PUBLISHED"]);
        drop(tx);
        let url = format!("https://data.example.org:8443/v1/in/{}/readings", order.channel);
        let streams = order.result.endpoint.unwrap().streams;
        assert_eq!(streams[0].url.as_deref(), Some(url.as_str()));
        assert_eq!(world.event_types().await, ["catalog.element.published", "channel.ready", "order.succeeded"]);
    }
}

#[tokio::test]
async fn a_stranger_sees_neither_order_nor_channel() {
    for (db, world) in World::all().await {
        let order = world.order_channel(Direction::Out).await;
        let stranger = World::new(&db).await;
        let mut tx = stranger.control.tenant(stranger.tenant).await.unwrap();
        let found = crate::orders::get(&mut tx, stranger.tenant, order.id).await;
        assert!(matches!(found, Err(crate::OrderError::NotFound)), "{}", world.name);
        let listed = crate::orders::list(&mut tx, stranger.tenant, &Default::default(), 10).await.unwrap();
        assert!(listed.is_empty(), "{}", world.name);
        drop(tx);
        let cancelled = stranger.cancel(order.id).await;
        assert!(matches!(cancelled, Err(crate::OrderError::NotFound)), "{}", world.name);
        let placed = stranger.place(order.channel, crate::orders::OrderRequest::Delete).await;
        assert!(matches!(placed, Err(crate::OrderError::ChannelNotFound)), "{}", world.name);
    }
}

#[tokio::test]
async fn lists_are_narrowed_and_paged_newest_first() {
    use crate::orders::{OrderFilter, list, list_all};
    for (_db, world) in World::all().await {
        let first = world.order_channel(Direction::Out).await;
        let second = world.order_channel(Direction::Out).await;
        let mut tx = world.control.read_tenant(world.tenant).await.unwrap();
        let ids = |orders: Vec<crate::orders::Order>| orders.into_iter().map(|order| order.id).collect::<Vec<_>>();
        let page = list(&mut tx, world.tenant, &OrderFilter::default(), 1).await.unwrap();
        assert_eq!(ids(page), [second.id]);
        let before = OrderFilter { before: Some(second.id), ..OrderFilter::default() };
        assert_eq!(ids(list(&mut tx, world.tenant, &before, 10).await.unwrap()), [first.id]);
        let channel = OrderFilter { channel: Some(second.channel), ..OrderFilter::default() };
        assert_eq!(ids(list(&mut tx, world.tenant, &channel, 10).await.unwrap()), [second.id]);
        let over = OrderFilter { state: Some(OrderState::Failed), ..OrderFilter::default() };
        assert!(list(&mut tx, world.tenant, &over, 10).await.unwrap().is_empty());
        drop(tx);
        let mut tx = world.control.read_platform().await.unwrap();
        assert_eq!(list_all(&mut tx, None, &OrderFilter::default(), 10).await.unwrap().len(), 2);
    }
}
