//! What tables make of a token that is right.

use chrono::TimeDelta;
use headgate_types::{Coded, ErrorKind};

use super::*;
use crate::identities::{self, AppClient};
use crate::{Scope, tenants};

fn some(scopes: &[Scope]) -> Scopes {
    scopes.iter().copied().collect()
}

#[tokio::test]
async fn people_have_the_scopes_of_all_their_groups_and_machines_those_they_ask_for() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        let (reads, orders) = (some(&[Scope::DataRead, Scope::CatalogRead]), some(&[Scope::OrdersWrite]));
        for issuer in [OIDC, COGNITO] {
            let prefix = if issuer == OIDC { "" } else { "headgate/" };
            for (name, scopes) in [("readers", &reads), ("buyers", &orders)] {
                rig.try_bind(Some(tenant), issuer, IdentityKind::Group, name, scopes.clone()).await.unwrap();
            }
            let scopes = async |groups: &[&str]| {
                rig.verify(&rig.person(issuer, "ann", groups)).await.map(|principal| principal.scopes)
            };
            assert_eq!(scopes(&["readers", "strangers"]).await.unwrap(), reads);
            assert_eq!(
                scopes(&["readers", "buyers", "readers"]).await.unwrap().to_string(),
                "catalog.read orders.write data.read"
            );
            assert!(scopes(&["strangers"]).await.is_err() && scopes(&[]).await.is_err());
            // A token that names scopes of ours gives no more than those.
            let (header, mut claims) = rig.person(issuer, "ann", &["readers", "buyers"]);
            claims["scope"] = json!(format!("openid {prefix}data.read {prefix}admin {prefix}data.write"));
            let narrow = rig.verify(&(header, claims)).await.unwrap();
            assert_eq!(narrow.scopes, some(&[Scope::DataRead]));

            rig.try_bind(Some(tenant), issuer, IdentityKind::Client, "robot", reads.clone()).await.unwrap();
            let machine = async |scope: &str| rig.verify(&rig.machine(issuer, "robot", scope)).await.unwrap();
            let named = format!("{prefix}data.read {prefix}data.write other/data.read");
            assert_eq!(machine(&named).await.scopes, some(&[Scope::DataRead]));
            assert!(machine("openid").await.scopes.is_empty(), "a machine that asks for nothing has nothing");
        }
        // Without its resource server a word is another's.
        let bare = rig.verify(&rig.machine(COGNITO, "robot", "data.read other/data.read")).await.unwrap();
        assert!(bare.scopes.is_empty());
    }
}

#[tokio::test]
async fn a_token_leads_to_one_tenant_or_to_none() {
    for rig in Rig::all().await {
        let (a, b) = (rig.world.tenant("a").await, rig.world.tenant("b").await);
        rig.bind(a, OIDC, IdentityKind::Group, "farm").await;
        rig.bind(b, OIDC, IdentityKind::Group, "barn").await;
        let tenant = async |sub: &str, groups: &[&str]| {
            rig.verify(&rig.person(OIDC, sub, groups)).await.map(|principal| principal.tenant)
        };
        assert_eq!(tenant("ann", &["farm"]).await.unwrap(), Some(a));
        assert_eq!(tenant("ann", &["barn"]).await.unwrap(), Some(b));
        let error = tenant("ann", &["farm", "barn"]).await.unwrap_err();
        assert!(error.to_string().contains("more than one tenant"), "{error}");
        // The same words of another issuer are others'.
        assert!(rig.verify(&rig.person(COGNITO, "ann", &["farm"])).await.is_err());
        // Whoever is bound by name is there for that tenant alone.
        let bound = rig.bind(b, OIDC, IdentityKind::Subject, "ann").await;
        assert_eq!(tenant("ann", &["farm", "barn"]).await.unwrap(), Some(b));
        assert_eq!(tenant("ben", &["farm"]).await.unwrap(), Some(a));
        // A group, a subject and a client of one name are three.
        assert!(tenant("farm", &["ann"]).await.is_err());

        let mut tx = rig.world.db.control.tenant(b).await.unwrap();
        assert!(identities::unbind(&mut tx, Some(a), bound.id).await.is_err(), "it is not that tenant's");
        identities::unbind(&mut tx, Some(b), bound.id).await.unwrap();
        tx.commit().await.unwrap();
        rig.access.forget();
        assert_eq!(tenant("ann", &["farm"]).await.unwrap(), Some(a));
    }
}

