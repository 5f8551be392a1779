//! Rate limits per tenant and per client, told in the `RateLimit` headers of
//! draft-ietf-httpapi-ratelimit-headers-10.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_types::ErrorKind;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use uuid::Uuid;

use super::problem::ApiError;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
// An idle bucket is full again, so forgetting it changes nothing.
const MAX_BUCKETS: usize = 100_000;
/// Idle buckets are looked for at most this often: everybody waits meanwhile.
const CLEAN_EVERY: TimeDelta = TimeDelta::seconds(1);

/// One limit: so many requests in so many seconds, with the whole quota as burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: u32,
    /// The window in seconds.
    pub window_seconds: u32,
}

/// The limits of the control API.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    /// All clients of one tenant together.
    pub tenant: Quota,
    /// One client.
    pub client: Quota,
    /// One address that presents no valid token.
    pub anonymous: Quota,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            tenant: Quota { requests: 2_000, window_seconds: 10 },
            client: Quota { requests: 1_000, window_seconds: 10 },
            anonymous: Quota { requests: 300, window_seconds: 10 },
        }
    }
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// A tenant.
    Tenant(Uuid),
    /// A client.
    Client(Uuid),
    /// A remote network without a valid token.
    Remote(IpAddr),
}

impl Bucket {
    /// That of an address without a valid token.
    #[must_use]
    pub fn remote(address: IpAddr) -> Self {
        Self::Remote(headgate_access::network(address))
    }
}

/// The generic cell rate algorithm: per bucket, the time at which it would be full again.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    limits: RateLimits,
    buckets: Arc<Mutex<Buckets>>,
}

#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<Bucket, DateTime<Utc>>,
    cleaned: DateTime<Utc>,
}

impl Buckets {
    fn clean(&mut self, now: DateTime<Utc>) {
        if self.full_at.len() > MAX_BUCKETS && (now - self.cleaned).abs() >= CLEAN_EVERY {
            self.full_at.retain(|_, at| *at > now);
            self.cleaned = now;
        }
    }
}

/// What is left of one quota.
#[derive(Debug, Clone, Copy)]
struct Left {
    name: &'static str,
    quota: Quota,
    remaining: u32,
    reset_seconds: i64,
}

impl RateLimiter {
    /// A limiter with every bucket full.
    #[must_use]
    pub fn new(limits: RateLimits) -> Self {
        Self { limits, buckets: Arc::default() }
    }

    /// Takes one request out of each bucket, under its own quota where it has one. The headers tell
    /// what is left of the tightest.
    ///
    /// # Errors
    /// `rate_limited` (429) when one is empty; nothing is taken then.
    pub fn take(&self, buckets: &[(Bucket, Option<Quota>)], now: DateTime<Utc>) -> Result<HeaderMap, ApiError> {
        let mut all = self.buckets.lock();
        all.clean(now);
        let full_at = &mut all.full_at;
        let mut granted = Vec::with_capacity(buckets.len());
        for (bucket, own) in buckets {
            let (name, usual) = self.quota(*bucket);
            let quota = own.unwrap_or(usual);
            let window = TimeDelta::seconds(i64::from(quota.window_seconds));
            let cost = window / i32::try_from(quota.requests.max(1)).unwrap_or(i32::MAX);
            // A clock that was set back must not lock anybody out for longer than one window.
            let at = full_at.get(bucket).copied().unwrap_or(now).clamp(now, now + window) + cost;
            if at > now + window {
                let wait = (at - now - window).num_milliseconds().div_euclid(1_000) + 1;
                return Err(refusal(name, quota, wait));
            }
            let free = (now + window - at).num_microseconds().unwrap_or(0);
            let remaining = free / cost.num_microseconds().unwrap_or(1).max(1);
            let left = Left {
                name,
                quota,
                remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
                reset_seconds: (at - now).num_seconds() + 1,
            };
            granted.push((*bucket, at, left));
        }
        let left: Vec<_> = granted.iter().map(|(_, _, left)| *left).collect();
        full_at.extend(granted.into_iter().map(|(bucket, at, _)| (bucket, at)));
        Ok(headers(&left))
    }

    fn quota(&self, bucket: Bucket) -> (&'static str, Quota) {
        match bucket {
            Bucket::Tenant(_) => ("tenant", self.limits.tenant),
            Bucket::Client(_) => ("client", self.limits.client),
            Bucket::Remote(_) => ("anonymous", self.limits.anonymous),
        }
    }
}

