//! Writing what is observed of channels into the catalog, and telling their owners.

use headgate_catalog::channels::{self, ChannelHead, NewCondition};
use headgate_catalog::elements;
use headgate_events::NewEvent;
use headgate_types::channel::{ConditionStatus, ConditionType};

use super::Runtime;
use super::observed::Reading;
use crate::error::EngineFault;
use crate::events::{DeliveryDegraded, ElementFenced, SchemaIncompatible};

/// What changed of one channel since it was last written.
struct News {
    head: ChannelHead,
    /// Every condition as it reads now.
    readings: Vec<Reading>,
    /// Those of them that differ.
    changed: Vec<Reading>,
    generation: Option<u64>,
    /// Deliveries began to fail, for this reason.
    degraded: Option<String>,
    /// The resource was found restored or ahead of the log, with what is done about it.
    restored: Option<String>,
}

impl Runtime {
    /// Writes what changed.
    pub(super) async fn write_observed(&self) -> Result<(), EngineFault> {
        for news in self.news() {
            // One channel whose row cannot be written must not keep the others waiting.
            if let Err(error) = self.write(&news).await {
                tracing::warn!(channel = %news.head.id, %error, "failed to write what is observed; will retry");
                continue;
            }
            if let Some(running) = self.running.lock().get_mut(&news.head.id) {
                running.written = news.readings;
                running.generation = news.generation.unwrap_or(running.generation);
                running.degraded |= news.degraded.is_some();
                let mut observed = running.observed.lock();
                if observed.restored == news.restored {
                    observed.restored = None;
                }
            }
        }
        Ok(())
    }

    /// Tells the owners of fenced elements; the error log has it already, for the operators.
    pub(super) async fn write_fenced(&self) -> Result<(), EngineFault> {
        let context = &self.surroundings.context;
        self.fenced.lock().extend(context.lake.take_fenced());
        loop {
            let Some(fenced) = self.fenced.lock().last().copied() else { return Ok(()) };
            let mut tx = self.control.platform().await?;
            // An element that was removed has nobody to be told.
            if let Some(element) = elements::find(&mut tx, fenced.element).await? {
                tx.act_for(element.owner).await?;
                let headgate_lake::Fenced { head, seen, epoch, .. } = fenced;
                let data = ElementFenced { element: fenced.element, name: element.name, head, seen, epoch };
                let event = NewEvent::new(element.owner, fenced.element, &data);
                headgate_events::emit(&mut tx, &context.clock, event).await?;
            }
            tx.commit().await?;
            self.fenced.lock().pop();
        }
    }

    fn news(&self) -> Vec<News> {
        let mut all = self.running.lock();
        let news = all.values_mut().filter_map(|running| {
            let observed = running.observed.lock();
            let readings = observed.conditions();
            let changed: Vec<_> =
                readings.iter().filter(|reading| !running.written.contains(reading)).cloned().collect();
            let generation = (observed.generation > running.generation).then_some(observed.generation);
            running.degraded &= observed.degraded;
            let reason = || observed.last_error.clone().unwrap_or_default();
            let degraded = (observed.degraded && !running.degraded).then(reason);
            let restored = observed.restored.clone();
            let any = !changed.is_empty() || generation.is_some() || degraded.is_some() || restored.is_some();
            any.then_some(News { head: running.head, readings, changed, generation, degraded, restored })
        });
        news.collect()
    }

    async fn write(&self, news: &News) -> Result<(), EngineFault> {
        let (tenant, channel) = (news.head.tenant, news.head.id);
        let clock = &self.surroundings.context.clock;
        let mut tx = self.control.platform().await?;
        tx.act_for(tenant).await?;
        for reading in &news.changed {
            let new = NewCondition {
                condition: reading.condition,
                status: reading.status,
                reason: reading.reason,
                message: &reading.message,
            };
            let changed = channels::set_condition(&mut tx, tenant, channel, new, clock.now()).await?;
            // Not after every restart: the condition stands in the catalog.
            if changed
                && reading.condition == ConditionType::SchemaCompatible
                && reading.status == ConditionStatus::False
            {
                let data = SchemaIncompatible { channel, reason: reading.message.clone() };
                let event = NewEvent::new(tenant, channel, &data);
                headgate_events::emit(&mut tx, clock, event).await?;
            }
        }
        if let Some(generation) = news.generation {
            channels::set_observed(&mut tx, tenant, channel, generation).await?;
        }
        for reason in news.degraded.iter().chain(&news.restored) {
            let data = DeliveryDegraded { channel, reason: reason.clone() };
            let event = NewEvent::new(tenant, channel, &data);
            headgate_events::emit(&mut tx, clock, event).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
