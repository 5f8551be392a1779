//! Lists of channels.

use headgate_database::{Argument, FilterColumn, FilterType, Tx, args, filter_condition};
use headgate_types::channel::Direction;
use headgate_types::filter::Filter;
use headgate_types::{ChannelId, TenantId};

use super::{Channel, store};
use crate::error::CatalogError;

const COLUMNS: &[FilterColumn] = &[
    FilterColumn::new("id", FilterType::Id(ChannelId::PREFIX)),
    FilterColumn::new("name", FilterType::Text),
    FilterColumn::new("direction", FilterType::Text),
    FilterColumn::new("channel_profile", FilterType::Text).at("profile"),
    FilterColumn::new("performance_profile", FilterType::Text).at("size"),
    FilterColumn::new("state", FilterType::Text),
    FilterColumn::new("created_at", FilterType::Time),
    FilterColumn::new("updated_at", FilterType::Time),
];

/// Which channels to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChannelFilter {
    /// One tenant's; absent: all tenants', for the platform's administrators.
    pub tenant: Option<TenantId>,
    /// One direction's.
    pub direction: Option<Direction>,
    /// A parsed list filter over `id name direction channel_profile performance_profile state
    /// created_at updated_at`.
    pub filter: Option<Filter>,
    /// Only those ordered before this one.
    pub before: Option<ChannelId>,
    /// The most rows.
    pub limit: u32,
}

/// Channels, the newest first; tombstones included, so that the end of a channel can be read.
///
/// # Errors
/// `Filter` when the filter does not fit.
pub async fn list(tx: &mut Tx, wanted: &ChannelFilter) -> Result<Vec<Channel>, CatalogError> {
    let mut arguments = args![];
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut and = |sql: &str, argument: Argument| {
        arguments.push(argument);
        conditions.push(format!("{sql} ${}", arguments.len()));
    };
    if let Some(tenant) = wanted.tenant {
        and("tenant_id =", tenant.into());
    }
    if let Some(direction) = wanted.direction {
        and("direction =", direction.as_str().into());
    }
    if let Some(before) = wanted.before {
        and("id <", before.into());
    }
    if let Some(filter) = &wanted.filter {
        conditions.push(filter_condition(filter, COLUMNS, &mut arguments).map_err(CatalogError::Filter)?);
    }
    arguments.push(wanted.limit.into());
    let limit = arguments.len();
    store::select(tx, format!("WHERE {} ORDER BY id DESC LIMIT ${limit}", conditions.join(" AND ")), arguments).await
}
