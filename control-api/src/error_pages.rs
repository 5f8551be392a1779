//! The pages of `docs/errors/`: one per problem code, written once in `templates/errors.yaml`,
//! served at `/docs/errors/{code}` (the `type` of every problem) and kept as files for readers of
//! the repository.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use headgate_types::{ErrorKind, problem};
use http::{HeaderValue, header};
use serde::Deserialize;

use crate::http::problem::ApiError;
use crate::http::query::Path;

/// Every code, sorted; a test reads them.
static PAGES: LazyLock<Vec<ErrorPage>> = LazyLock::new(|| {
    serde_yaml_ng::from_str(include_str!("../../templates/errors.yaml")).unwrap_or_else(|error| {
        tracing::error!(%error, "the error pages built into the binary cannot be read");
        Vec::new()
    })
});

/// What a problem code means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    /// The stable code.
    pub code: String,
    /// Its class, which decides the HTTP status.
    pub kind: ErrorKind,
    /// What happened.
    pub meaning: String,
    /// What the caller can do.
    pub remedy: String,
}

impl ErrorPage {
    /// The page as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let status = problem::status(self.kind);
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        format!(
            "# `{}`\n\nHTTP {status} {}\n\n**What happened.** {}\n\n**What to do.** {}\n",
            self.code,
            reason.unwrap_or_default(),
            self.meaning,
            self.remedy
        )
    }
}

/// The page of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static ErrorPage> {
    PAGES.iter().find(|page| page.code == code)
}

/// Every file of `docs/errors/`: name and text, the index first.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let mut files = vec![("README.md".to_owned(), index())];
    files.extend(PAGES.iter().map(|page| (format!("{}.md", page.code), page.markdown())));
    files
}

fn index() -> String {
    let mut text =
        "# Problem codes\n\nEvery error is an RFC 9457 problem document. `code` is stable; `errors[]` names \
                    the places in the request that are wrong; `request_id` finds the cause in the logs.\n\n\
                    | code | status | what happened |\n|---|---|---|\n"
            .to_owned();
    for page in PAGES.iter() {
        let status = problem::status(page.kind);
        text.push_str(&format!("| [`{0}`]({0}.md) | {status} | {1} |\n", page.code, page.meaning));
    }
    text
}

fn markdown(text: String) -> Response {
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The index of problem codes.
#[utoipa::path(get, path = "/docs/errors", operation_id = "list_error_pages", tag = "service",
    responses((status = 200, description = "The index", body = String, content_type = "text/markdown")))]
pub(crate) async fn list() -> Response {
    markdown(index())
}

/// The page of one problem code.
#[utoipa::path(get, path = "/docs/errors/{code}", operation_id = "get_error_page", tag = "service",
    params(("code" = String, Path, description = "The code")),
    responses((status = 200, description = "The page", body = String, content_type = "text/markdown")))]
pub(crate) async fn get(Path(code): Path<String>) -> Result<Response, ApiError> {
    let code = code.strip_suffix(".md").unwrap_or(&code);
    find(code).map(|page| markdown(page.markdown())).ok_or_else(|| ApiError::not_found("problem code"))
}

#[cfg(test)]
mod tests;
