//! Removing a node.

use axum::extract::State;
use headgate_access::audit::{self, Entry};
use headgate_catalog::nodes;
use headgate_types::NodeId;
use http::StatusCode;

use crate::http::caller::{Caller, ChannelsWrite};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Remove a node of your own that has neither children nor elements.
#[utoipa::path(delete, path = "/v1/nodes/{node}", operation_id = "delete_node", tag = "catalog",
    security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("node" = NodeId, Path, description = "The node")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    Path(id): Path<NodeId>,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.control.tenant(caller.tenant).await?;
    nodes::remove(&mut tx, caller.tenant, id).await?;
    audit::record(&mut tx, Entry::by(&caller, "node.delete", id), &state.clock).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
