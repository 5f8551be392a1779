//! What happened, in order: pulled, streamed, or sent to endpoints.

pub(crate) mod deliveries;
pub(crate) mod endpoints;
pub(crate) mod list;
pub(crate) mod stream;

use headgate_events::EventType;
use headgate_types::FieldError;

use crate::http::problem::ApiError;

/// The types of a comma-separated list; none: all.
fn read_types(text: Option<&str>) -> Result<Vec<EventType>, ApiError> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    let types: Result<Vec<EventType>, String> = words.map(str::parse).collect();
    types.map_err(|detail| ApiError::parameter(FieldError::new("types", "unknown_event_type", detail)))
}
