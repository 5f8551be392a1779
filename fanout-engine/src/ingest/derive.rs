//! Turns the side streams of the logs into receipts, dead letters, usage and alerts: each entry
//! once, because the cursor over them moves in the same transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Db;
use headgate_events::{Events, NewEvent};
use headgate_lake::{Lake, SideEntry};
use headgate_metering::{Dims, Meter, RecordKind, UsageRecord};
use headgate_types::{ChannelId, ElementId, FeedId, SharedClock, TenantId};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::IngestParts;
use super::drain::Place;
use super::side::{PayloadPart, Refusal, Side};
use super::store;
use crate::error::EngineFault;
use crate::events::{RefusedRecord, SchemaMismatch};

/// Entries taken at once.
const ENTRIES: usize = 256;
/// How often the streams are looked at when nothing is announced.
const POLL: Duration = Duration::from_secs(1);
/// A channel's mismatches are announced this often at most; the counts add up in between.
const ALERT_EVERY: TimeDelta = TimeDelta::seconds(60);
/// Who counted, in usage records.
const SOURCE: &str = "engine";

/// Derives what tenants see of ingestion.
#[derive(Debug)]
pub struct Deriver {
    lake: Lake,
    control: Db,
    data: Db,
    clock: SharedClock,
    events: Events,
    alerts: Mutex<HashMap<ChannelId, Alert>>,
}

/// Mismatches of a channel since the last announcement.
#[derive(Debug, Default)]
struct Alert {
    announced_at: Option<DateTime<Utc>>,
    count: u64,
    newest: Option<(ElementId, Refusal)>,
}

impl Deriver {
    /// A deriver that stands where its cursor stands.
    pub fn new(parts: &IngestParts) -> Self {
        Self {
            lake: parts.lake.clone(),
            control: parts.control.clone(),
            data: parts.data.clone(),
            clock: Arc::clone(&parts.clock),
            events: parts.events.clone(),
            alerts: Mutex::default(),
        }
    }

