//! What is desired of a channel: the part of an order that the engine and the driver act upon.

use headgate_types::channel::Direction;
use headgate_types::limits::Limits;
use headgate_types::model::{InputModel, OutputModel};
use headgate_types::selection::SelectionItem;
use headgate_types::timing::{Quota, Timing};
use headgate_types::{ElementId, FieldError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::elements::ElementSpec;
use crate::feeds;

/// The most feeds of a data-in channel.
pub const MAX_FEEDS: usize = 64;
/// The most items in the selection of a data-out channel.
pub const MAX_SELECTION: usize = 256;

/// What is desired of a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "direction", rename_all = "snake_case")]
pub enum ChannelSpec {
    /// Of a data-in channel.
    In(InSpec),
    /// Of a data-out channel.
    Out(OutSpec),
}

impl ChannelSpec {
    /// The direction the spec is for.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self {
            Self::In(_) => Direction::In,
            Self::Out(_) => Direction::Out,
        }
    }

    /// When the channel moves data.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        match self {
            Self::In(spec) => &spec.timing,
            Self::Out(spec) => &spec.timing,
        }
    }

    /// The principal of the client's own cloud account that shall take up a role for the channel.
    #[must_use]
    pub fn client_principal(&self) -> Option<&str> {
        match self {
            Self::In(spec) => spec.client_principal.as_deref(),
            Self::Out(spec) => spec.client_principal.as_deref(),
        }
    }

    /// Whether the selection reaches whatever is published later.
    pub(crate) fn follows(&self) -> bool {
        match self {
            Self::In(_) => false,
            Self::Out(spec) => spec.data.iter().any(|item| item.element.is_none()),
        }
    }

    /// Everything that is wrong with the document by itself; pointers are relative to it. What a
    /// selection reaches is found out by [`crate::subscriptions::resolve_selection`].
    #[must_use]
    pub fn errors(&self) -> Vec<FieldError> {
        let mut errors: Vec<_> = self.timing().errors().into_iter().map(|error| error.under("/timing")).collect();
        if self.client_principal().is_some_and(|principal| !is_principal(principal)) {
            let detail = "a principal is the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/spark";
            errors.push(FieldError::new("/client_principal", "invalid_principal", detail));
        }
        match self {
            Self::In(spec) => errors.extend(feeds::errors(&spec.feeds)),
            Self::Out(spec) => {
                if spec.data.is_empty() || spec.data.len() > MAX_SELECTION {
                    let detail = format!("a channel selects between 1 and {MAX_SELECTION} items");
                    errors.push(FieldError::new("/data", "invalid_length", detail));
                }
                if let Some(quota) = &spec.quota
                    && quota.records.is_none()
                    && quota.bytes.is_none()
                {
                    errors.push(FieldError::new("/quota", "empty", "a quota limits records, bytes or both"));
                }
                let given = spec.quota.iter().flat_map(|quota| [("records", quota.records), ("bytes", quota.bytes)]);
                for (name, most) in given {
                    if most.is_some_and(|most| i64::try_from(most).is_err()) {
                        let detail = format!("a quota has at most {} {name}", i64::MAX);
                        errors.push(FieldError::new(format!("/quota/{name}"), "out_of_range", detail));
                    }
                }
            }
        }
        errors
    }
}

/// What is desired of a data-in channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct InSpec {
    /// The typed streams of the channel.
    pub feeds: Vec<FeedSpec>,
    /// When landed payloads are conformed.
    #[serde(default)]
    pub timing: Timing,
    /// A role or user of the owner's own cloud account that is let in without keys, by its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_principal: Option<String>,
}

/// One feed as it is ordered: exactly one of `element` and `new_element`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// The last segment of the URL payloads are posted to.
    pub name: String,
    /// An element the tenant owns already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementId>,
    /// An element that comes into being with the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_element: Option<ElementSpec>,
    /// How payloads become records.
    #[serde(default)]
    pub input_model: InputModel,
}

/// How much of the past a data-out channel starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Everything in scope: the records of events, the live rows of entities.
    #[default]
    All,
    /// Nothing: only what is committed from now on.
    None,
}

/// What is desired of a data-out channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct OutSpec {
    /// What it carries.
    pub data: Vec<SelectionItem>,
    /// How records become what the owner wants, where an item has no model of its own.
    #[serde(default)]
    pub output_data_model: OutputModel,
    /// When records are delivered.
    #[serde(default)]
    pub timing: Timing,
    /// How much is delivered in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How much of the past it starts with.
    #[serde(default)]
    pub history: History,
    /// A role or user of the owner's own cloud account that is let in without keys, by its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_principal: Option<String>,
}

/// As the templates of channels take it.
fn is_principal(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else { return false };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte);
    let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"));
    partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && name.is_some_and(|name| (1..=512).contains(&name.len()) && name.bytes().all(known))
}

/// A new spec of a channel; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpecChange {
    /// The name shown to people.
    pub name: Option<String>,
    /// The spec.
    pub spec: Option<ChannelSpec>,
    /// The performance profile with the limits pinned to it.
    pub size: Option<PinnedSize>,
}

/// A performance profile as it was priced: later revisions of the profiles do not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedSize {
    /// The key, for example `M`.
    pub size: String,
    /// The revision of the profiles the order was priced with.
    pub profile_revision: u32,
    /// Its limits.
    pub limits: Limits,
}

#[cfg(test)]
mod tests {
    use headgate_types::timing::{OnExceed, QuotaPeriod};

    use super::*;

    #[test]
    fn a_quota_is_a_number_that_can_be_counted_to() {
        let quota = |records| Quota {
            period: QuotaPeriod::Day,
            records: Some(records),
            bytes: None,
            on_exceed: OnExceed::default(),
        };
        let places = |records| {
            let spec =
                OutSpec { data: vec![SelectionItem::default()], quota: Some(quota(records)), ..OutSpec::default() };
            ChannelSpec::Out(spec).errors().into_iter().map(|error| error.pointer).collect::<Vec<_>>()
        };
        assert_eq!(places(i64::MAX as u64), [""; 0]);
        assert_eq!(places(i64::MAX as u64 + 1), ["/quota/records"]);
    }

    #[test]
    fn a_principal_is_a_role_or_user_of_one_account() {
        for arn in ["arn:aws:iam::123456789012:role/spark", "arn:aws-us-gov:iam::123456789012:user/team/ann@x.org"] {
            assert!(is_principal(arn), "{arn}");
        }
        for arn in [
            "*",
            "123456789012",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::*:role/spark",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:sts::123456789012:assumed-role/a/b",
        ] {
            assert!(!is_principal(arn), "{arn}");
        }
    }
}
