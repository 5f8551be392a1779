//! The live feed of a tenant's events, for server-sent events.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use headgate_types::TenantId;
use tokio::sync::watch;

use crate::Events;
use crate::error::EventsError;
use crate::event::{Event, EventType};
use crate::outbox;

/// The floor under an announcement that was made in another process.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const PAGE: u32 = 500;

impl Events {
    /// Events after the sequence `after`, first those that are there, then each as it comes. It
    /// ends with an error only; whoever drops it stops it. A reader that falls behind costs no
    /// memory: it reads the log from its own place.
    ///
    /// # Errors
    /// [`EventsError::TooOld`] at once when events after `after` have been removed, so that it can
    /// be answered with a status; the stream yields it when that happens later.
    pub async fn feed(
        &self,
        tenant: TenantId,
        after: u64,
        types: Vec<EventType>,
    ) -> Result<impl Stream<Item = Result<Event, EventsError>> + Send + use<>, EventsError> {
        let mut feed = Feed {
            news: self.news.subscribe(),
            events: self.clone(),
            tenant,
            after,
            types: types.iter().map(|event_type| event_type.as_str()).collect(),
            ready: VecDeque::new(),
        };
        feed.look().await?;
        Ok(futures::stream::try_unfold(feed, |mut feed| async move {
            let event = feed.next().await?;
            Ok(Some((event, feed)))
        }))
    }
}

struct Feed {
    events: Events,
    news: watch::Receiver<u64>,
    tenant: TenantId,
    after: u64,
    types: Vec<&'static str>,
    ready: VecDeque<Event>,
}

impl Feed {
    async fn next(&mut self) -> Result<Event, EventsError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            // Marked before looking: news that come in between wake the wait below.
            self.news.mark_unchanged();
            if self.look().await? {
                continue;
            }
            // The sender lives as long as `self.events`; a time-out is as good as news.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.news.changed()).await;
        }
    }

    /// Whether there was anything. Types are chosen here and not in SQL, so that the place moves
    /// on over events that nobody asked for.
    async fn look(&mut self) -> Result<bool, EventsError> {
        let mut tx = self.events.db.read_tenant(self.tenant).await?;
        let found = outbox::list(&mut tx, self.tenant, self.after, PAGE, &[]).await?;
        let Some(last) = found.last() else { return Ok(false) };
        self.after = last.sequence;
        let wanted = |event: &Event| self.types.is_empty() || self.types.contains(&event.event_type.as_str());
        self.ready.extend(found.into_iter().filter(wanted));
        Ok(true)
    }
}
