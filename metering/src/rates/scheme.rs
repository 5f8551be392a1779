//! How a quantity becomes an amount. One function per kind of price.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One step of a tiered price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Holds for quantities below this one; absent in the last tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<i64>,
    /// The amount per priced unit.
    #[schema(value_type = String, pattern = "^-?[0-9]{1,9}([.][0-9]{1,9})?$")]
    pub amount: Decimal,
}

/// A kind of price. Amounts are decimals in text, in the card's currency, per priced unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Scheme {
    /// The same for each unit.
    Standard {
        /// The amount per priced unit.
        #[schema(value_type = String, pattern = "^-?[0-9]{1,9}([.][0-9]{1,9})?$")]
        amount: Decimal,
    },
    /// Each part of the quantity at the price of its tier.
    Graduated {
        /// The tiers, ascending.
        tiers: Vec<Tier>,
    },
    /// The whole quantity at the price of the tier it reaches.
    Volume {
        /// The tiers, ascending.
        tiers: Vec<Tier>,
    },
    /// Whole priced units only, rounded up.
    Package {
        /// The amount per priced unit.
        #[schema(value_type = String, pattern = "^-?[0-9]{1,9}([.][0-9]{1,9})?$")]
        amount: Decimal,
    },
}

impl Scheme {
    /// Whether rating parts and adding up gives the same as rating the sum.
    #[must_use]
    pub const fn is_additive(&self) -> bool {
        matches!(self, Self::Standard { .. })
    }

    /// What `quantity` costs, unrounded, when `per` base units are one priced unit. A negative
    /// quantity, left over by corrections, costs the negative of its opposite.
    #[must_use]
    pub fn amount(&self, quantity: i64, per: i64) -> Decimal {
        if quantity < 0 {
            return -self.amount(quantity.saturating_neg(), per);
        }
        let units = |quantity: i64| Decimal::from(quantity) / Decimal::from(per.max(1));
        match self {
            Self::Standard { amount } => units(quantity) * amount,
            Self::Package { amount } => {
                units(quantity).round_dp_with_strategy(0, RoundingStrategy::AwayFromZero) * amount
            }
            Self::Volume { tiers } => {
                let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|up_to| quantity < up_to));
                tier.map_or(Decimal::ZERO, |tier| units(quantity) * tier.amount)
            }
            Self::Graduated { tiers } => {
                let mut below = 0;
                let mut amount = Decimal::ZERO;
                for tier in tiers {
                    let top = tier.up_to.unwrap_or(i64::MAX).min(quantity);
                    if top > below {
                        amount += units(top - below) * tier.amount;
                        below = top;
                    }
                }
                amount
            }
        }
    }

    /// What is wrong with the tiers, if something is.
    pub(super) fn error(&self) -> Option<&'static str> {
        let (Self::Graduated { tiers } | Self::Volume { tiers }) = self else {
            return None;
        };
        let Some((last, rest)) = tiers.split_last() else {
            return Some("there is at least one tier");
        };
        if last.up_to.is_some() || rest.iter().any(|tier| tier.up_to.is_none()) {
            return Some("the last tier, and only that one, has no up_to");
        }
        let ascending = rest.windows(2).all(|pair| pair[0].up_to < pair[1].up_to);
        let positive = rest.iter().all(|tier| tier.up_to > Some(0));
        (!ascending || !positive).then_some("the up_to of the tiers are positive and ascend")
    }

    /// Every amount of the price.
    pub(super) fn amounts(&self) -> Vec<Decimal> {
        match self {
            Self::Standard { amount } | Self::Package { amount } => vec![*amount],
            Self::Graduated { tiers } | Self::Volume { tiers } => tiers.iter().map(|tier| tier.amount).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn tiers() -> Vec<Tier> {
        [(Some(1_000), "2"), (Some(10_000), "1"), (None, "0.5")]
            .map(|(up_to, amount)| Tier { up_to, amount: decimal(amount) })
            .to_vec()
    }

    #[test]
    fn each_scheme_prices_by_its_rule() {
        let standard = Scheme::Standard { amount: decimal("0.25") };
        assert_eq!(standard.amount(1_500, 1_000), decimal("0.375"));
        assert_eq!(standard.amount(-1_500, 1_000), decimal("-0.375"));

        let package = Scheme::Package { amount: decimal("3") };
        assert_eq!(package.amount(0, 1_000), decimal("0"));
        assert_eq!(package.amount(1_000, 1_000), decimal("3"));
        assert_eq!(package.amount(1_001, 1_000), decimal("6"));

        // up_to is exclusive: the thousandth unit is in the second tier.
        let volume = Scheme::Volume { tiers: tiers() };
        assert_eq!(volume.amount(999, 1), decimal("1998"));
        assert_eq!(volume.amount(1_000, 1), decimal("1000"));
        assert_eq!(volume.amount(20_000, 1), decimal("10000"));

        let graduated = Scheme::Graduated { tiers: tiers() };
        assert_eq!(graduated.amount(1_000, 1), decimal("2000"));
        assert_eq!(graduated.amount(20_000, 1), decimal("2000") + decimal("9000") + decimal("5000"));
    }

    #[test]
    fn tiers_that_leave_quantities_without_a_price_are_refused() {
        let graduated = |tiers| Scheme::Graduated { tiers };
        assert!(graduated(tiers()).error().is_none());
        assert!(graduated(Vec::new()).error().is_some());
        assert!(graduated(tiers()[..2].to_vec()).error().is_some());
        let mut turned = tiers();
        turned.swap(0, 1);
        assert!(graduated(turned).error().is_some());
    }

    proptest! {
        #[test]
        fn standard_prices_of_parts_add_up_to_the_price_of_the_sum(a in 0_i64..1 << 50, b in 0_i64..1 << 50) {
            let scheme = Scheme::Standard { amount: decimal("0.000125") };
            prop_assert_eq!(scheme.amount(a, 1) + scheme.amount(b, 1), scheme.amount(a + b, 1));
        }

        #[test]
        fn graduated_prices_never_fall_with_the_quantity(a in 0_i64..1 << 40, b in 0_i64..1 << 40) {
            let scheme = Scheme::Graduated { tiers: tiers() };
            prop_assert!(scheme.amount(a.min(b), 100) <= scheme.amount(a.max(b), 100));
        }
    }
}