#[tokio::test]
async fn the_same_name_is_bound_once_and_to_known_issuers_only() {
    for rig in Rig::all().await {
        let (a, b) = (rig.world.tenant("a").await, rig.world.tenant("b").await);
        rig.bind(a, OIDC, IdentityKind::Group, "farm").await;
        for tenant in [Some(a), Some(b), None] {
            let again = rig.try_bind(tenant, OIDC, IdentityKind::Group, "farm", Scopes::tenant()).await;
            assert_eq!(again.unwrap_err().code(), "already_exists");
        }
        let wrong = async |issuer: &str, name: &str, scopes: Scopes| {
            let error = rig.try_bind(Some(a), issuer, IdentityKind::Group, name, scopes).await.unwrap_err();
            error.fields().into_iter().map(|field| field.pointer).collect::<Vec<_>>()
        };
        for issuer in [format!("{OIDC}/"), OIDC[..OIDC.len() - 1].to_owned(), "https://issuer.example/".to_owned()] {
            assert_eq!(wrong(&issuer, "x", Scopes::tenant()).await, ["/issuer"], "{issuer}");
        }
        for name in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(wrong(OIDC, name, Scopes::tenant()).await, ["/name"], "{name}");
        }
        assert_eq!(wrong(OIDC, "x", Scopes::default()).await, ["/scopes"]);
        assert_eq!(wrong(OIDC, "x", Scopes::admin()).await, ["/scopes"]);
    }
}

#[tokio::test]
async fn a_group_can_run_the_platform_and_none_of_a_tenants_can() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        rig.try_bind(None, OIDC, IdentityKind::Group, "operators", Scopes::admin()).await.unwrap();
        rig.bind(tenant, OIDC, IdentityKind::Group, "farm").await;
        let operator = rig.verify(&rig.person(OIDC, "ann", &["operators"])).await.unwrap();
        assert!(operator.tenant.is_none() && operator.clone().tenant_caller("r").is_err());
        assert_eq!(operator.actor(), format!("ann of {OIDC}"));
        assert!(operator.admin_caller("r").is_ok());
        let farmer = rig.verify(&rig.person(OIDC, "ben", &["farm"])).await.unwrap();
        assert!(farmer.admin_caller("r").is_err());
        let both = rig.verify(&rig.person(OIDC, "cem", &["farm", "operators"])).await;
        assert!(both.is_err(), "the platform and a tenant are two");
    }
}

