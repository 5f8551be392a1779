//! The rows of elements, schema versions, facets, places and statistics.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_database::{Arguments, DbError, Json, Tx, args};
use headgate_types::schema::Schema;
use headgate_types::{ElementId, FieldError, NodeId, TenantId};
use uuid::Uuid;

use super::{Element, ElementChange, ElementState, Metadata, NewElement, VisibleElement, names, schemas};
use crate::error::CatalogError;
use crate::row::{count, document, placeholders, small, word};
use crate::{grants, nodes, subscriptions};

const TABLE: &str = "elements";

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    name: String,
    kind: String,
    state: String,
    metadata: Json<Metadata>,
    schema_version: i64,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The condition that element `e` is visible to the tenant bound as `$n`. Row-level security says
/// the same again on PostgreSQL.
pub(super) fn visible_to(n: usize) -> String {
    format!(
        "(e.tenant_id = ${n} OR (e.state = 'PUBLISHED' AND EXISTS (SELECT 1 FROM grants g
           WHERE g.element_id = e.id AND g.tenant_id = e.tenant_id AND (g.grantee_id = ${n} OR g.grantee_id IS NULL))))"
    )
}

/// Elements `e`, with facets and places.
pub(super) async fn select(tx: &mut Tx, rest: String, arguments: Arguments) -> Result<Vec<Element>, CatalogError> {
    let sql = format!(
        "SELECT e.tenant_id, e.id, e.name, e.kind, e.state, e.metadata, e.schema_version, e.version, e.created_at,
                e.updated_at
         FROM elements e {rest}"
    );
    let rows: Vec<Row> = tx.fetch_all_built(sql, arguments).await?;
    let ids: Vec<ElementId> = rows.iter().map(|row| row.id.into()).collect();
    let mut facets = facets(tx, &ids).await?;
    let mut places = places(tx, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let id = row.id.into();
            Ok(Element {
                id,
                owner: row.tenant_id.into(),
                name: row.name,
                kind: word(TABLE, &row.kind)?,
                state: word(TABLE, &row.state)?,
                metadata: row.metadata.0,
                facets: facets.remove(&id).unwrap_or_default(),
                nodes: places.remove(&id).unwrap_or_default(),
                schema_version: small(row.schema_version),
                version: count(row.version),
                created_at: row.created_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

async fn facets(tx: &mut Tx, ids: &[ElementId]) -> Result<BTreeMap<ElementId, BTreeMap<String, String>>, CatalogError> {
    let mut facets = BTreeMap::<ElementId, BTreeMap<String, String>>::new();
    if ids.is_empty() {
        return Ok(facets);
    }
    let sql = format!(
        "SELECT element_id, facet, value FROM element_facets WHERE element_id IN ({})",
        placeholders(1, ids.len())
    );
    let rows: Vec<(Uuid, String, String)> =
        tx.fetch_all_built(sql, ids.iter().map(|id| (*id).into()).collect()).await?;
    for (element, facet, value) in rows {
        facets.entry(element.into()).or_default().insert(facet, value);
    }
    Ok(facets)
}

async fn places(tx: &mut Tx, ids: &[ElementId]) -> Result<BTreeMap<ElementId, Vec<NodeId>>, CatalogError> {
    let mut places = BTreeMap::<ElementId, Vec<NodeId>>::new();
    if ids.is_empty() {
        return Ok(places);
    }
    let sql = format!(
        "SELECT element_id, node_id FROM element_nodes WHERE element_id IN ({}) AND direct = TRUE ORDER BY node_id",
        placeholders(1, ids.len())
    );
    let rows: Vec<(Uuid, Uuid)> = tx.fetch_all_built(sql, ids.iter().map(|id| (*id).into()).collect()).await?;
    for (element, node) in rows {
        places.entry(element.into()).or_default().push(node.into());
    }
    Ok(places)
}

/// Makes an element in PROVISIONING with version 1 of its schema. The same id again is the same
/// step again and changes nothing.
///
/// # Errors
/// `Refused` when the document is wrong, `NameTaken` when the owner has another element of the name.
pub async fn insert(tx: &mut Tx, new: &NewElement, now: DateTime<Utc>) -> Result<Element, CatalogError> {
    let spec = &new.spec;
    CatalogError::unless_empty("element", spec.errors())?;
    match get(tx, new.tenant, new.id).await {
        Err(CatalogError::NotFound(_)) => {}
        other => return other,
    }
    check_name(tx, new.tenant, new.id, &spec.name).await?;
    tx.execute(
        "INSERT INTO elements (tenant_id, id, name, kind, state, metadata, price_key, search_text, search_fields,
                               schema_version, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 1, $10, $10)",
        args![
            new.tenant,
            new.id,
            spec.name.as_str(),
            spec.kind.as_str(),
            ElementState::Provisioning.as_str(),
            document(TABLE, &spec.metadata)?,
            spec.metadata.price_key.as_deref(),
            search_text(&spec.name, &spec.metadata),
            search_fields(&spec.schema),
            now
        ],
    )
    .await
    .map_err(|error| taken(error, &spec.name))?;
    schemas::insert_first(tx, new.tenant, new.id, &spec.schema, now).await?;
    put_facets(tx, new.tenant, new.id, &spec.facets).await?;
    put_places(tx, new.tenant, new.id, &spec.nodes).await?;
    get(tx, new.tenant, new.id).await
}

// Asked beforehand, because a refused INSERT ends the transaction on PostgreSQL.
async fn check_name(tx: &mut Tx, owner: TenantId, id: ElementId, name: &str) -> Result<(), CatalogError> {
    let other: Option<(Uuid,)> = tx
        .fetch_optional(
            "SELECT id FROM elements WHERE tenant_id = $1 AND lower(name) = lower($2) AND state <> 'RETIRED' AND id <> $3",
            args![owner, name, id],
        )
        .await?;
    if other.is_some() { Err(CatalogError::NameTaken(name.to_owned())) } else { Ok(()) }
}

fn taken(error: DbError, name: &str) -> CatalogError {
    match error {
        DbError::Duplicate => CatalogError::NameTaken(name.to_owned()),
        other => other.into(),
    }
}

fn search_text(name: &str, metadata: &Metadata) -> String {
    let mut words = vec![
        name,
        &metadata.context,
        &metadata.source,
        &metadata.format,
        &metadata.what,
        &metadata.identified_by,
        metadata.description.as_deref().unwrap_or_default(),
    ];
    words.extend(metadata.tags.iter().map(String::as_str));
    words.join(" ").to_lowercase()
}

/// Beside the other words, because a grantee may not know of every field.
fn search_fields(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    names.join(" ").to_lowercase()
}

async fn put_facets(
    tx: &mut Tx,
    owner: TenantId,
    id: ElementId,
    facets: &BTreeMap<String, String>,
) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM element_facets WHERE tenant_id = $1 AND element_id = $2", args![owner, id]).await?;
    for (facet, value) in facets {
        tx.execute(
            "INSERT INTO element_facets (tenant_id, element_id, facet, value) VALUES ($1, $2, $3, $4)",
            args![owner, id, facet, value],
        )
        .await?;
    }
    Ok(())
}

async fn put_places(tx: &mut Tx, owner: TenantId, id: ElementId, places: &[NodeId]) -> Result<(), CatalogError> {
    tx.execute("DELETE FROM element_nodes WHERE tenant_id = $1 AND element_id = $2", args![owner, id]).await?;
    let mut rows = BTreeMap::<NodeId, (TenantId, bool)>::new();
    for (index, place) in places.iter().enumerate() {
        let ancestors = nodes::ancestors(tx, owner, *place).await?;
        if ancestors.is_empty() {
            let fields = vec![FieldError::new(format!("/nodes/{index}"), "unknown_node", "there is no such node")];
            return Err(CatalogError::Refused { what: "element", fields });
        }
        for (node, node_owner) in ancestors {
            let row = rows.entry(node).or_insert((node_owner, false));
            row.1 |= node == *place;
        }
    }
    for (node, (node_owner, direct)) in rows {
        tx.execute(
            "INSERT INTO element_nodes (tenant_id, element_id, node_tenant_id, node_id, direct)
             VALUES ($1, $2, $3, $4, $5)",
            args![owner, id, node_owner, node, direct],
        )
        .await?;
    }
    Ok(())
}

/// An owner's element, in any state.
///
/// # Errors
/// `NotFound` when the owner has no such element.
pub async fn get(tx: &mut Tx, owner: TenantId, id: ElementId) -> Result<Element, CatalogError> {
    let found = select(tx, "WHERE e.tenant_id = $1 AND e.id = $2".to_owned(), args![owner, id]).await?;
    found.into_iter().next().ok_or(CatalogError::NotFound("element"))
}

/// An element whoever owns it, for the platform's own work.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, id: ElementId) -> Result<Option<Element>, CatalogError> {
    Ok(select(tx, "WHERE e.id = $1".to_owned(), args![id]).await?.into_iter().next())
}

/// An element as `viewer` sees it.
///
/// # Errors
/// `NotFound` when it is not visible to `viewer`.
pub async fn visible(tx: &mut Tx, viewer: TenantId, id: ElementId) -> Result<VisibleElement, CatalogError> {
    let rest = format!("WHERE e.id = $2 AND {}", visible_to(1));
    let found = select(tx, rest, args![viewer, id]).await?.into_iter().next();
    let element = found.ok_or(CatalogError::NotFound("element"))?;
    let owned = element.owner == viewer;
    let policy = grants::policy_for(tx, viewer, id).await?.ok_or(CatalogError::NotFound("element"))?;
    Ok(VisibleElement { element, policy, owned })
}

/// Makes an element visible to whoever it is granted to; again is no change. Selections by node and
/// facet pick it up.
///
/// # Errors
/// `NotFound` when the owner has no such element that is not RETIRED.
pub async fn publish(tx: &mut Tx, owner: TenantId, id: ElementId, now: DateTime<Utc>) -> Result<(), CatalogError> {
    let old = get(tx, owner, id).await?;
    match old.state {
        ElementState::Published => Ok(()),
        ElementState::Retired => Err(CatalogError::NotFound("element")),
        ElementState::Provisioning => set_state(tx, owner, id, ElementState::Published, now).await,
    }
}

/// Withdraws an element; its records stay in the lake, channels that carry it lose it.
///
/// # Errors
/// `NotFound` when the owner has no such element.
pub async fn retire(tx: &mut Tx, owner: TenantId, id: ElementId, now: DateTime<Utc>) -> Result<(), CatalogError> {
    get(tx, owner, id).await?;
    set_state(tx, owner, id, ElementState::Retired, now).await
}

/// Withdraws every element of an owner and takes back every grant of them: what is left when a
/// tenant ends. Returns how many there were.
///
/// # Errors
/// When the database fails.
pub async fn retire_all(tx: &mut Tx, owner: TenantId, now: DateTime<Utc>) -> Result<usize, CatalogError> {
    let rest = "WHERE e.tenant_id = $1 AND e.state <> 'RETIRED' ORDER BY e.id".to_owned();
    let elements = select(tx, rest, args![owner]).await?;
    grants::revoke_all(tx, owner).await?;
    // They hold the least and greatest values of columns.
    super::statistics::remove_all(tx, owner).await?;
    for element in &elements {
        set_state(tx, owner, element.id, ElementState::Retired, now).await?;
    }
    Ok(elements.len())
}

/// Elements that were withdrawn, with their owners, whoever they are: the platform's own work.
///
/// # Errors
/// When the database fails.
pub async fn retired(tx: &mut Tx) -> Result<Vec<(TenantId, ElementId)>, CatalogError> {
    let rows: Vec<(Uuid, Uuid)> =
        tx.fetch_all("SELECT tenant_id, id FROM elements WHERE state = 'RETIRED' ORDER BY id", args![]).await?;
    Ok(rows.into_iter().map(|(owner, id)| (owner.into(), id.into())).collect())
}

async fn set_state(
    tx: &mut Tx,
    owner: TenantId,
    id: ElementId,
    state: ElementState,
    now: DateTime<Utc>,
) -> Result<(), CatalogError> {
    tx.execute(
        "UPDATE elements SET state = $3, updated_at = $4, version = version + 1 WHERE tenant_id = $1 AND id = $2",
        args![owner, id, state.as_str(), now],
    )
    .await?;
    subscriptions::note_change(tx, owner, id, now).await
}

/// Takes back an element that was never published: the undo of [`insert`]. An element that is
/// published, or is not there, stays as it is.
///
/// # Errors
/// `InUse` while a feed is bound to it.
pub async fn remove(tx: &mut Tx, owner: TenantId, id: ElementId) -> Result<(), CatalogError> {
    let removed = tx
        .execute("DELETE FROM elements WHERE tenant_id = $1 AND id = $2 AND state = 'PROVISIONING'", args![owner, id])
        .await;
    match removed {
        Err(DbError::Reference) => Err(CatalogError::InUse { what: "element", by: "a feed" }),
        other => Ok(other.map(drop)?),
    }
}

/// Changes what an owner may change of an element.
///
/// # Errors
/// `Refused` when the document is wrong, `Stale` when `expected_version` is given and is not the
/// element's, `NameTaken`, `NotFound`, also for a retired one.
pub async fn update(
    tx: &mut Tx,
    owner: TenantId,
    id: ElementId,
    change: &ElementChange,
    expected_version: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Element, CatalogError> {
    let old = get(tx, owner, id).await?;
    if old.state == ElementState::Retired {
        // Its name is another's to take, and nobody finds it any more.
        return Err(CatalogError::NotFound("element"));
    }
    if expected_version.is_some_and(|expected| expected != old.version) {
        return Err(CatalogError::Stale("element"));
    }
    let name = change.name.as_ref().unwrap_or(&old.name);
    let metadata = change.metadata.as_ref().unwrap_or(&old.metadata);
    let mut errors: Vec<_> = names::path_error("/name", name).into_iter().collect();
    errors.extend(names::metadata_errors(metadata).into_iter().map(|error| error.under("/metadata")));
    errors.extend(change.facets.iter().flat_map(names::facet_errors));
    errors.extend(change.nodes.as_ref().and_then(|nodes| names::node_count_error(nodes.len())));
    CatalogError::unless_empty("element", errors)?;
    check_name(tx, owner, id, name).await?;
    let changed = tx
        .execute(
            "UPDATE elements SET name = $4, metadata = $5, price_key = $6, search_text = $7, updated_at = $8,
                    version = version + 1
             WHERE tenant_id = $1 AND id = $2 AND version = $3",
            args![
                owner,
                id,
                old.version,
                name,
                document(TABLE, metadata)?,
                metadata.price_key.as_deref(),
                search_text(name, metadata),
                now
            ],
        )
        .await
        .map_err(|error| taken(error, name))?;
    if changed == 0 {
        return Err(CatalogError::Stale("element"));
    }
    if let Some(facets) = &change.facets {
        put_facets(tx, owner, id, facets).await?;
    }
    if let Some(nodes) = &change.nodes {
        put_places(tx, owner, id, nodes).await?;
    }
    subscriptions::note_change(tx, owner, id, now).await?;
    get(tx, owner, id).await
}
