//! Requests as usage (`api.requests`): counted in memory, booked every ten seconds and at shutdown.
//!
//! What a crash loses is at most what was counted since the last flush: never more than ten seconds
//! of requests, always to the tenant's advantage.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_database::Db;
use headgate_metering::{Dims, Meter, MeteringError, RecordKind, UsageRecord, ids, record};
use headgate_types::{ClientId, SharedClock, TenantId};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const EVERY: Duration = Duration::from_secs(10);
const SOURCE: &str = "control-api";

type Counts = HashMap<(TenantId, ClientId), i64>;

/// Counts the requests of tenants' clients.
#[derive(Debug)]
pub(crate) struct RequestMeter {
    /// Names this process in the ids of records: another one counts other requests.
    run: String,
    counts: Mutex<Counts>,
    /// Taken out to be booked. It stays until its commit is known, with its ids: booking it twice
    /// writes nothing.
    batch: tokio::sync::Mutex<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    window: u64,
    at: DateTime<Utc>,
    counts: Counts,
}

impl Default for RequestMeter {
    fn default() -> Self {
        Self {
            run: Uuid::now_v7().simple().to_string(),
            counts: Mutex::default(),
            batch: tokio::sync::Mutex::default(),
        }
    }
}

impl RequestMeter {
    /// Counts one request.
    pub(crate) fn count(&self, tenant: TenantId, client: ClientId) {
        *self.counts.lock().entry((tenant, client)).or_default() += 1;
    }

    /// Books what was counted since the last flush.
    pub(crate) async fn flush(&self, data: &Db, clock: &SharedClock) -> Result<(), MeteringError> {
        let mut batch = self.batch.lock().await;
        // A batch left over by a failure goes first, under the ids it had.
        while !batch.counts.is_empty() || self.next(&mut batch, clock.now()) {
            self.book(data, &batch, clock.now()).await?;
            batch.counts.clear();
        }
        Ok(())
    }

    fn next(&self, batch: &mut Batch, now: DateTime<Utc>) -> bool {
        let counts = std::mem::take(&mut *self.counts.lock());
        *batch = Batch { window: batch.window + 1, at: now, counts };
        !batch.counts.is_empty()
    }

    async fn book(&self, data: &Db, batch: &Batch, now: DateTime<Utc>) -> Result<(), MeteringError> {
        let mut tx = data.platform().await?;
        for ((tenant, client), quantity) in &batch.counts {
            tx.act_for(*tenant).await?;
            let usage = UsageRecord {
                tenant: *tenant,
                source: SOURCE.to_owned(),
                id: ids::of_requests(&self.run, batch.window, *client),
                meter: Meter::ApiRequests,
                channel: None,
                element: None,
                range: None,
                quantity: *quantity,
                event_time: batch.at,
                stored_at: now,
                dims: Dims::default(),
                kind: RecordKind::Usage,
                corrects_id: None,
            };
            record(&mut tx, &usage).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Flushes every ten seconds until `shutdown`, and once more then.
    pub(crate) async fn run(&self, data: &Db, clock: &SharedClock, shutdown: CancellationToken) {
        loop {
            let ending = tokio::select! {
                () = shutdown.cancelled() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            if let Err(error) = self.flush(data, clock).await {
                tracing::error!(%error, "failed to book requests; they are kept and tried again");
            }
            if ending {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use headgate_database::testing::databases;
    use headgate_metering::totals;
    use headgate_types::{Clock, FakeClock};

    use super::*;

    #[tokio::test]
    async fn every_request_is_booked_once() {
        for db in databases().await.unwrap() {
            let clock = FakeClock::at("2026-01-15T12:00:00Z".parse().unwrap());
            let shared: SharedClock = clock.clone();
            let (meter, tenant, client) = (RequestMeter::default(), TenantId::new(), ClientId::new());
            for _ in 0..2 {
                for _ in 0..3 {
                    meter.count(tenant, client);
                }
                meter.flush(&db.data, &shared).await.unwrap();
                meter.flush(&db.data, &shared).await.unwrap();
                clock.advance(chrono::TimeDelta::seconds(10));
            }
            // A batch whose commit was not seen is booked again and changes nothing.
            let batch = Batch { window: 9, at: clock.now(), counts: Counts::from([((tenant, client), 5)]) };
            meter.book(&db.data, &batch, clock.now()).await.unwrap();
            meter.book(&db.data, &batch, clock.now()).await.unwrap();
            let mut tx = db.data.read_tenant(tenant).await.unwrap();
            let (from, to) = (DateTime::UNIX_EPOCH, clock.now() + chrono::TimeDelta::days(1));
            let booked = totals(&mut tx, tenant, from, to, None).await.unwrap();
            assert_eq!(booked.iter().map(|total| total.quantity).sum::<i64>(), 11, "{}", db.name);
        }
    }
}
