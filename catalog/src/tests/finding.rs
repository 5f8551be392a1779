use headgate_database::testing::databases;
use headgate_types::engine::{ColumnStatistics, ElementStatistics};
use headgate_types::filter::parse;
use headgate_types::selection::Policy;
use headgate_types::{ElementId, NodeId, TenantId};

use super::*;
use crate::elements::{ElementChange, ElementFilter, ElementState};
use crate::nodes::{self, NewNode, PLATFORM};
use crate::{CatalogError, VisibleElement};

#[tokio::test]
async fn an_element_is_born_with_metadata_schema_and_a_unique_id() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let mut tx = db.control.tenant(owner).await.unwrap();
        let new = NewElement { id: ElementId::new(), tenant: owner, spec: element_spec("weather/obs") };
        let element = elements::insert(&mut tx, &new, now()).await.unwrap();
        assert_eq!(element.state, ElementState::Provisioning, "{}", db.name);
        assert_eq!(element.metadata, new.spec.metadata);
        assert_eq!(element.facets, new.spec.facets);
        assert_eq!(element.created_at, now());
        // The same step again makes the same element.
        assert_eq!(elements::insert(&mut tx, &new, later(1)).await.unwrap(), element);

        let schema = elements::schema(&mut tx, element.id).await.unwrap();
        assert_eq!((schema.version, &schema.schema), (1, &new.spec.schema));

        let twin = NewElement { id: ElementId::new(), ..new.clone() };
        let error = elements::insert(&mut tx, &twin, now()).await.unwrap_err();
        assert!(matches!(error, CatalogError::NameTaken(_)), "{error}");

        elements::remove(&mut tx, owner, element.id).await.unwrap();
        assert!(matches!(elements::get(&mut tx, owner, element.id).await, Err(CatalogError::NotFound(_))));
        elements::insert(&mut tx, &twin, now()).await.unwrap();
        elements::publish(&mut tx, owner, twin.id, now()).await.unwrap();
        elements::remove(&mut tx, owner, twin.id).await.unwrap();
        assert_eq!(elements::get(&mut tx, owner, twin.id).await.unwrap().state, ElementState::Published);
        elements::retire(&mut tx, owner, twin.id, now()).await.unwrap();
        // The name is free again, and what was withdrawn cannot come back under another's feet.
        elements::insert(&mut tx, &new, now()).await.unwrap();
        assert!(elements::publish(&mut tx, owner, twin.id, now()).await.is_err());
    }
}

#[tokio::test]
async fn an_element_without_its_mandatory_metadata_is_refused_with_every_place() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let mut tx = db.control.tenant(owner).await.unwrap();
        let mut spec = element_spec("a//b");
        spec.metadata.source = " ".into();
        spec.schema.fields[1].name = "_temp".into();
        spec.facets.insert("Region".into(), String::new());
        let new = NewElement { id: ElementId::new(), tenant: owner, spec };
        let Err(CatalogError::Refused { what: "element", fields }) = elements::insert(&mut tx, &new, now()).await
        else {
            panic!("accepted on {}", db.name);
        };
        let places: Vec<_> = fields.iter().map(|field| field.pointer.as_str()).collect();
        let wanted = ["/name", "/metadata/source", "/schema/fields/1/name", "/facets/Region", "/facets/Region"];
        assert_eq!(places, wanted, "{}", db.name);

        let mut spec = element_spec("a");
        spec.nodes = vec![NodeId::new()];
        let new = NewElement { id: ElementId::new(), tenant: owner, spec };
        let error = elements::insert(&mut tx, &new, now()).await.unwrap_err();
        assert!(matches!(&error, CatalogError::Refused { fields, .. } if fields[0].pointer == "/nodes/0"), "{error}");
    }
}

