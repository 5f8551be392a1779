//! The quotas of whole tenants: bytes taken in and bytes delivered per calendar month (UTC).
//!
//! One loop adds up what was metered every few seconds, says who is over, and raises
//! `usage.threshold` at 50, 80 and 100 %. Whoever moves records asks [`TenantQuotas`], which is in
//! memory: a quota can be passed by what the tenant's sizes move in those seconds, and not by more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_access::tenants::{self, Tenant};
use headgate_database::Db;
use headgate_events::NewEvent;
use headgate_metering::{Meter, UsageFilter, UsageQuery, list_usage};
use headgate_types::timing::QuotaPeriod;
use headgate_types::{EventId, SharedClock, TenantId};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::delivery::store;
use crate::error::EngineFault;
use crate::events::UsageThreshold;
use crate::passes;

/// How often usage is added up; also the longest wait before a held channel looks again.
pub const EVERY: Duration = Duration::from_secs(5);
/// Per cent of a quota at which its owner is told.
const THRESHOLDS: [u64; 3] = [50, 80, 100];

/// Which of a tenant's quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// What its data-in channels take.
    Ingest,
    /// What is delivered to its data-out channels.
    Delivery,
}

impl Flow {
    /// Its name in the tenant's quotas.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest_bytes_per_month",
            Self::Delivery => "bytes_per_month",
        }
    }

    const fn meter(self) -> Meter {
        match self {
            Self::Ingest => Meter::IngestBytes,
            Self::Delivery => Meter::DeliverBytes,
        }
    }

    const fn limit(self, tenant: &Tenant) -> Option<u64> {
        match self {
            Self::Ingest => tenant.quotas.ingest_bytes_per_month,
            Self::Delivery => tenant.quotas.bytes_per_month,
        }
    }
}

/// When those who are over a quota may move something again.
type HeldUntil = HashMap<(TenantId, Flow), DateTime<Utc>>;

/// Who is over a quota now, and until when. Cheap to clone; empty until a [`QuotaLoop`] fills it.
#[derive(Debug, Clone, Default)]
pub struct TenantQuotas(Arc<RwLock<HeldUntil>>);

impl TenantQuotas {
    /// How long nothing may move because the month's quota is used up; `None`: it may.
    #[must_use]
    pub fn held(&self, tenant: TenantId, flow: Flow, now: DateTime<Utc>) -> Option<Duration> {
        let until = *self.0.read().get(&(tenant, flow))?;
        (until - now).to_std().ok().filter(|wait| !wait.is_zero())
    }

    #[cfg(test)]
    pub(crate) fn hold(&self, tenant: TenantId, flow: Flow, until: DateTime<Utc>) {
        self.0.write().insert((tenant, flow), until);
    }
}

/// Adds up what tenants with a quota have used.
#[derive(Debug)]
pub struct QuotaLoop {
    control: Db,
    data: Db,
    clock: SharedClock,
    quotas: TenantQuotas,
    /// What this process has told already: no transaction for what stands in the events.
    told: Mutex<HashSet<EventId>>,
}

impl QuotaLoop {
    /// A loop that keeps `quotas` up to date.
    #[must_use]
    pub fn new(control: Db, data: Db, clock: SharedClock, quotas: TenantQuotas) -> Self {
        Self { control, data, clock, quotas, told: Mutex::default() }
    }

    /// Runs until the process stops.
    pub async fn run(self, shutdown: CancellationToken) {
        // The first pass is not waited for: until it, nobody is held.
        while !shutdown.is_cancelled() {
            if let Err(error) = self.run_once().await {
                tracing::warn!(%error, "failed to add up usage for quotas; will retry");
            }
            passes::next(EVERY, &shutdown).await;
        }
    }

    /// One pass over the tenants that have a quota.
    ///
    /// # Errors
    /// When a database fails; what was known before then stays.
    pub async fn run_once(&self) -> Result<(), EngineFault> {
        let now = self.clock.now();
        let (from, to) = (QuotaPeriod::Month.start(now), QuotaPeriod::Month.end(now));
        let mut tx = self.control.read_platform().await?;
        let limited = tenants::with_monthly_quota(&mut tx).await?;
        drop(tx);
        let mut over = HashMap::new();
        for tenant in limited {
            for flow in [Flow::Ingest, Flow::Delivery] {
                let Some(limit) = flow.limit(&tenant) else { continue };
                let used = self.used(tenant.id, flow, from, to).await?;
                if used >= limit {
                    over.insert((tenant.id, flow), to);
                }
                self.tell(tenant.id, flow, from, (used, limit)).await?;
            }
        }
        *self.quotas.0.write() = over;
        Ok(())
    }

