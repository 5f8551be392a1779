use headgate_database::testing::databases;
use headgate_types::channel::ChannelState::{Active, Deleted, Deleting, Failed, Paused, Provisioning, Updating};
use headgate_types::channel::{Binding, ConditionStatus, ConditionType, Direction};
use headgate_types::filter::parse;
use headgate_types::model::InputModel;
use headgate_types::timing::Timing;
use headgate_types::{FieldError, TenantId};

use super::*;
use crate::CatalogError;
use crate::channels::{ChannelFilter, Lanes, NewCondition, SpecChange};

#[tokio::test]
async fn a_channel_goes_only_where_the_table_allows_and_only_from_where_it_is() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let element = published(&db.control, tenant, element_spec("weather/obs")).await.id;
        let channel = out_channel(&db.control, tenant, vec![item(element)]).await;
        assert_eq!((channel.state, channel.generation, channel.observed_generation), (Provisioning, 1, 0));
        let id = channel.id;
        let mut tx = db.control.tenant(tenant).await.unwrap();
        channels::transition(&mut tx, tenant, id, &[Provisioning, Updating], Active, None, later(1)).await.unwrap();
        let active = channels::get(&mut tx, tenant, id).await.unwrap();
        assert_eq!((active.state, active.activated_at), (Active, Some(later(1))));
        assert_eq!(active.version, channel.version + 1);

        let lost = channels::transition(&mut tx, tenant, id, &[Provisioning], Active, None, later(2)).await;
        assert!(matches!(lost, Err(CatalogError::StateConflict { actual: Active })), "{}", db.name);
        let never = channels::transition(&mut tx, tenant, id, &[Deleted], Active, None, later(2)).await;
        assert!(matches!(never, Err(CatalogError::NoSuchTransition { .. })));

        channels::transition(&mut tx, tenant, id, &[Active], Paused, Some("holiday"), later(3)).await.unwrap();
        let paused = channels::get(&mut tx, tenant, id).await.unwrap();
        assert_eq!(paused.state_reason.as_deref(), Some("holiday"));
        assert_eq!(channels::count_open(&mut tx, tenant).await.unwrap(), 1);
        channels::transition(&mut tx, tenant, id, &[Active, Paused], Deleting, None, later(4)).await.unwrap();
        channels::transition(&mut tx, tenant, id, &[Deleting], Deleted, None, later(5)).await.unwrap();
        let gone = channels::desired(&mut tx, tenant, id).await.unwrap().unwrap();
        assert_eq!((gone.channel.deleted_at, gone.channel.activated_at), (Some(later(5)), Some(later(1))));
        assert_eq!((gone.lanes, gone.scopes.len()), (Lanes::default(), 0));
        assert_eq!(channels::count_open(&mut tx, tenant).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_change_of_spec_counts_a_generation_and_a_stale_one_is_refused() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let element = published(&db.control, tenant, element_spec("weather/obs")).await.id;
        let channel = out_channel(&db.control, tenant, vec![item(element)]).await;
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let change = SpecChange { name: Some("renamed".into()), size: Some(size("L")), spec: None };
        let changed =
            channels::apply_spec(&mut tx, tenant, channel.id, &change, Some(channel.version), later(1)).await.unwrap();
        assert_eq!((changed.name.as_str(), changed.size.as_str(), changed.generation), ("renamed", "L", 2));
        assert_eq!(changed.spec, channel.spec);
        let stale = channels::apply_spec(&mut tx, tenant, channel.id, &change, Some(channel.version), later(2)).await;
        assert!(matches!(stale, Err(CatalogError::Stale("channel"))), "{}", db.name);

        let turned = SpecChange { spec: Some(new_in(tenant, element).spec), ..SpecChange::default() };
        let turned = channels::apply_spec(&mut tx, tenant, channel.id, &turned, None, later(2)).await.unwrap_err();
        assert!(matches!(&turned, CatalogError::Refused { fields, .. } if fields[0].pointer == "/direction"));

        let timing = Timing::Interval { every: "never".into() };
        let wrong = OutSpec { data: Vec::new(), timing, quota: Some(no_quota()), ..OutSpec::default() };
        let change = SpecChange { name: Some(String::new()), spec: Some(ChannelSpec::Out(wrong)), size: None };
        let Err(CatalogError::Refused { fields, .. }) =
            channels::apply_spec(&mut tx, tenant, channel.id, &change, None, later(2)).await
        else {
            panic!("accepted on {}", db.name);
        };
        let places: Vec<_> = fields.iter().map(|field: &FieldError| field.pointer.as_str()).collect();
        assert_eq!(places, ["/timing/every", "/data", "/quota", "/name"]);
    }
}

