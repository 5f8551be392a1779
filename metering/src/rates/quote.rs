//! What an order would cost: the price tag before anything exists.

use headgate_types::channel::Direction;
use headgate_types::{ElementId, RateCardId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rating::rounded;
use super::{Price, RateCard};
use crate::usage::{Dims, Meter};

/// Hours in an average month: 8760 / 12.
const HOURS_PER_MONTH: i64 = 730;

/// An element of the channel to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedElement {
    /// The element; absent for one that comes into being with the channel.
    pub element: Option<ElementId>,
    /// Its price tag.
    pub price_key: Option<String>,
    /// Records of the initial load: those in scope, for data-out with history; else 0.
    pub initial_records: u64,
    /// Their canonical encoded size.
    pub initial_bytes: u64,
}

/// A channel to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Which way it carries data.
    pub direction: Direction,
    /// The channel profile.
    pub channel_profile: String,
    /// The performance profile.
    pub performance_profile: String,
    /// `immediate`, `interval` or `cron`.
    pub timing: String,
    /// What it carries.
    pub elements: Vec<QuotedElement>,
}

/// A price that would hold for the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotedPrice {
    /// The element it holds for, where elements differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementId>,
    /// The price.
    #[serde(flatten)]
    pub price: Price,
}

/// What a channel would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// The revision of the rate card it was made with.
    pub rate_card: RateCardId,
    /// Its number.
    pub revision: u32,
    /// ISO 4217 code.
    pub currency: String,
    /// For the resources, per hour.
    #[schema(value_type = String)]
    pub per_hour: Decimal,
    /// For the resources, per month of 730 hours.
    #[schema(value_type = String)]
    pub per_month: Decimal,
    /// For the initial load, as far as it is known now.
    #[schema(value_type = String)]
    pub initial_load: Decimal,
    /// Records of the initial load.
    pub initial_records: u64,
    /// Their canonical encoded size in bytes.
    pub initial_bytes: u64,
    /// The prices of everything that depends on use.
    pub prices: Vec<QuotedPrice>,
}

/// Quotes a channel under a revision of the rate card.
#[must_use]
pub fn quote(request: &QuoteRequest, card: &RateCard) -> Quote {
    let dims = |price_key: Option<&String>| Dims {
        channel_profile: Some(request.channel_profile.clone()),
        performance_profile: Some(request.performance_profile.clone()),
        timing: Some(request.timing.clone()),
        price_key: price_key.cloned(),
    };
    let cost = |meter: Meter, dims: &Dims, quantity: i64| {
        let price = card.card.price(meter, dims);
        price.map_or(Decimal::ZERO, |(_, price)| price.scheme.amount(quantity, price.per))
    };
    let per_hour = cost(Meter::ChannelHours, &dims(None), 3_600);
    let moved: &[Meter] = match request.direction {
        Direction::In => &[Meter::IngestRecords, Meter::IngestBytes],
        Direction::Out => &[Meter::DeliverRecords, Meter::DeliverBytes],
    };

    let mut initial_load = Decimal::ZERO;
    let mut prices = Vec::<QuotedPrice>::new();
    for element in &request.elements {
        let dims = dims(element.price_key.as_ref());
        for meter in moved {
            if let Some((_, price)) = card.card.price(*meter, &dims) {
                let element = element.element.filter(|_| price.price_key.is_some());
                let quoted = QuotedPrice { element, price: price.clone() };
                if !prices.contains(&quoted) {
                    prices.push(quoted);
                }
            }
        }
        for (meter, quantity) in moved.iter().zip([element.initial_records, element.initial_bytes]) {
            initial_load += cost(*meter, &dims, i64::try_from(quantity).unwrap_or(i64::MAX));
        }
    }
    for meter in [Meter::StorageByteHours, Meter::QueryRows, Meter::QueryBytes, Meter::QueryMs] {
        if let Some((_, price)) = card.card.price(meter, &dims(None))
            && (request.direction == Direction::Out || meter == Meter::StorageByteHours)
        {
            prices.push(QuotedPrice { element: None, price: price.clone() });
        }
    }
    Quote {
        rate_card: card.id,
        revision: card.revision,
        currency: card.card.currency.clone(),
        per_hour: rounded(per_hour, &card.card),
        per_month: rounded(per_hour * Decimal::from(HOURS_PER_MONTH), &card.card),
        initial_load: rounded(initial_load, &card.card),
        initial_records: request.elements.iter().map(|element| element.initial_records).sum(),
        initial_bytes: request.elements.iter().map(|element| element.initial_bytes).sum(),
        prices,
    }
}
