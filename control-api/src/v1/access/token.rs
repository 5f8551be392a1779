//! The client credentials grant of the built-in issuer (RFC 6749, section 4.4).

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use headgate_access::{AccessError, TokenResponse};
use headgate_types::Coded;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::caller::remote;
use crate::http::finish::OAuthError;
use crate::state::ApiState;

/// The form of a token request. The client's id and secret come in the form or as HTTP Basic.
#[derive(Deserialize, ToSchema)]
pub(super) struct TokenForm {
    /// `client_credentials`.
    grant_type: String,
    /// Scopes wanted, separated by spaces. Absent: all the client has.
    scope: Option<String>,
    /// The client's id.
    client_id: Option<String>,
    /// The client's secret.
    #[schema(format = Password)]
    client_secret: Option<String>,
}

/// A refusal, as RFC 6749, section 5.2 has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenError {
    /// For example `invalid_client`.
    error: &'static str,
    /// For a person.
    error_description: String,
}

/// Get a token. It says who you are; what you own is looked up with every request.
#[utoipa::path(post, path = "/oauth2/token", operation_id = "issue_token", tag = "access",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = TokenResponse),
        (status = 400, description = "The request is refused", body = TokenError),
        (status = 401, description = "The client is not recognised", body = TokenError),
        (status = 429, description = "Too many failed attempts", body = TokenError),
        (status = "default", description = "Any other refusal", body = TokenError),
    ))]
pub(crate) async fn issue(State(state): State<ApiState>, request: Request) -> Response {
    let (basic, address) = (basic(request.headers()), remote(&request));
    let form = match axum::Form::<TokenForm>::from_request(request, &()).await {
        Ok(axum::Form(form)) => form,
        Err(rejection) => return refuse(StatusCode::BAD_REQUEST, "invalid_request", rejection.body_text()),
    };
    if form.grant_type != "client_credentials" {
        let detail = "the only grant offered is client_credentials".to_owned();
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", detail);
    }
    let presented = basic.or_else(|| Some((form.client_id?, form.client_secret?.into())));
    let Some((client, secret)) = presented else {
        let detail = "send the client's id and secret in the form or as HTTP Basic".to_owned();
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client", detail);
    };
    match state.access.issue_token(&client, &secret, form.scope.as_deref(), Some(address)).await {
        Ok(token) => {
            let pragma = [(header::PRAGMA, HeaderValue::from_static("no-cache"))];
            (pragma, axum::Json(token)).into_response()
        }
        Err(error) => denied(&error),
    }
}

fn denied(error: &AccessError) -> Response {
    let status = StatusCode::from_u16(headgate_types::problem::status(error.kind())).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = headgate_types::Problem::from_error(error);
    if status.is_server_error() {
        tracing::error!(%error, "failed to issue a token");
    }
    let mut response = refuse(status, error.oauth_error(), problem.detail);
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn refuse(status: StatusCode, error: &'static str, error_description: String) -> Response {
    let mut response = (status, axum::Json(TokenError { error, error_description })).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"headgate\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response.extensions_mut().insert(OAuthError);
    response
}

/// RFC 6749, section 2.3.1: id and secret are form-encoded inside the Basic header. Ours need no
/// encoding, so decoding is the same as reading.
fn basic(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client, secret) = decoded.split_once(':')?;
    Some((client.to_owned(), SecretString::from(secret.to_owned())))
}
