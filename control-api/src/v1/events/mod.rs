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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_types_are_those_that_there_are() {
        let seed = "io.headgate.channel.ready.v1, io.headgate.order.failed.v1";
        crate::fuzz::text("control-api/src/v1/events/mod.rs read_types", &[seed], |text| {
            read_types(Some(text)).map(|types| types.len()).map_err(|error| error.problem.code)
        });
    }
}