    /// Bytes of the month that are booked, cut into usage records or not yet.
    async fn used(
        &self,
        tenant: TenantId,
        flow: Flow,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<u64, EngineFault> {
        let mut tx = self.data.read_tenant(tenant).await?;
        let filter = UsageFilter { meter: Some(flow.meter()), ..UsageFilter::default() };
        let query = UsageQuery { tenant: Some(tenant), from, to, filter, group_by: Vec::new(), after: None, limit: 1 };
        let cut = list_usage(&mut tx, &query).await?.first().map_or(0, |sum| sum.quantity.max(0).unsigned_abs());
        let open = match flow {
            Flow::Ingest => 0,
            Flow::Delivery => store::open_bytes(&mut tx, tenant, from).await?,
        };
        Ok(cut + open)
    }

    /// Raises `usage.threshold` for what is reached, once for each quota, month and threshold.
    async fn tell(
        &self,
        tenant: TenantId,
        flow: Flow,
        month: DateTime<Utc>,
        (used, limit): (u64, u64),
    ) -> Result<(), EngineFault> {
        for percent in THRESHOLDS {
            let reached = u128::from(used) * 100 >= u128::from(limit) * u128::from(percent);
            let id = event_id(tenant, flow, month, limit, percent);
            if !reached || self.told.lock().contains(&id) {
                continue;
            }
            let data = UsageThreshold {
                quota: flow.as_str().to_owned(),
                month: month.format("%Y-%m").to_string(),
                percent,
                used_bytes: used,
                limit_bytes: limit,
            };
            let event = NewEvent::new(tenant, tenant, &data).with_id(id);
            let mut tx = self.control.platform().await?;
            tx.act_for(tenant).await?;
            headgate_events::emit(&mut tx, &self.clock, event).await?;
            tx.commit().await?;
            self.told.lock().insert(id);
        }
        Ok(())
    }
}

/// The same for the same fact, so that a restart tells nothing twice.
fn event_id(tenant: TenantId, flow: Flow, month: DateTime<Utc>, limit: u64, percent: u64) -> EventId {
    let fact = format!("{tenant}|{}|{month}|{limit}|{percent}", flow.as_str());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(fact)[..16]);
    EventId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use headgate_access::tenants::Quotas;
    use headgate_database::testing::databases;
    use headgate_metering::{Dims, RecordKind, UsageRecord, record};
    use headgate_types::{Clock as _, FakeClock};

    use super::*;

    async fn ingested(data: &Db, clock: &SharedClock, tenant: TenantId, id: &str, bytes: i64) {
        let mut tx = data.platform().await.unwrap();
        tx.act_for(tenant).await.unwrap();
        let fact = UsageRecord {
            tenant,
            source: "engine".to_owned(),
            id: id.to_owned(),
            meter: Meter::IngestBytes,
            channel: None,
            element: None,
            range: None,
            quantity: bytes,
            event_time: clock.now(),
            stored_at: clock.now(),
            dims: Dims::default(),
            kind: RecordKind::Usage,
            corrects_id: None,
        };
        record(&mut tx, &fact).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_tenants_month_is_held_at_its_quota_and_its_owner_told_on_the_way() {
        for db in databases().await.unwrap() {
            let clock = FakeClock::at("2026-05-31T23:00:00Z".parse().unwrap());
            let shared: SharedClock = clock.clone();
            let mut tx = db.control.platform().await.unwrap();
            let quotas = Quotas { ingest_bytes_per_month: Some(100), ..Quotas::default() };
            let tenant = tenants::create(&mut tx, "a", quotas, &shared).await.unwrap().id;
            tx.commit().await.unwrap();
            let quotas = TenantQuotas::default();
            let make = || QuotaLoop::new(db.control.clone(), db.data.clone(), shared.clone(), quotas.clone());
            let looping = make();
            let thresholds = async || {
                let mut tx = db.control.read_tenant(tenant).await.unwrap();
                let events = headgate_events::list(&mut tx, tenant, 0, 10, &[]).await.unwrap();
                events.iter().map(|event| event.data["percent"].as_u64().unwrap()).collect::<Vec<_>>()
            };
            looping.run_once().await.unwrap();
            assert_eq!(thresholds().await, [0_u64; 0], "{}", db.name);

            ingested(&db.data, &shared, tenant, "1", 80).await;
            looping.run_once().await.unwrap();
            assert_eq!(thresholds().await, [50, 80], "{}", db.name);
            assert_eq!(quotas.held(tenant, Flow::Ingest, clock.now()), None);

            ingested(&db.data, &shared, tenant, "2", 20).await;
            looping.run_once().await.unwrap();
            // A process that starts anew tells nothing twice.
            make().run_once().await.unwrap();
            assert_eq!(thresholds().await, [50, 80, 100], "{}", db.name);
            let hour = Duration::from_secs(3_600);
            assert_eq!(quotas.held(tenant, Flow::Ingest, clock.now()), Some(hour));
            assert_eq!(quotas.held(tenant, Flow::Delivery, clock.now()), None);

            clock.advance(chrono::TimeDelta::hours(1));
            assert_eq!(quotas.held(tenant, Flow::Ingest, clock.now()), None, "a new month");
            looping.run_once().await.unwrap();
            assert_eq!(thresholds().await.len(), 3);
        }
    }
}
