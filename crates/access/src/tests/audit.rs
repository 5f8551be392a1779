use headgate_database::args;
use serde_json::json;

use super::{World, caller, worlds};
use crate::audit::{self, AuditReport, Entry, Outcome};
use crate::{PLATFORM, Scopes};

async fn record(world: &World, count: usize) -> headgate_types::TenantId {
    let tenant = world.tenant("a").await;
    let caller = caller(tenant, Scopes::tenant());
    let mut tx = world.db.control.tenant(tenant).await.unwrap();
    for number in 0..count {
        let entry = Entry::by(&caller, "channel.create", number).detail(json!({"z": 1.0, "a": [null, "é"]}));
        audit::record(&mut tx, entry, &world.clock()).await.unwrap();
    }
    tx.commit().await.unwrap();
    tenant
}

async fn report(world: &World, tenant: headgate_types::TenantId) -> AuditReport {
    audit::verify(&mut world.db.control.read_tenant(tenant).await.unwrap(), tenant).await.unwrap()
}

#[tokio::test]
async fn an_audit_chain_is_listed_and_verified() {
    for world in worlds().await {
        let tenant = record(&world, 3).await;
        assert_eq!(report(&world, tenant).await, AuditReport { intact: 3, broken_at: None });
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let rows = audit::list(&mut tx, tenant, None, 2).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(rows[0].detail, json!({"z": 1.0, "a": [null, "é"]}));
        let rest = audit::list(&mut tx, tenant, Some(2), 10).await.unwrap();
        assert_eq!((rest.len(), rest[0].resource.as_str()), (1, "0"));
        assert_eq!(report(&world, PLATFORM).await, AuditReport { intact: 0, broken_at: None });
        drop(tx);
        let mut tx = world.db.control.read_platform().await.unwrap();
        assert_eq!(audit::tenants(&mut tx).await.unwrap(), vec![tenant]);
    }
}

#[tokio::test]
async fn denials_are_recorded_though_their_request_is_rolled_back() {
    for world in worlds().await {
        let tenant = record(&world, 1).await;
        let caller = caller(tenant, Scopes::default());
        let entry = Entry::by(&caller, "order.create", "").outcome(Outcome::Denied);
        world.access.audit(entry.clone()).await.unwrap();
        world.access.audit(entry.under(PLATFORM)).await.unwrap();
        assert_eq!(report(&world, tenant).await, AuditReport { intact: 2, broken_at: None });
        assert_eq!(report(&world, PLATFORM).await, AuditReport { intact: 1, broken_at: None });
    }
}

#[tokio::test]
async fn rows_recorded_at_once_stand_in_one_chain() {
    for world in worlds().await {
        let tenant = record(&world, 1).await;
        let caller = caller(tenant, Scopes::tenant());
        let entries = (0..20).map(|number| world.access.audit(Entry::by(&caller, "x.y", number)));
        for result in futures::future::join_all(entries).await {
            result.unwrap();
        }
        assert_eq!(report(&world, tenant).await, AuditReport { intact: 21, broken_at: None });
    }
}

/// What somebody does who owns the database: neither role can.
async fn tamper(world: &World, sql: &str) {
    let mut tx = world.db.control.platform().await.unwrap();
    if world.db.name == "sqlite" {
        tx.execute_script("DROP TRIGGER audit_stays; DROP TRIGGER audit_is_kept".to_owned()).await.unwrap();
    } else {
        tx.execute_script("RESET ROLE; ALTER TABLE audit NO FORCE ROW LEVEL SECURITY".to_owned()).await.unwrap();
    }
    tx.execute_script(sql.to_owned()).await.unwrap();
    if world.db.name != "sqlite" {
        tx.execute_script("ALTER TABLE audit FORCE ROW LEVEL SECURITY; SET ROLE headgate_engine".to_owned())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_changed_removed_or_inserted_row_breaks_the_chain_where_it_stands() {
    for (sql, broken_at) in [
        ("UPDATE audit SET actor = 'somebody else' WHERE sequence = 2", 2),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("DELETE FROM audit WHERE sequence = 4", 4),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 4", 4),
    ] {
        for world in worlds().await {
            let tenant = record(&world, 4).await;
            tamper(&world, sql).await;
            assert_eq!(report(&world, tenant).await.broken_at, Some(broken_at), "{sql} on {}", world.db.name);
        }
    }
}

#[tokio::test]
async fn neither_role_can_change_or_remove_a_recorded_row() {
    for world in worlds().await {
        let tenant = record(&world, 1).await;
        for sql in ["UPDATE audit SET actor = 'x' WHERE TRUE", "DELETE FROM audit WHERE TRUE"] {
            for app in [true, false] {
                let mut tx = match app {
                    true => world.db.control.tenant(tenant).await.unwrap(),
                    false => world.db.control.platform().await.unwrap(),
                };
                tx.act_for(tenant).await.unwrap();
                // SQLite refuses, PostgreSQL finds no row that may be changed.
                assert!(!matches!(tx.execute(sql, args![]).await, Ok(1..)), "{sql}");
            }
        }
        assert_eq!(report(&world, tenant).await, AuditReport { intact: 1, broken_at: None });
    }
}
