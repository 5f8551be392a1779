//! The rows of nodes.

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, DbError, Tx, args};
use headgate_types::{FieldError, NodeId, TenantId};
use uuid::Uuid;

use super::{MAX_DEPTH, NewNode, Node, PLATFORM};
use crate::elements::segment_error;
use crate::error::CatalogError;
use crate::row::small;

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    parent_id: Option<Uuid>,
    tree: String,
    name: String,
    path: String,
    depth: i64,
    created_at: DateTime<Utc>,
}

impl From<Row> for Node {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            owner: row.tenant_id.into(),
            parent: row.parent_id.map(NodeId::from),
            tree: row.tree,
            name: row.name,
            path: row.path,
            depth: small(row.depth),
            created_at: row.created_at,
        }
    }
}

// $1: the viewer, $2: the platform.
const VISIBLE: &str = "(n.tenant_id = $1 OR n.tenant_id = $2 OR EXISTS (SELECT 1 FROM element_nodes p
    JOIN elements e ON e.tenant_id = p.tenant_id AND e.id = p.element_id
    JOIN grants g ON g.tenant_id = p.tenant_id AND g.element_id = p.element_id
    WHERE p.node_id = n.id AND e.state = 'PUBLISHED' AND (g.grantee_id = $1 OR g.grantee_id IS NULL)))";

async fn select(tx: &mut Tx, rest: String, arguments: Arguments) -> Result<Vec<Node>, CatalogError> {
    let sql = format!(
        "SELECT n.tenant_id, n.id, n.parent_id, n.tree, n.name, n.path, n.depth, n.created_at FROM nodes n {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Node::from).collect())
}

/// Makes a node.
///
/// # Errors
/// `Refused` when the name, the tree or the parent is wrong, `NameTaken` when the path exists.
pub async fn insert(tx: &mut Tx, new: &NewNode, now: DateTime<Utc>) -> Result<Node, CatalogError> {
    let mut errors = Vec::new();
    errors.extend(segment_error(&new.name).map(|detail| FieldError::new("/name", "invalid_name", detail)));
    errors.extend(segment_error(&new.tree).map(|detail| FieldError::new("/tree", "invalid_name", detail)));
    let mut parent = None;
    if let Some(id) = new.parent {
        parent = select(tx, "WHERE n.tenant_id = $1 AND n.id = $2".to_owned(), args![new.owner, id]).await?.pop();
        match &parent {
            None => errors.push(FieldError::new("/parent", "unknown_node", "there is no such node")),
            Some(parent) if parent.tree != new.tree => {
                errors.push(FieldError::new("/tree", "other_tree", format!("the parent is in tree {:?}", parent.tree)));
            }
            Some(parent) if parent.depth >= MAX_DEPTH => {
                errors.push(FieldError::new("/parent", "too_deep", format!("a tree has at most {MAX_DEPTH} levels")));
            }
            Some(_) => {}
        }
    }
    CatalogError::unless_empty("node", errors)?;
    let (path, depth) = match &parent {
        Some(parent) => (format!("{}/{}", parent.path, new.name), parent.depth + 1),
        None => (new.name.clone(), 1),
    };
    let id = NodeId::new();
    let inserted = tx
        .execute(
            "INSERT INTO nodes (tenant_id, id, parent_id, tree, name, path, depth, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT DO NOTHING",
            args![new.owner, id, new.parent, new.tree.as_str(), new.name.as_str(), path.as_str(), depth, now],
        )
        .await?;
    if inserted == 0 {
        return Err(CatalogError::NameTaken(path));
    }
    get(tx, new.owner, id).await
}

/// A node as `viewer` sees it.
///
/// # Errors
/// `NotFound` when it is not visible to `viewer`.
pub async fn get(tx: &mut Tx, viewer: TenantId, id: NodeId) -> Result<Node, CatalogError> {
    let found = select(tx, format!("WHERE n.id = $3 AND {VISIBLE}"), args![viewer, PLATFORM, id]).await?;
    found.into_iter().next().ok_or(CatalogError::NotFound("node"))
}

/// The nodes `viewer` sees, by tree and path; all trees when `tree` is absent.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    viewer: TenantId,
    tree: Option<&str>,
    after: Option<NodeId>,
    limit: u32,
) -> Result<Vec<Node>, CatalogError> {
    let mut arguments = args![viewer, PLATFORM, limit];
    let mut conditions = vec![VISIBLE.to_owned()];
    if let Some(tree) = tree {
        arguments.push(tree.into());
        conditions.push(format!("n.tree = ${}", arguments.len()));
    }
    if let Some(after) = after {
        arguments.push(after.into());
        let n = arguments.len();
        conditions
            .push(format!("(n.tree, n.path, n.id) > (SELECT a.tree, a.path, a.id FROM nodes a WHERE a.id = ${n})"));
    }
    let rest = format!("WHERE {} ORDER BY n.tree, n.path, n.id LIMIT $3", conditions.join(" AND "));
    select(tx, rest, arguments).await
}

/// Removes a node without children and elements.
///
/// # Errors
/// `InUse` when it has some, `NotFound` when `owner` has no such node.
pub async fn remove(tx: &mut Tx, owner: TenantId, id: NodeId) -> Result<(), CatalogError> {
    match tx.execute("DELETE FROM nodes WHERE tenant_id = $1 AND id = $2", args![owner, id]).await {
        Ok(0) => Err(CatalogError::NotFound("node")),
        Ok(_) => Ok(()),
        Err(DbError::Reference) => Err(CatalogError::InUse { what: "node", by: "a child or an element" }),
        Err(error) => Err(error.into()),
    }
}

/// A node with everything above it, each with its owner; empty when `tenant` may not place elements
/// at it, because it is neither its own nor the platform's.
pub(crate) async fn ancestors(
    tx: &mut Tx,
    tenant: TenantId,
    id: NodeId,
) -> Result<Vec<(NodeId, TenantId)>, CatalogError> {
    let rows: Vec<(Uuid, Uuid)> = tx
        .fetch_all(
            "WITH RECURSIVE up (tenant_id, id, parent_id) AS (
               SELECT n.tenant_id, n.id, n.parent_id FROM nodes n
               WHERE n.id = $1 AND (n.tenant_id = $2 OR n.tenant_id = $3)
               UNION ALL
               SELECT n.tenant_id, n.id, n.parent_id FROM nodes n JOIN up ON n.tenant_id = up.tenant_id AND n.id = up.parent_id
             )
             SELECT id, tenant_id FROM up",
            args![id, tenant, PLATFORM],
        )
        .await?;
    Ok(rows.into_iter().map(|(node, owner)| (node.into(), owner.into())).collect())
}
