//! The promises of metering, on both databases.

mod booking;
mod isolation;
mod money;
mod reconciling;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_database::Db;
use headgate_types::channel::Lane;
use headgate_types::{ChannelId, ElementId, TenantId};

use crate::usage::{Dims, Meter, OffsetRange, RecordKind, Recorded, UsageRecord, ids, record};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn dims() -> Dims {
    Dims {
        channel_profile: Some("api".into()),
        performance_profile: Some("M".into()),
        timing: Some("immediate".into()),
        price_key: None,
    }
}

/// A flow whose usage the tests book.
#[derive(Debug, Clone, Copy)]
struct Flow {
    tenant: TenantId,
    channel: ChannelId,
    element: ElementId,
}

impl Flow {
    fn new() -> Self {
        Self { tenant: TenantId::new(), channel: ChannelId::new(), element: ElementId::new() }
    }

    fn usage(&self, meter: Meter, after: u64, to: u64, quantity: i64) -> UsageRecord {
        let range = OffsetRange { lane: Lane::Live, after, to };
        UsageRecord {
            tenant: self.tenant,
            source: "engine".into(),
            id: ids::of_range(self.channel, self.element, range, meter),
            meter,
            channel: Some(self.channel),
            element: Some(self.element),
            range: Some(range),
            quantity,
            event_time: at("2026-01-31T23:59:59.5Z"),
            stored_at: at("2026-02-01T00:00:01Z"),
            dims: dims(),
            kind: RecordKind::Usage,
            corrects_id: None,
        }
    }

    /// Books records and ten bytes per record of a range.
    async fn book(&self, db: &Db, after: u64, to: u64, records: i64) {
        let mut tx = db.platform().await.unwrap();
        tx.act_for(self.tenant).await.unwrap();
        for (meter, quantity) in [(Meter::DeliverRecords, records), (Meter::DeliverBytes, records * 10)] {
            let usage = self.usage(meter, after, to, quantity);
            assert_eq!(record(&mut tx, &usage).await.unwrap(), Recorded::New);
        }
        tx.commit().await.unwrap();
    }
}

fn hours(count: i64) -> TimeDelta {
    TimeDelta::hours(count)
}
