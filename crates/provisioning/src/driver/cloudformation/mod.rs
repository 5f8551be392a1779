//! The CloudFormation driver: a stack of its own for each channel.
//!
//! Every call looks at the stack and takes the one step that follows from what it finds; nothing is
//! remembered here, and nothing is waited for. So a crash, an answer that was lost and a stack that
//! somebody else removed are all the same to it, and as many stacks are under way at once as there
//! are orders. Tags say whose a stack is; the decisions are in ADR 15.

mod bucket;
mod calls;
mod failure;
mod keys;
mod settings;
mod stack;
mod template;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headgate_aws::{Failure, Kind, SdkConfig};
use headgate_types::{ChannelId, TenantId};

use self::bucket::Bucket;
use self::calls::{Calls, Operation, Wanted};
use self::failure::{SLOW_DOWN, told, told_of};
use self::keys::Keys;
use self::stack::{Next, Parameters, Stack, Standing};
use self::template::Template;
use super::{Admission, Driver, DriverError, Ensured, Observed, Released, ResourceSpec};
use crate::failpoint::{Failpoint, Killed, NoFailpoints, SharedFailpoints};
use crate::orders::Progress;

pub use self::settings::{CloudFormationSettings, SettingsError};
pub use self::template::PROFILES;

/// The side effects of this driver, for crash tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// CloudFormation was asked for a stack.
    StackAsked,
    /// CloudFormation was asked to change a stack.
    ChangeAsked,
    /// A key was made whose secret only this process knows.
    KeyMade,
    /// Nobody of the client's gets in any more.
    Expelled,
    /// The keys are gone and the bucket is empty.
    Cleared,
    /// CloudFormation was asked to remove the stack.
    RemovalAsked,
}

impl Effect {
    /// Every effect, in order.
    pub const ALL: &'static [Self] =
        &[Self::StackAsked, Self::ChangeAsked, Self::KeyMade, Self::Expelled, Self::Cleared, Self::RemovalAsked];
}

/// Makes stacks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudFormationDriver(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    settings: CloudFormationSettings,
    region: String,
    calls: Calls,
    keys: Keys,
    buckets: Bucket,
    failpoints: SharedFailpoints,
}

/// What keeps the driver from an answer.
enum Trouble {
    /// AWS refused, or could not be reached, when asked for what the text says.
    Aws(Failure, &'static str),
    Driver(DriverError),
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Killed> for Trouble {
    fn from(killed: Killed) -> Self {
        Self::Driver(killed.into())
    }
}

impl From<Trouble> for DriverError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Aws(failure, what) => told_of(&failure, what),
            Trouble::Driver(error) => error,
        }
    }
}

trait About<T> {
    fn about(self, what: &'static str) -> Result<T, Trouble>;
}

impl<T> About<T> for Result<T, Failure> {
    fn about(self, what: &'static str) -> Result<T, Trouble> {
        self.map_err(|failure| Trouble::Aws(failure, what))
    }
}

const LOOK: &str = "the stack could not be looked at";
const MAKE: &str = "the stack could not be made";
const CHANGE: &str = "the stack could not be changed";
const REMOVE: &str = "the stack could not be removed";
const ADMIT: &str = "the access key could not be made";
const EXPEL: &str = "access could not be withdrawn";
const RESOURCES: &str = "resources";
const OBJECTS: &str = "objects";

/// Under way: what, how far and when to look again.
struct Pending(Duration, String, Option<Progress>);

impl From<Pending> for Ensured {
    fn from(Pending(after, message, progress): Pending) -> Self {
        Self::Pending { after, message, progress }
    }
}

impl From<Pending> for Released {
    fn from(Pending(after, message, progress): Pending) -> Self {
        Self::Pending { after, message, progress }
    }
}

impl CloudFormationDriver {
    /// A driver with the credentials that the SDK finds (environment, profile, role of the machine).
    ///
    /// # Errors
    /// When the settings cannot work, or no region is known.
    pub async fn open(settings: CloudFormationSettings) -> Result<Self, SettingsError> {
        let config = settings.aws.load(settings::PATIENCE).await;
        Self::with_failpoints(settings, &config, NoFailpoints::shared())
    }

    /// The same over a loaded configuration, with failpoints, for tests.
    ///
    /// # Errors
    /// As [`CloudFormationDriver::open`].
    pub fn with_failpoints(
        settings: CloudFormationSettings,
        config: &SdkConfig,
        failpoints: SharedFailpoints,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let region = config.region().ok_or(SettingsError::NoRegion)?.to_string();
        // What stands in for AWS rarely answers to a host name per bucket.
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some()).build();
        Ok(Self(Arc::new(Parts {
            settings,
            region,
            calls: Calls(aws_sdk_cloudformation::Client::new(config)),
            keys: Keys(aws_sdk_iam::Client::new(config)),
            buckets: Bucket(aws_sdk_s3::Client::from_conf(s3)),
            failpoints,
        })))
    }
}

