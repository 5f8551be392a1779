//! The catalog as one tenant sees it: its own elements, those granted to it, and the public ones.

use std::collections::BTreeMap;

use headgate_database::{Argument, FilterColumn, FilterType, Tx, args, filter_condition};
use headgate_types::filter::Filter;
use headgate_types::selection::Policy;
use headgate_types::{ElementId, NodeId, TenantId};

use super::{VisibleElement, store};
use crate::error::CatalogError;
use crate::grants;

const COLUMNS: &[FilterColumn] = &[
    FilterColumn::new("id", FilterType::Id(ElementId::PREFIX)).at("e.id"),
    FilterColumn::new("owner", FilterType::Id(TenantId::PREFIX)).at("e.tenant_id"),
    FilterColumn::new("name", FilterType::Text).at("e.name"),
    FilterColumn::new("kind", FilterType::Text).at("e.kind"),
    FilterColumn::new("state", FilterType::Text).at("e.state"),
    FilterColumn::new("price_key", FilterType::Text).at("e.price_key"),
    FilterColumn::new("created_at", FilterType::Time).at("e.created_at"),
    FilterColumn::new("updated_at", FilterType::Time).at("e.updated_at"),
];

/// Which elements to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ElementFilter {
    /// Who looks; absent: the platform's administrators, who see all.
    pub viewer: Option<TenantId>,
    /// A parsed list filter over `id owner name kind state price_key created_at updated_at`.
    pub filter: Option<Filter>,
    /// Words, all of which occur in the name, the metadata or the names of fields, without regard
    /// to case.
    pub text: Option<String>,
    /// At or below this node.
    pub node: Option<NodeId>,
    /// With all of these facet values.
    pub facets: BTreeMap<String, String>,
    /// Only those that can be selected: PUBLISHED.
    pub published: bool,
    /// Only those ordered before this one.
    pub before: Option<ElementId>,
    /// The most rows.
    pub limit: u32,
}

/// Elements, the newest first.
///
/// # Errors
/// `Filter` when the filter does not fit.
pub async fn list(tx: &mut Tx, wanted: &ElementFilter) -> Result<Vec<VisibleElement>, CatalogError> {
    let mut arguments = args![];
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut bind = |value: Argument| {
        arguments.push(value);
        arguments.len()
    };
    let viewer = wanted.viewer.map(|viewer| bind(viewer.into()));
    if let Some(viewer) = viewer {
        conditions.push(store::visible_to(viewer));
    }
    if let Some(before) = wanted.before {
        conditions.push(format!("e.id < ${}", bind(before.into())));
    }
    if let Some(node) = wanted.node {
        let n = bind(node.into());
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM element_nodes n WHERE n.element_id = e.id AND n.tenant_id = e.tenant_id AND n.node_id = ${n})"
        ));
    }
    for (facet, value) in &wanted.facets {
        let (f, v) = (bind(facet.into()), bind(value.into()));
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM element_facets f WHERE f.element_id = e.id AND f.tenant_id = e.tenant_id
                     AND f.facet = ${f} AND f.value = ${v})"
        ));
    }
    for word in wanted.text.iter().flat_map(|text| text.split_whitespace()).take(16) {
        let escaped = word.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let n = bind(format!("%{escaped}%").into());
        // A field that a grant leaves out must not be found either.
        let fields = viewer.map_or_else(String::new, |viewer| {
            format!(
                "AND (e.tenant_id = ${viewer} OR EXISTS (SELECT 1 FROM grants g WHERE g.element_id = e.id
               AND g.tenant_id = e.tenant_id AND g.column_scoped = FALSE
               AND (g.grantee_id = ${viewer} OR g.grantee_id IS NULL)))"
            )
        });
        conditions
            .push(format!("(e.search_text LIKE ${n} ESCAPE '\\' OR (e.search_fields LIKE ${n} ESCAPE '\\' {fields}))"));
    }
    if wanted.published {
        conditions.push("e.state = 'PUBLISHED'".to_owned());
    }
    if let Some(filter) = &wanted.filter {
        conditions.push(filter_condition(filter, COLUMNS, &mut arguments).map_err(CatalogError::Filter)?);
    }
    arguments.push(wanted.limit.into());
    let rest = format!("WHERE {} ORDER BY e.id DESC LIMIT ${}", conditions.join(" AND "), arguments.len());
    let elements = store::select(tx, rest, arguments).await?;

    let ids: Vec<_> = elements.iter().map(|element| element.id).collect();
    let mut policies = match wanted.viewer {
        Some(viewer) => grants::policies(tx, viewer, &ids).await?,
        None => BTreeMap::new(),
    };
    Ok(elements
        .into_iter()
        .map(|element| {
            let owned = wanted.viewer == Some(element.owner);
            let granted = policies.remove(&element.id);
            let policy = if owned { Policy::default() } else { granted.unwrap_or_default() };
            VisibleElement { element, policy, owned }
        })
        .collect())
}
