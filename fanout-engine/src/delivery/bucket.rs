//! Token buckets: the records and bytes per second that a size allows, bursts of ten seconds.

use std::time::Duration;

use headgate_types::limits::Limits;
use tokio::time::Instant;

/// Seconds' worth of tokens that gather while nothing moves.
const BURST_SECONDS: f64 = 10.0;

/// Seconds' worth of tokens that must be there before anything moves: a channel at its rate moves
/// ten times a second, not a few records at a time as they become affordable.
const QUANTUM_SECONDS: f64 = 0.1;

/// One bucket. It may be overdrawn by one record: a record larger than the burst still passes, and
/// the debt delays what comes after it.
#[derive(Debug, Clone)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(per_second: u64, now: Instant) -> Self {
        // A rate of 0 would never let anything through; it means "no limit" nowhere, so the
        // smallest rate that moves is used instead.
        let per_second = per_second.max(1) as f64;
        Self { per_second, tokens: per_second * BURST_SECONDS, filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second * BURST_SECONDS);
        self.filled = now;
    }

    /// How long until the bucket is out of debt and worth a move.
    fn wait(&self) -> Duration {
        let missing = QUANTUM_SECONDS - self.tokens / self.per_second;
        // A rounding error must not leave a wait of nothing.
        if missing <= 1e-6 { Duration::ZERO } else { Duration::from_secs_f64(missing + 0.001) }
    }

    fn resize(&mut self, per_second: u64, now: Instant) {
        self.fill(now);
        self.per_second = per_second.max(1) as f64;
        self.tokens = self.tokens.min(self.per_second * BURST_SECONDS);
    }
}

/// The two buckets of a channel.
#[derive(Debug, Clone)]
pub struct Throttle {
    records: Bucket,
    bytes: Bucket,
}

impl Throttle {
    /// Full buckets for these limits.
    #[must_use]
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Self { records: Bucket::new(limits.records_per_second, now), bytes: Bucket::new(limits.bytes_per_second, now) }
    }

    /// Takes over the rates of another size; what was saved up is kept, up to the new burst.
    pub fn resize(&mut self, limits: &Limits, now: Instant) {
        self.records.resize(limits.records_per_second, now);
        self.bytes.resize(limits.bytes_per_second, now);
    }

    /// How long to wait before anything may move.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.records.fill(now);
        self.bytes.fill(now);
        self.records.wait().max(self.bytes.wait())
    }

    /// How many of the next records, given by their sizes in bytes, may move now; at least one.
    pub fn fitting(&self, sizes: impl Iterator<Item = u64>) -> usize {
        let mut bytes = self.bytes.tokens;
        let most = self.records.tokens.max(1.0) as usize;
        let fitting = sizes.take(most).take_while(|size| {
            bytes -= *size as f64;
            bytes >= 0.0
        });
        fitting.count().max(1)
    }

    /// Takes what was moved.
    pub fn take(&mut self, records: u64, bytes: u64) {
        self.records.tokens -= records as f64;
        self.bytes.tokens -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(records: u64, bytes: u64) -> Limits {
        Limits {
            records_per_second: records,
            bytes_per_second: bytes,
            connections: 1,
            retention_bytes: 0,
            retention_seconds: 0,
            memory_bytes: 0,
            payload_bytes: 0,
        }
    }

    #[test]
    fn ten_seconds_may_burst_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut throttle = Throttle::new(&limits(100, 1_000_000), start);
        throttle.take(1_000, 10);
        assert!(throttle.wait(start) > Duration::ZERO);
        let wait = throttle.wait(start + Duration::from_millis(20));
        assert!((80..=82).contains(&wait.as_millis()), "a few records are not worth a move: {wait:?}");
        let later = start + Duration::from_millis(20) + wait;
        assert_eq!(throttle.wait(later), Duration::ZERO);
        assert_eq!(throttle.fitting([10; 5_000].into_iter()), 10);
        // What passed all the same is paid for afterwards.
        throttle.take(10_000, 10);
        let wait = throttle.wait(later);
        assert!((99..=101).contains(&wait.as_secs()), "{wait:?}");
    }

    proptest! {
        /// Whatever is asked for and when: within any time from the start no more has passed than the
        /// burst, the rate, and the one record that may overdraw; and whoever waits as told may go on.
        #[test]
        fn never_more_than_burst_and_rate_passes_and_a_wait_is_enough(
            rates in (1..2_000_u64, 1..100_000_u64),
            steps in proptest::collection::vec((0..3_000_u64, proptest::collection::vec(0..300_000_u64, 0..40)), 1..60),
        ) {
            let start = Instant::now();
            let mut throttle = Throttle::new(&limits(rates.0, rates.1), start);
            let (mut now, mut records, mut bytes, mut largest) = (start, 0.0, 0.0, 0.0_f64);
            for (after, sizes) in steps {
                now += Duration::from_millis(after);
                let wait = throttle.wait(now);
                if wait > Duration::ZERO && after % 2 == 0 {
                    now += wait;
                    prop_assert_eq!(throttle.wait(now), Duration::ZERO);
                }
                if throttle.wait(now) == Duration::ZERO && !sizes.is_empty() {
                    let fitting = throttle.fitting(sizes.iter().copied());
                    prop_assert!((1..=sizes.len()).contains(&fitting));
                    let taken: u64 = sizes[..fitting].iter().sum();
                    throttle.take(fitting as u64, taken);
                    records += fitting as f64;
                    bytes += taken as f64;
                    largest = sizes[..fitting].iter().fold(largest, |most, size| most.max(*size as f64));
                }
                let seconds = BURST_SECONDS + (now - start).as_secs_f64();
                prop_assert!(records <= rates.0 as f64 * seconds + 1.001, "{records} records in {seconds} s");
                prop_assert!(bytes <= (rates.1 as f64).mul_add(seconds, largest + 0.001), "{bytes} bytes in {seconds} s");
            }
        }
    }

    #[test]
    fn bytes_bite_as_records_do_and_a_resize_is_felt_at_once() {
        let start = Instant::now();
        let mut throttle = Throttle::new(&limits(1_000_000, 100), start);
        assert_eq!(throttle.fitting([300; 5].into_iter()), 3);
        assert_eq!(throttle.fitting([5_000; 5].into_iter()), 1);
        throttle.take(1, 2_000);
        assert_eq!(throttle.wait(start).as_secs(), 10);
        throttle.resize(&limits(1_000_000, 1_000), start);
        assert_eq!(throttle.wait(start).as_secs(), 1);
    }
}
