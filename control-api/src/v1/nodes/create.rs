//! A node of a hierarchy of the caller's own.

use axum::extract::State;
use headgate_access::audit::{self, Entry};
use headgate_catalog::nodes::{self, NewNode, Node};
use headgate_types::NodeId;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::body::Body;
use crate::http::caller::{Caller, ChannelsWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::state::ApiState;

/// A node to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeBody {
    /// The tree, for example `topic`; a child is in its parent's.
    #[schema(max_length = 64)]
    pub tree: String,
    /// The name below the parent.
    #[schema(max_length = 64)]
    pub name: String,
    /// The node above; absent for a root.
    #[serde(default)]
    pub parent: Option<NodeId>,
}

/// Make a node in a hierarchy of your own, to place elements at.
#[utoipa::path(post, path = "/v1/nodes", operation_id = "create_node", tag = "catalog",
    security(("oauth2" = ["channels.write"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a retry harmless")),
    request_body = NodeBody,
    responses((status = 201, description = "The node", body = Node)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller<ChannelsWrite>,
    key: IdempotencyKey,
    body: Body<NodeBody>,
) -> Result<Answer, ApiError> {
    let once = match state.once(&caller, key, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let NodeBody { tree, name, parent } = body.value;
    let mut tx = state.control.tenant(caller.tenant).await?;
    let new = NewNode { owner: caller.tenant, parent, tree, name };
    let node = nodes::insert(&mut tx, &new, state.clock.now()).await?;
    let entry = Entry::by(&caller, "node.create", node.id).detail(json!({"tree": node.tree, "path": node.path}));
    audit::record(&mut tx, entry, &state.clock).await?;
    once.commit(tx, Answer::created(format!("/v1/nodes/{}", node.id), &node)).await
}
