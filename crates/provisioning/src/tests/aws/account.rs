//! The account of AWS for tests, with the SDK's configuration and a driver.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_iam::config::Credentials;
use serde_json::Value;

use crate::driver::cloudformation::{CloudFormationDriver, CloudFormationSettings};
use crate::failpoint::{NoFailpoints, SharedFailpoints};

#[path = "../../../../../tests/aws/account.rs"]
mod shared;

pub(in crate::tests) use shared::PLATFORM_ROLE;

#[derive(Debug)]
pub(in crate::tests) struct Account {
    account: shared::Account,
    config: SdkConfig,
}

impl Deref for Account {
    type Target = shared::Account;

    fn deref(&self) -> &Self::Target {
        &self.account
    }
}

impl Account {
    /// None where there is no Python that has moto.
    pub(in crate::tests) async fn start() -> Option<Self> {
        let account = shared::Account::start().await?;
        let operator = Credentials::new(&account.key.0, &account.key.1, None, None, "test");
        let config = config(&account, operator).await;
        Some(Self { account, config })
    }

    pub(in crate::tests) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(in crate::tests) fn driver(&self) -> Arc<CloudFormationDriver> {
        self.driver_with("test", NoFailpoints::shared())
    }

    pub(in crate::tests) fn driver_with(
        &self,
        installation: &str,
        failpoints: SharedFailpoints,
    ) -> Arc<CloudFormationDriver> {
        let mut settings = CloudFormationSettings::new(installation, PLATFORM_ROLE);
        settings.poll = Duration::from_millis(10);
        Arc::new(CloudFormationDriver::with_failpoints(settings, &self.config, failpoints).unwrap())
    }

    /// As [`shared::Account::enforce`]; the driver's requests become those of the platform's own role.
    pub(in crate::tests) async fn enforce(&mut self) -> Value {
        let people = self.account.enforce("test").await;
        let text = |name: &str| people["platform"][name].as_str().unwrap().to_owned();
        let session = Credentials::new(text("id"), text("secret"), Some(text("token")), None, "test");
        self.config = config(&self.account, session).await;
        people
    }
}

async fn config(account: &shared::Account, credentials: Credentials) -> SdkConfig {
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(10));
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(&account.url)
        .credentials_provider(credentials)
        .retry_config(retries)
        .load()
        .await
}
