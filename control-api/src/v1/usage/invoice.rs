//! The bill of a month, as it would be now.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use headgate_metering::{Rated, current_rate_card, rate, totals};
use headgate_types::RateCardId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::month::Month;
use crate::http::caller::{Caller, UsageRead};
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::state::ApiState;

/// Which bill.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvoiceParams {
    /// The month, `YYYY-MM`; the present one when absent.
    #[param(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    month: Option<String>,
    /// Only what was stored before this moment: the same cut-off gives the same bill for ever.
    cutoff: Option<DateTime<Utc>>,
}

/// A bill that was not issued.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoicePreview {
    /// The first moment of the period.
    period_start: DateTime<Utc>,
    /// The moment after its last.
    period_end: DateTime<Utc>,
    /// What was stored before this moment is in it.
    cutoff: DateTime<Utc>,
    /// The revision of the rate card it is rated by.
    rate_card: RateCardId,
    /// Its number.
    rate_card_revision: u32,
    /// Lines, total and currency.
    #[serde(flatten)]
    rated: Rated,
}

/// Preview the bill of a month: usage rated by the rate card that holds at the month's start.
#[utoipa::path(get, path = "/v1/usage/invoice-preview", operation_id = "preview_invoice", tag = "usage",
    security(("oauth2" = ["usage.read"]), ("bearer" = [])), params(InvoiceParams),
    responses((status = 200, description = "The bill as it would be now", body = InvoicePreview)))]
pub(crate) async fn preview(
    State(state): State<ApiState>,
    caller: Caller<UsageRead>,
    Query(params): Query<InvoiceParams>,
) -> Result<Json<InvoicePreview>, ApiError> {
    let now = state.clock.now();
    let Month { start, end } = Month::read(params.month.as_deref(), now)?;
    let cutoff = params.cutoff.unwrap_or(now);
    let mut tx = state.data.read_platform().await?;
    let card = current_rate_card(&mut tx, start).await?;
    drop(tx);
    let mut tx = state.data.read_tenant(caller.tenant).await?;
    let usage = totals(&mut tx, caller.tenant, start, end, Some(cutoff)).await?;
    Ok(Json(InvoicePreview {
        period_start: start,
        period_end: end,
        cutoff,
        rate_card: card.id,
        rate_card_revision: card.revision,
        rated: rate(&usage, &card.card),
    }))
}
