use headgate_database::testing::databases;
use headgate_types::model::OutputField;
use headgate_types::selection::Policy;
use headgate_types::{ChannelId, TenantId};

use super::*;
use crate::CatalogError;
use crate::nodes::{self, NewNode};
use crate::subscriptions::{Refreshed, refresh_selections, replace_scopes, resolve_selection, scopes};

fn by_region(region: &str) -> SelectionItem {
    let facets = BTreeMap::from([("region".to_owned(), region.to_owned())]);
    SelectionItem { facets, ..SelectionItem::default() }
}

async fn refresh(db: &Db, channel: ChannelId) -> Option<Refreshed> {
    let refreshed = refresh_selections(db, later(9)).await.unwrap();
    assert!(refresh_selections(db, later(9)).await.unwrap().is_empty());
    refreshed.into_iter().find(|refreshed| refreshed.channel == channel)
}

async fn carried(db: &Db, tenant: TenantId, channel: ChannelId) -> Vec<ElementId> {
    let mut tx = db.read_tenant(tenant).await.unwrap();
    scopes(&mut tx, tenant, channel).await.unwrap().into_iter().map(|scope| scope.element).collect()
}

#[tokio::test]
async fn a_selection_resolves_to_each_element_once_with_its_policy() {
    for db in databases().await.unwrap() {
        let (owner, reader) = (TenantId::new(), TenantId::new());
        let mut tx = db.control.tenant(owner).await.unwrap();
        let root = NewNode { owner, parent: None, tree: "topic".into(), name: "weather".into() };
        let node = nodes::insert(&mut tx, &root, now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut spec = element_spec("a/obs");
        spec.nodes = vec![node.id];
        let first = published(&db.control, owner, spec).await.id;
        let second = published(&db.control, owner, element_spec("b/obs")).await.id;
        let hidden = published(&db.control, owner, element_spec("c/obs")).await.id;
        let policy = Policy { filter: Some("temp > 0".into()), columns: vec!["temp".into()] };
        granted(&db.control, owner, first, Grantee::Tenant(reader), policy.clone()).await;
        granted(&db.control, owner, second, Grantee::Public, Policy::default()).await;

        let mut tx = db.control.read_tenant(reader).await.unwrap();
        let model = OutputModel { filter: Some("temp < 50".into()), ..OutputModel::default() };
        let items = [
            SelectionItem { node: Some(node.id), ..SelectionItem::default() },
            by_region("us-east"),
            SelectionItem {
                filter: Some("station = 'EWR'".into()),
                output_data_model: Some(model.clone()),
                ..item(second)
            },
        ];
        let found = resolve_selection(&mut tx, reader, &items, &OutputModel::default()).await.unwrap();
        let ids: Vec<_> = found.iter().map(|scope| scope.element).collect();
        assert_eq!(ids, [first, second], "{}", db.name);
        assert_eq!((&found[0].policy, found[0].name.as_str()), (&policy, "obs"));
        assert_eq!((found[1].filter.as_deref(), &found[1].model), (Some("station = 'EWR'"), &model));
        assert!(found[1].name.starts_with("obs_"), "{}", found[1].name);

        let wrong = [
            item(hidden),
            SelectionItem { node: Some(headgate_types::NodeId::new()), ..SelectionItem::default() },
            SelectionItem::default(),
            item(first),
            SelectionItem { filter: Some(String::new()), ..item(first) },
        ];
        let Err(CatalogError::Refused { what: "selection", fields }) =
            resolve_selection(&mut tx, reader, &wrong, &OutputModel::default()).await
        else {
            panic!("accepted on {}", db.name);
        };
        let places: Vec<_> = fields.iter().map(|field| (field.pointer.as_str(), field.code.as_str())).collect();
        let wanted = [
            ("/0/element", "unknown_element"),
            ("/1/node", "unknown_node"),
            ("/2", "exactly_one"),
            ("/4/filter", "invalid_length"),
            ("/4/element", "duplicate_element"),
        ];
        assert_eq!(places, wanted, "{}", db.name);
    }
}

#[tokio::test]
async fn what_is_taken_back_behind_many_other_changes_is_gone_at_once() {
    for db in databases().await.unwrap() {
        let (owner, reader) = (TenantId::new(), TenantId::new());
        let region = owner.to_string();
        let channel = out_channel(&db.control, reader, vec![by_region(&region)]).await;
        let mut spec = element_spec("weather/obs");
        spec.facets.insert("region".into(), region);
        let element = published(&db.control, owner, spec).await.id;
        let grant = granted(&db.control, owner, element, Grantee::Tenant(reader), Policy::default()).await;
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().added, [element], "{}", db.name);
        let mut tx = db.control.tenant(owner).await.unwrap();
        for _ in 0..1_001 {
            crate::subscriptions::note_change(&mut tx, owner, element, now()).await.unwrap();
        }
        grants::revoke(&mut tx, owner, grant.id, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().removed, [element], "{}", db.name);
        assert!(carried(&db.control, reader, channel.id).await.is_empty(), "{}", db.name);
    }
}

