//! One element, its schema and its statistics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use headgate_catalog::SchemaVersion;
use headgate_catalog::elements;
use headgate_types::ElementId;
use headgate_types::engine::ElementStatistics;
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::ElementView;
use crate::http::caller::{Caller, CatalogRead};
use crate::http::problem::ApiError;
use crate::http::query::Path;
use crate::state::ApiState;

/// Get an element.
#[utoipa::path(get, path = "/v1/elements/{element}", operation_id = "get_element", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    params(("element" = ElementId, Path, description = "The element")),
    responses((status = 200, description = "The element", body = ElementView)))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Path(id): Path<ElementId>,
) -> Result<Response, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let view = ElementView::from(elements::visible(&mut tx, caller.tenant, id).await?);
    Ok(([(header::ETAG, view.etag().header())], Json(view)).into_response())
}

/// Get the current schema of an element: the columns you may see.
#[utoipa::path(get, path = "/v1/elements/{element}/schema", operation_id = "get_element_schema", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    params(("element" = ElementId, Path, description = "The element")),
    responses((status = 200, description = "The schema", body = SchemaVersion)))]
pub(crate) async fn schema(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Path(id): Path<ElementId>,
) -> Result<Json<SchemaVersion>, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    Ok(Json(elements::visible_schema(&mut tx, caller.tenant, id).await?))
}

/// What is known of an element's records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatisticsView {
    /// Whether anything is known yet, and may be known to you: a grant of some rows hides the
    /// numbers of all.
    available: bool,
    /// Rows, bytes, freshness, and per column nulls, distinct values, smallest and largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<ElementStatistics>,
    /// When they were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<DateTime<Utc>>,
}

/// Get the statistics of an element, kept up to date by the engine.
#[utoipa::path(get, path = "/v1/elements/{element}/statistics", operation_id = "get_element_statistics",
    tag = "catalog", security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    params(("element" = ElementId, Path, description = "The element")),
    responses((status = 200, description = "The statistics", body = StatisticsView)))]
pub(crate) async fn statistics(
    State(state): State<ApiState>,
    caller: Caller<CatalogRead>,
    Path(id): Path<ElementId>,
) -> Result<Json<StatisticsView>, ApiError> {
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let found = elements::statistics(&mut tx, caller.tenant, id).await?;
    let (statistics, updated_at) = found.unzip();
    Ok(Json(StatisticsView { available: statistics.is_some(), statistics, updated_at }))
}