/// The name of a channel's stack, and the start of the names of what is in it.
fn name(channel: ChannelId) -> String {
    format!("headgate-ch-{}", channel.uuid().simple())
}

impl Parts {
    fn reach(&self, effect: Effect) -> Result<(), Trouble> {
        Ok(self.failpoints.reach(Failpoint::Stack(effect))?)
    }

    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, Trouble> {
        let unknown = |what: String| DriverError::Permanent { code: "unknown_template", message: what };
        let template = Template::of(spec.direction, &spec.profile)
            .ok_or_else(|| unknown(format!("there is no template for data-{}/{}", spec.direction, spec.profile)))?;
        if !template.has_size(&spec.size) {
            return Err(unknown(format!("the template has no size {}", spec.size)).into());
        }
        let (name, mut desired) = (name(spec.channel), self.settings.parameters(spec, &template));
        let Some(found) = self.calls.describe(&name).await.about(LOOK)? else {
            return self.create(spec, &template, &name, &desired).await;
        };
        if !found.is_of(&self.settings.installation, spec.tenant, spec.channel) {
            return Err(foreign().into());
        }
        // Another one would be a new queue, and the messages of the old one would go with it.
        if let Some(made_with) = found.parameters.get(stack::ORDERED) {
            desired.insert(stack::ORDERED.to_owned(), made_with.clone());
        }
        let resources = template.resources(spec.client_principal.is_some());
        match found.standing() {
            Standing::Whole => match found.next(&template, &desired) {
                Next::Update(parameters) => self.update(spec, &template, &found, &name, &parameters).await,
                Next::Ready => {
                    let binding = found.binding(&self.region, spec.channel);
                    Ok(Ensured::Ready(binding.ok_or_else(|| DriverError::retry("the stack lacks an output"))?))
                }
            },
            Standing::Making => Ok(self.under_way(&found, Some(resources)).await.into()),
            Standing::Busy | Standing::Leaving => Ok(self.under_way(&found, None).await.into()),
            Standing::Failed => {
                let error = self.failed_for(&found, "the stack could not be made").await?;
                // What cannot be had is removed with the order; what may work later needs the name.
                if matches!(error, DriverError::Retry { .. }) {
                    self.calls.delete(&found.id).await.about(REMOVE)?;
                    self.reach(Effect::RemovalAsked)?;
                }
                Err(error.into())
            }
            Standing::Stuck => {
                let error = self.failed_for(&found, "the stack could not be changed back").await?;
                self.calls.continue_rollback(&found.id).await.about(CHANGE)?;
                Err(error.into())
            }
            // What is left of a removal has to go before the name is free again.
            Standing::Remains => Ok(match self.remove(&found).await? {
                Released::Pending { after, message, progress } => Ensured::Pending { after, message, progress },
                Released::Gone => Pending(self.settings.poll, "the former stack is gone".to_owned(), None).into(),
            }),
            Standing::Unknown => Err(unexpected(&found).into()),
        }
    }

    async fn create(
        &self,
        spec: &ResourceSpec,
        template: &Template,
        name: &str,
        desired: &Parameters,
    ) -> Result<Ensured, Trouble> {
        let token = format!("{}-create-{}", spec.order.uuid().simple(), spec.attempt);
        let tags = self.settings.tags(spec);
        let wanted = Wanted { name, template: template.text, parameters: desired, tags: &tags, token: &token };
        // A name that is taken by now is looked at the next time.
        self.calls.create(&wanted).await.about(MAKE)?;
        self.reach(Effect::StackAsked)?;
        let total = template.resources(spec.client_principal.is_some());
        let progress = Progress { done: 0, total: Some(total), unit: RESOURCES.to_owned() };
        Ok(Pending(self.settings.poll, "the stack is being made".to_owned(), Some(progress)).into())
    }