    /// Derives until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut news = self.lake.log().watch_side();
        let mut stale = Some(self.read_through());
        while !shutdown.is_cancelled() {
            let worked = self.run_once().await;
            if let Err(error) = &worked {
                tracing::warn!(%error, "failed to derive receipts; will retry");
            }
            // Also while there is always more to derive, or a busy platform would announce nothing.
            if let Err(error) = self.announce().await {
                tracing::warn!(%error, "failed to announce mismatches; will retry");
            }
            if matches!(worked, Ok(true)) {
                continue;
            }
            // Only what is derived, all of it, may go.
            if worked.is_ok()
                && let Some(places) = stale.take()
                && let Err(error) = self.free(&places).await
            {
                tracing::warn!(%error, "failed to free payloads that were decided before the start; will retry");
                stale = Some(places);
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout(POLL, news.changed()) => {}
            }
        }
    }

    /// How far the commits of every feed go now.
    fn read_through(&self) -> Vec<(ChannelId, FeedId, u64)> {
        let log = self.lake.log();
        let positions = log.elements().into_iter().flat_map(|element| log.positions(element));
        positions
            .filter_map(|position| Some((position.channel, position.feed, Place::read(&position.value)?.read_after())))
            .collect()
    }

    /// Frees what was decided and derived before a crash or a restored file kept it from being freed.
    async fn free(&self, places: &[(ChannelId, FeedId, u64)]) -> Result<(), EngineFault> {
        for (channel, feed, up_to) in places {
            if *up_to > 0 {
                self.lake.landing().free(*channel, *feed, *up_to).await?;
            }
        }
        Ok(())
    }

    /// One step; returns whether there was anything.
    pub async fn run_once(&self) -> Result<bool, EngineFault> {
        let mut tx = self.data.platform().await?;
        let from = store::cursor(&mut tx).await?;
        let entries = self.lake.log().read_side(from, ENTRIES).await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(false) };
        let mut usage: BTreeMap<(TenantId, ChannelId, String, ElementId), Sums> = BTreeMap::new();
        let mut freed: HashMap<(ChannelId, FeedId), u64> = HashMap::new();
        let mut refusals = Vec::new();
        for entry in &entries {
            for side in decode(entry)? {
                match side {
                    Side::Payload(part) => {
                        tx.act_for(part.origin.tenant).await?;
                        let is_new = store::add_part(&mut tx, entry.element, &part, entry.committed_at).await?;
                        if part.done {
                            freed.insert((part.origin.channel, part.origin.feed), part.sequence);
                        }
                        if !is_new {
                            continue;
                        }
                        let key =
                            (part.origin.tenant, part.origin.channel, part.origin.feed_name.clone(), entry.element);
                        usage.entry(key).or_insert_with(|| Sums::new(&part, entry)).add(&part);
                    }
                    Side::DeadLetter(refusal) => {
                        tx.act_for(refusal.origin.tenant).await?;
                        store::add_dead_letter(&mut tx, entry.element, &refusal, entry.committed_at).await?;
                        refusals.push((entry.element, refusal));
                    }
                }
            }
        }
        for ((tenant, channel, feed, element), sums) in usage {
            tx.act_for(tenant).await?;
            for (meter, quantity) in sums.meters() {
                let fact = UsageRecord {
                    tenant,
                    source: SOURCE.to_owned(),
                    // Commits are numbered over all elements and never twice, and each is derived
                    // in one step.
                    id: format!("{channel}:{feed}:commits:{}-{last}:{meter}", from + 1),
                    meter,
                    channel: Some(channel),
                    element: Some(element),
                    range: None,
                    quantity: i64::try_from(quantity).unwrap_or(i64::MAX),
                    event_time: sums.at,
                    stored_at: self.clock.now(),
                    dims: sums.dims.clone(),
                    kind: RecordKind::Usage,
                    corrects_id: None,
                };
                headgate_metering::record(&mut tx, &fact).await?;
            }
        }
        if !store::move_cursor(&mut tx, from, last).await? {
            return Ok(true);
        }
        tx.commit().await?;
        headgate_types::reach(headgate_types::Failpoint::SideDerived);
        self.count(refusals);
        for ((channel, feed), up_to) in freed {
            self.lake.landing().free(channel, feed, up_to).await?;
        }
        self.lake.log().free_side(last).await?;
        Ok(true)
    }

    fn count(&self, refusals: Vec<(ElementId, Refusal)>) {
        let mut alerts = self.alerts.lock();
        for (element, refusal) in refusals {
            let alert = alerts.entry(refusal.origin.channel).or_default();
            alert.count += 1;
            alert.newest = Some((element, refusal));
        }
    }

    /// Raises `schema.mismatch` for channels with news, at most once a minute each.
    async fn announce(&self) -> Result<(), EngineFault> {
        let now = self.clock.now();
        let due: Vec<(u64, ElementId, Refusal)> = {
            let mut alerts = self.alerts.lock();
            let due = alerts.values_mut().filter(|alert| alert.announced_at.is_none_or(|at| now - at >= ALERT_EVERY));
            due.filter_map(|alert| {
                let (element, refusal) = alert.newest.take()?;
                alert.announced_at = Some(now);
                Some((std::mem::take(&mut alert.count), element, refusal))
            })
            .collect()
        };
        for (count, element, refusal) in due {
            let mut tx = self.control.platform().await?;
            tx.act_for(refusal.origin.tenant).await?;
            let newest = RefusedRecord {
                dead_letter: refusal.id(),
                receipt: refusal.origin.receipt,
                ordinal: refusal.ordinal,
                code: refusal.code,
                reason: refusal.reason,
                field_path: refusal.field_path,
            };
            let (channel, feed) = (refusal.origin.channel, refusal.origin.feed_name);
            let data = SchemaMismatch { channel, feed, element, refused: count, newest };
            let event = NewEvent::new(refusal.origin.tenant, channel, &data);
            headgate_events::emit(&mut tx, &self.clock, event).await?;
            tx.commit().await?;
            headgate_types::reach(headgate_types::Failpoint::MismatchAnnounced);
            self.events.announce();
        }
        Ok(())
    }
}

fn decode(entry: &SideEntry) -> Result<Vec<Side>, EngineFault> {
    let item = |item: &Vec<u8>| {
        serde_json::from_slice(item)
            .map_err(|error| EngineFault::Invariant(format!("a side item cannot be read: {error}")))
    };
    entry.items.iter().map(item).collect()
}

/// What one step bills of one feed.
struct Sums {
    at: DateTime<Utc>,
    dims: Dims,
    records: u64,
    bytes: u64,
    refused: u64,
}

impl Sums {
    fn new(part: &PayloadPart, entry: &SideEntry) -> Self {
        let dims = Dims {
            channel_profile: Some(part.profile.clone()),
            performance_profile: Some(part.size.clone()),
            timing: Some(part.timing.clone()),
            price_key: None,
        };
        Self { at: entry.committed_at, dims, records: 0, bytes: 0, refused: 0 }
    }

    fn add(&mut self, part: &PayloadPart) {
        self.records += part.records;
        self.bytes += part.bytes;
        self.refused += part.refused;
    }

    fn meters(&self) -> impl Iterator<Item = (Meter, u64)> {
        let meters = [
            (Meter::IngestRecords, self.records),
            (Meter::IngestBytes, self.bytes),
            (Meter::DeadletterRecords, self.refused),
        ];
        meters.into_iter().filter(|(_, quantity)| *quantity > 0)
    }
}
