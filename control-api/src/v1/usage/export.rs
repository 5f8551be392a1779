//! The bill of a month as a file.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use headgate_access::tenants;
use headgate_catalog::channels::{self, ChannelFilter};
use headgate_metering::{Export, Manifest, Payer, current_rate_card, export_csv, totals};
use headgate_types::{ChannelId, TenantId};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::month::Month;
use crate::http::caller::{Admin, Caller, UsageRead};
use crate::http::problem::ApiError;
use crate::http::query::{Path, Query};
use crate::state::ApiState;

/// What the answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// The file.
    #[default]
    Csv,
    /// Its row count, SHA-256, cut-off and total.
    Manifest,
}

/// Which bill.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportParams {
    /// The month, `YYYY-MM`; the present one when absent.
    #[param(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    month: Option<String>,
    /// Only what was stored before this moment: the same cut-off gives the same file, byte for byte.
    cutoff: Option<DateTime<Utc>>,
    /// `csv`, or the `manifest` that belongs to it.
    #[serde(default)]
    #[param(inline)]
    format: Wanted,
}

/// Download the bill of a month as CSV with the columns of FinOps FOCUS 1.2. `Repr-Digest` carries
/// its SHA-256.
#[utoipa::path(get, path = "/v1/usage/export", operation_id = "export_usage", tag = "usage",
    security(("oauth2" = ["usage.read"]), ("bearer" = [])), params(ExportParams),
    responses((status = 200, description = "The file, or its manifest",
        content((String = "text/csv"), (Manifest = "application/json")))))]
pub(crate) async fn export(
    State(state): State<ApiState>,
    caller: Caller<UsageRead>,
    Query(params): Query<ExportParams>,
) -> Result<Response, ApiError> {
    run(&state, caller.tenant, params).await
}

/// Download the bill of a tenant's month.
#[utoipa::path(get, path = "/v1/admin/tenants/{tenant}/usage/export", operation_id = "admin_export_usage", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    params(ExportParams, ("tenant" = TenantId, Path, description = "The tenant")),
    responses((status = 200, description = "The file, or its manifest",
        content((String = "text/csv"), (Manifest = "application/json")))))]
pub(crate) async fn export_for(
    State(state): State<ApiState>,
    _admin: Admin,
    Path(tenant): Path<TenantId>,
    Query(params): Query<ExportParams>,
) -> Result<Response, ApiError> {
    run(&state, tenant, params).await
}

async fn run(state: &ApiState, tenant: TenantId, params: ExportParams) -> Result<Response, ApiError> {
    let now = state.clock.now();
    let Month { start, end } = Month::read(params.month.as_deref(), now)?;
    let cutoff = params.cutoff.unwrap_or(now);
    let payer = payer(state, tenant).await?;
    let mut tx = state.data.read_platform().await?;
    let card = current_rate_card(&mut tx, start).await?;
    drop(tx);
    let mut tx = state.data.read_tenant(tenant).await?;
    let usage = totals(&mut tx, tenant, start, end, Some(cutoff)).await?;
    let Export { csv, manifest } = export_csv(&payer, start, end, cutoff, &usage, &card)?;
    if params.format == Wanted::Manifest {
        return Ok(Json(manifest).into_response());
    }
    let name = format!("attachment; filename=\"headgate-{tenant}-{}.csv\"", start.format("%Y-%m"));
    let mut response = csv.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    for (header, text) in [("content-disposition", name), ("repr-digest", digest(&manifest.sha256))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header, value);
        }
    }
    Ok(response)
}

/// RFC 9530.
fn digest(sha256: &str) -> String {
    use base64::Engine as _;
    let bytes = hex::decode(sha256).unwrap_or_default();
    format!("sha-256=:{}:", base64::prelude::BASE64_STANDARD.encode(bytes))
}

async fn payer(state: &ApiState, tenant: TenantId) -> Result<Payer, ApiError> {
    const STEP: u32 = 1_000;
    let mut tx = state.control.read_tenant(tenant).await?;
    let name = tenants::get(&mut tx, tenant).await?.name;
    let (mut names, mut before) = (BTreeMap::<ChannelId, String>::new(), None);
    loop {
        let wanted = ChannelFilter { tenant: Some(tenant), before, limit: STEP, ..ChannelFilter::default() };
        let page = channels::list(&mut tx, &wanted).await?;
        before = page.last().map(|channel| channel.id);
        names.extend(page.into_iter().map(|channel| (channel.id, channel.name)));
        if before.is_none() {
            return Ok(Payer { tenant, name, channels: names });
        }
    }
}
