//! Makes what is open agree with what the catalog wants of data-in channels.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_catalog::channels::{self, ChannelHead, NewCondition};
use headgate_catalog::{ChannelSpec, Desired, elements};
use headgate_database::Tx;
use headgate_lake::{ElementLayout, Share};
use headgate_types::ChannelId;
use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType};
use headgate_types::limits::Limits;
use headgate_types::timing::Timing;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::channel::{Allowance, Gate, OpenChannel, OpenFeed};
use super::drain::Drain;
use super::source::{self, CloudSource, Standing};
use super::writer::Writer;
use super::{COMMIT_BUDGET, Ingest, Running};
use crate::conform::InputPlan;
use crate::error::EngineFault;
use crate::passes::Listed;

/// Looks at the catalog this often even when nobody woke it.
const POLL: Duration = Duration::from_secs(1);
/// The longest a drain sleeps before it looks at the landing zone and the clock again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The wait after a drain failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Ingest {
    /// Runs everything until `shutdown`; every task has ended when it returns.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut deriver = tokio::spawn(Arc::clone(&self.deriver).run(shutdown.clone()));
        let mut failed = None;
        while !shutdown.is_cancelled() && failed.is_none() {
            if let Err(error) = self.reconcile().await {
                tracing::warn!(%error, "failed to reconcile data-in channels; will retry");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.changed.wait(POLL) => {}
                // Without it nothing is accounted for: whoever runs this is to hear of it.
                ended = &mut deriver => failed = Some(ended),
            }
        }
        self.tasks.cancel();
        let running: Vec<Running> = self.channels.write().drain().map(|(_, running)| running).collect();
        for task in running.into_iter().flat_map(|running| running.tasks) {
            ended(task.await);
        }
        match failed {
            Some(failed) => ended(failed),
            None => ended(deriver.await),
        }
    }

    /// One pass.
    ///
    /// # Errors
    /// When the catalog cannot be read; the next pass starts over.
    pub async fn reconcile(self: &Arc<Self>) -> Result<(), EngineFault> {
        let pass = self.passes.begin();
        let anyway = self.channels.read().values().any(|running| running.is_to_follow());
        if let Some(Listed { heads, versions }) = self.followed.look(&self.parts.control, anyway).await? {
            let all = self.follow_all(heads).await;
            self.followed.note(versions, all);
        }
        self.passes.complete(pass);
        Ok(())
    }

    /// Makes what is open agree with the channels there are; `false`: of some it could not yet.
    async fn follow_all(self: &Arc<Self>, heads: Vec<ChannelHead>) -> bool {
        let listed: HashSet<ChannelId> = heads.iter().map(|head| head.id).collect();
        let mut all = true;
        for head in heads {
            // One channel that cannot be read must not keep the others waiting.
            if let Err(error) = self.follow(head).await {
                tracing::warn!(channel = %head.id, %error, "failed to follow a data-in channel; will retry");
                all = false;
            }
        }
        let gone: Vec<ChannelId> = self.channels.read().keys().filter(|id| !listed.contains(id)).copied().collect();
        for channel in gone {
            match self.end(channel).await {
                Ok(ended) => all &= ended,
                Err(error) => {
                    tracing::warn!(%channel, %error, "failed to remove what a channel that has ended had landed");
                    all = false;
                }
            }
        }
        all
    }

    async fn follow(self: &Arc<Self>, head: ChannelHead) -> Result<(), EngineFault> {
        let known = self
            .channels
            .read()
            .get(&head.id)
            .map(|running| (running.channel.version, running.has_ended(), running.has_news()));
        let (ended, stands) = match known {
            Some((version, ended, _)) => (ended, !ended && version == head.version),
            None => (false, false),
        };
        if ended {
            tracing::error!(channel = %head.id, "a task had ended; the channel is opened anew");
        }
        if !stands || known.is_some_and(|(_, _, news)| news) {
            let mut tx = self.parts.control.read_platform().await?;
            let Some(desired) = channels::desired(&mut tx, head.tenant, head.id).await? else { return Ok(()) };
            let deleting = desired.channel.state == ChannelState::Deleting;
            if deleting && channels::condition_holds(&mut tx, head.tenant, head.id, ConditionType::Drained).await? {
                return Ok(());
            }
            if !(deleting || (desired.channel.binding.is_some() && desired.lanes.live)) {
                return Ok(());
            }
            if stands {
                drop(tx);
                self.tell(&desired).await?;
            } else {
                match self.open(&mut tx, &desired).await {
                    Ok(channel) => {
                        drop(tx);
                        self.replace(channel).await;
                        self.tell(&desired).await?;
                    }
                    Err(error) => {
                        drop(tx);
                        self.observe(&desired, &Standing::Opening(Some(error.to_string()))).await?;
                        return Err(error);
                    }
                }
            }
        }
        if head.state == ChannelState::Deleting {
            self.drained(head).await?;
        }
        Ok(())
    }

    /// The channel as it is wanted, compiled.
    async fn open(&self, tx: &mut Tx, desired: &Desired) -> Result<OpenChannel, EngineFault> {
        let channel = &desired.channel;
        let ChannelSpec::In(spec) = &channel.spec else {
            return Err(EngineFault::Invariant(format!("{} is listed as data-in and is not", channel.id)));
        };
        let mut feeds = HashMap::new();
        for feed in &desired.feeds {
            let element = elements::find(tx, feed.element).await?.ok_or(EngineFault::NotFound("element"))?;
            let version = elements::schema(tx, feed.element).await?;
            let layout = ElementLayout {
                element: feed.element,
                kind: element.kind,
                schema_id: version.id,
                schema: version.schema,
            };
            let plan = InputPlan::compile(layout.kind, &layout.schema, &feed.input_model).map_err(|fields| {
                let detail = format!("the input model of feed {:?} does not fit its element", feed.name);
                EngineFault::Refused { code: "model_incompatible", detail, fields }
            })?;
            self.parts.lake.register(layout.clone()).await?;
            let open = OpenFeed { feed: feed.clone(), plan: Arc::new(plan), writer: self.writer(layout)? };
            feeds.insert(feed.name.clone(), Arc::new(open));
        }
        let gate = match channel.state {
            ChannelState::Paused | ChannelState::Suspended => Gate::Paused,
            ChannelState::Deleting => Gate::Draining,
            _ => Gate::Open,
        };
        let source = match &channel.binding {
            Some(binding) => CloudSource::of(binding).map_err(EngineFault::Invariant)?,
            None => None,
        };
        Ok(OpenChannel {
            tenant: channel.tenant,
            id: channel.id,
            version: channel.version,
            profile: channel.profile.clone(),
            size: channel.size.clone(),
            gate,
            source,
            timing: spec.timing.clone(),
            allowance: self.allowance(channel.id, &channel.limits),
            limits: channel.limits.clone(),
            feeds,
        })
    }

    /// What of these limits is used up by now.
    fn allowance(&self, channel: ChannelId, limits: &Limits) -> Arc<Allowance> {
        match self.channels.read().get(&channel) {
            Some(running) => {
                running.channel.allowance.resize(limits);
                Arc::clone(&running.channel.allowance)
            }
            None => Allowance::full(limits),
        }
    }

    /// The writer of an element: one per element, whatever feeds and channels write it.
    fn writer(&self, layout: ElementLayout) -> Result<Arc<Writer>, EngineFault> {
        std::fs::create_dir_all(&self.parts.projections)?;
        let mut writers = self.writers.lock();
        if let Some(writer) = writers.get(&layout.element)
            && *writer.layout() == layout
        {
            return Ok(Arc::clone(writer));
        }
        let file = self.projection(layout.element);
        let element = layout.element;
        let writer = Arc::new(Writer::new(self.parts.lake.clone(), Arc::new(layout), file));
        writers.insert(element, Arc::clone(&writer));
        Ok(writer)
    }

    /// Takes over a channel: the old tasks end before the new ones begin.
    async fn replace(self: &Arc<Self>, channel: OpenChannel) {
        self.stop_tasks(channel.id).await;
        let (channel, stop) = (Arc::new(channel), self.tasks.child_token());
        let share = Share { tenant: channel.tenant, bytes: channel.limits.retention_bytes };
        self.parts.lake.landing().allot(channel.id, share);
        let drains = channel.feeds.values().map(|feed| {
            let task = FeedTask { ingest: Arc::clone(self), channel: Arc::clone(&channel), feed: Arc::clone(feed) };
            tokio::spawn(task.run(stop.clone()))
        });
        let mut tasks: Vec<_> = drains.collect();
        // What is not taken now stays where it is.
        let is_fetched = channel.source.is_some() && channel.gate == Gate::Open;
        let (say, standing) = watch::channel(if is_fetched { Standing::Opening(None) } else { Standing::Taking });
        if is_fetched {
            tasks.push(tokio::spawn(source::run(Arc::clone(self), Arc::clone(&channel), say, stop.clone())));
        }
        let running = Running { tasks, channel: Arc::clone(&channel), stop, standing, told: None };
        self.channels.write().insert(channel.id, running);
        if channel.gate == Gate::Draining {
            channel.allowance.deleting.cancel();
        }
    }

    /// Writes how the channel stands with its source, once that is known.
    async fn tell(&self, desired: &Desired) -> Result<(), EngineFault> {
        let id = desired.channel.id;
        let standing = self.channels.read().get(&id).map(|running| running.standing.borrow().clone());
        match standing {
            None | Some(Standing::Opening(None)) => Ok(()),
            Some(standing) => self.observe(desired, &standing).await,
        }
    }

    pub(super) async fn stop_tasks(&self, channel: ChannelId) {
        let tasks = {
            let mut channels = self.channels.write();
            let Some(running) = channels.get_mut(&channel) else { return };
            running.stop.cancel();
            std::mem::take(&mut running.tasks)
        };
        for task in tasks {
            ended(task.await);
        }
    }

    pub(super) async fn close(&self, channel: ChannelId) {
        self.stop_tasks(channel).await;
        self.channels.write().remove(&channel);
    }

    /// Whether somebody who found the channel's gate open is still on the way through it.
    fn is_entered(&self, channel: ChannelId) -> bool {
        self.channels.read().get(&channel).is_some_and(|running| !running.channel.allowance.is_idle())
    }

    /// Lets go of a channel and of all that has landed for it; false while somebody is on the way through its door.
    async fn end(&self, channel: ChannelId) -> Result<bool, EngineFault> {
        if let Some(running) = self.channels.read().get(&channel) {
            running.channel.allowance.deleting.cancel();
        }
        if self.is_entered(channel) {
            return Ok(false);
        }
        self.close(channel).await;
        self.parts.lake.landing().remove(channel).await?;
        self.parts.lake.log().forget_positions(channel).await?;
        Ok(true)
    }

    /// Writes what is observed of a channel.
    async fn observe(&self, desired: &Desired, seen: &Standing) -> Result<(), EngineFault> {
        let channel = &desired.channel;
        let mut tx = self.parts.control.platform().await?;
        tx.act_for(channel.tenant).await?;
        let syncing = channel.state == ChannelState::Active || channel.state == ChannelState::Provisioning;
        let readings = match seen {
            Standing::Taking => vec![
                (ConditionType::Serving, ConditionStatus::True, "Open", ""),
                (ConditionType::SchemaCompatible, ConditionStatus::True, "Compiled", ""),
                if syncing {
                    (ConditionType::Syncing, ConditionStatus::True, "Taking", "")
                } else {
                    (ConditionType::Syncing, ConditionStatus::False, "Stopped", "the channel takes nothing now")
                },
            ],
            Standing::Opening(why) => {
                let why = why.as_deref().unwrap_or_default();
                vec![(ConditionType::Serving, ConditionStatus::False, "CannotOpen", why)]
            }
            Standing::Troubled(why) => {
                vec![(ConditionType::Syncing, ConditionStatus::False, "Unreachable", why.as_str())]
            }
        };
        for (condition, status, reason, message) in readings {
            let new = NewCondition { condition, status, reason, message };
            channels::set_condition(&mut tx, channel.tenant, channel.id, new, self.parts.clock.now()).await?;
        }
        if *seen == Standing::Taking {
            channels::set_observed(&mut tx, channel.tenant, channel.id, channel.generation).await?;
        }
        tx.commit().await?;
        if let Some(running) = self.channels.write().get_mut(&channel.id) {
            running.told = (running.channel.version == channel.version).then(|| seen.clone());
        }
        Ok(())
    }

    /// Ends a channel that is being deleted, once everything it took is decided.
    async fn drained(&self, head: ChannelHead) -> Result<(), EngineFault> {
        // In this order: whatever came through the door has landed when nobody is at it.
        if self.is_entered(head.id) || self.parts.lake.landing().usage(head.id).payloads > 0 {
            return Ok(());
        }
        if !self.end(head.id).await? {
            return Ok(());
        }
        let mut tx = self.parts.control.platform().await?;
        tx.act_for(head.tenant).await?;
        let new = NewCondition {
            condition: ConditionType::Drained,
            status: ConditionStatus::True,
            reason: "Decided",
            message: "",
        };
        channels::set_condition(&mut tx, head.tenant, head.id, new, self.parts.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Running {
    /// Whether a task has ended, which it does only when it is told to, or by a panic.
    fn has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Whether it stands otherwise with its source than its owner was told.
    fn has_news(&self) -> bool {
        Some(&*self.standing.borrow()) != self.told.as_ref()
    }

    /// Whether there is something to do for it although its row did not change.
    fn is_to_follow(&self) -> bool {
        self.has_ended() || self.has_news() || self.channel.gate == Gate::Draining
    }
}

/// Drains one feed while its channel is open.
struct FeedTask {
    ingest: Arc<Ingest>,
    channel: Arc<OpenChannel>,
    feed: Arc<OpenFeed>,
}

impl FeedTask {
    async fn run(self, stop: CancellationToken) {
        let lake = &self.ingest.parts.lake;
        let mut landed = lake.landing().watch(self.feed.feed.channel, self.feed.feed.id);
        let file = self.ingest.parts.attempts.join(self.feed.feed.id.to_string());
        let mut attempts = Attempts::open(file);
        let mut tick = self.first_tick().await;
        let mut next = Instant::now();
        while stop.run_until_cancelled(sleep_until(next)).await.is_some() {
            let until = *landed.borrow_and_update();
            let wait = match tick {
                Some(at) if at > self.now() => Some((at - self.now()).to_std().unwrap_or_default().min(LOOK_AGAIN)),
                _ => None,
            };
            if let Some(wait) = wait {
                let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                continue;
            }
            let (channel, feed, stop) = (&self.channel, &self.feed, &stop);
            next = Instant::now() + COMMIT_BUDGET;
            let mut drain = Drain { lake, channel, feed, attempts: &mut attempts, stop };
            // A commit that is under way when the channel stops is finished: its rows are decided.
            if let Err(error) = drain.run(until).await {
                tracing::warn!(channel = %self.channel.id, feed = self.feed.feed.name, %error, "failed to conform; will retry");
                let _ = stop.run_until_cancelled(tokio::time::sleep(AFTER_FAILURE)).await;
                continue;
            }
            // Ticks that were missed are made up for by this one (DATA-PLANE rule 30).
            tick = self.tick_after(self.now());
            if tick.is_none() {
                let news = tokio::time::timeout(LOOK_AGAIN, landed.changed());
                let _ = stop.run_until_cancelled(news).await;
            }
        }
        if let Err(error) = attempts.close() {
            tracing::warn!(channel = %self.channel.id, %error, "failed to remove a count of attempts");
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.ingest.parts.clock.now()
    }

    /// The next tick; none where nothing waits for one.
    fn tick_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.channel.gate == Gate::Draining { None } else { self.channel.timing.next_tick(at) }
    }

    /// The tick that the oldest waiting payload is due at, which may be past.
    async fn first_tick(&self) -> Option<DateTime<Utc>> {
        if self.channel.timing == Timing::Immediate {
            return None;
        }
        let feed = &self.feed.feed;
        let waiting = self.ingest.parts.lake.landing().read(feed.channel, feed.id, 0, 1).await;
        let oldest = waiting.ok().and_then(|payloads| payloads.first().map(|payload| payload.landed_at));
        self.tick_after(oldest.unwrap_or_else(|| self.now()))
    }
}

fn ended(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a task of ingestion ended badly");
    }
}
