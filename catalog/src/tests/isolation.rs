use headgate_database::args;
use headgate_database::testing::databases;
use headgate_types::selection::Policy;
use headgate_types::{FeedId, GrantId, TenantId};

use super::*;
use crate::CatalogError;
use crate::channels::{Lanes, SpecChange};
use crate::elements::ElementChange;
use crate::nodes::{self, NewNode};

#[tokio::test]
async fn a_foreign_tenant_finds_nothing_and_changes_nothing() {
    for db in databases().await.unwrap() {
        let (owner, thief) = (TenantId::new(), TenantId::new());
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        let channel = out_channel(&db.control, owner, vec![item(element)]).await;
        let id = channel.id;
        let grant = granted(&db.control, owner, element, Grantee::Tenant(TenantId::new()), Policy::default()).await;

        let mut tx = db.control.tenant(thief).await.unwrap();
        macro_rules! absent {
            ($call:expr) => {
                let result = $call.await;
                assert!(matches!(result, Err(CatalogError::NotFound(_))), "{} on {}", stringify!($call), db.name);
            };
        }
        absent!(elements::get(&mut tx, thief, element));
        absent!(elements::visible(&mut tx, thief, element));
        absent!(elements::visible_schema(&mut tx, thief, element));
        absent!(elements::statistics(&mut tx, thief, element));
        absent!(elements::publish(&mut tx, thief, element, now()));
        absent!(elements::retire(&mut tx, thief, element, now()));
        absent!(elements::update(&mut tx, thief, element, &ElementChange::default(), None, now()));
        absent!(grants::get(&mut tx, thief, grant.id));
        absent!(grants::revoke(&mut tx, thief, grant.id, now()));
        absent!(grants::revoke(&mut tx, thief, GrantId::new(), now()));
        absent!(channels::get(&mut tx, thief, id));
        absent!(channels::transition(
            &mut tx,
            thief,
            id,
            &[channel.state],
            headgate_types::channel::ChannelState::Deleting,
            None,
            now()
        ));
        absent!(channels::apply_spec(&mut tx, thief, id, &SpecChange::default(), None, now()));
        absent!(channels::set_binding(&mut tx, thief, id, None, now()));
        absent!(channels::set_observed(&mut tx, thief, id, 7));
        absent!(channels::set_lanes(&mut tx, thief, id, Lanes { live: true, backfill: true }, now()));
        absent!(feeds::set_model(&mut tx, thief, FeedId::new(), &Default::default(), now()));
        assert_eq!(channels::desired(&mut tx, thief, id).await.unwrap(), None);
        assert!(subscriptions::scopes(&mut tx, thief, id).await.unwrap().is_empty());
        assert!(channels::conditions(&mut tx, thief, id).await.unwrap().is_empty());
        elements::remove(&mut tx, thief, element).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = db.control.read_tenant(owner).await.unwrap();
        assert_eq!(channels::get(&mut tx, owner, id).await.unwrap(), channel, "{}", db.name);
        assert!(elements::get(&mut tx, owner, element).await.is_ok());
    }
}

