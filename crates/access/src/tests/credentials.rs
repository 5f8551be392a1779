use chrono::TimeDelta;
use headgate_database::args;
use headgate_types::{ChannelId, ClaimId, Coded, ErrorKind, TenantId};
use secrecy::ExposeSecret;

use super::{World, caller, worlds};
use crate::audit::{self, Outcome};
use crate::credentials::{self, CredentialState};
use crate::tenants;
use crate::{Access, AccessError, CredentialKind, Issued, Scope, Scopes};

async fn issue(world: &World, tenant: TenantId, channel: ChannelId, kind: CredentialKind) -> Issued {
    let mut tx = world.db.control.tenant(tenant).await.unwrap();
    let issued = world.access.issue_credential(&mut tx, tenant, channel, kind).await.unwrap();
    tx.commit().await.unwrap();
    issued
}

async fn rotate(world: &World, tenant: TenantId, channel: ChannelId, kind: CredentialKind) -> Issued {
    let mut tx = world.db.control.tenant(tenant).await.unwrap();
    let issued = world.access.rotate_credential(&mut tx, tenant, channel, kind, None).await.unwrap();
    tx.commit().await.unwrap();
    world.access.forget();
    issued
}

async fn key(world: &World, tenant: TenantId, issued: Issued) -> String {
    let revealed = world.access.reveal(&caller(tenant, Scopes::tenant()), issued.claim).await.unwrap();
    revealed.secret.expose_secret().to_owned()
}

#[tokio::test]
async fn a_claim_reveals_its_credential_once_and_on_the_record() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let issued = issue(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let caller = caller(tenant, Scopes::tenant());
        let revealed = world.access.reveal(&caller, issued.claim).await.unwrap();
        assert_eq!((revealed.credential, revealed.channel), (issued.credential, channel));
        assert!(!format!("{revealed:?}").contains(revealed.secret.expose_secret()));
        let error = world.access.reveal(&caller, issued.claim).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Gone, "claim_used"));
        let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
        let rows = audit::list(&mut tx, tenant, None, 10).await.unwrap();
        let outcomes: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.outcome)).collect();
        assert_eq!(outcomes, [("credential.reveal", Outcome::Denied), ("credential.reveal", Outcome::Allowed)]);
        let text = format!("{rows:?}");
        assert!(!text.contains(revealed.secret.expose_secret()));
        let left: Vec<(Option<Vec<u8>>,)> = tx.fetch_all("SELECT sealed FROM claims", args![]).await.unwrap();
        assert_eq!(left, vec![(None,)], "the sealed secret is erased");
    }
}

#[tokio::test]
async fn a_claim_redeemed_by_many_at_once_reveals_to_one() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let issued = issue(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let caller = caller(tenant, Scopes::tenant());
        let tries = (0..8).map(|_| world.access.reveal(&caller, issued.claim));
        let results = futures::future::join_all(tries).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{}", world.db.name);
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(AccessError::ClaimUsed))));
    }
}

#[tokio::test]
async fn a_claim_is_for_its_tenant_its_scope_and_its_time() {
    for world in worlds().await {
        let (a, b) = (world.tenant("a").await, world.tenant("b").await);
        let issued = issue(&world, a, ChannelId::new(), CredentialKind::ChannelKey).await;
        let stranger = world.access.reveal(&caller(b, Scopes::tenant()), issued.claim).await;
        assert!(matches!(stranger, Err(AccessError::NotFound("claim"))));
        let unknown = world.access.reveal(&caller(a, Scopes::tenant()), ClaimId::new()).await;
        assert!(matches!(unknown, Err(AccessError::NotFound("claim"))));
        let poor = caller(a, [Scope::ChannelsRead].into_iter().collect());
        let denied = world.access.reveal(&poor, issued.claim).await;
        assert!(matches!(denied, Err(AccessError::InsufficientScope(Scope::CredentialsReveal))));
        world.clock.advance(TimeDelta::days(7));
        let late = world.access.reveal(&caller(a, Scopes::tenant()), issued.claim).await;
        assert!(matches!(late, Err(AccessError::ClaimExpired)));
    }
}

#[tokio::test]
async fn a_channel_key_opens_its_own_channel_only() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let issued = issue(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let other = issue(&world, tenant, ChannelId::new(), CredentialKind::ChannelKey).await;
        let key = key(&world, tenant, issued).await;
        let verified = world.access.verify_channel_key(channel, &key).await.unwrap();
        assert_eq!((verified.tenant, verified.credential), (tenant, issued.credential));
        let digits = other.credential.uuid().simple();
        let secret = key.rsplit_once('_').map_or("", |(_, secret)| secret);
        for (channel, wrong) in [
            (ChannelId::new(), key.clone()),
            (channel, format!("{key}x")),
            (channel, key[..key.len() - 1].to_owned()),
            (channel, format!("hgk_{digits}_{secret}")),
            (channel, key.to_uppercase()),
            (channel, String::new()),
            (channel, "hgk_".to_owned()),
            (channel, "hgk_é_é".to_owned()),
        ] {
            let error = world.access.verify_channel_key(channel, &wrong).await.unwrap_err();
            assert_eq!(error.code(), "invalid_channel_key", "{wrong}");
            assert!(wrong.is_empty() || !error.to_string().contains(&wrong));
        }
    }
}

