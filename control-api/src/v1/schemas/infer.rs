//! A schema and an input model from a sample.

use axum::Json;
use axum::extract::State;
use headgate_types::engine::{InferSchema, InferredSchema};

use crate::http::body::Body;
use crate::http::caller::{Caller, CatalogRead};
use crate::http::problem::ApiError;
use crate::state::ApiState;
use crate::v1::channels::body::SampleBody;

/// The sample itself may have 64 MiB; JSON escapes make it longer.
const MAX_BYTES: usize = 80 << 20;

/// Infer a schema and an input model from a sample of CSV, JSON or NDJSON. Nothing is kept: edit
/// the answer, and send it with the order of a data-in channel.
#[utoipa::path(post, path = "/v1/schemas/infer", operation_id = "infer_schema", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    request_body = SampleBody,
    responses((status = 200, description = "The schema and a model that reads the sample", body = InferredSchema)))]
pub(crate) async fn infer(
    State(state): State<ApiState>,
    _caller: Caller<CatalogRead>,
    body: Body<SampleBody, MAX_BYTES>,
) -> Result<Json<InferredSchema>, ApiError> {
    let SampleBody { format, text, keys } = body.value;
    Ok(Json(state.engine.infer_schema(InferSchema { sample: text, format, keys }).await?))
}
