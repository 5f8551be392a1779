use headgate_database::args;
use headgate_database::testing::databases;

use super::*;
use crate::rates::{current_rate_card, ensure_standard, put_rate_card, standard};
use crate::usage::{UsageFilter, UsageQuery, list_records, list_usage, ranges, totals};

#[tokio::test]
async fn a_foreign_tenant_reads_no_usage() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 10).await;
        let thief = TenantId::new();
        let mut tx = db.data.read_tenant(thief).await.unwrap();
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        let filter = UsageFilter { channel: Some(flow.channel), ..UsageFilter::default() };
        let query = UsageQuery {
            tenant: Some(thief),
            from,
            to,
            filter: filter.clone(),
            group_by: Vec::new(),
            after: None,
            limit: 10,
        };
        assert!(list_usage(&mut tx, &query).await.unwrap().is_empty(), "{}", db.name);
        assert!(list_records(&mut tx, thief, from, to, &filter, None, 10).await.unwrap().is_empty());
        assert!(totals(&mut tx, thief, from, to, None).await.unwrap().is_empty());
        let tiles = ranges(&mut tx, thief, flow.channel, flow.element, Lane::Live, Meter::DeliverRecords).await;
        assert!(tiles.unwrap().is_empty());
    }
}

/// On PostgreSQL a statement that forgets the tenant shows nothing of others, and nobody changes or
/// deletes a fact, its own tenant included.
#[tokio::test]
async fn row_level_security_is_the_floor_under_usage_and_facts_stand() {
    for db in databases().await.unwrap().into_iter().filter(|db| db.name == "postgres") {
        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 10).await;
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        let conflict = flow.usage(Meter::DeliverRecords, 0, 10, 11);
        assert_eq!(record(&mut tx, &conflict).await.unwrap(), Recorded::Conflict);
        tx.commit().await.unwrap();
        for table in ["usage_records", "usage_rollups", "usage_conflicts"] {
            for (mut tx, sees) in [
                (db.data.tenant(flow.tenant).await.unwrap(), true),
                (db.data.tenant(TenantId::new()).await.unwrap(), false),
                (db.data.platform().await.unwrap(), true),
            ] {
                let rows: Vec<(i64,)> =
                    tx.fetch_all_built(format!("SELECT COUNT(*) FROM {table}"), args![]).await.unwrap();
                assert_eq!(rows[0].0 > 0, sees, "{table}");
                let deleted = tx.execute_built(format!("DELETE FROM {table}"), args![]).await.unwrap();
                assert_eq!(deleted, 0, "{table}");
            }
        }
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        assert_eq!(tx.execute("UPDATE usage_records SET quantity = 0", args![]).await.unwrap(), 0);
        let mut tx = db.data.tenant(TenantId::new()).await.unwrap();
        assert!(record(&mut tx, &flow.usage(Meter::DeliverRecords, 10, 20, 1)).await.is_err());
    }
}

#[tokio::test]
async fn the_rate_card_is_read_by_tenants_and_written_by_the_platform_alone() {
    for db in databases().await.unwrap() {
        let now = at("2026-01-01T00:00:00Z");
        let mut tx = db.data.platform().await.unwrap();
        ensure_standard(&mut tx, now).await.unwrap();
        ensure_standard(&mut tx, now).await.unwrap();
        let mut dearer = standard().unwrap();
        dearer.currency = "USD".into();
        put_rate_card(&mut tx, &dearer, now + hours(1), now).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = db.data.read_tenant(TenantId::new()).await.unwrap();
        let first = current_rate_card(&mut tx, now).await.unwrap();
        assert_eq!((first.revision, first.card), (1, standard().unwrap()), "{}", db.name);
        let second = current_rate_card(&mut tx, now + hours(1)).await.unwrap();
        assert_eq!((second.revision, second.card.currency.as_str()), (2, "USD"));
        let listed = crate::list_rate_cards(&mut tx, None, 10).await.unwrap();
        assert_eq!(listed.iter().map(|card| card.revision).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(crate::rate_card(&mut tx, second.id).await.unwrap(), second);
        drop(tx);
        if db.name == "postgres" {
            let mut tx = db.data.tenant(TenantId::new()).await.unwrap();
            assert!(put_rate_card(&mut tx, &dearer, now, now).await.is_err());
        }
    }
}