#[tokio::test]
async fn nodes_of_a_tenant_are_seen_by_those_who_see_an_element_in_them() {
    for db in databases().await.unwrap() {
        let (owner, friend, stranger) = (TenantId::new(), TenantId::new(), TenantId::new());
        let mut tx = db.control.tenant(owner).await.unwrap();
        let new = |parent, name: &str| NewNode { owner, parent, tree: "geo".into(), name: name.into() };
        let root = nodes::insert(&mut tx, &new(None, "europe"), now()).await.unwrap();
        let leaf = nodes::insert(&mut tx, &new(Some(root.id), "germany"), now()).await.unwrap();
        nodes::insert(&mut tx, &new(Some(root.id), "france"), now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut spec = element_spec("weather/obs");
        spec.nodes = vec![leaf.id];
        let element = published(&db.control, owner, spec).await.id;
        granted(&db.control, owner, element, Grantee::Tenant(friend), Policy::default()).await;

        for (viewer, wanted) in [
            (owner, vec!["europe", "europe/france", "europe/germany"]),
            (friend, vec!["europe", "europe/germany"]),
            (stranger, vec![]),
        ] {
            let mut tx = db.control.read_tenant(viewer).await.unwrap();
            let seen = nodes::list(&mut tx, viewer, Some("geo"), None, 10).await.unwrap();
            let paths: Vec<_> = seen.iter().map(|node| node.path.as_str()).collect();
            assert_eq!(paths, wanted, "{}", db.name);
            if let Some(first) = seen.first() {
                let rest = nodes::list(&mut tx, viewer, Some("geo"), Some(first.id), 10).await.unwrap();
                assert_eq!(rest, seen[1..]);
            }
        }

        // Nobody places an element in another tenant's tree, granted or not.
        let mut tx = db.control.tenant(friend).await.unwrap();
        let mut spec = element_spec("mine");
        spec.nodes = vec![leaf.id];
        let new = NewElement { id: ElementId::new(), tenant: friend, spec };
        assert!(matches!(elements::insert(&mut tx, &new, now()).await, Err(CatalogError::Refused { .. })));
    }
}

/// On PostgreSQL a statement that forgets the tenant shows nothing of others all the same.
#[tokio::test]
async fn row_level_security_is_the_floor_under_every_table_of_the_catalog() {
    for db in databases().await.unwrap().into_iter().filter(|db| db.name == "postgres") {
        let (owner, other) = (TenantId::new(), TenantId::new());
        let mut tx = db.control.tenant(owner).await.unwrap();
        let root = NewNode { owner, parent: None, tree: "geo".into(), name: "europe".into() };
        let node = nodes::insert(&mut tx, &root, now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut spec = element_spec("weather/obs");
        spec.nodes = vec![node.id];
        let element = published(&db.control, owner, spec).await.id;
        granted(&db.control, owner, element, Grantee::Tenant(TenantId::new()), Policy::default()).await;
        in_channel(&db.control, owner, element).await;
        let channel = out_channel(&db.control, owner, vec![item(element)]).await.id;
        let mut tx = db.control.tenant(owner).await.unwrap();
        channels::set_lanes(&mut tx, owner, channel, Lanes { live: true, backfill: false }, now()).await.unwrap();
        let ready = crate::channels::NewCondition {
            condition: headgate_types::channel::ConditionType::Ready,
            status: headgate_types::channel::ConditionStatus::True,
            reason: "Ok",
            message: "",
        };
        channels::set_condition(&mut tx, owner, channel, ready, now()).await.unwrap();
        elements::put_statistics(&mut tx, owner, element, &Default::default(), now()).await.unwrap();
        tx.commit().await.unwrap();

        let tables = [
            "nodes",
            "elements",
            "schema_versions",
            "element_nodes",
            "element_facets",
            "element_statistics",
            "grants",
            "selection_changes",
            "channels",
            "feeds",
            "subscriptions",
            "lanes",
            "conditions",
        ];
        for table in tables {
            let count = format!("SELECT COUNT(*) FROM {table}");
            for (mut tx, sees) in [
                (db.control.tenant(owner).await.unwrap(), true),
                (db.control.tenant(other).await.unwrap(), false),
                (db.control.platform().await.unwrap(), true),
            ] {
                let rows: Vec<(i64,)> = tx.fetch_all_built(count.clone(), args![]).await.unwrap();
                assert_eq!(rows[0].0 > 0, sees, "{table}");
            }
            for mut tx in [db.control.tenant(other).await.unwrap(), db.control.platform().await.unwrap()] {
                let deleted = tx.execute_built(format!("DELETE FROM {table}"), args![]).await.unwrap();
                assert_eq!(deleted, 0, "{table}");
            }
        }
        // The policies cover every table there is.
        let mut tx = db.control.platform().await.unwrap();
        for table in tables {
            let (forced,): (bool,) = tx
                .fetch_one(
                    "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class
                     WHERE relname = $1 AND relnamespace = 'control'::regnamespace",
                    args![table],
                )
                .await
                .unwrap();
            assert!(forced, "{table}");
        }
        // Nobody writes a row of another tenant's.
        let mut tx = db.control.tenant(other).await.unwrap();
        let forged = tx
            .execute(
                "INSERT INTO nodes (tenant_id, id, tree, name, path, depth, created_at)
                 VALUES ($1, $2, 'x', 'x', 'x', 1, $3)",
                args![owner, headgate_types::NodeId::new(), now()],
            )
            .await;
        assert!(forged.is_err());
    }
}