    async fn update(
        &self,
        spec: &ResourceSpec,
        template: &Template,
        found: &Stack,
        name: &str,
        parameters: &Parameters,
    ) -> Result<Ensured, Trouble> {
        let step = parameters.get(stack::SHARD_STEP).map_or("0", String::as_str);
        let token = format!("{}-{}-{}-{step}", spec.order.uuid().simple(), spec.size, spec.attempt);
        if found.status.as_str() == "UPDATE_ROLLBACK_COMPLETE" {
            let operation = self.calls.last_operation(&found.id).await.about(LOOK)?;
            // It was this very request that failed; the next attempt is another one.
            if operation.token.as_deref() == Some(&token) {
                return Err(failed(&operation, found, "the stack could not be changed").into());
            }
        }
        // A user with keys would stay behind when a role takes its place.
        if parameters.get(stack::CLIENT_PRINCIPAL).is_some_and(|principal| !principal.is_empty())
            && let Some(user) = found.output("ClientUserName")
        {
            self.keys.end(user, &[]).await.about(EXPEL)?;
        }
        let tags = self.settings.tags(spec);
        let wanted = Wanted { name, template: template.text, parameters, tags: &tags, token: &token };
        self.calls.update(&wanted).await.about(CHANGE)?;
        self.reach(Effect::ChangeAsked)?;
        Ok(Pending(self.settings.poll, "the stack is being changed".to_owned(), None).into())
    }

    /// Removes a stack of which something is there.
    async fn remove(&self, found: &Stack) -> Result<Released, Trouble> {
        let mut failure = None;
        match found.standing() {
            Standing::Busy | Standing::Leaving => return Ok(self.under_way(found, None).await.into()),
            Standing::Unknown => return Err(unexpected(found).into()),
            Standing::Remains => failure = Some(self.failed_for(found, "the stack could not be removed").await?),
            Standing::Making | Standing::Whole | Standing::Failed | Standing::Stuck => {}
        }
        for (kind, physical, _) in self.made(found).await? {
            match kind.as_str() {
                "AWS::IAM::User" => self.keys.end(&physical, &[]).await.about(EXPEL)?,
                "AWS::S3::Bucket" => {
                    let emptied = self.buckets.empty(&physical).await?;
                    if !emptied.empty {
                        let progress = Progress { done: emptied.removed, total: None, unit: OBJECTS.to_owned() };
                        let message = "the bucket is being emptied".to_owned();
                        return Ok(Pending(Duration::ZERO, message, Some(progress)).into());
                    }
                }
                _ => {}
            }
        }
        self.reach(Effect::Cleared)?;
        self.calls.delete(&found.id).await.about(REMOVE)?;
        self.reach(Effect::RemovalAsked)?;
        match failure {
            // A removal that failed counts as an attempt, although the next one is under way.
            Some(error) => Err(error.into()),
            None => Ok(Pending(self.settings.poll, "the stack is being removed".to_owned(), None).into()),
        }
    }

    /// (type, physical id, logical id) of what a stack made.
    async fn made(&self, found: &Stack) -> Result<Vec<(String, String, String)>, Trouble> {
        let resources = self.calls.resources(&found.id).await.about(LOOK)?;
        let named = resources.into_iter().filter_map(|one| {
            let physical = one.physical_resource_id.filter(|id| !id.is_empty())?;
            Some((one.resource_type?, physical, one.logical_resource_id?))
        });
        Ok(named.collect())
    }

    /// The stack of a channel, when it is there and its own.
    async fn own(&self, tenant: TenantId, channel: ChannelId) -> Result<Option<Stack>, Trouble> {
        let found = self.calls.describe(&name(channel)).await.about(LOOK)?;
        match found {
            Some(stack) if !stack.is_of(&self.settings.installation, tenant, channel) => Err(foreign().into()),
            found => Ok(found),
        }
    }

    /// What is going on, with the progress that the events tell. They are not needed to go on.
    async fn under_way(&self, found: &Stack, total: Option<u64>) -> Pending {
        let operation = match self.calls.last_operation(&found.id).await {
            Ok(operation) => operation,
            Err(failure) => {
                tracing::debug!(?failure, "the events of a stack could not be read");
                Operation::default()
            }
        };
        let at = operation.at().map(|at| format!(": {at}")).unwrap_or_default();
        let message = match operation.cause() {
            Some((name, reason)) => format!("{} because of {name}: {}", found.status.as_str(), told(reason)),
            None => format!("{}{at}", found.status.as_str()),
        };
        let progress = Progress { done: operation.done(), total, unit: RESOURCES.to_owned() };
        Pending(self.settings.poll, message, Some(progress))
    }

    async fn failed_for(&self, found: &Stack, what: &str) -> Result<DriverError, Trouble> {
        let operation = self.calls.last_operation(&found.id).await.about(LOOK)?;
        Ok(failed(&operation, found, what))
    }
}

