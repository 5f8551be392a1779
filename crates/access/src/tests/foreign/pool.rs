//! The sweep over a pool of app clients.

use std::collections::BTreeSet;

use async_trait::async_trait;
use headgate_types::{ClientId, IdentityId};
use secrecy::SecretString;

use super::*;
use crate::clients::{self, NewClient};
use crate::identities::AppClient;
use crate::{ClientPool, PoolError, PoolLogin, PoolMember, PoolSweep};

/// A pool in memory.
#[derive(Debug, Default)]
struct FakePool {
    there: Mutex<BTreeSet<String>>,
    fails: Mutex<bool>,
}

impl FakePool {
    fn there(&self) -> Vec<String> {
        self.there.lock().iter().cloned().collect()
    }
}

#[async_trait]
impl ClientPool for FakePool {
    fn issuer(&self) -> &str {
        COGNITO
    }

    fn token_url(&self) -> Option<&str> {
        None
    }

    fn scope(&self, scopes: &Scopes) -> String {
        scopes.to_string()
    }

    async fn create(&self, member: &PoolMember) -> Result<PoolLogin, PoolError> {
        let client_id = member.id.to_string();
        self.there.lock().insert(client_id.clone());
        Ok(PoolLogin { client_id, secret: SecretString::from("secret") })
    }

    async fn remove(&self, client_id: &str) -> Result<(), PoolError> {
        if *self.fails.lock() {
            return Err(PoolError::Unavailable("it fails".to_owned()));
        }
        self.there.lock().remove(client_id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>, PoolError> {
        Ok(self.there())
    }
}

async fn client(rig: &Rig, pool: &FakePool, tenant: TenantId) -> AppClient {
    let member = PoolMember { id: IdentityId::new(), client: ClientId::new(), scopes: Scopes::tenant() };
    let login = pool.create(&member).await.unwrap();
    let (client, issuer) = (member.client, COGNITO.to_owned());
    let app = AppClient { id: member.id, tenant, client, issuer, client_id: login.client_id };
    let new = NewClient { tenant: Some(tenant), name: "client".to_owned(), scopes: member.scopes };
    let mut tx = rig.world.db.control.tenant(tenant).await.unwrap();
    clients::create_in_pool(&mut tx, new, &app, &rig.world.clock()).await.unwrap();
    tx.commit().await.unwrap();
    app
}

#[tokio::test]
async fn the_sweep_removes_what_is_revoked_and_what_nobody_wrote_down_and_nothing_else() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        let pool = Arc::new(FakePool::default());
        let (kept, revoked) = (client(&rig, &pool, tenant).await, client(&rig, &pool, tenant).await);
        let mut sweep = PoolSweep::new(rig.access.clone(), pool.clone());
        assert_eq!(sweep.look().await.unwrap(), 0);
        let mut tx = rig.world.db.control.tenant(tenant).await.unwrap();
        clients::revoke(&mut tx, Some(tenant), revoked.client, &rig.world.clock()).await.unwrap();
        tx.commit().await.unwrap();
        // A pool that fails is asked again at the next look.
        *pool.fails.lock() = true;
        assert!(sweep.look().await.is_err());
        *pool.fails.lock() = false;
        assert_eq!(sweep.look().await.unwrap(), 1);
        assert_eq!(pool.there(), [kept.client_id.as_str()]);

        // One that is just being made is not written down yet; one that stays so is left over.
        pool.there.lock().insert("in the making".to_owned());
        assert_eq!(sweep.look().await.unwrap(), 0);
        assert_eq!(pool.there().len(), 2);
        assert_eq!(sweep.look().await.unwrap(), 1);
        assert_eq!(pool.there(), [kept.client_id.as_str()]);
        assert_eq!(sweep.look().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_client_of_a_pool_cannot_log_in_at_the_built_in_issuer() {
    for rig in Rig::all().await {
        let tenant = rig.world.tenant("a").await;
        let app = client(&rig, &FakePool::default(), tenant).await;
        for secret in ["", "secret", "hgs_"] {
            let login = rig.access.issue_token(&app.client.to_string(), &secret.into(), None, None).await;
            assert!(matches!(login, Err(AccessError::InvalidClient)));
        }
    }
}
