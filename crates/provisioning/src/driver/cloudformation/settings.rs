//! What an installation says about its AWS account, and the parameters and tags that follow.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use serde_json::Value;

use super::stack::{
    CLIENT_EXTERNAL_ID, CLIENT_PRINCIPAL, ORDER, Parameters, SIZE, TAG_CHANNEL, TAG_COST, TAG_INSTALLATION, TAG_ORDER,
    TAG_TENANT,
};
use super::template::Template;
use crate::driver::ResourceSpec;

/// How often a stack that is under way is looked at. A stack takes a minute or more, and every
/// order asks for itself.
const POLL: Duration = Duration::from_secs(5);
const TRIES: u32 = 5;
const ONE_TRY: Duration = Duration::from_secs(20);
const ONE_CALL: Duration = Duration::from_secs(90);

/// What an installation says about its AWS account. Credentials are found by the SDK.
#[derive(Debug, Clone)]
pub struct CloudFormationSettings {
    /// Name of the installation: the sweep touches only stacks that carry it.
    pub installation: String,
    /// ARN of the role that the platform's processes run under.
    pub platform_role: String,
    /// The region; None: as the SDK finds it.
    pub region: Option<String>,
    /// Where every service of AWS is reached; None: as the SDK finds it.
    pub endpoint_url: Option<String>,
    /// How often a stack that is under way is looked at.
    pub poll: Duration,
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The installation's name is no tag that the templates take.
    #[error(
        "the installation's name {0:?} must be lower-case letters, digits and hyphens, begin with a letter, and have at most 31 characters"
    )]
    Installation(String),
    /// The platform's role is no ARN of a role.
    #[error("{0:?} is not the ARN of a role, such as arn:aws:iam::123456789012:role/headgate")]
    PlatformRole(String),
    /// Neither settings, environment nor profile name a region.
    #[error("no AWS region is given")]
    NoRegion,
}

impl CloudFormationSettings {
    /// Settings with the usual pace.
    #[must_use]
    pub fn new(installation: impl Into<String>, platform_role: impl Into<String>) -> Self {
        Self {
            installation: installation.into(),
            platform_role: platform_role.into(),
            region: None,
            endpoint_url: None,
            poll: POLL,
        }
    }

    /// Refuses what the templates would refuse later, order by order.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let name = self.installation.as_bytes();
        let known = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if !name.first().is_some_and(u8::is_ascii_lowercase) || name.len() > 31 || !name.iter().all(known) {
            return Err(SettingsError::Installation(self.installation.clone()));
        }
        let parts: Vec<_> = self.platform_role.splitn(6, ':').collect();
        let is_role = matches!(parts[..], ["arn", partition, "iam", "", account, resource]
            if partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
        if is_role { Ok(()) } else { Err(SettingsError::PlatformRole(self.platform_role.clone())) }
    }

    /// Finds region and credentials as every AWS program does.
    pub(super) async fn load(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .timeout_config(
                TimeoutConfig::builder().operation_attempt_timeout(ONE_TRY).operation_timeout(ONE_CALL).build(),
            );
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader.load().await
    }

    pub(super) fn parameters(&self, spec: &ResourceSpec, template: &Template) -> Parameters {
        let principal = spec.client_principal.clone().unwrap_or_default();
        // The channel's id is nobody else's, and needs no keeping.
        let external_id = if principal.is_empty() { String::new() } else { spec.channel.to_string() };
        let mut parameters: Parameters = [
            ("Installation", self.installation.clone()),
            ("Tenant", spec.tenant.to_string()),
            ("Channel", spec.channel.to_string()),
            (ORDER, spec.order.to_string()),
            ("CostAllocation", spec.tenant.to_string()),
            (SIZE, spec.size.clone()),
            ("PlatformPrincipal", self.platform_role.clone()),
            (CLIENT_PRINCIPAL, principal),
            (CLIENT_EXTERNAL_ID, external_id),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let own = spec.parameters.iter().filter(|(key, _)| template.takes(key) && !parameters.contains_key(*key));
        let own: Vec<_> = own.map(|(key, value)| (key.clone(), text(value))).collect();
        parameters.extend(own);
        parameters
    }

    pub(super) fn tags(&self, spec: &ResourceSpec) -> [(&'static str, String); 5] {
        [
            (TAG_INSTALLATION, self.installation.clone()),
            (TAG_TENANT, spec.tenant.to_string()),
            (TAG_CHANNEL, spec.channel.to_string()),
            (TAG_ORDER, spec.order.to_string()),
            (TAG_COST, spec.tenant.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_every_order_would_fail_for_are_refused_at_once() {
        let role = "arn:aws:iam::123456789012:role/headgate";
        assert_eq!(CloudFormationSettings::new("prod-eu", role).check(), Ok(()));
        assert_eq!(CloudFormationSettings::new("a", "arn:aws-cn:iam::123456789012:role/a/b").check(), Ok(()));
        for name in ["", "Prod", "9lives", "a_b", &"a".repeat(32)] {
            let refused = CloudFormationSettings::new(name, role).check();
            assert_eq!(refused, Err(SettingsError::Installation(name.to_owned())));
        }
        for role in [
            "",
            "headgate",
            "arn:aws:iam::1:role/a",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:role/",
        ] {
            assert_eq!(
                CloudFormationSettings::new("a", role).check(),
                Err(SettingsError::PlatformRole(role.to_owned()))
            );
        }
    }
}
