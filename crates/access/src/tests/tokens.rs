//! Logging in, and every way to forge what comes of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ed25519_dalek::{Signer, SigningKey};
use headgate_database::args;
use headgate_types::{ClientId, Coded, ErrorKind};
use hmac::{Hmac, Mac};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{World, worlds};
use crate::clients;
use crate::tenants;
use crate::{Access, AccessError, Scope, Scopes};

/// What the issuer itself would sign with, and the name of the key.
async fn stolen_key(world: &World) -> (SigningKey, String) {
    let mut tx = world.db.control.read_platform().await.unwrap();
    let (kid, sealed): (String, Vec<u8>) =
        tx.fetch_one("SELECT kid, sealed FROM signing_keys WHERE published_until IS NULL", args![]).await.unwrap();
    let seed = world.access.envelope().open(format!("signing-key|{kid}").as_bytes(), &sealed).unwrap();
    (SigningKey::from_bytes(&seed.as_slice().try_into().unwrap()), kid)
}

pub(super) fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    signed_text(key, &part(header), claims)
}

fn signed_text(key: &SigningKey, header: &str, claims: &Value) -> String {
    let message = format!("{header}.{}", part(claims));
    let signature = key.sign(message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn claims_of(token: &str) -> Value {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

pub(super) fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut changed = base.clone();
    changed[name] = value;
    changed
}

pub(super) fn without(base: &Value, name: &str) -> Value {
    let mut changed = base.clone();
    changed.as_object_mut().unwrap().shift_remove(name);
    changed
}

async fn refused(access: &Access, token: &str, what: &str) {
    let error = access.verify(token).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{what}: {error}");
    assert!(!format!("{error} {error:?}").contains(token) || token.is_empty(), "{what}");
}

#[tokio::test]
async fn a_client_logs_in_and_is_recognised_with_the_tenant_of_our_tables() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let id = client.id.to_string();
        let response = world.access.issue_token(&id, &secret, Some("data.read usage.read"), None).await.unwrap();
        assert_eq!((response.token_type.as_str(), response.expires_in), ("Bearer", 3_600));
        assert_eq!(response.scope, "usage.read data.read");
        assert!(!format!("{response:?}").contains(&response.access_token));
        let principal = world.access.verify(&response.access_token).await.unwrap();
        assert_eq!((principal.client, principal.tenant), (client.id, Some(tenant)));
        assert!(principal.require(Scope::DataRead).is_ok());
        assert!(matches!(principal.require(Scope::OrdersWrite), Err(AccessError::InsufficientScope(_))));
        assert!(matches!(principal.clone().admin_caller("r"), Err(AccessError::AdminRequired)));
        assert_eq!(principal.tenant_caller("r").unwrap().tenant, tenant);
        let claims = claims_of(&response.access_token);
        for name in ["iss", "aud", "sub", "client_id", "iat", "nbf", "exp", "jti", "scope"] {
            assert!(!claims[name].is_null(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_scope_that_the_client_does_not_have_is_refused() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), [Scope::DataRead].into_iter().collect()).await;
        for scope in ["data.write", "admin", "nothing", "data.read data.write"] {
            let error = world.access.issue_token(&client.id.to_string(), &secret, Some(scope), None).await.unwrap_err();
            assert_eq!((error.code(), error.oauth_error()), ("invalid_scope", "invalid_scope"), "{scope}");
        }
    }
}

#[tokio::test]
async fn a_forged_token_is_refused_whatever_is_forged() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let token = world.token(&client, &secret).await;
        let (key, kid) = stolen_key(&world).await;
        let access = &world.access;
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid});
        let claims = claims_of(&token);
        assert!(access.verify(&signed(&key, &header, &claims)).await.is_ok(), "the forger's tools work");
        let application = with(&header, "typ", json!("application/AT+JWT"));
        assert!(access.verify(&signed(&key, &application, &claims)).await.is_ok());

        // Headers. The signature is right in each case.
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!("id+jwt")),
            ("typ", json!(null)),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("alg", json!("eddsa")),
            ("kid", json!("unknown")),
            ("kid", json!("../../etc/passwd")),
            ("kid", json!(7)),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("jku", json!("https://evil.example/jwks.json")),
            ("x5u", json!("https://evil.example/cert")),
            ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key())})),
            ("x5c", json!([])),
            ("cty", json!("JWT")),
            ("zip", json!("DEF")),
        ] {
            let forged = with(&header, name, value.clone());
            refused(access, &signed(&key, &forged, &claims), &format!("header {name} = {value}")).await;
        }
        for name in ["typ", "alg", "kid"] {
            refused(access, &signed(&key, &without(&header, name), &claims), &format!("header without {name}")).await;
        }
        let twice = format!(r#"{{"typ":"at+jwt","alg":"none","alg":"EdDSA","kid":"{kid}"}}"#);
        refused(access, &signed_text(&key, &BASE64_URL_SAFE_NO_PAD.encode(twice), &claims), "alg twice").await;

        // Claims.
        let now = claims["iat"].as_i64().unwrap();
        for (name, value) in [
            ("iss", json!("https://evil.example/")),
            ("iss", json!("https://issuer.example")),
            ("iss", json!(null)),
            ("iss", json!(["https://issuer.example/"])),
            ("aud", json!("other")),
            ("aud", json!(["other", "x"])),
            ("aud", json!([])),
            ("aud", json!({})),
            ("exp", json!(now)),
            ("exp", json!(now - 1)),
            ("exp", json!(i64::MAX)),
            ("exp", json!("never")),
            ("exp", json!(1e300)),
            ("exp", json!(now + 7_200)),
            ("nbf", json!(now + 3_600)),
            ("iat", json!(now + 3_600)),
            ("iat", json!(null)),
            ("client_id", json!(ClientId::new())),
            ("client_id", json!("x")),
            ("sub", json!("somebody else")),
            ("sub", json!("")),
            ("jti", json!("")),
            ("scope", json!(["admin"])),
        ] {
            let forged = with(&claims, name, value.clone());
            refused(access, &signed(&key, &header, &forged), &format!("claim {name} = {value}")).await;
        }
        for name in ["iss", "aud", "exp", "nbf", "iat", "sub", "client_id", "jti", "scope"] {
            refused(access, &signed(&key, &header, &without(&claims, name)), &format!("no claim {name}")).await;
        }

        // Signatures.
        let message = token.rsplit_once('.').unwrap().0;
        let none = format!("{}.{}.", part(&with(&header, "alg", json!("none"))), part(&claims));
        refused(access, &none, "no signature").await;
        refused(access, &format!("{message}."), "an empty signature").await;
        let other = SigningKey::from_bytes(&[7; 32]);
        refused(access, &signed(&other, &header, &claims), "another key").await;
        let confused = with(&header, "alg", json!("HS256"));
        let text = format!("{}.{}", part(&confused), part(&claims));
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key.verifying_key().as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let tag = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        refused(access, &format!("{text}.{tag}"), "HMAC under the public key").await;
        let mut escalated = claims.clone();
        escalated["scope"] = json!("admin");
        let parts: Vec<_> = token.split('.').collect();
        refused(access, &format!("{}.{}.{}", parts[0], part(&escalated), parts[2]), "changed claims").await;
        for garbage in ["", ".", "..", "...", "a.b.c", "é.é.é", &"x".repeat(10_000), &format!("{token}.x")] {
            refused(access, garbage, "garbage").await;
        }
    }
}