fn no_quota() -> headgate_types::timing::Quota {
    serde_json::from_str(r#"{"period": "day"}"#).unwrap()
}

#[tokio::test]
async fn what_is_observed_is_written_beside_what_is_desired() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let element = published(&db.control, tenant, element_spec("weather/obs")).await.id;
        let channel = out_channel(&db.control, tenant, vec![item(element)]).await;
        let id = channel.id;

        // As the engine does it: list across tenants, then act for one.
        let mut tx = db.control.platform().await.unwrap();
        let heads = channels::heads(&mut tx, Some(Direction::Out)).await.unwrap();
        let head = heads.iter().find(|head| head.id == id).copied().unwrap();
        assert_eq!((head.tenant, head.state, head.version), (tenant, Provisioning, channel.version));
        assert!(!channels::heads(&mut tx, Some(Direction::In)).await.unwrap().iter().any(|head| head.id == id));
        let mut versions = channels::versions(&mut tx, Direction::Out).await.unwrap();
        assert_eq!(channels::find(&mut tx, id).await.unwrap().unwrap().id, id);
        tx.act_for(tenant).await.unwrap();

        let serving =
            |status, message| NewCondition { condition: ConditionType::Serving, status, reason: "Opened", message };
        let set = async |tx: &mut headgate_database::Tx, new, at| {
            channels::set_condition(tx, tenant, id, new, at).await.unwrap()
        };
        assert!(set(&mut tx, serving(ConditionStatus::False, "opening"), later(1)).await);
        assert!(set(&mut tx, serving(ConditionStatus::True, "open"), later(2)).await);
        assert!(!set(&mut tx, serving(ConditionStatus::True, "open"), later(3)).await);
        assert!(set(&mut tx, serving(ConditionStatus::True, "still open"), later(4)).await);
        let found = channels::conditions(&mut tx, tenant, id).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].message.as_str(), found[0].last_transition_time), ("still open", later(2)));
        assert!(channels::condition_holds(&mut tx, tenant, id, ConditionType::Serving).await.unwrap());
        assert!(!channels::condition_holds(&mut tx, tenant, id, ConditionType::Syncing).await.unwrap());
        channels::set_observed(&mut tx, tenant, id, 1).await.unwrap();
        let seen = channels::get(&mut tx, tenant, id).await.unwrap();
        assert_eq!((seen.observed_generation, seen.version), (1, channel.version), "{}", db.name);
        let mut grew = async |tx: &mut headgate_database::Tx| {
            let now = channels::versions(tx, Direction::Out).await.unwrap();
            std::mem::replace(&mut versions, now) < now
        };
        assert!(!grew(&mut tx).await, "nothing that is desired changed");

        // As provisioning does it; each of these wakes the engine.
        let binding = Binding::plain("file:///tmp/ch/");
        channels::set_binding(&mut tx, tenant, id, Some(&binding), later(5)).await.unwrap();
        assert!(grew(&mut tx).await);
        let wanted = Lanes { live: true, backfill: true };
        channels::set_lanes(&mut tx, tenant, id, wanted, later(6)).await.unwrap();
        assert!(grew(&mut tx).await);
        channels::set_lanes(&mut tx, tenant, id, wanted, later(7)).await.unwrap();
        let desired = channels::desired(&mut tx, tenant, id).await.unwrap().unwrap();
        assert_eq!((desired.lanes, desired.channel.binding), (wanted, Some(binding)));
        assert_eq!(desired.channel.version, channel.version + 2);
        assert_eq!(desired.scopes[0].element, element);
        channels::transition(&mut tx, tenant, id, &[Provisioning], Failed, None, later(8)).await.unwrap();
        assert!(grew(&mut tx).await, "what is not listed any more counts on");
    }
}

