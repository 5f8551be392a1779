//! From a selection to scopes: elements named one by one, by hierarchy node or by facets.

use std::collections::HashSet;

use headgate_database::Tx;
use headgate_types::model::OutputModel;
use headgate_types::selection::{Scope, SelectionItem};
use headgate_types::{ElementId, FieldError, TenantId};

use super::names;
use crate::elements::{self, ElementFilter, ElementState, VisibleElement};
use crate::error::CatalogError;
use crate::nodes;

/// The most elements one channel carries.
pub const MAX_SCOPES: usize = 1_000;
const MAX_FILTER: usize = 4_096;

/// Resolves the selection of an order: every element it reaches now, once, with the policy under
/// which `tenant` may see it. An element named by id takes precedence over a node or facet item that
/// reaches it too; among those the first one counts. Nodes and facets may reach nothing yet.
///
/// Whether predicates and columns make sense is the engine's to say (`Engine::check_scope`).
///
/// # Errors
/// `Refused`, with pointers relative to the list of items: `/0/element`, `/2`.
pub async fn resolve_selection(
    tx: &mut Tx,
    tenant: TenantId,
    items: &[SelectionItem],
    default_model: &OutputModel,
) -> Result<Vec<Scope>, CatalogError> {
    let resolved = resolve(tx, tenant, items, default_model).await?;
    CatalogError::unless_empty("selection", resolved.errors)?;
    Ok(resolved.scopes)
}

/// What a selection comes down to now.
pub(super) struct Resolved {
    pub(super) scopes: Vec<Scope>,
    pub(super) errors: Vec<FieldError>,
    /// Whether it may come down to something else later: it has node or facet items, or names an
    /// element that cannot be seen at present.
    pub(super) follows: bool,
}

pub(super) async fn resolve(
    tx: &mut Tx,
    tenant: TenantId,
    items: &[SelectionItem],
    default_model: &OutputModel,
) -> Result<Resolved, CatalogError> {
    let mut resolved = Resolved { scopes: Vec::new(), errors: Vec::new(), follows: false };
    let named: HashSet<ElementId> = items.iter().filter_map(|item| item.element).collect();
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let at = |place: &str| format!("/{index}{place}");
        let kinds = [item.element.is_some(), item.node.is_some(), !item.facets.is_empty()];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            let detail = "an item has exactly one of element, node and facets";
            resolved.errors.push(FieldError::new(at(""), "exactly_one", detail));
            continue;
        }
        if item.filter.as_ref().is_some_and(|filter| filter.len() > MAX_FILTER || filter.trim().is_empty()) {
            let detail = format!("a predicate has between 1 and {MAX_FILTER} bytes");
            resolved.errors.push(FieldError::new(at("/filter"), "invalid_length", detail));
        }
        let reached = if let Some(element) = item.element {
            if seen.contains(&element) {
                let detail = "this element is selected twice; give it one item";
                resolved.errors.push(FieldError::new(at("/element"), "duplicate_element", detail));
                continue;
            }
            match selectable(tx, tenant, element).await? {
                Ok(visible) => vec![visible],
                Err((code, detail)) => {
                    resolved.follows = true;
                    resolved.errors.push(FieldError::new(at("/element"), code, detail));
                    continue;
                }
            }
        } else {
            resolved.follows = true;
            if let Some(node) = item.node
                && matches!(nodes::get(tx, tenant, node).await, Err(CatalogError::NotFound(_)))
            {
                resolved.errors.push(FieldError::new(at("/node"), "unknown_node", "there is no such node"));
                continue;
            }
            reached(tx, tenant, item).await?
        };
        for visible in reached {
            let element = visible.element.id;
            let elsewhere = item.element.is_none() && named.contains(&element);
            if elsewhere || !seen.insert(element) {
                continue;
            }
            resolved.scopes.push(Scope {
                element,
                name: names::plain(&visible.element.name),
                filter: item.filter.clone(),
                columns: item.columns.clone(),
                policy: visible.policy,
                model: item.output_data_model.as_ref().unwrap_or(default_model).clone(),
                model_version: 1,
            });
        }
    }
    if resolved.scopes.len() > MAX_SCOPES {
        let detail = format!("a channel carries at most {MAX_SCOPES} elements; this selects {}", resolved.scopes.len());
        resolved.errors.push(FieldError::new("", "too_many", detail));
        resolved.scopes.truncate(MAX_SCOPES);
    }
    resolved.scopes = names::settle(resolved.scopes, &[]);
    Ok(resolved)
}

type Refusal = (&'static str, &'static str);

async fn selectable(
    tx: &mut Tx,
    tenant: TenantId,
    element: ElementId,
) -> Result<Result<VisibleElement, Refusal>, CatalogError> {
    match elements::visible(tx, tenant, element).await {
        Ok(visible) => Ok(match visible.element.state {
            ElementState::Published => Ok(visible),
            ElementState::Provisioning => Err(("not_published", "this element is not published yet")),
            ElementState::Retired => Err(("retired", "this element was withdrawn")),
        }),
        Err(CatalogError::NotFound(_)) => Ok(Err(("unknown_element", "there is no such element"))),
        Err(error) => Err(error),
    }
}

async fn reached(tx: &mut Tx, tenant: TenantId, item: &SelectionItem) -> Result<Vec<VisibleElement>, CatalogError> {
    let filter = ElementFilter {
        viewer: Some(tenant),
        node: item.node,
        facets: item.facets.clone(),
        published: true,
        limit: u32::try_from(MAX_SCOPES + 1).unwrap_or(u32::MAX),
        ..ElementFilter::default()
    };
    let mut found = elements::list(tx, &filter).await?;
    // The oldest first: a new element comes last and leaves the others their names.
    found.reverse();
    Ok(found)
}
