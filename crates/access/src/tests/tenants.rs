use chrono::TimeDelta;
use headgate_database::args;
use headgate_types::{Coded, TenantId};
use secrecy::ExposeSecret;

use super::worlds;
use crate::clients::{self, NewClient};
use crate::tenants::{self, PLATFORM, Quotas, TenantState};
use crate::{AccessError, Scope, Scopes};

#[tokio::test]
async fn tenants_are_created_listed_filtered_and_changed() {
    for world in worlds().await {
        let (a, b) = (world.tenant("  Alpha Farms ").await, world.tenant("Beta").await);
        let mut tx = world.db.control.platform().await.unwrap();
        let quotas = Quotas { max_channels: Some(3), ..Quotas::default() };
        tenants::set_quota(&mut tx, a, quotas.clone(), &world.clock()).await.unwrap();
        tenants::suspend(&mut tx, b, &world.clock()).await.unwrap();
        let read = tenants::get(&mut tx, a).await.unwrap();
        assert_eq!((read.name.as_str(), read.quotas, read.state), ("Alpha Farms", quotas, TenantState::Active));
        let filter = headgate_types::filter::parse("state = SUSPENDED").unwrap();
        let found = tenants::list(&mut tx, Some(&filter), None, 10).await.unwrap();
        assert_eq!(found.iter().map(|tenant| tenant.id).collect::<Vec<_>>(), vec![b]);
        let first = tenants::list(&mut tx, None, None, 1).await.unwrap();
        let rest = tenants::list(&mut tx, None, Some(first[0].id), 10).await.unwrap();
        assert_eq!((first[0].id, rest.len(), rest[0].id), (a, 1, b));
        let missing = tenants::suspend(&mut tx, TenantId::new(), &world.clock()).await.unwrap_err();
        assert_eq!(missing.code(), "not_found");
    }
}

/// What is asked of a tenant in each state, and where it is then.
#[tokio::test]
async fn the_full_table_of_tenant_states_is_as_reviewed() {
    const REVIEWED: &str = "\
ACTIVE suspend SUSPENDED
ACTIVE resume ACTIVE
ACTIVE offboard OFFBOARDED
SUSPENDED suspend SUSPENDED
SUSPENDED resume ACTIVE
SUSPENDED offboard OFFBOARDED
OFFBOARDED suspend refused: tenant_offboarded
OFFBOARDED resume refused: tenant_offboarded
OFFBOARDED offboard OFFBOARDED
";
    for world in worlds().await {
        let mut table = String::new();
        for from in [TenantState::Active, TenantState::Suspended, TenantState::Offboarded] {
            for event in ["suspend", "resume", "offboard"] {
                let tenant = world.tenant("a").await;
                let (mut tx, clock) = (world.db.control.platform().await.unwrap(), world.clock());
                let began = match from {
                    TenantState::Active => tenants::get(&mut tx, tenant).await,
                    TenantState::Suspended => tenants::suspend(&mut tx, tenant, &clock).await,
                    TenantState::Offboarded => tenants::offboard(&mut tx, tenant, &clock).await,
                };
                assert_eq!(began.unwrap().state, from);
                let ended = match event {
                    "suspend" => tenants::suspend(&mut tx, tenant, &clock).await,
                    "resume" => tenants::resume(&mut tx, tenant, &clock).await,
                    _ => tenants::offboard(&mut tx, tenant, &clock).await,
                };
                let ended = match ended {
                    Ok(tenant) => tenant.state.as_str().to_owned(),
                    Err(error) => {
                        assert_eq!(tenants::get(&mut tx, tenant).await.unwrap().state, from);
                        format!("refused: {}", error.code())
                    }
                };
                table.push_str(&format!("{} {event} {ended}\n", from.as_str()));
            }
        }
        assert_eq!(table, REVIEWED);
    }
}

#[tokio::test]
async fn a_name_that_does_not_serve_is_refused_with_its_place() {
    for world in worlds().await {
        let mut tx = world.db.control.platform().await.unwrap();
        for name in ["", "   ", "a\nb", &"x".repeat(101)] {
            let error = tenants::create(&mut tx, name, Quotas::default(), &world.clock()).await.unwrap_err();
            assert_eq!(error.fields()[0].pointer, "/name", "{name:?}");
        }
    }
}

#[tokio::test]
async fn an_offboarded_tenant_loses_its_clients_and_stays_gone() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let token = world.token(&client, &secret).await;
        let mut tx = world.db.control.platform().await.unwrap();
        tenants::offboard(&mut tx, tenant, &world.clock()).await.unwrap();
        tenants::offboard(&mut tx, tenant, &world.clock()).await.unwrap();
        let error = tenants::resume(&mut tx, tenant, &world.clock()).await.unwrap_err();
        assert!(matches!(error, AccessError::TenantOffboarded));
        let new = NewClient { tenant: Some(tenant), name: "x".to_owned(), scopes: Scopes::tenant() };
        assert!(matches!(clients::create(&mut tx, new, &world.clock()).await, Err(AccessError::TenantOffboarded)));
        tx.commit().await.unwrap();
        world.access.forget();
        assert!(matches!(world.access.verify(&token).await, Err(AccessError::InvalidToken(_))));
    }
}

