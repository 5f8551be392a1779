//! The promises of this crate, on both databases.

mod audit;
mod credentials;
mod foreign;
mod outbound;
mod tenants;
mod tokens;

use std::sync::Arc;

use headgate_database::testing::{TestDb, databases};
use headgate_types::{FakeClock, SharedClock, TenantId};
use secrecy::SecretString;
use url::Url;

use crate::clients::{Client, NewClient};
use crate::tenants::Quotas;
use crate::{Access, AccessConfig, MasterKey, Principal, Scopes, TenantCaller};

/// A platform of a test's own.
struct World {
    db: TestDb,
    clock: Arc<FakeClock>,
    config: AccessConfig,
    access: Access,
}

async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for db in databases().await.unwrap() {
        let clock = FakeClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let issuer = Url::parse("https://issuer.example/").unwrap();
        let config = AccessConfig::new(issuer, "headgate", MasterKey::generate());
        let access = Access::open(db.control.clone(), clock.clone(), config.clone()).await.unwrap();
        worlds.push(World { db, clock, config, access });
    }
    worlds
}

impl World {
    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    async fn tenant(&self, name: &str) -> TenantId {
        let mut tx = self.db.control.platform().await.unwrap();
        let tenant = crate::tenants::create(&mut tx, name, Quotas::default(), &self.clock()).await.unwrap();
        tx.commit().await.unwrap();
        tenant.id
    }

    async fn client(&self, tenant: Option<TenantId>, scopes: Scopes) -> (Client, SecretString) {
        let mut tx = self.db.control.platform().await.unwrap();
        tx.act_for(tenant.unwrap_or(crate::PLATFORM)).await.unwrap();
        let new = NewClient { tenant, name: "client".to_owned(), scopes };
        let made = crate::clients::create(&mut tx, new, &self.clock()).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn token(&self, client: &Client, secret: &SecretString) -> String {
        self.access.issue_token(&client.id.to_string(), secret, None, None).await.unwrap().access_token
    }
}

fn caller(tenant: TenantId, scopes: Scopes) -> TenantCaller {
    let client = headgate_types::ClientId::new();
    let principal = Principal { client, tenant: Some(tenant), scopes, subject: client.to_string(), issuer: None };
    principal.tenant_caller("req-1").unwrap()
}
