//! Turns the side streams of the logs into receipts, dead letters, usage and alerts: each entry
//! once, because the cursor over them moves in the same transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::{Db, Tx};
use headgate_events::{Events, NewEvent};
use headgate_lake::{Lake, SideEntry};
use headgate_metering::{Dims, Meter, RecordKind, UsageRecord};
use headgate_types::{ChannelId, ElementId, FeedId, SharedClock, TenantId};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::drain::Place;
use super::side::{PayloadPart, Refusal, Side};
use super::store::{self, Left};
use super::{COMMIT_BUDGET, IngestParts};
use crate::error::EngineFault;
use crate::events::{RefusedRecord, SchemaMismatch};

/// Entries taken at once.
const ENTRIES: usize = 256;
/// Bytes of them, about: on SQLite nobody else writes into the data database while a step does.
const STEP_BYTES: usize = 8 << 20;
/// How often the streams are looked at when nothing is announced.
const POLL: Duration = Duration::from_secs(1);
/// A channel's mismatches are announced this often at most; the counts add up in between.
const ALERT_EVERY: TimeDelta = TimeDelta::seconds(60);
/// When an alert that could not be raised is tried again.
const TELL_AGAIN: TimeDelta = TimeDelta::seconds(5);
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

/// How a step goes about what it derives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Many entries in one transaction.
    Together,
    /// One entry: another one may hold a text that the database does not take.
    Alone,
    /// One entry, and of its refused records everything but the words: nobody waits for what one tenant sent.
    Wordless,
}

/// What a channel's owner is still to be told.
#[derive(Debug, Default)]
struct Alert {
    /// Nothing is told before.
    not_before: DateTime<Utc>,
    untold: Option<Mismatches>,
}

/// Refused records of a channel.
#[derive(Debug)]
struct Mismatches {
    count: u64,
    element: ElementId,
    /// The newest, without its record.
    newest: Refusal,
}

impl Alert {
    fn add(&mut self, element: ElementId, refusal: Refusal) {
        let count = self.untold.as_ref().map_or(0, |earlier| earlier.count) + 1;
        let newest = Refusal { raw: String::new(), ..refusal };
        self.untold = Some(Mismatches { count, element, newest });
    }

