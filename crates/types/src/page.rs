//! One page of a list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The page size when none is asked for.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// The largest page; more is coerced to it.
pub const MAX_PAGE_SIZE: u32 = 1_000;

/// One page of a list; no `next_page_token` means the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Ask again with `page_token` set to this for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

impl<T> Page<T> {
    /// The first `size` of `rows`, which were asked for with one more to see whether there are more.
    /// `token` names a row in page tokens.
    #[must_use]
    pub fn of(mut rows: Vec<T>, size: u32, token: impl FnOnce(&T) -> String) -> Self {
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        let next_page_token = rows.last().filter(|_| more).map(token);
        Self { items: rows, next_page_token }
    }

    /// The same page of what its rows are made into.
    #[must_use]
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next_page_token: self.next_page_token }
    }
}

/// The rows per page that a request gets.
#[must_use]
pub fn page_size(asked: Option<u32>) -> u32 {
    asked.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE)
}
