//! Feeds: the typed streams inside a data-in channel, each bound to an element of the same tenant.

mod store;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use headgate_types::model::InputModel;
use headgate_types::{ChannelId, ElementId, FeedId, FieldError, TenantId};

use crate::channels::{FeedSpec, MAX_FEEDS};
use crate::elements::segment_error;

pub use store::{find, for_element, insert, list, remove, set_model};

/// One typed stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Its id.
    pub id: FeedId,
    /// Its owner.
    pub tenant: TenantId,
    /// The data-in channel.
    pub channel: ChannelId,
    /// The last segment of the URL payloads are posted to; unique within the channel.
    pub name: String,
    /// The element its records belong to.
    pub element: ElementId,
    /// How payloads become records.
    pub input_model: InputModel,
    /// Counts the models, from 1; a payload keeps the one it was first tried with.
    pub model_version: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A feed to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFeed {
    /// Its owner.
    pub tenant: TenantId,
    /// The data-in channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// The element, of the same tenant.
    pub element: ElementId,
    /// How payloads become records.
    pub input_model: InputModel,
}

/// Everything that is wrong with the feeds of an order; pointers start at `/feeds`.
pub(crate) fn errors(feeds: &[FeedSpec]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if feeds.is_empty() || feeds.len() > MAX_FEEDS {
        let detail = format!("a data-in channel has between 1 and {MAX_FEEDS} feeds");
        errors.push(FieldError::new("/feeds", "invalid_length", detail));
    }
    let (mut names, mut new_names) = (HashSet::new(), HashSet::new());
    for (index, feed) in feeds.iter().enumerate() {
        let at = |place: &str| format!("/feeds/{index}{place}");
        if let Some(detail) = segment_error(&feed.name) {
            errors.push(FieldError::new(at("/name"), "invalid_name", detail));
        }
        if !names.insert(feed.name.as_str()) {
            errors.push(FieldError::new(at("/name"), "duplicate_name", format!("two feeds are named {:?}", feed.name)));
        }
        match (&feed.element, &feed.new_element) {
            (Some(_), None) => {}
            (None, Some(new)) => {
                errors.extend(new.errors().into_iter().map(|error| error.under(&at("/new_element"))));
                if !new_names.insert(new.name.to_lowercase()) {
                    let detail = format!("two feeds make the element {:?}; let the second name its id", new.name);
                    errors.push(FieldError::new(at("/new_element/name"), "duplicate_name", detail));
                }
            }
            _ => {
                let detail = "a feed has exactly one of element and new_element";
                errors.push(FieldError::new(at(""), "exactly_one", detail));
            }
        }
    }
    errors
}