    /// Adds what came before to what has come since.
    fn add_earlier(&mut self, earlier: Mismatches) {
        match &mut self.untold {
            Some(newer) => newer.count += earlier.count,
            None => self.untold = Some(earlier),
        }
    }
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
        let mut stale = Some(self.decided());
        let mut next = Instant::now();
        while shutdown.run_until_cancelled(sleep_until(next)).await.is_some() {
            next = Instant::now() + COMMIT_BUDGET;
            let newest = *news.borrow_and_update();
            let derived = self.run_once().await;
            if let Err(error) = &derived {
                tracing::warn!(%error, "failed to derive receipts; will retry");
                // It may have been derived and not freed.
                stale = Some(self.decided());
            }
            // Only what is derived, all of it, may go.
            if let Ok(through) = derived
                && let Some(decided) = stale.take_if(|decided| through.is_none_or(|last| last >= decided.newest))
                && let Err(error) = self.free(&decided.places).await
            {
                tracing::warn!(%error, "failed to free payloads that are decided; will retry");
                stale = Some(decided);
            }
            // Also while there is always more to derive, or a busy platform would announce nothing.
            self.announce().await;
            if matches!(derived, Ok(Some(last)) if last < newest) {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout(POLL, news.changed()) => {}
            }
        }
    }

    /// How far the commits of every feed go now.
    fn decided(&self) -> Decided {
        let log = self.lake.log();
        let positions = log.elements().into_iter().flat_map(|element| log.positions(element));
        let places = positions
            .filter_map(|position| Some((position.channel, position.feed, Place::read(&position.value)?.read_after())))
            .collect();
        // Asked for last: what has a position is announced.
        let newest = *log.watch_side().borrow();
        Decided { places, newest }
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

    /// One step; returns the commit through which all is derived, `None` when there was nothing to derive. What the
    /// database refuses for its content is derived without it.
    pub async fn run_once(&self) -> Result<Option<u64>, EngineFault> {
        let mut care = Care::Together;
        loop {
            let result = self.step(care).await;
            let Err(EngineFault::Database(error)) = &result else { return result };
            if care == Care::Wordless || !error.is_of_content() {
                return result;
            }
            tracing::warn!(%error, ?care, "the database refuses what is derived; will take less of it");
            care = if care == Care::Together { Care::Alone } else { Care::Wordless };
        }
    }

    async fn step(&self, care: Care) -> Result<Option<u64>, EngineFault> {
        let mut tx = self.data.platform().await?;
        let from = store::cursor(&mut tx).await?;
        let most = if care == Care::Together { ENTRIES } else { 1 };
        let entries = self.lake.log().read_side(from, most, STEP_BYTES).await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(None) };
        let mut shares: BTreeMap<TenantId, Share> = BTreeMap::new();
        let mut freed: HashMap<(ChannelId, FeedId), u64> = HashMap::new();
        let mut refusals: HashMap<ChannelId, Alert> = HashMap::new();
        for entry in &entries {
            let (element, at) = (entry.element, entry.committed_at);
            for side in decode(entry)? {
                match side {
                    Side::Payload(part) => {
                        if part.done {
                            freed.insert((part.origin.channel, part.origin.feed), part.sequence);
                        }
                        let share = shares.entry(part.origin.tenant).or_default();
                        share.parts.push(Left { of: part, element, at });
                    }
                    Side::DeadLetter(mut refusal) => {
                        if care == Care::Wordless {
                            refusal.reason = "the database takes neither the reason nor the record".to_owned();
                            (refusal.field_path, refusal.raw) = (None, String::new());
                        }
                        let share = shares.entry(refusal.origin.tenant).or_default();
                        share.refusals.push(Left { of: refusal, element, at });
                    }
                }
            }
        }
        for (tenant, share) in shares {
            tx.act_for(tenant).await?;
            let counted = store::add_parts(&mut tx, &share.parts).await?;
            store::add_dead_letters(&mut tx, &share.refusals).await?;
            self.book(&mut tx, tenant, &share.sums(&counted), (from, last)).await?;
            for Left { of: refusal, element, .. } in share.refusals {
                refusals.entry(refusal.origin.channel).or_default().add(element, refusal);
            }
        }
        if !store::move_cursor(&mut tx, from, last).await? {
            return Ok(Some(from));
        }
        tx.commit().await?;
        headgate_types::reach(headgate_types::Failpoint::SideDerived);
        self.count(refusals);
        for ((channel, feed), up_to) in freed {
            self.lake.landing().free(channel, feed, up_to).await?;
        }
        self.lake.log().free_side(last).await?;
        Ok(Some(last))
    }

    /// Books what the commits `(from, last]` took of a tenant.
    async fn book(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        taken: &BTreeMap<Taken, Sums>,
        (from, last): (u64, u64),
    ) -> Result<(), EngineFault> {
        for ((channel, feed, element), sums) in taken {
            for (meter, quantity) in sums.meters() {
                let fact = UsageRecord {
                    tenant,
                    source: SOURCE.to_owned(),
                    // Commits are numbered over all elements and never twice, and each is derived
                    // in one step.
                    id: format!("{channel}:{feed}:commits:{}-{last}:{meter}", from + 1),
                    meter,
                    channel: Some(*channel),
                    element: Some(*element),
                    range: None,
                    quantity: i64::try_from(quantity).unwrap_or(i64::MAX),
                    event_time: sums.at,
                    stored_at: self.clock.now(),
                    dims: sums.dims.clone(),
                    kind: RecordKind::Usage,
                    corrects_id: None,
                };
                headgate_metering::record(tx, &fact).await?;
            }
        }
        Ok(())
    }

    fn count(&self, refusals: HashMap<ChannelId, Alert>) {
        let mut alerts = self.alerts.lock();
        for (channel, new) in refusals {
            let alert = alerts.entry(channel).or_default();
            let earlier = std::mem::replace(&mut alert.untold, new.untold);
            earlier.into_iter().for_each(|earlier| alert.add_earlier(earlier));
        }
    }

    /// Raises `schema.mismatch` for channels with news, at most once a minute each. What one of them cannot be told
    /// now costs no other one its alert, and is told with what comes until then.
    pub(super) async fn announce(&self) {
        let now = self.clock.now();
        let due: Vec<(ChannelId, Mismatches)> = {
            let mut alerts = self.alerts.lock();
            alerts.retain(|_, alert| alert.untold.is_some() || alert.not_before > now);
            let due = alerts.iter_mut().filter(|(_, alert)| alert.not_before <= now);
            due.filter_map(|(channel, alert)| Some((*channel, alert.untold.take()?))).collect()
        };
        for (channel, mismatches) in due {
            let told = self.tell(&mismatches).await;
            let mut alerts = self.alerts.lock();
            let alert = alerts.entry(channel).or_default();
            alert.not_before = now + if told.is_ok() { ALERT_EVERY } else { TELL_AGAIN };
            if let Err(error) = told {
                tracing::warn!(%channel, %error, "failed to announce mismatches; will retry");
                alert.add_earlier(mismatches);
            }
        }
    }

    async fn tell(&self, mismatches: &Mismatches) -> Result<(), EngineFault> {
        let Mismatches { count, element, newest: refusal } = mismatches;
        let (count, element, refusal) = (*count, *element, refusal.clone());
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

/// How far payloads are decided.
struct Decided {
    /// Per feed.
    places: Vec<(ChannelId, FeedId, u64)>,
    /// All of that is derived when this commit is.
    newest: u64,
}

/// What one step derives of one tenant.
#[derive(Default)]
struct Share {
    parts: Vec<Left<PayloadPart>>,
    refusals: Vec<Left<Refusal>>,
}

/// A feed by its channel, its name and what it writes.
type Taken = (ChannelId, String, ElementId);

impl Share {
    /// What is billed of it: parts that count.
    fn sums(&self, counted: &[bool]) -> BTreeMap<Taken, Sums> {
        let mut sums = BTreeMap::new();
        for (part, _) in self.parts.iter().zip(counted).filter(|(_, counts)| **counts) {
            let origin = &part.of.origin;
            let key = (origin.channel, origin.feed_name.clone(), part.element);
            sums.entry(key).or_insert_with(|| Sums::new(part)).add(&part.of);
        }
        sums
    }
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
    fn new(Left { of: part, at, .. }: &Left<PayloadPart>) -> Self {
        let dims = Dims {
            channel_profile: Some(part.profile.clone()),
            performance_profile: Some(part.size.clone()),
            timing: Some(part.timing.clone()),
            price_key: None,
        };
        Self { at: *at, dims, records: 0, bytes: 0, refused: 0 }
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
