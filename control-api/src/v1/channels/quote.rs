//! What a channel costs.

use headgate_catalog::elements;
use headgate_database::Tx;
use headgate_metering::{QuoteRequest, QuotedElement, current_rate_card};
use headgate_types::{ElementId, TenantId};
use serde_json::Value;

use crate::http::problem::ApiError;
use crate::state::ApiState;

/// The quote under the rate card of today, as it is kept with the order.
pub(super) async fn quote(state: &ApiState, request: &QuoteRequest) -> Result<Value, ApiError> {
    let mut tx = state.data.read_platform().await?;
    let card = current_rate_card(&mut tx, state.clock.now()).await?;
    // Documents of ours always serialise.
    Ok(serde_json::to_value(headgate_metering::quote(request, &card)).unwrap_or_default())
}

/// An element that exists, with its price tag.
pub(super) async fn quoted(
    tx: &mut Tx,
    tenant: TenantId,
    element: ElementId,
    initial: (u64, u64),
) -> Result<QuotedElement, ApiError> {
    let price_key = elements::visible(tx, tenant, element).await?.element.metadata.price_key;
    let (initial_records, initial_bytes) = initial;
    Ok(QuotedElement { element: Some(element), price_key, initial_records, initial_bytes })
}
