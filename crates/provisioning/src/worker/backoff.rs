//! How long to wait before something is tried again.

use std::time::Duration;

/// Doubles from `base` with every failed attempt up to `cap`, with up to a quarter taken off so
/// that what failed together does not come back together. `chance` is in 0..=1.
pub(crate) fn backoff(base: Duration, cap: Duration, attempts: i64, chance: f64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 20)).unwrap_or_default();
    let full = base.saturating_mul(1 << doublings).min(cap);
    full.mul_f64(1.0 - 0.25 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_no_further() {
        let wait = |attempts, chance| backoff(Duration::from_secs(1), Duration::from_secs(60), attempts, chance);
        assert_eq!([0, 1, 2, 10, 1_000].map(|n| wait(n, 0.0).as_secs()), [1, 2, 4, 60, 60]);
        assert_eq!(wait(2, 1.0), Duration::from_secs(3));
    }
}