#[tokio::test]
async fn channels_are_listed_newest_first_by_filter_and_page() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let element = published(&db.control, tenant, element_spec("weather/obs")).await.id;
        let out = out_channel(&db.control, tenant, vec![item(element)]).await.id;
        let source = in_channel(&db.control, tenant, element).await.id;
        let mut tx = db.control.read_tenant(tenant).await.unwrap();
        let all = ChannelFilter { tenant: Some(tenant), limit: 10, ..ChannelFilter::default() };
        let mut found = async |filter: ChannelFilter| {
            channels::list(&mut tx, &filter).await.map(|found| found.into_iter().map(|c| c.id).collect::<Vec<_>>())
        };
        assert_eq!(found(all.clone()).await.unwrap(), [source, out], "{}", db.name);
        assert_eq!(found(ChannelFilter { limit: 1, ..all.clone() }).await.unwrap(), [source]);
        assert_eq!(found(ChannelFilter { before: Some(source), ..all.clone() }).await.unwrap(), [out]);
        let direction = Some(Direction::In);
        assert_eq!(found(ChannelFilter { direction, ..all.clone() }).await.unwrap(), [source]);
        let filter = Some(parse("channel_profile = api AND state = PROVISIONING AND NOT name:zzz").unwrap());
        assert_eq!(found(ChannelFilter { filter, ..all.clone() }).await.unwrap(), [out]);
        let filter = Some(parse("spec = 1").unwrap());
        assert!(matches!(found(ChannelFilter { filter, ..all }).await, Err(CatalogError::Filter(_))));
    }
}

#[tokio::test]
async fn feeds_bind_to_the_tenants_own_elements_and_count_their_models() {
    for db in databases().await.unwrap() {
        let (tenant, other) = (TenantId::new(), TenantId::new());
        let element = published(&db.control, tenant, element_spec("weather/obs")).await.id;
        let channel = in_channel(&db.control, tenant, element).await.id;
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let feed = feeds::find(&mut tx, tenant, channel, "obs").await.unwrap().unwrap();
        assert_eq!((feed.element, feed.model_version), (element, 1));
        let model = InputModel { null_markers: vec!["NA".into()], ..InputModel::default() };
        for _ in 0..2 {
            let changed = feeds::set_model(&mut tx, tenant, feed.id, &model, now()).await.unwrap();
            assert_eq!((changed.model_version, &changed.input_model), (2, &model), "{}", db.name);
        }
        assert_eq!(feeds::for_element(&mut tx, tenant, element).await.unwrap().len(), 1);
        // While a feed is bound, even an element that was never published stays.
        assert_eq!(feeds::list(&mut tx, tenant, channel).await.unwrap().len(), 1);
        tx.commit().await.unwrap();

        let foreign = published(&db.control, other, element_spec("theirs")).await.id;
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let new = NewFeed { tenant, channel, name: "x".into(), element: foreign, input_model: model };
        assert!(matches!(feeds::insert(&mut tx, &new, now()).await, Err(CatalogError::NotFound(_))), "{}", db.name);
    }
}

#[test]
fn feeds_of_an_order_name_the_place_that_is_wrong() {
    let mut broken = element_spec("x");
    broken.metadata.what.clear();
    let feeds = vec![
        FeedSpec { name: "a b".into(), element: Some(ElementId::new()), ..FeedSpec::default() },
        FeedSpec { name: "a".into(), new_element: Some(broken), ..FeedSpec::default() },
        FeedSpec { name: "a".into(), new_element: Some(element_spec("X")), ..FeedSpec::default() },
        FeedSpec { name: "b".into(), ..FeedSpec::default() },
    ];
    let places: Vec<_> = feeds::errors(&feeds).into_iter().map(|error| error.pointer).collect();
    let wanted = [
        "/feeds/0/name",
        "/feeds/1/new_element/metadata/what",
        "/feeds/2/name",
        "/feeds/2/new_element/name",
        "/feeds/3",
    ];
    assert_eq!(places, wanted);
}
