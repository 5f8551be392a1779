//! The rate card: which price holds for which usage.

use chrono::{DateTime, Utc};
use headgate_types::{FieldError, RateCardId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Scheme;
use crate::error::MeteringError;
use crate::usage::{Dims, Meter};

const MAX_PRICES: usize = 10_000;
const MAX_DECIMALS: u32 = 12;
/// The largest quantity there is, priced by the base unit, stays within what a decimal holds below this.
const MAX_AMOUNT: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// The price of a meter, for all usage with the dimensions it names. Where several fit, the most
/// specific one holds: a price key outweighs a channel profile, that a performance profile, that a
/// timing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// What is priced.
    pub meter: Meter,
    /// Only for this channel profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_profile: Option<String>,
    /// Only for this performance profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance_profile: Option<String>,
    /// Only for this timing: `immediate`, `interval` or `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// Only for elements with this price tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_key: Option<String>,
    /// How many base units of the meter are one priced unit, for example 3600 for hours.
    pub per: i64,
    /// What the priced unit is called, for example `hour` or `million records`.
    pub unit: String,
    /// The price.
    #[serde(flatten)]
    pub scheme: Scheme,
}

impl Price {
    fn selector(&self) -> [&Option<String>; 4] {
        [&self.price_key, &self.channel_profile, &self.performance_profile, &self.timing]
    }

    fn fits(&self, meter: Meter, dims: &Dims) -> bool {
        let found = [&dims.price_key, &dims.channel_profile, &dims.performance_profile, &dims.timing];
        self.meter == meter
            && self.selector().iter().zip(found).all(|(wanted, found)| wanted.is_none() || *wanted == found)
    }

    fn weight(&self) -> u8 {
        self.selector().iter().fold(0, |weight, part| weight * 2 + u8::from(part.is_some()))
    }
}

/// What a rate card says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRateCard {
    /// ISO 4217 code.
    pub currency: String,
    /// Decimals that the amount of each line is rounded to, once, half away from zero.
    pub rounding_decimals: u32,
    /// The prices.
    pub prices: Vec<Price>,
}

/// A revision of the rate card. Revisions are never changed: a quote and an invoice name the one they were made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RateCard {
    /// Its id.
    pub id: RateCardId,
    /// Counts the revisions, from 1.
    pub revision: u32,
    /// From when it holds.
    pub valid_from: DateTime<Utc>,
    /// When it was entered.
    pub created_at: DateTime<Utc>,
    /// What it says.
    #[serde(flatten)]
    pub card: NewRateCard,
}

impl NewRateCard {
    /// The position and the price that holds for usage of `meter` with `dims`.
    #[must_use]
    pub fn price(&self, meter: Meter, dims: &Dims) -> Option<(usize, &Price)> {
        let fitting = self.prices.iter().enumerate().filter(|(_, price)| price.fits(meter, dims));
        fitting.max_by_key(|(_, price)| price.weight())
    }

    /// Everything that is wrong with the card; pointers are relative to it.
    #[must_use]
    pub fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let currency = self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        if !currency {
            errors.push(FieldError::new("/currency", "invalid_currency", "a currency has three capital letters"));
        }
        if self.rounding_decimals > MAX_DECIMALS {
            let detail = format!("amounts have at most {MAX_DECIMALS} decimals");
            errors.push(FieldError::new("/rounding_decimals", "too_many", detail));
        }
        if self.prices.len() > MAX_PRICES {
            errors.push(FieldError::new("/prices", "too_many", format!("a card has at most {MAX_PRICES} prices")));
        }
        let mut seen = std::collections::HashSet::new();
        for (index, price) in self.prices.iter().enumerate() {
            let at = |place: &str| format!("/prices/{index}{place}");
            if price.per < 1 {
                errors.push(FieldError::new(at("/per"), "not_positive", "a priced unit is at least one base unit"));
            }
            if price.unit.trim().is_empty() {
                errors.push(FieldError::new(at("/unit"), "required", "a priced unit has a name"));
            }
            if let Some(detail) = price.scheme.error() {
                errors.push(FieldError::new(at("/tiers"), "invalid_tiers", detail));
            }
            let amounts = price.scheme.amounts();
            if amounts.iter().any(Decimal::is_sign_negative) {
                errors.push(FieldError::new(at(""), "negative", "a price is not negative"));
            }
            if amounts.iter().any(|amount| *amount >= MAX_AMOUNT) {
                errors.push(FieldError::new(at(""), "too_large", format!("a price is below {MAX_AMOUNT}")));
            }
            if !seen.insert((price.meter, price.selector())) {
                let detail = format!("there is another price of {} for the same usage", price.meter);
                errors.push(FieldError::new(at(""), "duplicate", detail));
            }
        }
        errors
    }
}

/// The standard card that the product comes with: `templates/rates.yaml`.
///
/// # Errors
/// When the file does not describe a card.
pub fn standard() -> Result<NewRateCard, MeteringError> {
    serde_yaml_ng::from_str(include_str!("../../../templates/rates.yaml"))
        .map_err(|error| MeteringError::corrupt("templates/rates.yaml", error))
}
