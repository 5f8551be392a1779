//! From usage to lines of an invoice.

use std::collections::BTreeMap;

use headgate_types::{ChannelId, ElementId};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{NewRateCard, Price};
use crate::usage::{Dims, Meter, UsageTotal};

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// What was counted.
    pub meter: Meter,
    /// The channel. Absent where a price depends on the tenant's whole quantity, and for usage that
    /// belongs to no channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// The element, where the usage belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementId>,
    /// What the price depended on.
    pub dims: Dims,
    /// How much, in the meter's base unit.
    pub quantity: i64,
    /// The price; absent: the card has none, and the line is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it costs, rounded once.
    #[schema(value_type = String)]
    pub amount: Decimal,
}

/// Rated usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rated {
    /// ISO 4217 code.
    pub currency: String,
    /// The lines, by meter, channel and element.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    #[schema(value_type = String)]
    pub total: Decimal,
}

/// Rates the usage of one tenant in one period. Every unit of usage is in exactly one line, so the
/// quantities of the lines sum up to the usage.
#[must_use]
pub fn rate(usage: &[UsageTotal], card: &NewRateCard) -> Rated {
    type Key = (Meter, Option<usize>, Option<ChannelId>, Option<ElementId>, Dims);
    let mut quantities = BTreeMap::<Key, i64>::new();
    for total in usage {
        let price = card.price(total.meter, &total.dims);
        let key = match price {
            // The price depends on the whole: one line, whatever the channel.
            Some((index, price)) if !price.scheme.is_additive() => {
                (total.meter, Some(index), None, None, Dims::default())
            }
            _ => (total.meter, price.map(|(index, _)| index), total.channel, total.element, total.dims.clone()),
        };
        *quantities.entry(key).or_default() += total.quantity;
    }
    let mut lines: Vec<_> = quantities
        .into_iter()
        .map(|((meter, index, channel, element, dims), quantity)| {
            let price = index.and_then(|index| card.prices.get(index)).cloned();
            let amount = price.as_ref().map_or(Decimal::ZERO, |price| price.scheme.amount(quantity, price.per));
            Line { meter, channel, element, dims, quantity, price, amount: rounded(amount, card) }
        })
        .collect();
    lines.sort_by(|a, b| (a.meter, a.channel, a.element, &a.dims).cmp(&(b.meter, b.channel, b.element, &b.dims)));
    let total = lines.iter().map(|line| line.amount).sum();
    Rated { currency: card.currency.clone(), lines, total }
}

pub(super) fn rounded(amount: Decimal, card: &NewRateCard) -> Decimal {
    amount.round_dp_with_strategy(card.rounding_decimals, RoundingStrategy::MidpointAwayFromZero)
}
