//! A stack as it is found, and what follows from it. Nothing is asked of AWS here.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{self, StackStatus};
use headgate_types::channel::{Binding, CloudBinding, CloudClient};
use headgate_types::{ChannelId, TenantId};
use indexmap::IndexMap;

use super::template::{Template, shard_step};

/// Keys of the tags that say whose a stack is.
pub(super) const TAG_INSTALLATION: &str = "headgate:installation";
pub(super) const TAG_TENANT: &str = "headgate:tenant";
pub(super) const TAG_CHANNEL: &str = "headgate:channel";
pub(super) const TAG_ORDER: &str = "headgate:order";
pub(super) const TAG_COST: &str = "headgate:cost-allocation";

/// The parameter that names the last order; by itself it is no reason for an update.
pub(super) const ORDER: &str = "Order";
pub(super) const SIZE: &str = "Size";
pub(super) const ORDERED: &str = "Ordered";
pub(super) const SHARD_STEP: &str = "ShardStep";
pub(super) const CLIENT_PRINCIPAL: &str = "ClientPrincipal";
pub(super) const CLIENT_EXTERNAL_ID: &str = "ClientExternalId";

/// Parameters by name.
pub(super) type Parameters = BTreeMap<String, String>;

/// A stack that exists.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Its ARN, which stays its own when another gets its name.
    pub id: String,
    pub status: StackStatus,
    /// Why it is in its status, in CloudFormation's words.
    pub reason: Option<String>,
    pub parameters: Parameters,
    outputs: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

/// What can be done with a stack in its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something is under way that cannot be interrupted, only awaited.
    Busy,
    /// It is being made: it can be awaited, or removed at once.
    Making,
    /// It is being removed.
    Leaving,
    /// It is as its parameters say.
    Whole,
    /// It could not be made; all that can be done is to remove it.
    Failed,
    /// An update failed, and so did its way back.
    Stuck,
    /// It could not be removed.
    Remains,
    /// No status that a stack of this driver gets into.
    Unknown,
}

/// What follows for a stack that shall be as desired.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// It is as desired.
    Ready,
    /// It shall be updated to these.
    Update(Parameters),
}

impl Stack {
    pub(super) fn read(found: types::Stack) -> Option<Self> {
        let pair = |key: Option<String>, value: Option<String>| Some((key?, value.unwrap_or_default()));
        Some(Self {
            id: found.stack_id?,
            status: found.stack_status?,
            reason: found.stack_status_reason,
            parameters: found
                .parameters
                .unwrap_or_default()
                .into_iter()
                .filter_map(|one| pair(one.parameter_key, one.parameter_value))
                .collect(),
            outputs: found
                .outputs
                .unwrap_or_default()
                .into_iter()
                .filter_map(|one| pair(one.output_key, one.output_value))
                .collect(),
            tags: found.tags.unwrap_or_default().into_iter().filter_map(|one| pair(one.key, one.value)).collect(),
        })
    }

    pub(super) fn standing(&self) -> Standing {
        match self.status {
            StackStatus::CreateInProgress => Standing::Making,
            StackStatus::RollbackInProgress
            | StackStatus::UpdateInProgress
            | StackStatus::UpdateCompleteCleanupInProgress
            | StackStatus::UpdateRollbackInProgress
            | StackStatus::UpdateRollbackCompleteCleanupInProgress => Standing::Busy,
            StackStatus::CreateComplete | StackStatus::UpdateComplete | StackStatus::UpdateRollbackComplete => {
                Standing::Whole
            }
            StackStatus::CreateFailed | StackStatus::RollbackComplete | StackStatus::RollbackFailed => Standing::Failed,
            StackStatus::UpdateRollbackFailed | StackStatus::UpdateFailed => Standing::Stuck,
            StackStatus::DeleteInProgress | StackStatus::DeleteComplete => Standing::Leaving,
            StackStatus::DeleteFailed => Standing::Remains,
            _ => Standing::Unknown,
        }
    }

    /// Whether it was made by this installation for this tenant's channel.
    pub(super) fn is_of(&self, installation: &str, tenant: TenantId, channel: ChannelId) -> bool {
        self.tag(TAG_INSTALLATION) == Some(installation)
            && self.tag(TAG_TENANT) == Some(&tenant.to_string())
            && self.tag(TAG_CHANNEL) == Some(&channel.to_string())
    }

    /// The channel of a stack of this installation.
    pub(super) fn channel(&self, installation: &str) -> Option<ChannelId> {
        (self.tag(TAG_INSTALLATION) == Some(installation)).then(|| self.tag(TAG_CHANNEL)?.parse().ok()).flatten()
    }

    fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// What makes a whole stack as desired. An update at a time: a stream goes to its size by steps.
    pub(super) fn next(&self, template: &Template, desired: &Parameters) -> Next {
        let mut wanted = desired.clone();
        if let Some(target) = desired.get(SIZE).and_then(|size| template.shards(size)) {
            let present = self.shards(template).unwrap_or(target);
            let step = shard_step(present, target).unwrap_or_default();
            wanted.insert(SHARD_STEP.to_owned(), step.to_string());
        }
        let differs = |(name, value): (&String, &String)| name != ORDER && self.parameters.get(name) != Some(value);
        if wanted.iter().any(differs) { Next::Update(wanted) } else { Next::Ready }
    }

    fn shards(&self, template: &Template) -> Option<u64> {
        let step = self.parameters.get(SHARD_STEP).and_then(|step| step.parse().ok()).filter(|step: &u64| *step > 0);
        step.or_else(|| template.shards(self.parameters.get(SIZE)?))
    }