#[tokio::test]
async fn a_facet_selection_picks_up_what_is_published_and_granted_later() {
    for db in databases().await.unwrap() {
        let (owner, reader) = (TenantId::new(), TenantId::new());
        let region = owner.to_string();
        let channel = out_channel(&db.control, reader, vec![by_region(&region)]).await;
        assert!(carried(&db.control, reader, channel.id).await.is_empty());

        let mut spec = element_spec("weather/obs");
        spec.facets.insert("region".into(), region);
        let element = published(&db.control, owner, spec).await.id;
        assert_eq!(refresh(&db.control, channel.id).await, None, "{}", db.name);
        let grant = granted(&db.control, owner, element, Grantee::Tenant(reader), Policy::default()).await;
        let refreshed = refresh(&db.control, channel.id).await.unwrap();
        assert_eq!((refreshed.tenant, refreshed.added.as_slice()), (reader, [element].as_slice()), "{}", db.name);
        assert_eq!(carried(&db.control, reader, channel.id).await, [element]);

        let narrow = Policy { filter: Some("temp > 0".into()), columns: Vec::new() };
        granted(&db.control, owner, element, Grantee::Tenant(reader), narrow.clone()).await;
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().changed, [element]);
        let mut tx = db.control.tenant(reader).await.unwrap();
        let scope = scopes(&mut tx, reader, channel.id).await.unwrap().remove(0);
        assert_eq!((&scope.policy, scope.model_version), (&narrow, 2));
        let version = channels::get(&mut tx, reader, channel.id).await.unwrap().version;
        assert!(version > channel.version, "the engine would not look again");
        drop(tx);

        let mut tx = db.control.tenant(owner).await.unwrap();
        grants::revoke(&mut tx, owner, grant.id, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().removed, [element]);
        assert!(carried(&db.control, reader, channel.id).await.is_empty(), "{}", db.name);
    }
}

#[tokio::test]
async fn an_element_published_while_a_channel_was_ordered_is_not_missed() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let mut spec = element_spec("weather/obs");
        spec.facets.insert("region".into(), tenant.to_string());
        let element = published(&db.control, tenant, spec).await.id;
        refresh(&db.control, ChannelId::new()).await;

        // The order resolved its selection before, and stores it after, the element was published.
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let new = new_out(tenant, vec![by_region(&tenant.to_string())]);
        channels::insert(&mut tx, &new, now()).await.unwrap();
        replace_scopes(&mut tx, tenant, new.id, Vec::new(), now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, new.id).await.unwrap().added, [element], "{}", db.name);

        let mut tx = db.control.tenant(tenant).await.unwrap();
        let change = crate::SpecChange { spec: Some(new.spec), ..Default::default() };
        channels::apply_spec(&mut tx, tenant, new.id, &change, None, now()).await.unwrap();
        replace_scopes(&mut tx, tenant, new.id, Vec::new(), now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, new.id).await.unwrap().added, [element], "{}", db.name);
    }
}

#[tokio::test]
async fn a_named_element_leaves_with_its_grant_and_comes_back_with_it() {
    for db in databases().await.unwrap() {
        let (owner, reader) = (TenantId::new(), TenantId::new());
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        let grant = granted(&db.control, owner, element, Grantee::Tenant(reader), Policy::default()).await;
        let channel = out_channel(&db.control, reader, vec![item(element)]).await;
        assert_eq!(refresh(&db.control, channel.id).await, None);

        let mut tx = db.control.tenant(owner).await.unwrap();
        grants::revoke(&mut tx, owner, grant.id, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().removed, [element], "{}", db.name);
        granted(&db.control, owner, element, Grantee::Tenant(reader), Policy::default()).await;
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().added, [element], "{}", db.name);

        let mut tx = db.control.tenant(owner).await.unwrap();
        elements::retire(&mut tx, owner, element, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(refresh(&db.control, channel.id).await.unwrap().removed, [element], "{}", db.name);
    }
}

#[tokio::test]
async fn scopes_keep_their_names_and_count_their_models_when_replaced() {
    for db in databases().await.unwrap() {
        let tenant = TenantId::new();
        let first = published(&db.control, tenant, element_spec("a/obs")).await.id;
        let second = published(&db.control, tenant, element_spec("b/obs")).await.id;
        let channel = out_channel(&db.control, tenant, vec![item(first), item(second)]).await.id;
        let mut tx = db.control.tenant(tenant).await.unwrap();
        let before = scopes(&mut tx, tenant, channel).await.unwrap();
        let version = channels::get(&mut tx, tenant, channel).await.unwrap().version;
        let same = replace_scopes(&mut tx, tenant, channel, before.clone(), later(1)).await.unwrap();
        assert_eq!(same, before);
        assert_eq!(channels::get(&mut tx, tenant, channel).await.unwrap().version, version);

        let field = OutputField {
            name: "t".into(),
            from: Some("temp".into()),
            expression: None,
            data_type: None,
            unit: None,
            description: None,
        };
        let model = OutputModel { fields: vec![field], ..OutputModel::default() };
        let third = published_in(&mut tx, tenant, "c/obs").await;
        let found = resolve_selection(&mut tx, tenant, &[item(third), item(second)], &model).await.unwrap();
        let after = replace_scopes(&mut tx, tenant, channel, found, later(2)).await.unwrap();
        assert_eq!(after, scopes(&mut tx, tenant, channel).await.unwrap(), "{}", db.name);
        let names: Vec<_> =
            after.iter().map(|scope| (scope.element, scope.name.as_str(), scope.model_version)).collect();
        assert_eq!(names, [(third, "obs", 1), (second, before[1].name.as_str(), 2)], "{}", db.name);
        let subscribed = subscriptions::for_element(&mut tx, third).await.unwrap();
        assert_eq!((subscribed.len(), subscribed[0].channel), (1, channel));
    }
}

async fn published_in(tx: &mut headgate_database::Tx, owner: TenantId, name: &str) -> ElementId {
    let new = NewElement { id: ElementId::new(), tenant: owner, spec: element_spec(name) };
    elements::insert(tx, &new, now()).await.unwrap();
    elements::publish(tx, owner, new.id, now()).await.unwrap();
    new.id
}