/// The key and signature are right, so that whatever is in the token is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn fuzzed_tokens_are_refused_unless_they_say_what_a_token_says() {
    let world = worlds().await.remove(0);
    let tenant = world.tenant("a").await;
    let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
    let token = world.token(&client, &secret).await;
    let (key, kid) = stolen_key(&world).await;
    let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}).to_string();
    let claims = claims_of(&token).to_string();
    let runtime = tokio::runtime::Handle::current();
    let verify = |token: &str| {
        tokio::task::block_in_place(|| runtime.block_on(world.access.verify(token)))
            .map(|principal| assert_eq!((principal.client, principal.tenant), (client.id, Some(tenant))))
            .map_err(|error| {
                assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{token}: {error}");
                error.to_string()
            })
    };
    crate::fuzz::text("crates/access/src/issuer/verify.rs verify", &[&token], verify);
    let signed = |header: &str, claims: &str| {
        let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(message.as_bytes());
        verify(&format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes())))
    };
    crate::fuzz::text("crates/access/src/issuer/verify.rs header", &[&header], |text| signed(text, &claims));
    crate::fuzz::text("crates/access/src/issuer/verify.rs claims", &[&claims], |text| signed(&header, text));
}

#[tokio::test]
async fn tenant_and_scopes_in_a_token_grant_nothing_by_themselves() {
    for world in worlds().await {
        let (a, b) = (world.tenant("a").await, world.tenant("b").await);
        let (client, secret) = world.client(Some(a), [Scope::DataRead].into_iter().collect()).await;
        let (key, kid) = stolen_key(&world).await;
        let mut claims = claims_of(&world.token(&client, &secret).await);
        claims["tenant"] = json!(b);
        claims["scope"] = json!("admin data.read orders.write");
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid});
        let principal = world.access.verify(&signed(&key, &header, &claims)).await.unwrap();
        assert_eq!(principal.tenant, Some(a));
        assert_eq!(principal.scopes.to_string(), "data.read");
    }
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_client_and_its_tenants_good_standing() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let token = world.token(&client, &secret).await;
        world.clock.advance(TimeDelta::seconds(3_599));
        assert!(world.access.verify(&token).await.is_ok());
        world.clock.advance(TimeDelta::seconds(1));
        assert!(matches!(world.access.verify(&token).await, Err(AccessError::TokenExpired)));

        let token = world.token(&client, &secret).await;
        let mut tx = world.db.control.platform().await.unwrap();
        tenants::suspend(&mut tx, tenant, &world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        world.access.forget();
        let error = world.access.verify(&token).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, "tenant_suspended"));
        let login = world.access.issue_token(&client.id.to_string(), &secret, None, None).await;
        assert!(matches!(login, Err(AccessError::TenantSuspended)));

        let mut tx = world.db.control.platform().await.unwrap();
        tenants::resume(&mut tx, tenant, &world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        // Another process, which nobody told, sees it by itself.
        world.clock.advance(TimeDelta::seconds(5));
        assert!(world.access.verify(&token).await.is_ok());

        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        clients::revoke(&mut tx, Some(tenant), client.id, &world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        world.access.forget();
        refused(&world.access, &token, "a revoked client").await;
        let login = world.access.issue_token(&client.id.to_string(), &secret, None, None).await;
        assert!(matches!(login, Err(AccessError::InvalidClient)));
    }
}