/// Why a stack is not as asked for: the first resource that failed.
fn failed(operation: &Operation, found: &Stack, what: &str) -> DriverError {
    match operation.cause() {
        // IAM names principals that do not exist so; asking again does not make them.
        Some(("ClientRole", reason)) if reason.contains("principal") => {
            DriverError::Permanent { code: "client_principal_refused", message: format!("{what}: {}", told(reason)) }
        }
        Some((name, reason)) => DriverError::retry(format!("{what}: {name}: {}", told(reason))),
        None => DriverError::retry(format!("{what}: {}", told(found.reason.as_deref().unwrap_or("without a reason")))),
    }
}

fn foreign() -> DriverError {
    let message = "a stack of this name belongs to somebody else".to_owned();
    DriverError::Permanent { code: "foreign_resource", message }
}

fn unexpected(found: &Stack) -> DriverError {
    DriverError::retry(format!("the stack is in {}, where nothing can be done with it", found.status.as_str()))
}

/// Being asked to slow down is no failure: the order waits and keeps its attempts.
fn patient<T: From<Pending>>(result: Result<T, Trouble>) -> Result<T, DriverError> {
    match result {
        Err(Trouble::Aws(failure, _)) if failure.kind() == Kind::Throttled => {
            Ok(Pending(SLOW_DOWN, "AWS asks to slow down".to_owned(), None).into())
        }
        Err(trouble) => Err(trouble.into()),
        Ok(done) => Ok(done),
    }
}

#[async_trait]
impl Driver for CloudFormationDriver {
    fn name(&self) -> &'static str {
        "cloudformation"
    }

    fn admits_clients(&self) -> bool {
        true
    }

    async fn ensure(&self, spec: &ResourceSpec) -> Result<Ensured, DriverError> {
        patient(self.0.ensure(spec).await)
    }

    async fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<Released, DriverError> {
        let found = match self.0.own(tenant, channel).await {
            Ok(None) => return Ok(Released::Gone),
            Ok(Some(found)) => found,
            Err(trouble) => return patient(Err(trouble)),
        };
        patient(self.0.remove(&found).await)
    }

    async fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError> {
        let found = self.0.calls.describe(&name(channel)).await.about(LOOK)?;
        let Some(found) = found.filter(|found| found.is_of(&self.0.settings.installation, tenant, channel)) else {
            return Ok(Observed::Absent);
        };
        let binding = found.binding(&self.0.region, channel).filter(|_| found.standing() == Standing::Whole);
        Ok(binding.map_or(Observed::Partial, Observed::Present))
    }

    async fn list(&self) -> Result<Vec<ChannelId>, DriverError> {
        let found = self.0.calls.all().await.about(LOOK)?;
        Ok(found.iter().filter_map(|stack| stack.channel(&self.0.settings.installation)).collect())
    }

    async fn admit(&self, tenant: TenantId, channel: ChannelId, keep: &[String]) -> Result<Admission, DriverError> {
        let found = self.0.own(tenant, channel).await?;
        let Some(user) = found.as_ref().and_then(|found| found.output("ClientUserName")) else {
            return match found.as_ref().and_then(|found| found.output("ClientRoleArn")) {
                Some(_) => Ok(Admission::Role),
                None => Err(DriverError::retry("there is nobody yet to let in")),
            };
        };
        self.0.keys.end(user, keep).await.about(EXPEL)?;
        let made = self.0.keys.make(user).await.about(ADMIT)?;
        self.0.reach(Effect::KeyMade)?;
        Ok(Admission::Key(made.ok_or_else(|| DriverError::retry(ADMIT))?))
    }

    async fn end_keys(&self, tenant: TenantId, channel: ChannelId, keep: &[String]) -> Result<(), DriverError> {
        let found = self.0.own(tenant, channel).await?;
        if let Some(user) = found.as_ref().and_then(|found| found.output("ClientUserName")) {
            self.0.keys.end(user, keep).await.about(EXPEL)?;
        }
        Ok(())
    }

    async fn expel(&self, tenant: TenantId, channel: ChannelId) -> Result<(), DriverError> {
        let Some(found) = self.0.own(tenant, channel).await? else { return Ok(()) };
        for (kind, physical, logical) in self.0.made(&found).await? {
            match (kind.as_str(), logical.as_str()) {
                ("AWS::IAM::User", _) => self.0.keys.end(&physical, &[]).await.about(EXPEL)?,
                ("AWS::IAM::Role", "ClientRole") => self.0.keys.strip(&physical).await.about(EXPEL)?,
                _ => {}
            }
        }
        Ok(self.0.reach(Effect::Expelled)?)
    }
}
