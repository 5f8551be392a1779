//! Every change and every denial leaves a row in the audit log. Changes are recorded in their own
//! transaction by the handlers; denials here, for all endpoints alike.

use headgate_access::audit::{self, Entry, Outcome};
use headgate_access::{AccessError, AdminCaller, PLATFORM, Principal};
use headgate_database::Tx;
use headgate_types::TenantId;
use serde_json::{Value, json};

use crate::state::ApiState;

/// What was denied.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    /// Method and path.
    pub what: String,
    /// The request.
    pub request_id: String,
    /// Code of the problem.
    pub code: String,
}

/// Records that `principal` was refused something. A failure to record is logged and does not turn
/// the refusal into anything else.
pub(crate) async fn denied(state: &ApiState, principal: &Principal, denied: Denied) {
    let tenant = principal.tenant.unwrap_or(PLATFORM);
    let entry = Entry {
        tenant,
        actor: principal.actor(),
        action: "request.denied",
        resource: denied.what,
        outcome: Outcome::Denied,
        request_id: Some(denied.request_id),
        detail: json!({"code": denied.code}),
    };
    let written = async {
        let mut tx = state.control.platform().await?;
        tx.act_for(tenant).await?;
        audit::record(&mut tx, entry, &state.clock).await?;
        tx.commit().await?;
        Ok::<_, AccessError>(())
    };
    if let Err(error) = written.await {
        tracing::error!(%error, "failed to record a denial");
    }
}

/// Records what an administrator did to a tenant: in the platform's chain, and in the tenant's own,
/// where the tenant can see it. The transaction acts for the platform afterwards.
pub(crate) async fn by_admin(
    state: &ApiState,
    tx: &mut Tx,
    admin: &AdminCaller,
    tenant: TenantId,
    action: &'static str,
    resource: impl ToString,
    detail: Value,
) -> Result<(), AccessError> {
    let entry = Entry::by_admin(admin, action, resource).detail(detail);
    tx.act_for(tenant).await?;
    audit::record(tx, entry.clone().under(tenant), &state.clock).await?;
    tx.act_for(PLATFORM).await?;
    audit::record(tx, entry, &state.clock).await?;
    Ok(())
}
