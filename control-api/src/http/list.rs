//! Parameters of lists, and the way from rows to pages.

use headgate_types::filter::{self, Filter};
use headgate_types::page::{self, Page};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::page::{Binding, PageTokens};
use super::problem::ApiError;
use super::query::{at_most, rows};

/// Parameters of every list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
    /// AIP-160 subset: `state = ACTIVE AND created_at > 2026-01-01T00:00:00Z`, `name:weather`.
    #[serde(default, deserialize_with = "at_most::<4096, _>")]
    #[param(max_length = 4096)]
    filter: Option<String>,
}

/// Parameters of lists that have no filter.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Rows per page; 50 when absent, coerced to 1,000.
    #[serde(default, deserialize_with = "rows")]
    #[param(minimum = 1, maximum = 2147483647)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    #[serde(default, deserialize_with = "at_most::<2048, _>")]
    #[param(max_length = 2048)]
    page_token: Option<String>,
}

impl ListQuery {
    /// The same, for lists that have more parameters.
    pub(crate) const fn of(page_size: Option<u32>, page_token: Option<String>, filter: Option<String>) -> Self {
        Self { page_size, page_token, filter }
    }

    /// The list `name` of `tenant` under this filter.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub(crate) fn listing(
        self,
        tokens: &PageTokens,
        tenant: impl ToString,
        name: &'static str,
    ) -> Result<Listing, ApiError> {
        let parsed = self.filter.as_deref().filter(|text| !text.trim().is_empty()).map(filter::parse).transpose();
        let parsed = parsed.map_err(ApiError::parameter)?;
        let query = PageQuery { page_size: self.page_size, page_token: self.page_token };
        Ok(Listing { filter: parsed, ..query.listing(tokens, tenant, name, self.filter.unwrap_or_default()) })
    }
}

impl PageQuery {
    /// The same, for lists that have more parameters.
    pub(crate) const fn of(page_size: Option<u32>, page_token: Option<String>) -> Self {
        Self { page_size, page_token }
    }

    /// The list `name` of `tenant`, narrowed by what `narrowing` says in words.
    pub(crate) fn listing(
        self,
        tokens: &PageTokens,
        tenant: impl ToString,
        name: &'static str,
        narrowing: String,
    ) -> Listing {
        Listing {
            tokens: tokens.clone(),
            tenant: tenant.to_string(),
            name,
            narrowing,
            size: page::page_size(self.page_size),
            token: self.page_token,
            filter: None,
        }
    }
}

/// One request for a page of a list.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    tokens: PageTokens,
    tenant: String,
    name: &'static str,
    narrowing: String,
    size: u32,
    token: Option<String>,
    /// The parsed filter.
    pub filter: Option<Filter>,
}

impl Listing {
    fn binding(&self) -> Binding<'_> {
        Binding { tenant: &self.tenant, list: self.name, filter: &self.narrowing }
    }

    /// Rows to fetch: one more than the page holds, which tells whether another page follows.
    pub(crate) const fn fetch(&self) -> u32 {
        self.size + 1
    }

    /// Rows of a page.
    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    /// Where the page before ended.
    ///
    /// # Errors
    /// When the token is not one of this list.
    pub(crate) fn after<C: DeserializeOwned>(&self) -> Result<Option<C>, ApiError> {
        self.token.as_deref().map(|token| self.tokens.open(self.binding(), token)).transpose()
    }

    /// The page that `rows` make, of which there may be one too many.
    pub(crate) fn page<R, V, C: Serialize>(
        &self,
        rows: Vec<R>,
        cursor: impl Fn(&R) -> C,
        view: impl FnMut(R) -> V,
    ) -> Page<V> {
        Page::of(rows, self.size, |row| self.tokens.seal(self.binding(), &cursor(row))).map(view)
    }

    /// A page that somebody else cut, with a token of this list in place of theirs.
    pub(crate) fn sealed<V, C: Serialize>(&self, page: Page<V>, cursor: impl Fn(&V) -> C) -> Page<V> {
        let last = page.items.last().filter(|_| page.next_page_token.is_some());
        let next_page_token = last.map(|last| self.tokens.seal(self.binding(), &cursor(last)));
        Page { items: page.items, next_page_token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(page_size: u32, page_token: Option<String>) -> ListQuery {
        ListQuery { page_size: Some(page_size), page_token, filter: None }
    }

    #[test]
    fn pages_tile_a_list_and_the_last_one_says_so() {
        let tokens = PageTokens::new(&[1; 32]);
        let rows: Vec<u32> = (1..=7).collect();
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let listing = query(3, token).listing(&tokens, "t", "rows").unwrap();
            let after = listing.after::<u32>().unwrap().unwrap_or(0);
            let fetched = rows.iter().copied().filter(|row| *row > after).take(listing.fetch() as usize).collect();
            let page = listing.page(fetched, |row| *row, |row| row);
            seen.extend(page.items);
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_a_wrong_parameter() {
        let wrong = ListQuery { filter: Some("state =".to_owned()), ..ListQuery::default() };
        let error = wrong.listing(&PageTokens::new(&[1; 32]), "t", "rows").unwrap_err();
        assert_eq!(
            (error.problem.code.as_str(), error.problem.errors[0].pointer.as_str()),
            ("invalid_parameter", "filter")
        );
    }
}
