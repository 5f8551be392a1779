//! Books the hours that channels had resources of their own.

use std::time::Duration;

use chrono::TimeDelta;
use headgate_catalog::channels::{self, Channel, FormerTerms};
use headgate_database::{Db, DbError};
use headgate_metering::{Dims, MeteringError, Occupied, Span, book_hours};
use headgate_types::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::error::OrderError;

/// Channels booked in one transaction, so that the data plane's writes never wait for long.
const BATCH: usize = 100;
/// How long after its end a channel is looked at: the last hour is booked when it is over, or
/// after an outage of this loop.
const AFTER_THE_END: TimeDelta = TimeDelta::days(62);
/// How often the clock is looked at; there is something to book once an hour.
const LOOK: Duration = Duration::from_secs(60);

/// The loop that books channel hours.
#[derive(Debug, Clone)]
pub struct ChannelHours {
    control: Db,
    data: Db,
    clock: SharedClock,
}

/// Why hours could not be booked; they are booked later.
#[derive(Debug, thiserror::Error)]
pub enum HoursError {
    /// The channels could not be read.
    #[error(transparent)]
    Catalog(#[from] OrderError),
    /// The usage could not be written.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl ChannelHours {
    /// `control` has the channels, `data` the usage.
    #[must_use]
    pub fn new(control: Db, data: Db, clock: SharedClock) -> Self {
        Self { control, data, clock }
    }

    /// Books at every full hour until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut booked_in = None;
        while !shutdown.is_cancelled() {
            let hour = self.clock.now().timestamp() / 3_600;
            if booked_in != Some(hour) {
                match self.run_once().await {
                    Ok(_) => booked_in = Some(hour),
                    Err(error) => tracing::error!(%error, "failed to book channel hours; it is tried again"),
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Books every hour that is over and not booked; returns how many.
    ///
    /// # Errors
    /// When a database fails; what was booked stays.
    pub async fn run_once(&self) -> Result<u64, HoursError> {
        let now = self.clock.now();
        let occupied: Vec<Occupied> = {
            let mut tx = self.control.read_platform().await?;
            let channels = channels::occupied_since(&mut tx, now - AFTER_THE_END).await.map_err(OrderError::from)?;
            channels.iter().filter_map(|(channel, former)| occupied(channel, former)).collect()
        };
        let mut booked = 0;
        for batch in occupied.chunks(BATCH) {
            let mut tx = self.data.platform().await?;
            booked += book_hours(&mut tx, batch, now).await?;
            tx.commit().await?;
        }
        Ok(booked)
    }
}

fn occupied(channel: &Channel, former: &[FormerTerms]) -> Option<Occupied> {
    let span = |size: &str, timing: &str, from, until| Span {
        dims: Dims {
            channel_profile: Some(channel.profile.clone()),
            performance_profile: Some(size.to_owned()),
            timing: Some(timing.to_owned()),
            price_key: None,
        },
        from,
        until,
    };
    let activated = channel.activated_at?;
    let mut from = activated;
    let mut spans = Vec::with_capacity(former.len() + 1);
    // What ended before the channel was first ACTIVE was never charged for.
    for terms in former.iter().filter(|terms| terms.until > activated) {
        spans.push(span(&terms.size, &terms.timing, from, Some(terms.until)));
        from = terms.until;
    }
    spans.push(span(&channel.size, channel.spec.timing().mode(), from, channel.deleted_at));
    Some(Occupied { tenant: channel.tenant, channel: channel.id, spans })
}