#[tokio::test]
async fn somebody_of_another_issuer_is_the_same_from_token_to_token_and_nobody_else() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        for issuer in [OIDC, COGNITO] {
            rig.bind(tenant, issuer, IdentityKind::Group, "farm").await;
            rig.bind(tenant, issuer, IdentityKind::Group, "barn").await;
            rig.bind(tenant, issuer, IdentityKind::Client, "ann").await;
        }
        let person = async |issuer: &str, sub: &str, groups: &[&str]| {
            rig.verify(&rig.person(issuer, sub, groups)).await.unwrap().client
        };
        let ann = person(OIDC, "ann", &["farm"]).await;
        assert_eq!(ann, person(OIDC, "ann", &["barn", "farm"]).await, "limits and retries follow the person");
        let others = [
            person(OIDC, "ben", &["farm"]).await,
            person(COGNITO, "ann", &["farm"]).await,
            rig.verify(&rig.machine(OIDC, "ann", "data.read")).await.unwrap().client,
        ];
        assert!(others.iter().all(|other| *other != ann), "{others:?}");
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_an_ended_one_forgotten() {
    for rig in Rig::all().await {
        let (a, b) = (rig.world.tenant("a").await, rig.world.tenant("b").await);
        rig.bind(a, OIDC, IdentityKind::Group, "farm").await;
        let token = rig.person(OIDC, "ann", &["farm"]);
        let change = async |suspend: bool| {
            let mut tx = rig.world.db.control.platform().await.unwrap();
            match suspend {
                true => tenants::suspend(&mut tx, a, &rig.world.clock()).await.unwrap(),
                false => tenants::offboard(&mut tx, a, &rig.world.clock()).await.unwrap(),
            };
            tx.commit().await.unwrap();
        };
        assert!(rig.verify(&token).await.is_ok());
        change(true).await;
        // Another process, which nobody told, sees it by itself.
        rig.world.clock.advance(TimeDelta::seconds(5));
        assert_eq!(rig.verify(&token).await.unwrap_err().code(), "tenant_suspended");
        change(false).await;
        rig.access.forget();
        assert_eq!(rig.verify(&token).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
        let ended = rig.try_bind(Some(a), OIDC, IdentityKind::Group, "barn", Scopes::tenant()).await;
        assert!(matches!(ended, Err(AccessError::TenantOffboarded)));
        // Its group is free for another.
        rig.bind(b, OIDC, IdentityKind::Group, "farm").await;
        assert_eq!(rig.verify(&token).await.unwrap().tenant, Some(b));
    }
}

#[tokio::test]
async fn an_app_client_is_the_client_it_stands_for_until_that_is_revoked_or_it_is_replaced() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        let (client, secret) = rig.world.client(Some(tenant), some(&[Scope::DataRead, Scope::UsageRead])).await;
        let attach = async |client_id: &str, grace: TimeDelta| {
            let mut tx = rig.world.db.control.tenant(tenant).await.unwrap();
            let app = AppClient {
                id: headgate_types::IdentityId::new(),
                tenant,
                client: client.id,
                issuer: COGNITO.to_owned(),
                client_id: client_id.to_owned(),
            };
            let now = rig.world.clock.now();
            identities::attach(&mut tx, &app, now + grace, now).await.unwrap();
            tx.commit().await.unwrap();
            rig.access.forget();
        };
        let good = async |client_id: &str| {
            let scope = "headgate/data.read headgate/data.write";
            rig.verify(&rig.machine(COGNITO, client_id, scope)).await
        };
        attach("first", TimeDelta::zero()).await;
        let principal = good("first").await.unwrap();
        assert_eq!((principal.client, principal.tenant), (client.id, Some(tenant)));
        assert_eq!((principal.scopes.to_string(), principal.actor()), ("data.read".to_owned(), client.id.to_string()));
        let mut tx = rig.world.db.control.read_tenant(tenant).await.unwrap();
        let login = crate::clients::get(&mut tx, Some(tenant), client.id).await.unwrap().login.unwrap();
        assert_eq!((login.issuer.as_str(), login.client_id.as_str()), (COGNITO, "first"));
        assert!(identities::list(&mut tx, Some(tenant)).await.unwrap().is_empty(), "it is with its client");
        drop(tx);

        attach("second", TimeDelta::hours(1)).await;
        assert!(good("first").await.is_ok() && good("second").await.is_ok());
        attach("third", TimeDelta::hours(1)).await;
        assert!(good("first").await.is_err(), "two are good at once, never three");
        assert!(good("second").await.is_ok() && good("third").await.is_ok());
        rig.world.clock.advance(TimeDelta::hours(1));
        assert!(good("second").await.is_err() && good("third").await.is_ok());

        // It was made with a secret of its own; both ways end together.
        assert!(rig.access.issue_token(&client.id.to_string(), &secret, None, None).await.is_ok());
        let mut tx = rig.world.db.control.tenant(tenant).await.unwrap();
        crate::clients::revoke(&mut tx, Some(tenant), client.id, &rig.world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        rig.access.forget();
        assert_eq!(good("third").await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
}
