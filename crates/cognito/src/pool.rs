//! App clients of a user pool.
//!
//! Cognito has no token that makes a creation repeatable, and takes any number of app clients of one name. So
//! a creation is sent once at a time; before it is sent again, and when it is given up, whatever has its name
//! is removed. The name is nobody else's: it carries the id of the row that the app client will have.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cognitoidentityprovider::Client;
use aws_sdk_cognitoidentityprovider::config::Builder;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, OAuthFlowType, PreventUserExistenceErrorTypes, ResourceServerScopeType,
};
use headgate_access::{ClientPool, PoolError, PoolLogin, PoolMember, Scope, Scopes};
use headgate_aws::Failure;
use secrecy::SecretString;
use tokio::sync::OnceCell;

use crate::failure::{about, malformed, passes};
use crate::settings::{CognitoSettings, SettingsError};

/// How often a creation is sent.
const CREATIONS: u32 = 3;
/// Between two of them; doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// The most that Cognito lists at once.
const PAGE: i32 = 60;

const MAKE: &str = "the app client could not be made";
const REMOVE: &str = "the app client could not be removed";
const LIST: &str = "app clients could not be listed";
const SERVER: &str = "the resource server could not be set up";

/// A user pool.
#[derive(Debug)]
pub struct CognitoPool {
    settings: CognitoSettings,
    client: Client,
    /// Never sends a request again by itself.
    once: Client,
    /// Set when the resource server is known to have our scopes.
    resource_server: OnceCell<()>,
}

impl CognitoPool {
    /// A pool, with the credentials that the SDK finds. Nothing is asked of Cognito yet.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub async fn open(settings: CognitoSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        let config = settings.load().await;
        let once = Client::from_conf(Builder::from(&config).retry_config(RetryConfig::disabled()).build());
        Ok(Self { settings, client: Client::new(&config), once, resource_server: OnceCell::new() })
    }

    fn prefix(&self) -> String {
        format!("{}.", self.settings.installation)
    }

    fn name(&self, member: &PoolMember) -> String {
        format!("{}{}.{}", self.prefix(), member.client, member.id)
    }

    fn words(&self, scopes: &Scopes) -> Vec<String> {
        scopes.iter().map(|scope| format!("{}/{scope}", self.settings.resource_server)).collect()
    }

    /// Sees to it that the resource server has our scopes; scopes that others gave it stay.
    async fn set_up(&self) -> Result<(), Failure> {
        let (pool, identifier) = (&self.settings.pool, &self.settings.resource_server);
        let ours = || Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin);
        let described = self.client.describe_resource_server().user_pool_id(pool).identifier(identifier).send().await;
        let found = match described.map_err(Failure::from) {
            Ok(found) => found.resource_server,
            Err(failure) if failure.is_missing() => None,
            Err(failure) => return Err(failure),
        };
        let Some(found) = found else {
            let scopes = ours().map(declared).collect::<Result<Vec<_>, _>>()?;
            let create = self.client.create_resource_server().user_pool_id(pool).identifier(identifier);
            create.name(identifier).set_scopes(Some(scopes)).send().await?;
            return Ok(());
        };
        let mut scopes = found.scopes.unwrap_or_default();
        let missing: Vec<Scope> =
            ours().filter(|scope| scopes.iter().all(|known| known.scope_name != scope.as_str())).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for scope in missing {
            scopes.push(declared(scope)?);
        }
        let name = found.name.unwrap_or_else(|| identifier.clone());
        let update = self.client.update_resource_server().user_pool_id(pool).identifier(identifier);
        update.name(name).set_scopes(Some(scopes)).send().await?;
        Ok(())
    }

    async fn send_creation(&self, name: &str, scopes: &Scopes) -> Result<PoolLogin, Failure> {
        let made = self
            .once
            .create_user_pool_client()
            .user_pool_id(&self.settings.pool)
            .client_name(name)
            .generate_secret(true)
            .allowed_o_auth_flows_user_pool_client(true)
            .allowed_o_auth_flows(OAuthFlowType::ClientCredentials)
            .set_allowed_o_auth_scopes(Some(self.words(scopes)))
            // The least that can be named: without any, people could log in by it.
            .explicit_auth_flows(ExplicitAuthFlowsType::AllowRefreshTokenAuth)
            .prevent_user_existence_errors(PreventUserExistenceErrorTypes::Enabled)
            .send()
            .await?;
        let made = made.user_pool_client.and_then(|made| made.client_id.zip(made.client_secret));
        let (client_id, secret) = made.ok_or_else(|| malformed("an app client without id or secret"))?;
        Ok(PoolLogin { client_id, secret: SecretString::from(secret) })
    }

    /// `(name, client_id)` of every app client whose name begins so.
    async fn named(&self, prefix: &str) -> Result<Vec<(String, String)>, Failure> {
        let mut found = Vec::new();
        let list = self.client.list_user_pool_clients().user_pool_id(&self.settings.pool).max_results(PAGE);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let clients = page?.user_pool_clients.unwrap_or_default();
            let named = clients.into_iter().filter_map(|client| client.client_name.zip(client.client_id));
            found.extend(named.filter(|(name, _)| name.starts_with(prefix)));
        }
        Ok(found)
    }

    async fn delete(&self, client_id: &str) -> Result<(), Failure> {
        let delete = self.client.delete_user_pool_client().user_pool_id(&self.settings.pool).client_id(client_id);
        match delete.send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_missing() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Removes what creations left whose answers were lost.
    async fn clear(&self, name: &str) -> Result<(), Failure> {
        for (found, client_id) in self.named(name).await? {
            if found == name {
                self.delete(&client_id).await?;
            }
        }
        Ok(())
    }
}

fn declared(scope: Scope) -> Result<ResourceServerScopeType, Failure> {
    let declared = ResourceServerScopeType::builder().scope_name(scope.as_str()).scope_description(scope.as_str());
    declared.build().map_err(|error| malformed(&error.to_string()))
}

#[async_trait]
impl ClientPool for CognitoPool {
    fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    fn token_url(&self) -> Option<&str> {
        self.settings.token_url.as_deref()
    }

    fn scope(&self, scopes: &Scopes) -> String {
        self.words(scopes).join(" ")
    }

    async fn create(&self, member: &PoolMember) -> Result<PoolLogin, PoolError> {
        self.resource_server.get_or_try_init(|| self.set_up()).await.map_err(|failure| about(&failure, SERVER))?;
        let name = self.name(member);
        let mut pause = PAUSE;
        let mut sent = 1;
        loop {
            let failure = match self.send_creation(&name, &member.scopes).await {
                Ok(login) => return Ok(login),
                Err(failure) => failure,
            };
            if failure.may_have_happened()
                && let Err(left) = self.clear(&name).await
            {
                // The sweep finds it by its name.
                return Err(about(&left, MAKE));
            }
            if !passes(&failure) || sent == CREATIONS {
                return Err(about(&failure, MAKE));
            }
            tokio::time::sleep(pause).await;
            (pause, sent) = (pause * 2, sent + 1);
        }
    }

    async fn remove(&self, client_id: &str) -> Result<(), PoolError> {
        self.delete(client_id).await.map_err(|failure| about(&failure, REMOVE))
    }

    async fn list(&self) -> Result<Vec<String>, PoolError> {
        let found = self.named(&self.prefix()).await.map_err(|failure| about(&failure, LIST))?;
        Ok(found.into_iter().map(|(_, client_id)| client_id).collect())
    }
}
