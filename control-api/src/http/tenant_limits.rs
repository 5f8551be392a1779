//! The request quota of a tenant, read a moment ago.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use headgate_access::tenants;
use headgate_types::TenantId;
use parking_lot::Mutex;

use super::problem::ApiError;
use super::rate::Quota;
use crate::state::ApiState;

/// How long a quota is trusted without looking again.
const FRESH: TimeDelta = TimeDelta::seconds(10);
const MAX_TENANTS: usize = 10_000;

/// Quotas read a moment ago; absent quotas leave the limit that holds for everybody.
#[derive(Debug, Default)]
pub(crate) struct TenantLimits(Mutex<HashMap<TenantId, Known>>);

/// When it was read, and what it was.
type Known = (DateTime<Utc>, Option<Quota>);

impl TenantLimits {
    /// The request quota of `tenant`, where it has one of its own.
    pub(crate) async fn of(&self, state: &ApiState, tenant: TenantId) -> Result<Option<Quota>, ApiError> {
        let now = state.clock.now();
        if let Some((read_at, quota)) = self.0.lock().get(&tenant)
            && (now - *read_at).abs() < FRESH
        {
            return Ok(*quota);
        }
        let mut tx = state.control.read_tenant(tenant).await?;
        let quotas = tenants::get(&mut tx, tenant).await?.quotas;
        let quota = quotas.requests_per_second.map(|requests| Quota {
            // Over ten seconds, so that a burst of one page of requests passes.
            requests: requests.saturating_mul(10),
            window_seconds: 10,
        });
        let mut known = self.0.lock();
        if known.len() >= MAX_TENANTS {
            known.clear();
        }
        known.insert(tenant, (now, quota));
        Ok(quota)
    }

    /// Forgets what was read, after a change in this process.
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }
}
