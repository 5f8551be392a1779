//! The rows of grants.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, Json, Tx, args};
use headgate_types::selection::Policy;
use headgate_types::{ElementId, FieldError, GrantId, TenantId};
use uuid::Uuid;

use super::{Grant, Grantee, NewGrant};
use crate::error::CatalogError;
use crate::row::{document, placeholders};
use crate::{elements, subscriptions};

const MAX_FILTER: usize = 4_096;

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    element_id: Uuid,
    grantee_id: Option<Uuid>,
    policy: Json<Policy>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Grant {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            owner: row.tenant_id.into(),
            element: row.element_id.into(),
            grantee: row.grantee_id.map_or(Grantee::Public, |id| Grantee::Tenant(id.into())),
            policy: row.policy.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Grantee {
    const fn id(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Public => None,
        }
    }
}

async fn select(tx: &mut Tx, rest: &str, arguments: Arguments) -> Result<Vec<Grant>, CatalogError> {
    let sql =
        format!("SELECT tenant_id, id, element_id, grantee_id, policy, created_at, updated_at FROM grants {rest}");
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(Grant::from).collect())
}

/// Gives a grant, or gives the one that exists a new policy.
///
/// # Errors
/// `NotFound` when the owner has no such element, `Refused` when the policy names columns that the
/// element does not have or the grantee is the owner itself.
pub async fn grant(tx: &mut Tx, new: &NewGrant, now: DateTime<Utc>) -> Result<Grant, CatalogError> {
    elements::get(tx, new.owner, new.element).await?;
    let schema = elements::schema(tx, new.element).await?.schema;
    let mut errors = Vec::new();
    if new.grantee == Grantee::Tenant(new.owner) {
        errors.push(FieldError::new("/grantee", "own_element", "the owner sees its element anyway"));
    }
    for (index, column) in new.policy.columns.iter().enumerate() {
        if schema.field(column).is_none() {
            let pointer = format!("/policy/columns/{index}");
            errors.push(FieldError::new(pointer, "unknown_column", format!("the element has no column {column:?}")));
        }
    }
    if new.policy.filter.as_ref().is_some_and(|filter| filter.len() > MAX_FILTER || filter.trim().is_empty()) {
        let detail = format!("a predicate has between 1 and {MAX_FILTER} bytes");
        errors.push(FieldError::new("/policy/filter", "invalid_length", detail));
    }
    CatalogError::unless_empty("grant", errors)?;

    let policy = document("grants", &new.policy)?;
    let row_scoped = new.policy.filter.is_some();
    let column_scoped = !new.policy.columns.is_empty();
    let changed = tx
        .execute(
            "UPDATE grants SET policy = $4, row_scoped = $5, column_scoped = $6, updated_at = $7
             WHERE tenant_id = $1 AND element_id = $2 AND COALESCE(grantee_id, tenant_id) = COALESCE($3, tenant_id)",
            args![new.owner, new.element, new.grantee.id(), policy.clone(), row_scoped, column_scoped, now],
        )
        .await?;
    if changed == 0 {
        tx.execute(
            "INSERT INTO grants (tenant_id, id, element_id, grantee_id, policy, row_scoped, column_scoped,
                                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
            args![new.owner, GrantId::new(), new.element, new.grantee.id(), policy, row_scoped, column_scoped, now],
        )
        .await?;
    }
    subscriptions::note_change(tx, new.owner, new.element, now).await?;
    let found = select(
        tx,
        "WHERE tenant_id = $1 AND element_id = $2 AND COALESCE(grantee_id, tenant_id) = COALESCE($3, tenant_id)",
        args![new.owner, new.element, new.grantee.id()],
    )
    .await?;
    found.into_iter().next().ok_or(CatalogError::NotFound("grant"))
}

/// A grant the owner gave.
///
/// # Errors
/// `NotFound` when the owner gave no such grant.
pub async fn get(tx: &mut Tx, owner: TenantId, id: GrantId) -> Result<Grant, CatalogError> {
    let found = select(tx, "WHERE tenant_id = $1 AND id = $2", args![owner, id]).await?;
    found.into_iter().next().ok_or(CatalogError::NotFound("grant"))
}

/// Takes a grant back. Channels that carry the element lose it once
/// [`subscriptions::refresh_selections`] has run, which the caller sees to right after its commit.
///
/// # Errors
/// `NotFound` when the owner gave no such grant.
pub async fn revoke(tx: &mut Tx, owner: TenantId, id: GrantId, now: DateTime<Utc>) -> Result<Grant, CatalogError> {
    let old = get(tx, owner, id).await?;
    tx.execute("DELETE FROM grants WHERE tenant_id = $1 AND id = $2", args![owner, id]).await?;
    subscriptions::note_change(tx, owner, old.element, now).await?;
    Ok(old)
}

/// Takes back every grant the owner gave; the caller tells the elements' channels.
pub(crate) async fn revoke_all(tx: &mut Tx, owner: TenantId) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM grants WHERE tenant_id = $1", args![owner]).await?;
    Ok(())
}

/// The grants the owner gave, the newest first; of one element or of all.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    owner: TenantId,
    element: Option<ElementId>,
    before: Option<GrantId>,
    limit: u32,
) -> Result<Vec<Grant>, CatalogError> {
    let mut arguments = args![owner, limit];
    let mut rest = "WHERE tenant_id = $1".to_owned();
    if let Some(element) = element {
        arguments.push(element.into());
        rest.push_str(&format!(" AND element_id = ${}", arguments.len()));
    }
    if let Some(before) = before {
        arguments.push(before.into());
        rest.push_str(&format!(" AND id < ${}", arguments.len()));
    }
    rest.push_str(" ORDER BY id DESC LIMIT $2");
    select(tx, &rest, arguments).await
}

/// What `tenant` may see of an element: everything when it is the owner, the policy of its grant when
/// it has one and the element is published, `None` when it may not see it at all.
///
/// # Errors
/// When the database fails.
pub async fn policy_for(tx: &mut Tx, tenant: TenantId, element: ElementId) -> Result<Option<Policy>, CatalogError> {
    let owner: Option<(Uuid, String)> =
        tx.fetch_optional("SELECT tenant_id, state FROM elements WHERE id = $1", args![element]).await?;
    match owner {
        Some((owner, _)) if owner == tenant.uuid() => Ok(Some(Policy::default())),
        Some((_, state)) if state == elements::ElementState::Published.as_str() => {
            Ok(policies(tx, tenant, &[element]).await?.remove(&element))
        }
        _ => Ok(None),
    }
}

/// The policies under which `tenant` was granted `elements`; ownership and state are not looked at.
pub(crate) async fn policies(
    tx: &mut Tx,
    tenant: TenantId,
    elements: &[ElementId],
) -> Result<BTreeMap<ElementId, Policy>, CatalogError> {
    if elements.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut arguments = args![tenant];
    arguments.extend(elements.iter().map(|id| (*id).into()));
    // The grant by name comes last and so replaces the one to everybody.
    let sql = format!(
        "SELECT element_id, policy FROM grants
         WHERE (grantee_id = $1 OR grantee_id IS NULL) AND element_id IN ({})
         ORDER BY CASE WHEN grantee_id IS NULL THEN 0 ELSE 1 END",
        placeholders(2, elements.len())
    );
    let rows: Vec<(Uuid, Json<Policy>)> = tx.fetch_all_built(sql, arguments).await?;
    Ok(rows.into_iter().map(|(element, policy)| (element.into(), policy.0)).collect())
}
