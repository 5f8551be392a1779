//! The catalog as the caller sees it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use headgate_catalog::elements::{self, ElementFilter};
use headgate_types::page::Page;
use headgate_types::{FieldError, NodeId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::ElementView;
use crate::http::caller::{Caller, CatalogRead};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, rows};
use crate::state::ApiState;

/// What to look for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchQuery {
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
    /// AIP-160 subset over `id owner name kind state price_key created_at updated_at`.
    #[serde(default, deserialize_with = "at_most::<4096, _>")]
    #[param(max_length = 4096)]
    filter: Option<String>,
    /// Words, all of which occur in the name, the metadata or the names of fields.
    #[serde(default, deserialize_with = "at_most::<200, _>")]
    #[param(max_length = 200)]
    q: Option<String>,
    /// At or below this hierarchy node.
    node: Option<NodeId>,
    /// Facet values that all hold: `region:eu,topic:weather`.
    #[serde(default, deserialize_with = "at_most::<1000, _>")]
    #[param(max_length = 1000)]
    facets: Option<String>,
}

/// List and search the elements you may see: your own, those granted to you, and the public ones.
#[utoipa::path(get, path = "/v1/elements", operation_id = "list_elements", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])), params(SearchQuery),
    responses((status = 200, description = "A page of elements, newest first", body = Page<ElementView>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Page<ElementView>>, ApiError> {
    let SearchQuery { page_size, page_token, filter, q, node, facets } = query;
    let narrowing = format!("{:?}", (&filter, &q, &node, &facets));
    let parsed = filter.as_deref().filter(|text| !text.trim().is_empty()).map(headgate_types::filter::parse);
    let parsed = parsed.transpose().map_err(ApiError::parameter)?;
    let listing = PageQuery::of(page_size, page_token).listing(&state.pages, caller.tenant, "elements", narrowing);
    let wanted = ElementFilter {
        viewer: Some(caller.tenant),
        filter: parsed,
        text: q,
        node,
        facets: facets.as_deref().map(read_facets).transpose()?.unwrap_or_default(),
        published: false,
        before: listing.after()?,
        limit: listing.fetch(),
    };
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let rows = elements::list(&mut tx, &wanted).await?;
    Ok(Json(listing.page(rows, |row| row.element.id, ElementView::from)))
}

fn read_facets(text: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let parts = text.split(',').map(|part| {
        let (facet, value) = part.split_once(':')?;
        (!facet.is_empty() && !value.is_empty()).then(|| (facet.to_owned(), value.to_owned()))
    });
    parts.collect::<Option<_>>().ok_or_else(|| {
        let detail = "facets are written facet:value, separated by commas";
        ApiError::parameter(FieldError::new("facets", "invalid_facets", detail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_facets_are_pairs() {
        crate::fuzz::text("control-api/src/v1/elements/list.rs read_facets", &["region:eu,topic:weather"], |text| {
            let facets = read_facets(text).map_err(|error| error.problem.code)?;
            assert!(facets.iter().all(|(facet, value)| !facet.is_empty() && !value.is_empty()), "{text}");
            Ok::<_, String>(facets.len())
        });
    }
}
