//! When a failed delivery is tried again.

use chrono::TimeDelta;
use headgate_types::EventId;
use sha2::{Digest, Sha256};

/// Seconds after each failure: 5 s to 24 h, over a little more than five days.
const PAUSES: [i64; 15] =
    [5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 86_400, 86_400, 86_400];
const LONGEST: i64 = 86_400;
/// An endpoint that has only failed for this long is disabled.
pub(super) const DISABLE_AFTER: TimeDelta = TimeDelta::days(5);

/// How long to wait after the try number `tries` (from 1) has failed; none: give up. A `Retry-After`
/// of the endpoint makes it longer, never shorter.
///
/// The jitter (up to a fifth more) is derived from the event and the try, so that a time is the
/// same in every process and in every test, and differs between the events of one outage.
pub(super) fn pause(event: EventId, tries: i64, retry_after: Option<i64>) -> Option<TimeDelta> {
    let index = usize::try_from(tries - 1).ok()?;
    let base = *PAUSES.get(index)?;
    let hash = Sha256::digest([event.uuid().as_bytes(), &tries.to_be_bytes()[..]].concat());
    let share = i64::from(u16::from_be_bytes([hash[0], hash[1]]));
    let millis = base * 1_000 + base * 200 * share / i64::from(u16::MAX);
    let asked = retry_after.unwrap_or(0).clamp(0, LONGEST) * 1_000;
    Some(TimeDelta::milliseconds(millis.max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_seconds_to_a_day_and_end_after_five_days() {
        let event = EventId::new();
        let pauses: Vec<_> = (1..).map_while(|tries| pause(event, tries, None)).collect();
        assert!(pauses.windows(2).take(11).all(|pair| pair[0] < pair[1]));
        assert!((5..=6).contains(&pauses[0].num_seconds()));
        assert!(pauses.iter().all(|pause| pause.num_seconds() <= LONGEST * 6 / 5));
        let total: TimeDelta = pauses.iter().sum();
        assert!(total > DISABLE_AFTER, "{total}");
    }

    #[test]
    fn a_retry_after_is_kept_within_a_day() {
        let event = EventId::new();
        assert_eq!(pause(event, 1, Some(600)), Some(TimeDelta::seconds(600)));
        assert_eq!(pause(event, 1, Some(i64::MAX)), Some(TimeDelta::seconds(LONGEST)));
        assert!(pause(event, 5, Some(-1)).unwrap() >= TimeDelta::seconds(900));
    }
}