#[tokio::test]
async fn a_rotated_client_secret_is_good_until_its_grace_is_over() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, old) = world.client(Some(tenant), Scopes::tenant()).await;
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let (_, new) = clients::rotate_secret(&mut tx, Some(tenant), client.id, TimeDelta::hours(1), &world.clock())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let login = async |secret: &SecretString| {
            world.access.issue_token(&client.id.to_string(), secret, None, None).await.is_ok()
        };
        assert!(login(&old).await && login(&new).await);
        world.clock.advance(TimeDelta::hours(1));
        assert!(!login(&old).await && login(&new).await);
    }
}

#[tokio::test]
async fn too_many_failed_logins_close_the_door_for_a_while() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let id = client.id.to_string();
        let wrong = SecretString::from("hgs_wrong");
        let (here, there) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for _ in 0..10 {
            let error = world.access.issue_token(&id, &wrong, None, here).await.unwrap_err();
            assert!(matches!(error, AccessError::InvalidClient));
        }
        // Not even the right secret: a guess must not learn that it was right.
        let error = world.access.issue_token(&id, &secret, None, here).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::TooManyRequests, Some(901)));
        // The client itself, elsewhere, is not locked out by a stranger.
        assert!(world.access.issue_token(&id, &secret, None, there).await.is_ok());
        world.clock.advance(TimeDelta::minutes(15));
        assert!(world.access.issue_token(&id, &secret, None, here).await.is_ok());
        // Unknown clients count against the address alone.
        for _ in 0..50 {
            let unknown = ClientId::new().to_string();
            assert!(world.access.issue_token(&unknown, &wrong, None, there).await.is_err());
        }
        let error = world.access.issue_token(&id, &secret, None, there).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRequests);
        let same_network = "192.0.2.3".parse().ok();
        assert!(world.access.issue_token(&id, &secret, None, same_network).await.is_ok());
    }
}

#[tokio::test]
async fn a_good_login_forgives_the_failures_before_it() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let id = client.id.to_string();
        let wrong = SecretString::from("hgs_wrong");
        for _ in 0..3 {
            for _ in 0..9 {
                assert!(world.access.issue_token(&id, &wrong, None, None).await.is_err());
            }
            assert!(world.access.issue_token(&id, &secret, None, None).await.is_ok());
        }
    }
}

#[tokio::test]
async fn after_a_key_rotation_old_tokens_are_good_until_they_expire() {
    for world in worlds().await {
        let tenant = world.tenant("a").await;
        let (client, secret) = world.client(Some(tenant), Scopes::tenant()).await;
        let before = world.token(&client, &secret).await;
        let other_process = Access::open(world.db.control.clone(), world.clock(), world.config.clone()).await.unwrap();
        world.clock.advance(TimeDelta::seconds(1));
        let new = world.access.rotate_signing_key().await.unwrap();
        let after = world.token(&client, &secret).await;
        let jwks = world.access.jwks().await.unwrap();
        assert_eq!((jwks.keys.len(), &jwks.keys[0]), (2, &new));
        for access in [&world.access, &other_process] {
            assert!(access.verify(&before).await.is_ok());
            assert!(access.verify(&after).await.is_ok(), "the new key is found by its unknown name");
        }
        world.clock.advance(TimeDelta::minutes(62));
        assert_eq!(world.access.jwks().await.unwrap().keys, vec![new]);
        refused(&world.access, &before, "a token of a withdrawn key").await;
    }
}

#[tokio::test]
async fn the_issuer_keeps_its_keys_over_a_restart_and_not_under_another_master_key() {
    for world in worlds().await {
        let keys = world.access.jwks().await.unwrap();
        let again = Access::open(world.db.control.clone(), world.clock(), world.config.clone()).await.unwrap();
        assert_eq!(again.jwks().await.unwrap(), keys);
        let mut config = world.config.clone();
        config.master_key = crate::MasterKey::generate();
        let error = Access::open(world.db.control.clone(), world.clock(), config).await.unwrap_err();
        assert!(error.to_string().contains("another master key"), "{error}");
    }
}
