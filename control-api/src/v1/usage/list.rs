//! Sums of usage.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use headgate_database::Tx;
use headgate_metering::{GroupBy, Meter, UsageFilter, UsageQuery, UsageSum, list_usage};
use headgate_types::page::Page;
use headgate_types::{ChannelId, ElementId, FieldError, TenantId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::month::Month;
use crate::http::caller::{Admin, Caller, UsageRead};
use crate::http::list::PageQuery;
use crate::http::problem::ApiError;
use crate::http::query::{Query, at_most, rows};
use crate::state::ApiState;

/// What a tenant's sums can be taken by.
const TENANT_GROUPS: [(&str, GroupBy); 3] =
    [("day", GroupBy::Day), ("channel", GroupBy::Channel), ("element", GroupBy::Element)];
/// What the platform's can.
const ALL_GROUPS: [(&str, GroupBy); 4] =
    [("tenant", GroupBy::Tenant), TENANT_GROUPS[0], TENANT_GROUPS[1], TENANT_GROUPS[2]];

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
    #[serde(default, deserialize_with = "at_most::<100, _>")]
    #[param(max_length = 100)]
    group_by: Option<String>,
    /// Of this channel only.
    channel: Option<ChannelId>,
    /// Of this element only.
    element: Option<ElementId>,
    /// Of this meter only, for example `deliver.bytes`.
    meter: Option<Meter>,
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
}

/// Which usage, of whom.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllUsageParams {
    /// Of this tenant only.
    tenant: Option<TenantId>,
    /// The first day, UTC; the first of this month when absent.
    from: Option<NaiveDate>,
    /// The day after the last, UTC; tomorrow when absent.
    to: Option<NaiveDate>,
    /// What sums are taken by beside the meter: `tenant`, `day`, `channel`, `element`, separated by commas.
    #[serde(default, deserialize_with = "at_most::<100, _>")]
    #[param(max_length = 100)]
    group_by: Option<String>,
    /// Of this channel only.
    channel: Option<ChannelId>,
    /// Of this element only: with `group_by=tenant,channel`, who consumed it.
    element: Option<ElementId>,
    /// Of this meter only, for example `deliver.bytes`.
    meter: Option<Meter>,
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
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
    let mut tx = state.data.read_tenant(caller.tenant).await?;
    sums(&state, &mut tx, Some(caller.tenant), params, &TENANT_GROUPS).await
}

/// Sum what all tenants used, or one of them: who consumed which data, by element and channel.
#[utoipa::path(get, path = "/v1/admin/usage", operation_id = "list_all_usage", tag = "admin",
    security(("oauth2" = ["admin"]), ("bearer" = [])), params(AllUsageParams),
    responses((status = 200, description = "A page of sums", body = Page<UsageSum>)))]
pub(crate) async fn list_all(
    State(state): State<ApiState>,
    _admin: Admin,
    Query(params): Query<AllUsageParams>,
) -> Result<Json<Page<UsageSum>>, ApiError> {
    let AllUsageParams { tenant, from, to, group_by, channel, element, meter, page_size, page_token } = params;
    let params = UsageParams { from, to, group_by, channel, element, meter, page_size, page_token };
    let mut tx = state.data.read_platform().await?;
    sums(&state, &mut tx, tenant, params, &ALL_GROUPS).await
}

async fn sums(
    state: &ApiState,
    tx: &mut Tx,
    tenant: Option<TenantId>,
    params: UsageParams,
    groups: &[(&str, GroupBy)],
) -> Result<Json<Page<UsageSum>>, ApiError> {
    let now = state.clock.now();
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let from: DateTime<Utc> = params.from.map_or(Month::read(None, now)?.start, midnight);
    let to = params.to.map_or_else(|| midnight((now + TimeDelta::days(1)).date_naive()), midnight);
    let group_by = read_groups(params.group_by.as_deref(), groups)?;
    let filter = UsageFilter { channel: params.channel, element: params.element, meter: params.meter };
    let narrowing = format!("{:?}", (from, to, &group_by, &filter));
    let query = PageQuery::of(params.page_size, params.page_token);
    let whose = tenant.map_or_else(|| "platform".to_owned(), |tenant| tenant.to_string());
    let listing = query.listing(&state.pages, whose, "usage", narrowing);
    let (after, limit) = (listing.after()?, listing.fetch());
    let rows = list_usage(tx, &UsageQuery { tenant, from, to, filter, group_by, after, limit }).await?;
    Ok(Json(listing.page(rows, Clone::clone, |row| row)))
}

fn read_groups(text: Option<&str>, groups: &[(&str, GroupBy)]) -> Result<Vec<GroupBy>, ApiError> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    let group = |word: &str| {
        let found = groups.iter().find(|(name, _)| *name == word).map(|(_, group)| *group);
        found.ok_or_else(|| {
            let known: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
            let detail = format!("{word:?} is not one of {}", known.join(", "));
            ApiError::parameter(FieldError::new("group_by", "unknown_group", detail))
        })
    };
    words.map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_groups_are_those_that_there_are() {
        crate::fuzz::text(
            "control-api/src/v1/usage/list.rs read_groups",
            &["day, channel,element", "tenant"],
            |text| read_groups(Some(text), &ALL_GROUPS).map(|groups| groups.len()).map_err(|error| error.problem.code),
        );
    }
}
