//! Sums of usage.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use headgate_metering::{GroupBy, Meter, UsageFilter, UsageQuery, UsageSum, list_usage};
use headgate_types::page::Page;
use headgate_types::{ChannelId, ElementId, FieldError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::month::Month;
use crate::http::caller::{Caller, UsageRead};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::state::ApiState;

/// Which usage.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageParams {
    /// The first day, UTC; the first of this month when absent.
    from: Option<NaiveDate>,
    /// The day after the last, UTC; tomorrow when absent.
    to: Option<NaiveDate>,
    /// What sums are taken by beside the meter: `day`, `channel`, `element`, separated by commas.
    #[param(max_length = 100)]
    group_by: Option<String>,
    /// Of this channel only.
    channel: Option<ChannelId>,
    /// Of this element only.
    element: Option<ElementId>,
    /// Of this meter only, for example `deliver.bytes`.
    meter: Option<Meter>,
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[param(minimum = 1)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[param(max_length = 2048)]
    page_token: Option<String>,
}

/// Sum what was used in a period, by meter and whatever else is asked for. Quantities are in the
/// meter's base unit: records, bytes, milliseconds, seconds of a channel's existence.
#[utoipa::path(get, path = "/v1/usage", operation_id = "list_usage", tag = "usage",
    security(("oauth2" = ["usage.read"]), ("bearer" = [])), params(UsageParams),
    responses((status = 200, description = "A page of sums", body = Page<UsageSum>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller<UsageRead>,
    Query(params): Query<UsageParams>,
) -> Result<Json<Page<UsageSum>>, ApiError> {
    let now = state.clock.now();
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let from: DateTime<Utc> = params.from.map_or(Month::read(None, now)?.start, midnight);
    let to = params.to.map_or_else(|| midnight((now + TimeDelta::days(1)).date_naive()), midnight);
    let group_by = read_groups(params.group_by.as_deref())?;
    let filter = UsageFilter { channel: params.channel, element: params.element, meter: params.meter };
    let narrowing = format!("{:?}", (from, to, &group_by, &filter));
    let query = PageQuery::of(params.page_size, params.page_token);
    let listing = query.listing(&state.pages, caller.tenant, "usage", narrowing);
    let query = UsageQuery {
        tenant: caller.tenant,
        from,
        to,
        filter,
        group_by,
        after: listing.after()?,
        limit: listing.fetch(),
    };
    let mut tx = state.data.read_tenant(caller.tenant).await?;
    let rows = list_usage(&mut tx, &query).await?;
    Ok(Json(listing.page(rows, Clone::clone, |row| row)))
}

fn read_groups(text: Option<&str>) -> Result<Vec<GroupBy>, ApiError> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    let groups = words.map(|word| match word {
        "day" => Ok(GroupBy::Day),
        "channel" => Ok(GroupBy::Channel),
        "element" => Ok(GroupBy::Element),
        other => {
            let detail = format!("{other:?} is not one of day, channel, element");
            Err(ApiError::parameter(FieldError::new("group_by", "unknown_group", detail)))
        }
    });
    groups.collect()
}
