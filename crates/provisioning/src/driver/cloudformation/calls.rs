//! What is asked of CloudFormation.

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackEvent, StackResourceSummary, Tag};
use headgate_aws::Failure;

use super::stack::{Parameters, Stack};

/// The type of a stack's own events.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A stack that shall be made or changed.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub template: &'a str,
    pub parameters: &'a Parameters,
    pub tags: &'a [(&'static str, String)],
    /// The same request again, for example after an answer that was lost, does nothing.
    pub token: &'a str,
}

#[derive(Debug, Clone)]
pub(super) struct Calls(pub Client);

impl Calls {
    /// The stack of this name, or of this id also when it is gone.
    pub(super) async fn describe(&self, name: &str) -> Result<Option<Stack>, Failure> {
        match self.0.describe_stacks().stack_name(name).send().await.map_err(Failure::from) {
            Ok(found) => Ok(found.stacks.unwrap_or_default().into_iter().next().and_then(Stack::read)),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Every stack of the account and region that is not gone.
    pub(super) async fn all(&self) -> Result<Vec<Stack>, Failure> {
        let mut found = Vec::new();
        let mut pages = self.0.describe_stacks().into_paginator().send();
        while let Some(page) = pages.next().await {
            found.extend(page?.stacks.unwrap_or_default().into_iter().filter_map(Stack::read));
        }
        Ok(found)
    }

    /// Starts making a stack; false when one has the name already.
    pub(super) async fn create(&self, wanted: &Wanted<'_>) -> Result<bool, Failure> {
        let request = self
            .0
            .create_stack()
            .stack_name(wanted.name)
            .template_body(wanted.template)
            .set_parameters(Some(parameters(wanted.parameters)))
            .set_tags(Some(tags(wanted.tags)))
            .capabilities(Capability::CapabilityIam)
            .client_request_token(wanted.token);
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is("AlreadyExistsException") => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Starts changing a stack.
    pub(super) async fn update(&self, wanted: &Wanted<'_>) -> Result<(), Failure> {
        self.0
            .update_stack()
            .stack_name(wanted.name)
            .template_body(wanted.template)
            .set_parameters(Some(parameters(wanted.parameters)))
            .set_tags(Some(tags(wanted.tags)))
            .capabilities(Capability::CapabilityIam)
            .client_request_token(wanted.token)
            .send()
            .await?;
        Ok(())
    }

    /// Goes on with the way back from an update that failed.
    pub(super) async fn continue_rollback(&self, id: &str) -> Result<(), Failure> {
        self.0.continue_update_rollback().stack_name(id).send().await?;
        Ok(())
    }

    /// Starts removing the stack with this id, and no later one of its name.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Failure> {
        self.0.delete_stack().stack_name(id).send().await?;
        Ok(())
    }

    /// The resources of a stack, whether or not they are whole.
    pub(super) async fn resources(&self, id: &str) -> Result<Vec<StackResourceSummary>, Failure> {
        let mut found = Vec::new();
        let mut pages = self.0.list_stack_resources().stack_name(id).into_paginator().send();
        while let Some(page) = pages.next().await {
            found.extend(page?.stack_resource_summaries.unwrap_or_default());
        }
        Ok(found)
    }

    /// The events of a stack's last operation, newest first: down to its beginning, which a person
    /// or this driver initiated.
    pub(super) async fn last_operation(&self, id: &str) -> Result<Operation, Failure> {
        let mut operation = Operation::default();
        let mut pages = self.0.describe_stack_events().stack_name(id).into_paginator().send();
        while let Some(page) = pages.next().await {
            for event in page?.stack_events.unwrap_or_default() {
                let status = event.resource_status.as_ref().map_or("", |status| status.as_str());
                let begins = event.resource_type.as_deref() == Some(STACK)
                    && matches!(status, "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS");
                if begins {
                    operation.token = event.client_request_token;
                    return Ok(operation);
                }
                operation.events.push(event);
            }
        }
        Ok(operation)
    }
}

/// What happened since an operation began.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// The token it was asked for with.
    pub token: Option<String>,
    /// Newest first.
    events: Vec<StackEvent>,
}

impl Operation {
    fn of_resources(&self) -> impl DoubleEndedIterator<Item = (&str, &str, Option<&str>)> {
        self.events.iter().filter(|event| event.resource_type.as_deref() != Some(STACK)).filter_map(|event| {
            let status = event.resource_status.as_ref()?.as_str();
            Some((event.logical_resource_id.as_deref()?, status, event.resource_status_reason.as_deref()))
        })
    }

    /// How many resources came to a good end.
    pub(super) fn done(&self) -> u64 {
        let done = self.of_resources().filter(|(_, status, _)| status.ends_with("_COMPLETE"));
        let names: std::collections::BTreeSet<_> = done.map(|(name, ..)| name).collect();
        u64::try_from(names.len()).unwrap_or_default()
    }

    /// What is worked on now.
    pub(super) fn at(&self) -> Option<&str> {
        self.of_resources().next().map(|(name, ..)| name)
    }

    /// The resource that failed first, and why: the others were only cancelled for it.
    pub(super) fn cause(&self) -> Option<(&str, &str)> {
        let failed = |(name, status, reason): (_, &str, Option<_>)| {
            status.ends_with("_FAILED").then(|| (name, reason.unwrap_or("without a reason")))
        };
        self.of_resources().rev().find_map(failed)
    }
}

fn parameters(parameters: &Parameters) -> Vec<Parameter> {
    let one = |(key, value): (&String, &String)| Parameter::builder().parameter_key(key).parameter_value(value).build();
    parameters.iter().map(one).collect()
}

fn tags(tags: &[(&'static str, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect()
}
