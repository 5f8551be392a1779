//! The account of AWS for tests, with the SDK's configuration and a driver.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use headgate_aws::SdkConfig;
use headgate_aws::testing::config;
use serde_json::Value;

use crate::driver::cloudformation::{CloudFormationDriver, CloudFormationSettings};
use crate::failpoint::{NoFailpoints, SharedFailpoints};

#[path = "../../../../../tests/aws/account.rs"]
mod shared;

pub(in crate::tests) use shared::{BOUNDARY, PLATFORM_ROLE};

#[derive(Debug)]
pub(in crate::tests) struct Account {
    account: shared::Account,
    config: SdkConfig,
    /// The boundary of users and roles, where rights are enforced.
    boundary: Option<String>,
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
        let config = config(&account.url, &account.key.0, &account.key.1, None).await;
        Some(Self { account, config, boundary: None })
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
        settings.boundary.clone_from(&self.boundary);
        Arc::new(CloudFormationDriver::with_failpoints(settings, &self.config, failpoints).unwrap())
    }

    /// As [`shared::Account::enforce`]; the driver's requests become those of the platform's own role.
    pub(in crate::tests) async fn enforce(&mut self) -> Value {
        let people = self.account.enforce("test").await;
        let text = |name: &str| people["platform"][name].as_str().unwrap().to_owned();
        self.config = config(&self.account.url, &text("id"), &text("secret"), Some(text("token"))).await;
        self.boundary = Some(BOUNDARY.to_owned());
        people
    }
}