fn refusal(name: &'static str, quota: Quota, wait: i64) -> ApiError {
    let Quota { requests, window_seconds } = quota;
    let detail = format!("more than {requests} requests in {window_seconds} s for this {name}");
    let mut error = ApiError::new(ErrorKind::TooManyRequests, "rate_limited", detail);
    error.problem.retry_after = u64::try_from(wait).ok();
    let left = Left { name, quota, remaining: 0, reset_seconds: wait };
    for (header, value) in headers(&[left]) {
        if let Some(header) = header {
            error = error.with_header(header, value);
        }
    }
    error
}

fn headers(left: &[Left]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let policies: Vec<_> =
        left.iter().map(|l| format!("\"{}\";q={};w={}", l.name, l.quota.requests, l.quota.window_seconds)).collect();
    if let Ok(value) = HeaderValue::from_str(&policies.join(", ")) {
        headers.insert(RATE_LIMIT_POLICY, value);
    }
    if let Some(tightest) = left.iter().min_by_key(|left| left.remaining)
        && let Ok(value) = HeaderValue::from_str(&format!(
            "\"{}\";r={};t={}",
            tightest.name, tightest.remaining, tightest.reset_seconds
        ))
    {
        headers.insert(RATE_LIMIT, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> RateLimiter {
        RateLimiter::new(RateLimits {
            tenant: Quota { requests: 5, window_seconds: 10 },
            client: Quota { requests: 3, window_seconds: 10 },
            anonymous: Quota { requests: 1, window_seconds: 10 },
        })
    }

    #[test]
    fn a_client_that_is_too_fast_is_told_when_to_come_back() {
        let (limiter, now) = (limiter(), DateTime::UNIX_EPOCH);
        let buckets = [(Bucket::Tenant(Uuid::nil()), None), (Bucket::Client(Uuid::nil()), None)];
        for left in [2, 1, 0] {
            let headers = limiter.take(&buckets, now).unwrap();
            assert!(headers[RATE_LIMIT].to_str().unwrap().starts_with(&format!("\"client\";r={left};")));
            assert_eq!(headers[RATE_LIMIT_POLICY], "\"tenant\";q=5;w=10, \"client\";q=3;w=10");
        }
        let error = limiter.take(&buckets, now).unwrap_err();
        assert_eq!(error.status(), 429);
        let wait = error.problem.retry_after.unwrap();
        assert!(limiter.take(&buckets, now + TimeDelta::seconds(i64::try_from(wait).unwrap())).is_ok());
    }

    #[test]
    fn a_machine_has_one_bucket_however_many_addresses_it_has() {
        let (limiter, now) = (limiter(), DateTime::UNIX_EPOCH);
        let take = |address: &str| limiter.take(&[(Bucket::remote(address.parse().unwrap()), None)], now).is_ok();
        assert!(take("2001:db8:1:1::1"));
        assert!(!take("2001:db8:1:1:ffff::2"), "the same network");
        assert!(take("2001:db8:1:2::1"));
        assert!(take("192.0.2.1"));
        assert!(take("192.0.2.2"));
        assert!(!take("::ffff:192.0.2.1"), "the same address, written otherwise");
    }

    #[test]
    fn idle_buckets_are_forgotten_and_looked_for_once_a_second() {
        let (limiter, begin) = (limiter(), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        let known = || limiter.buckets.lock().full_at.len();
        let mut networks = 0;
        let mut fill = |now| {
            while known() <= MAX_BUCKETS {
                networks += 1;
                limiter.take(&[(Bucket::remote(std::net::Ipv4Addr::from_bits(networks).into()), None)], now).unwrap();
            }
        };
        let take = |now| limiter.take(&[(Bucket::Tenant(Uuid::nil()), None)], now).unwrap();
        fill(begin);
        let later = begin + TimeDelta::seconds(10);
        take(later);
        assert_eq!(known(), 1);
        fill(later - TimeDelta::seconds(10));
        take(later + TimeDelta::milliseconds(999));
        assert_eq!(known(), MAX_BUCKETS + 1);
        take(later + CLEAN_EVERY);
        assert_eq!(known(), 1);
    }

    #[test]
    fn clients_of_one_tenant_share_its_limit_and_others_feel_nothing() {
        let (limiter, now) = (limiter(), DateTime::UNIX_EPOCH);
        let client = |n| [(Bucket::Tenant(Uuid::nil()), None), (Bucket::Client(Uuid::from_u128(n)), None)];
        let granted = (0..6).filter(|n| limiter.take(&client(*n), now).is_ok()).count();
        assert_eq!(granted, 5);
        assert!(limiter.take(&[(Bucket::Tenant(Uuid::max()), None), (Bucket::Client(Uuid::max()), None)], now).is_ok());
    }
}