#[tokio::test]
async fn elements_are_found_by_text_filter_node_and_facet() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let mut tx = db.control.platform().await.unwrap();
        tx.act_for(PLATFORM).await.unwrap();
        let node = |parent, name: &str| NewNode { owner: PLATFORM, parent, tree: "topic".into(), name: name.into() };
        let earth = nodes::insert(&mut tx, &node(None, "earth"), now()).await.unwrap();
        let weather = nodes::insert(&mut tx, &node(Some(earth.id), "weather"), now()).await.unwrap();
        let again = nodes::insert(&mut tx, &node(Some(earth.id), "Weather"), now()).await;
        assert!(matches!(again, Err(CatalogError::NameTaken(_))));
        assert_eq!((weather.path.as_str(), weather.depth), ("earth/weather", 2));
        tx.commit().await.unwrap();

        let mut spec = element_spec("weather/obs");
        spec.nodes = vec![weather.id];
        let observed = published(&db.control, owner, spec).await;
        let mut spec = element_spec("trade/100%_orders");
        spec.name = "trade/orders".into();
        spec.metadata.description = Some("100% of orders".into());
        spec.facets.insert("region".into(), "eu".into());
        spec.metadata.price_key = None;
        let orders = published(&db.control, owner, spec).await;

        let mut tx = db.control.read_tenant(owner).await.unwrap();
        let all = ElementFilter { viewer: Some(owner), limit: 10, ..ElementFilter::default() };
        let mut found = async |filter: &ElementFilter| {
            let found: Vec<VisibleElement> = elements::list(&mut tx, filter).await.unwrap();
            found.into_iter().map(|visible| visible.element.id).collect::<Vec<_>>()
        };
        assert_eq!(found(&all).await, [orders.id, observed.id], "{}", db.name);
        assert_eq!(found(&ElementFilter { limit: 1, ..all.clone() }).await, [orders.id]);
        assert_eq!(found(&ElementFilter { before: Some(orders.id), ..all.clone() }).await, [observed.id]);
        assert_eq!(found(&ElementFilter { text: Some("NOAA 100%".into()), ..all.clone() }).await, [orders.id]);
        assert_eq!(found(&ElementFilter { text: Some("secret_note climate".into()), ..all.clone() }).await.len(), 2);
        assert!(found(&ElementFilter { text: Some("1_0".into()), ..all.clone() }).await.is_empty());
        assert_eq!(found(&ElementFilter { node: Some(earth.id), ..all.clone() }).await, [observed.id]);
        assert_eq!(found(&ElementFilter { node: Some(weather.id), ..all.clone() }).await, [observed.id]);
        let facets = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        assert_eq!(found(&ElementFilter { facets, ..all.clone() }).await, [orders.id]);
        let filter = Some(parse("price_key = premium AND name:obs AND state = PUBLISHED").unwrap());
        assert_eq!(found(&ElementFilter { filter, ..all.clone() }).await, [observed.id]);
        let wrong = ElementFilter { filter: Some(parse("nothing = 1").unwrap()), ..all };
        assert!(matches!(elements::list(&mut tx, &wrong).await, Err(CatalogError::Filter(_))));
        drop(tx);

        let mut tx = db.control.platform().await.unwrap();
        tx.act_for(PLATFORM).await.unwrap();
        let error = nodes::remove(&mut tx, PLATFORM, weather.id).await.unwrap_err();
        assert!(matches!(error, CatalogError::InUse { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_owner_changes_what_an_element_is_about_and_a_stale_change_is_refused() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let element = published(&db.control, owner, element_spec("weather/obs")).await;
        let mut tx = db.control.tenant(owner).await.unwrap();
        let element = elements::get(&mut tx, owner, element.id).await.unwrap();
        let change = ElementChange {
            name: Some("weather/hourly".into()),
            facets: Some(BTreeMap::new()),
            ..ElementChange::default()
        };
        let changed =
            elements::update(&mut tx, owner, element.id, &change, Some(element.version), later(1)).await.unwrap();
        assert_eq!((changed.name.as_str(), changed.version), ("weather/hourly", element.version + 1));
        assert!(changed.facets.is_empty());
        assert_eq!(changed.metadata, element.metadata);
        let stale = elements::update(&mut tx, owner, element.id, &change, Some(element.version), later(2)).await;
        assert!(matches!(stale, Err(CatalogError::Stale("element"))), "{}", db.name);
    }
}

#[tokio::test]
async fn statistics_are_kept_and_a_row_scoped_grantee_is_not_told_the_volume() {
    for db in databases().await.unwrap() {
        let (owner, columns, rows) = (TenantId::new(), TenantId::new(), TenantId::new());
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        let limited = Policy { filter: None, columns: vec!["station".into()] };
        granted(&db.control, owner, element, Grantee::Tenant(columns), limited).await;
        let limited = Policy { filter: Some("station = 'EWR'".into()), columns: Vec::new() };
        granted(&db.control, owner, element, Grantee::Tenant(rows), limited).await;

        let mut tx = db.control.platform().await.unwrap();
        let due = elements::published_without_statistics_since(&mut tx, now(), 10).await.unwrap();
        assert!(due.contains(&(owner, element)), "{}", db.name);
        let column = |name: &str| ColumnStatistics { name: name.into(), nulls: 0, distinct: 3, min: None, max: None };
        let known = ElementStatistics {
            rows: 26_115,
            bytes: 1_000,
            fresh_at: Some(now()),
            columns: vec![column("station"), column("temp")],
        };
        tx.act_for(owner).await.unwrap();
        elements::put_statistics(&mut tx, owner, element, &ElementStatistics::default(), now()).await.unwrap();
        elements::put_statistics(&mut tx, owner, element, &known, later(1)).await.unwrap();
        let due = elements::published_without_statistics_since(&mut tx, now(), 10).await.unwrap();
        assert!(!due.contains(&(owner, element)), "{}", db.name);
        tx.commit().await.unwrap();

        for (viewer, wanted) in [(owner, Some(2)), (columns, Some(1)), (rows, None)] {
            let mut tx = db.control.read_tenant(viewer).await.unwrap();
            let found = elements::statistics(&mut tx, viewer, element).await.unwrap();
            assert_eq!(found.map(|(statistics, _)| statistics.columns.len()), wanted, "{}", db.name);
        }
        let mut tx = db.control.read_tenant(owner).await.unwrap();
        assert_eq!(elements::statistics(&mut tx, owner, element).await.unwrap(), Some((known, later(1))));
        let stranger = elements::statistics(&mut tx, TenantId::new(), element).await;
        assert!(matches!(stranger, Err(CatalogError::NotFound(_))));
    }
}
