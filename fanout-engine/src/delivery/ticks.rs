//! When a channel that does not deliver at once may deliver (rule 30).
//!
//! A tick is identified by its scheduled time. It delivers up to where the logs ended when it
//! began; ticks missed meanwhile are made up for by one; never do two run at once.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_types::ElementId;
use headgate_types::timing::Timing;

/// The longest a worker sleeps towards a tick before it looks at the clock again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The ticks of one channel.
#[derive(Debug)]
pub struct Ticks {
    timing: Timing,
    /// The scheduled time of the tick that ended last.
    last: DateTime<Utc>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    scheduled: DateTime<Utc>,
    ends: HashMap<ElementId, u64>,
}

impl Ticks {
    /// The ticks after `last`, which is when the channel delivered last, or began.
    #[must_use]
    pub const fn new(timing: Timing, last: DateTime<Utc>) -> Self {
        Self { timing, last, running: None }
    }

    /// Takes over another timing; a running tick ends as it began.
    pub fn retune(&mut self, timing: &Timing) {
        self.timing.clone_from(timing);
    }

    /// How far the element may be delivered now; the error says how long to wait before asking
    /// again.
    pub fn until(&mut self, element: ElementId, head: u64, now: DateTime<Utc>) -> Result<u64, Duration> {
        if self.timing == Timing::Immediate {
            return Ok(head);
        }
        if self.running.is_none() {
            let Some(next) = self.timing.next_tick(self.last) else { return Err(LOOK_AGAIN) };
            if next > now {
                return Err((next - now).to_std().unwrap_or_default().min(LOOK_AGAIN));
            }
            self.running = Some(Running { scheduled: self.latest_due(next, now), ends: HashMap::new() });
        }
        // The first look of each element fixes where this tick ends for it.
        Ok(self.running.as_mut().map_or(head, |running| *running.ends.entry(element).or_insert(head)))
    }

    /// The newest scheduled time that is not in the future.
    fn latest_due(&self, first: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        // An interval of a second missed for a year would take a while to count up to: what is
        // more than a thousand ticks old is made up for at `now`.
        let mut due = first;
        for _ in 0..1_000 {
            match self.timing.next_tick(due) {
                Some(next) if next <= now => due = next,
                _ => return due,
            }
        }
        now
    }

    /// Whether a tick is being delivered.
    #[must_use]
    pub const fn running(&self) -> bool {
        self.running.is_some()
    }

    /// The running tick delivered everything.
    pub fn ended(&mut self) {
        if let Some(running) = self.running.take() {
            self.last = running.scheduled;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_tick_ends_where_the_log_ended_when_it_began_and_missed_ticks_coalesce() {
        let element = ElementId::new();
        let timing = Timing::Interval { every: "1h".into() };
        let mut ticks = Ticks::new(timing, at("2026-01-01T00:30:00Z"));
        assert!(ticks.until(element, 5, at("2026-01-01T00:59:59Z")).is_err());
        assert_eq!(ticks.until(element, 5, at("2026-01-01T04:10:00Z")), Ok(5));
        assert_eq!(ticks.until(element, 9, at("2026-01-01T04:10:01Z")), Ok(5));
        ticks.ended();
        assert!(ticks.until(element, 9, at("2026-01-01T04:59:59Z")).is_err());
        assert_eq!(ticks.until(element, 9, at("2026-01-01T05:00:00Z")), Ok(9));
    }

    #[test]
    fn an_immediate_channel_never_waits() {
        let mut ticks = Ticks::new(Timing::Immediate, at("2026-01-01T00:00:00Z"));
        assert_eq!(ticks.until(ElementId::new(), 3, at("2026-01-01T00:00:00Z")), Ok(3));
        assert!(!ticks.running());
    }
}
