//! An open data-in channel.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_catalog::Feed;
use headgate_types::limits::Limits;
use headgate_types::timing::Timing;
use headgate_types::{ChannelId, TenantId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::source::CloudSource;
use super::writer::Writer;
use crate::conform::InputPlan;
use crate::delivery::Throttle;

/// Whether payloads are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// They are.
    Open,
    /// Not now: the tenant paused the channel, or the platform suspended it.
    Paused,
    /// Never again; what was landed is still conformed.
    Draining,
}

/// An open data-in channel as its catalog row describes it.
#[derive(Debug)]
pub struct OpenChannel {
    /// Its owner.
    pub tenant: TenantId,
    /// Its id.
    pub id: ChannelId,
    /// The catalog's version this was made from.
    pub version: u64,
    /// Its profile, for the bill.
    pub profile: String,
    /// Its size, for the bill.
    pub size: String,
    /// Whether payloads are taken.
    pub gate: Gate,
    /// What its size allows.
    pub limits: Limits,
    /// When landed payloads are conformed.
    pub timing: Timing,
    /// Its feeds by name.
    pub feeds: HashMap<String, Arc<OpenFeed>>,
    /// What of its limits is used up.
    pub allowance: Arc<Allowance>,
    /// Where payloads are fetched from; None where they are posted, and while none are taken.
    pub source: Option<CloudSource>,
}

/// One open feed.
#[derive(Debug)]
pub struct OpenFeed {
    /// Its row.
    pub feed: Feed,
    /// Its model, compiled.
    pub plan: Arc<InputPlan>,
    /// The writer of its element.
    pub writer: Arc<Writer>,
}

/// What of a channel's limits is used up. It goes from version to version: a change of the channel, were it only of its
/// name, neither fills a bucket nor forgets a request.
#[derive(Debug)]
pub struct Allowance {
    /// Bytes per second at the door.
    pub landing: Mutex<Throttle>,
    /// Records per second while conforming.
    pub conforming: Mutex<Throttle>,
    /// Cancelled when nothing is taken any more, not even what is on its way.
    pub deleting: CancellationToken,
    free: Arc<Semaphore>,
    places: Mutex<Places>,
}

/// Requests that may be open at once.
#[derive(Debug)]
struct Places {
    most: usize,
    /// Those that a smaller size has taken away while they were in use: not given back.
    owed: usize,
}

/// A request that is open.
#[derive(Debug)]
pub struct Request {
    allowance: Arc<Allowance>,
    place: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    /// Nothing is used up.
    pub fn full(limits: &Limits) -> Arc<Self> {
        let throttle = || Mutex::new(Throttle::new(limits, Instant::now()));
        let most = places(limits);
        Arc::new(Self {
            landing: throttle(),
            conforming: throttle(),
            deleting: CancellationToken::new(),
            free: Arc::new(Semaphore::new(most)),
            places: Mutex::new(Places { most, owed: 0 }),
        })
    }

    /// Takes over the limits of another size.
    pub fn resize(&self, limits: &Limits) {
        let now = Instant::now();
        self.landing.lock().resize(limits, now);
        self.conforming.lock().resize(limits, now);
        let mut places = self.places.lock();
        let most = self::places(limits);
        let more = most.saturating_sub(places.most);
        let kept = more.min(places.owed);
        places.owed -= kept;
        self.free.add_permits(more - kept);
        let fewer = places.most.saturating_sub(most);
        places.owed += fewer - self.free.forget_permits(fewer);
        places.most = most;
    }

    /// A request begins, if one more may be open.
    pub fn request(self: &Arc<Self>) -> Option<Request> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Request { allowance: Arc::clone(self), place: Some(place) })
    }

    /// A request begins once one more may be open.
    pub async fn request_in_turn(self: &Arc<Self>) -> Option<Request> {
        let place = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Request { allowance: Arc::clone(self), place: Some(place) })
    }

    /// Whether no request is open.
    pub fn is_idle(&self) -> bool {
        let places = self.places.lock();
        places.owed == 0 && self.free.available_permits() == places.most
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut places = self.allowance.places.lock();
        let Some(place) = self.place.take() else { return };
        if places.owed > 0 {
            places.owed -= 1;
            place.forget();
        }
    }
}

fn places(limits: &Limits) -> usize {
    limits.connections.max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::limits::PLENTY;

    #[test]
    fn requests_in_flight_count_over_every_change_of_size() {
        let of = |connections| Limits { connections, ..PLENTY };
        let allowance = Allowance::full(&of(3));
        let mut open: Vec<_> = (0..3).filter_map(|_| allowance.request()).collect();
        assert!(allowance.request().is_none());
        allowance.resize(&of(1));
        open.pop();
        open.pop();
        assert!(allowance.request().is_none(), "one is open still");
        allowance.resize(&of(2));
        open.extend(allowance.request());
        assert_eq!((open.len(), allowance.request().is_none(), allowance.is_idle()), (2, true, false));
        allowance.resize(&of(1));
        allowance.resize(&of(3));
        open.extend(allowance.request());
        assert_eq!((open.len(), allowance.request().is_none()), (3, true));
        open.clear();
        assert!(allowance.is_idle());
        assert_eq!((0..9).map_while(|_| allowance.request()).collect::<Vec<_>>().len(), 3);
    }
}