    /// An output by its name in the template.
    pub(super) fn output(&self, key: &str) -> Option<&str> {
        self.outputs.get(key).map(String::as_str)
    }

    /// Where the engine finds the channel's data; None while an output is missing.
    pub(super) fn binding(&self, region: &str, channel: ChannelId) -> Option<Binding> {
        let client = match (self.output("ClientUserName"), self.output("ClientRoleArn")) {
            (Some(name), _) => CloudClient::User { name: name.to_owned() },
            (None, Some(role)) => CloudClient::Role {
                role: role.to_owned(),
                external_id: self.parameters.get(CLIENT_EXTERNAL_ID).cloned().unwrap_or_default(),
            },
            (None, None) => return None,
        };
        let further = [("notifications", "NotificationsUrl"), ("dead_letters", "DeadLettersUrl")];
        let address = |(name, output): (&str, &str)| Some((name.to_owned(), url(self.output(output)?, region)));
        let cloud = CloudBinding {
            region: region.to_owned(),
            role: self.output("PlatformRoleArn")?.to_owned(),
            external_id: channel.to_string(),
            further: further.into_iter().filter_map(address).collect::<IndexMap<_, _>>(),
            client,
        };
        Some(Binding { url: url(self.output("Url")?, region), credential: None, cloud: Some(cloud) })
    }
}

/// The scheme says which service it is: SQS names its queues by addresses of the web, whose host is
/// a setting of whoever asks and not of the queue.
fn url(output: &str, region: &str) -> String {
    match output.strip_prefix("https://").or_else(|| output.strip_prefix("http://")) {
        Some(rest) => format!("sqs://{region}/{}", rest.split_once('/').map_or("", |(_, path)| path)),
        None => output.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use headgate_types::channel::Direction;

    use super::*;

    fn stack(status: StackStatus, parameters: &[(&str, &str)]) -> Stack {
        let pairs = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Stack {
            id: "arn:aws:cloudformation:eu-west-1:1:stack/a/b".to_owned(),
            status,
            reason: None,
            parameters: pairs.collect(),
            outputs: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn every_status_of_cloudformation_has_a_standing() {
        let table = [
            ("CREATE_IN_PROGRESS", Standing::Making),
            ("CREATE_FAILED", Standing::Failed),
            ("CREATE_COMPLETE", Standing::Whole),
            ("ROLLBACK_IN_PROGRESS", Standing::Busy),
            ("ROLLBACK_FAILED", Standing::Failed),
            ("ROLLBACK_COMPLETE", Standing::Failed),
            ("DELETE_IN_PROGRESS", Standing::Leaving),
            ("DELETE_FAILED", Standing::Remains),
            ("DELETE_COMPLETE", Standing::Leaving),
            ("UPDATE_IN_PROGRESS", Standing::Busy),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Standing::Busy),
            ("UPDATE_COMPLETE", Standing::Whole),
            ("UPDATE_FAILED", Standing::Stuck),
            ("UPDATE_ROLLBACK_IN_PROGRESS", Standing::Busy),
            ("UPDATE_ROLLBACK_FAILED", Standing::Stuck),
            ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", Standing::Busy),
            ("UPDATE_ROLLBACK_COMPLETE", Standing::Whole),
            ("REVIEW_IN_PROGRESS", Standing::Unknown),
            ("IMPORT_IN_PROGRESS", Standing::Unknown),
            ("IMPORT_COMPLETE", Standing::Unknown),
            ("IMPORT_ROLLBACK_IN_PROGRESS", Standing::Unknown),
            ("IMPORT_ROLLBACK_FAILED", Standing::Unknown),
            ("IMPORT_ROLLBACK_COMPLETE", Standing::Unknown),
        ];
        for (status, standing) in table {
            assert_eq!(stack(StackStatus::from(status), &[]).standing(), standing, "{status}");
        }
        let missing = StackStatus::values().iter().filter(|word| !table.iter().any(|(status, _)| status == *word));
        assert_eq!(missing.count(), 0, "a status that nobody thought of");
    }

    #[test]
    fn another_order_alone_is_no_reason_for_an_update() {
        let template = Template::of(Direction::Out, "file").unwrap();
        let found = stack(StackStatus::CreateComplete, &[("Size", "S"), ("Order", "ord_1")]);
        let desired = |size: &str| {
            let pairs = [("Size", size), ("Order", "ord_2")];
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Parameters>()
        };
        assert_eq!(found.next(&template, &desired("S")), Next::Ready);
        assert_eq!(found.next(&template, &desired("M")), Next::Update(desired("M")));
    }

    #[test]
    fn a_stream_is_on_the_way_until_the_step_is_gone() {
        let template = Template::of(Direction::Out, "stream").unwrap();
        let desired: Parameters = [("Size".to_owned(), "L".to_owned())].into();
        let mut present = stack(StackStatus::UpdateComplete, &[("Size", "S"), ("ShardStep", "0")]);
        let mut steps = Vec::new();
        while let Next::Update(parameters) = present.next(&template, &desired) {
            steps.push(parameters[SHARD_STEP].clone());
            present.parameters = parameters;
        }
        assert_eq!(steps, ["6", "12", "24", "48", "0"]);
    }

    #[test]
    fn a_scheme_says_which_service_it_is() {
        assert_eq!(url("s3://headgate-ch-1-2", "eu-west-1"), "s3://headgate-ch-1-2");
        assert_eq!(url("kinesis://eu-west-1/a", "eu-west-1"), "kinesis://eu-west-1/a");
        let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/a-records.fifo";
        assert_eq!(url(queue, "eu-west-1"), "sqs://eu-west-1/123456789012/a-records.fifo");
    }
}
