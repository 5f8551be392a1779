//! When to try again: exponential backoff with jitter, and the breaker it makes up.
//!
//! A target that is in the way uses up no tries (rule 28): the breaker opens, the channel pauses,
//! one probe goes out when the pause ends, and a success closes it.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause of our own making; a target may ask for more.
const LONGEST: Duration = Duration::from_secs(300);
/// The most a target may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// The breaker of one channel.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Notes a failure and opens. Returns the pause.
    pub fn failed(&mut self, now: Instant, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let pause = pause(self.failures, asked, rng);
        self.failures = self.failures.saturating_add(1);
        self.open_until = Some(now + pause);
        pause
    }

    /// Notes a success and closes.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// How long until the next probe; zero when closed or when the probe may go.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.open_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The pause after `failures` failures before this one: doubling, with up to half of it taken off
/// at random so that channels that failed together do not come back together.
fn pause(failures: u32, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    let own = full.mul_f64(rng.gen_range(0.5..=1.0));
    asked.map_or(own, |asked| asked.min(LONGEST_ASKED).max(own.min(FIRST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn pauses_double_with_jitter_and_end_with_a_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let mut full = FIRST;
        for _ in 0..14 {
            let pause = breaker.failed(now, None, &mut rng);
            assert!(pause <= full && pause >= full / 2, "{pause:?} of {full:?}");
            assert_eq!(breaker.wait(now), pause);
            full = (full * 2).min(LONGEST);
        }
        breaker.succeeded();
        assert_eq!((breaker.wait(now), breaker.failures()), (Duration::ZERO, 0));
    }

    #[test]
    fn a_target_may_ask_for_a_pause_within_an_hour() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert_eq!(breaker.failed(now, Some(Duration::from_secs(60)), &mut rng), Duration::from_secs(60));
        assert_eq!(breaker.failed(now, Some(Duration::from_secs(86_400)), &mut rng), LONGEST_ASKED);
    }
}
