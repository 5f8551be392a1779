//! The routes, and the layers around them.

use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::finish;
use crate::openapi::{base, complete};
use crate::state::ApiState;
use crate::{error_pages, service, v1};

/// How long an answer may take to begin; a transaction that is open then is rolled back. Streams of
/// events begin at once and are not ended by it.
const LONGEST: Duration = Duration::from_secs(120);

fn routed() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(base())
        .merge(v1::routes())
        .routes(routes!(service::livez))
        .routes(routes!(service::readyz))
        .routes(routes!(service::asyncapi))
        .routes(routes!(error_pages::list))
        .routes(routes!(error_pages::get))
}

/// The control API over `state`, and the document that describes it. Serve it with connect info
/// (`into_make_service_with_connect_info::<SocketAddr>()`): addresses are rate-limited until a
/// token is presented.
pub fn router(state: ApiState) -> (Router, OpenApi) {
    let (router, document) = routed().split_for_parts();
    let document = complete(document);
    let router = router
        .merge(service::docs(document.clone()))
        .fallback(finish::route_not_found)
        .method_not_allowed_fallback(finish::method_not_allowed);
    (layered(router, state), document)
}

/// The layers, innermost first.
pub(crate) fn layered(router: Router<ApiState>, state: ApiState) -> Router {
    router
        .layer(from_fn_with_state(state.clone(), crate::http::caller::authenticate))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, LONGEST))
        .layer(CatchPanicLayer::custom(finish::panicked))
        .layer(from_fn(finish::finish))
        .with_state(state)
}

/// The OpenAPI document, without a state: what `headgate openapi` writes to `openapi/`.
#[must_use]
pub fn openapi() -> OpenApi {
    complete(routed().split_for_parts().1)
}

/// The OpenAPI document as `openapi/openapi.json` has it.
#[must_use]
pub fn openapi_json() -> String {
    let mut text = openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
