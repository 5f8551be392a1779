//! What a tenant's quotas say about one channel more.

use headgate_access::tenants;
use headgate_catalog::channels;
use headgate_database::Tx;
use headgate_types::{ErrorKind, TenantId};

use crate::http::problem::ApiError;

/// Refuses a channel beyond the quota, in the transaction that makes it. The lock keeps two orders at
/// once from both being the last one.
pub(super) async fn one_more_channel(tx: &mut Tx, tenant: TenantId) -> Result<(), ApiError> {
    tenants::lock(tx, tenant).await?;
    let Some(most) = tenants::get(tx, tenant).await?.quotas.max_channels else { return Ok(()) };
    if channels::count_open(tx, tenant).await? < u64::from(most) {
        return Ok(());
    }
    let detail = format!("the tenant has {most} channels, which is all its quota allows; delete one or ask for more");
    Err(ApiError::new(ErrorKind::Conflict, "channel_quota_exceeded", detail))
}
