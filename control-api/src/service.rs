//! Health and documentation.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headgate_types::ErrorKind;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::{Config, SwaggerUi, oauth};

use crate::http::problem::ApiError;
use crate::state::ApiState;

/// Whether the service is up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process is alive; looks at nothing else, or a slow database would get it killed.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "service",
    responses((status = 200, description = "It is", body = Health)))]
pub(crate) async fn livez() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// Whether requests can be answered: both databases read.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "service",
    responses((status = 200, description = "They can", body = Health)))]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Result<Response, ApiError> {
    for (name, db) in [("control", &state.control), ("data", &state.data)] {
        let answer =
            async { db.read_platform().await?.fetch_one::<(i64,)>("SELECT CAST(1 AS BIGINT)", Vec::new()).await };
        let limit = std::time::Duration::from_secs(5);
        let failed = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in 5 s".to_owned(),
        };
        tracing::warn!(database = name, error = failed, "not ready");
        let detail = format!("the {name} database does not answer");
        return Err(ApiError::new(ErrorKind::Unavailable, "unavailable", detail));
    }
    Ok(axum::Json(Health { status: "ok" }).into_response())
}

/// What a program hears of, and where: the AsyncAPI 3.0 document of events.
#[utoipa::path(get, path = "/asyncapi.json", operation_id = "get_asyncapi", tag = "service",
    responses((status = 200, description = "The document", body = Object)))]
pub(crate) async fn asyncapi(State(state): State<ApiState>) -> axum::Json<serde_json::Value> {
    axum::Json(state.config.asyncapi.clone())
}

/// Swagger UI at `/docs`, over the document at `/openapi.json`.
pub(crate) fn docs(document: utoipa::openapi::OpenApi) -> SwaggerUi {
    let authorize = oauth::Config::new()
        .app_name("Headgate")
        // RFC 6749 prefers the header; it also keeps the secret out of the request's body in logs.
        .use_basic_authentication_with_access_code_grant(true);
    let config = Config::default().try_it_out_enabled(true).persist_authorization(false).display_operation_id(true);
    SwaggerUi::new("/docs").config(config).url("/openapi.json", document).oauth(authorize)
}
