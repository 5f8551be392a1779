//! What an installation says about its AWS account, and the parameters and tags that follow.

use std::time::Duration;

use headgate_aws::{Patience, Reach};
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
pub(super) const PATIENCE: Patience =
    Patience { tries: 5, one_try: Duration::from_secs(20), one_call: Duration::from_secs(90) };

/// What an installation says about its AWS account.
#[derive(Debug, Clone)]
pub struct CloudFormationSettings {
    /// Name of the installation: the sweep touches only stacks that carry it.
    pub installation: String,
    /// ARN of the role that the platform's processes run under.
    pub platform_role: String,
    /// ARN of the policy that users and roles of channels may do no more than; None: they are not bounded.
    pub boundary: Option<String>,
    /// Where the account is.
    pub aws: Reach,
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
    /// The boundary is no ARN of a policy.
    #[error("{0:?} is not the ARN of a managed policy, such as arn:aws:iam::123456789012:policy/headgate/boundary")]
    Boundary(String),
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
            boundary: None,
            aws: Reach::default(),
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
        if !is_arn_of("role/", &self.platform_role) {
            return Err(SettingsError::PlatformRole(self.platform_role.clone()));
        }
        match &self.boundary {
            Some(boundary) if !is_arn_of("policy/", boundary) => Err(SettingsError::Boundary(boundary.clone())),
            _ => Ok(()),
        }
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
        // Left out without one, so that stacks of before it was known need no change.
        if let Some(boundary) = &self.boundary {
            parameters.insert("PermissionsBoundary".to_owned(), boundary.clone());
        }
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

/// Whether it names something of IAM's in an account, for example with `role/`.
fn is_arn_of(kind: &str, arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, resource]
        if partition.starts_with("aws")
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && resource.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
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
        let bounded = |boundary: &str| CloudFormationSettings {
            boundary: Some(boundary.to_owned()),
            ..CloudFormationSettings::new("a", role)
        };
        assert_eq!(bounded("arn:aws:iam::123456789012:policy/headgate/boundary").check(), Ok(()));
        for boundary in ["", "boundary", "arn:aws:iam::123456789012:role/a", "arn:aws:iam::aws:policy/ReadOnlyAccess"] {
            assert_eq!(bounded(boundary).check(), Err(SettingsError::Boundary(boundary.to_owned())));
        }
    }
}