#[tokio::test]
async fn a_signing_secret_is_no_channel_key_and_stays_readable_to_the_platform() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let issued = issue(&world, tenant, channel, CredentialKind::SigningSecret).await;
        let shown = key(&world, tenant, issued).await;
        assert!(shown.starts_with("whsec_"));
        let kept = world.access.signing_secrets(channel).await.unwrap();
        assert_eq!(kept.iter().map(|secret| secret.expose_secret()).collect::<Vec<_>>(), vec![shown.as_str()]);
        assert!(world.access.signing_secrets(ChannelId::new()).await.unwrap().is_empty());
        let fake = format!("hgk_{}_{}", issued.credential.uuid().simple(), &shown[6..]);
        assert!(world.access.verify_channel_key(channel, &fake).await.is_err());
    }
}

#[tokio::test]
async fn a_rotation_keeps_two_versions_for_the_grace_period_and_never_three() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let first = issue(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let first_key = key(&world, tenant, first).await;
        assert!(world.access.verify_channel_key(channel, &first_key).await.is_ok());
        let second = rotate(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let second_key = key(&world, tenant, second).await;
        for good in [&first_key, &second_key] {
            assert!(world.access.verify_channel_key(channel, good).await.is_ok());
        }
        let third = rotate(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let third_key = key(&world, tenant, third).await;
        assert!(world.access.verify_channel_key(channel, &first_key).await.is_err());
        let states = async || {
            let mut tx = world.db.control.read_tenant(tenant).await.unwrap();
            let now = headgate_types::Clock::now(&*world.clock);
            let listed = credentials::list(&mut tx, tenant, channel, now).await.unwrap();
            listed.into_iter().map(|credential| credential.state).collect::<Vec<_>>()
        };
        use CredentialState::{Active, Expired, Retiring, Revoked};
        assert_eq!(states().await, [Active, Retiring, Revoked]);
        world.clock.advance(TimeDelta::days(1));
        assert_eq!(states().await, [Active, Expired, Revoked]);
        assert!(world.access.verify_channel_key(channel, &second_key).await.is_err());
        assert!(world.access.verify_channel_key(channel, &third_key).await.is_ok());
    }
}

#[tokio::test]
async fn during_a_rotation_both_signing_secrets_are_used_newest_first() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let first = issue(&world, tenant, channel, CredentialKind::SigningSecret).await;
        let second = rotate(&world, tenant, channel, CredentialKind::SigningSecret).await;
        let kept = world.access.signing_secrets(channel).await.unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[0].expose_secret(), key(&world, tenant, second).await);
        let stale = world.access.reveal(&caller(tenant, Scopes::tenant()), first.claim).await;
        assert!(matches!(stale, Err(AccessError::ClaimUsed)));
        world.clock.advance(TimeDelta::days(1));
        assert_eq!(world.access.signing_secrets(channel).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn signing_secrets_change_at_once_here_and_within_five_seconds_elsewhere() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let count = async || world.access.signing_secrets(channel).await.unwrap().len();
        assert_eq!(count().await, 0);
        issue(&world, tenant, channel, CredentialKind::SigningSecret).await;
        assert_eq!(count().await, 1);
        rotate(&world, tenant, channel, CredentialKind::SigningSecret).await;
        assert_eq!(count().await, 2);
        let elsewhere = Access::open(world.db.control.clone(), world.clock(), world.config.clone()).await.unwrap();
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        elsewhere.revoke_credentials(&mut tx, tenant, channel).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count().await, 2);
        world.clock.advance(TimeDelta::seconds(5));
        assert_eq!(count().await, 0);
    }
}

#[tokio::test]
async fn a_deleted_channel_keeps_no_credential_and_a_suspended_tenant_none_that_works() {
    for world in worlds().await {
        let (tenant, channel) = (world.tenant("a").await, ChannelId::new());
        let issued = issue(&world, tenant, channel, CredentialKind::ChannelKey).await;
        let key = key(&world, tenant, issued).await;
        assert!(world.access.verify_channel_key(channel, &key).await.is_ok());
        let mut tx = world.db.control.platform().await.unwrap();
        tenants::suspend(&mut tx, tenant, &world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        world.access.forget();
        let error = world.access.verify_channel_key(channel, &key).await.unwrap_err();
        assert_eq!(error.code(), "tenant_suspended");
        let mut tx = world.db.control.platform().await.unwrap();
        tenants::resume(&mut tx, tenant, &world.clock()).await.unwrap();
        let unclaimed =
            world.access.issue_credential(&mut tx, tenant, channel, CredentialKind::SigningSecret).await.unwrap();
        world.access.revoke_credentials(&mut tx, tenant, channel).await.unwrap();
        world.access.revoke_credentials(&mut tx, tenant, channel).await.unwrap();
        tx.commit().await.unwrap();
        world.access.forget();
        assert!(world.access.verify_channel_key(channel, &key).await.is_err());
        assert!(world.access.signing_secrets(channel).await.unwrap().is_empty());
        let late = world.access.reveal(&caller(tenant, Scopes::tenant()), unclaimed.claim).await;
        assert!(matches!(late, Err(AccessError::ClaimUsed)));
    }
}
