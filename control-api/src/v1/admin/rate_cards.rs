//! What everything costs.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use headgate_access::audit::{self, Entry};
use headgate_metering::{NewRateCard, RateCard, current_rate_card, list_rate_cards, put_rate_card};
use headgate_types::FieldError;
use headgate_types::page::Page;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::body::Body;
use crate::http::caller::Admin;
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::state::ApiState;

/// A revision to be entered.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateCardBody {
    /// Currency, rounding and prices.
    card: NewRateCard,
    /// From when it holds; now when absent. Never the past: what was quoted and billed stays.
    #[serde(default)]
    valid_from: Option<DateTime<Utc>>,
}

/// Get the rate card that holds now.
#[utoipa::path(get, path = "/v1/admin/rate-card", operation_id = "get_rate_card", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])),
    responses((status = 200, description = "The rate card", body = RateCard)))]
pub(crate) async fn get(State(state): State<ApiState>, _admin: Admin) -> Result<Json<RateCard>, ApiError> {
    let mut tx = state.data.read_platform().await?;
    Ok(Json(current_rate_card(&mut tx, state.clock.now()).await?))
}

/// Enter a revision of the rate card. Revisions are never changed; entering the same one again
/// adds a revision with the same prices.
#[utoipa::path(put, path = "/v1/admin/rate-card", operation_id = "put_rate_card", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), request_body = RateCardBody,
    responses((status = 200, description = "The revision", body = RateCard)))]
pub(crate) async fn put(
    State(state): State<ApiState>,
    admin: Admin,
    body: Body<RateCardBody>,
) -> Result<Json<RateCard>, ApiError> {
    let now = state.clock.now();
    let RateCardBody { card, valid_from } = body.value;
    let valid_from = valid_from.unwrap_or(now);
    if valid_from < now {
        let detail = "a rate card holds from now on or from later, never from the past";
        return Err(ApiError::refused(vec![FieldError::new("/valid_from", "in_the_past", detail)]));
    }
    // Two databases share no transaction: the intent is recorded first, so that no price is ever
    // changed without a row that says by whom.
    let errors = card.errors();
    if !errors.is_empty() {
        return Err(ApiError::refused(errors.into_iter().map(|error| error.under("/card")).collect()));
    }
    let mut tx = state.control.platform().await?;
    tx.act_for(headgate_access::PLATFORM).await?;
    let entry = Entry::by_admin(&admin, "rate_card.put", "").detail(json!({"valid_from": valid_from, "card": card}));
    audit::record(&mut tx, entry, &state.clock).await?;
    tx.commit().await?;
    let mut tx = state.data.platform().await?;
    let revision = put_rate_card(&mut tx, &card, valid_from, now).await?;
    tx.commit().await?;
    Ok(Json(revision))
}

/// List the revisions of the rate card, newest first.
#[utoipa::path(get, path = "/v1/admin/rate-cards", operation_id = "list_rate_cards", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(PageQuery),
    responses((status = 200, description = "A page of revisions", body = Page<RateCard>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RateCard>>, ApiError> {
    let listing = query.listing(&state.pages, "platform", "rate-cards", String::new());
    let mut tx = state.data.read_platform().await?;
    let rows = list_rate_cards(&mut tx, listing.after()?, listing.fetch()).await?;
    Ok(Json(listing.page(rows, |card| card.revision, |card| card)))
}