#[tokio::test]
async fn a_client_is_created_with_a_secret_that_is_kept_nowhere() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        assert!(!format!("{client:?} {secret:?}").contains(secret.expose_secret()));
        let mut tx = world.db.control.read_platform().await.unwrap();
        let (hash,): (Vec<u8>,) =
            tx.fetch_one("SELECT secret_hash FROM clients WHERE id = $1", args![client.id]).await.unwrap();
        assert_eq!(hash.len(), 32);
        assert_eq!(clients::list(&mut tx, Some(tenant)).await.unwrap(), vec![client]);
    }
}

#[tokio::test]
async fn a_tenants_client_cannot_have_the_admin_scope_or_none() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        for scopes in [Scopes::admin(), Scopes::default(), [Scope::Admin].into_iter().collect()] {
            let new = NewClient { tenant: Some(tenant), name: "x".to_owned(), scopes };
            let error = clients::create(&mut tx, new, &world.clock()).await.unwrap_err();
            assert_eq!(error.fields()[0].pointer, "/scopes");
        }
    }
}

#[tokio::test]
async fn another_tenants_client_is_not_found() {
    for world in worlds().await {
        let (a, b) = (world.tenant("a").await, world.tenant("b").await);
        let (client, _) = world.client(Some(a), Scopes::tenant()).await;
        let mut tx = world.db.control.tenant(b).await.unwrap();
        assert!(matches!(clients::get(&mut tx, Some(b), client.id).await, Err(AccessError::NotFound(_))));
        let revoked = clients::revoke(&mut tx, Some(b), client.id, &world.clock()).await;
        assert!(matches!(revoked, Err(AccessError::NotFound(_))));
        let rotated = clients::rotate_secret(&mut tx, Some(b), client.id, TimeDelta::zero(), &world.clock()).await;
        assert!(matches!(rotated, Err(AccessError::NotFound(_))));
    }
}

/// The floor under every statement: what one that forgot its tenant would see.
#[tokio::test]
async fn row_level_security_hides_other_tenants_rows_from_the_app_role() {
    for world in worlds().await.into_iter().filter(|world| world.db.name == "postgres") {
        let (a, b) = (world.tenant("a").await, world.tenant("b").await);
        world.client(Some(a), Scopes::tenant()).await;
        world.client(None, Scopes::admin()).await;
        let mut tx = world.db.control.tenant(b).await.unwrap();
        for table in ["clients", "credentials", "claims", "audit", "audit_heads", "signing_keys", "login_failures"] {
            let rows: Vec<(i64,)> = tx.fetch_all_built(format!("SELECT COUNT(*) FROM {table}"), args![]).await.unwrap();
            assert_eq!(rows[0].0, 0, "{table}");
        }
        let seen: Vec<(uuid::Uuid,)> = tx.fetch_all("SELECT id FROM tenants", args![]).await.unwrap();
        assert_eq!(seen, vec![(b.uuid(),)]);
        let stolen = tx.execute("UPDATE tenants SET name = 'mine' WHERE id = $1", args![a]).await.unwrap();
        assert_eq!(stolen, 0);
        // The platform lists across tenants, and changes only whom it acts for.
        let mut tx = world.db.control.platform().await.unwrap();
        assert_eq!(tenants::list(&mut tx, None, None, 10).await.unwrap().len(), 2);
        tx.act_for(b).await.unwrap();
        assert_eq!(tx.execute("UPDATE tenants SET name = 'x' WHERE id = $1", args![a]).await.unwrap(), 0);
        tx.act_for(PLATFORM).await.unwrap();
        assert_eq!(tx.execute("UPDATE clients SET name = 'x'", args![]).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_first_administrator_is_made_exactly_once() {
    for world in worlds().await {
        let make = || async {
            let mut tx = world.db.control.platform().await.unwrap();
            let made = world.access.bootstrap_admin(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
            made
        };
        let (first, second, third) = tokio::join!(make(), make(), make());
        let made: Vec<_> = [first, second, third].into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        let (id, secret) = &made[0];
        let token = world.access.issue_token(&id.to_string(), secret, None, None).await.unwrap();
        let principal = world.access.verify(&token.access_token).await.unwrap();
        assert!(principal.clone().tenant_caller("r").is_err());
        assert!(principal.admin_caller("r").is_ok());
        let mut tx = world.db.control.platform().await.unwrap();
        tx.act_for(PLATFORM).await.unwrap();
        clients::revoke(&mut tx, None, *id, &world.clock()).await.unwrap();
        assert!(world.access.bootstrap_admin(&mut tx).await.unwrap().is_none());
    }
}
