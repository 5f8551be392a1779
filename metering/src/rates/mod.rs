//! Prices: revisions of the rate card, rating of usage, and quotes for what is not ordered yet.
//! Rating is pure; only the card comes from the database.

mod card;
mod quote;
mod rating;
mod scheme;
mod store;

pub use card::{NewRateCard, Price, RateCard, standard};
pub use quote::{Quote, QuoteRequest, QuotedElement, QuotedPrice, quote};
pub use rating::{Line, Rated, rate};
pub use scheme::{Scheme, Tier};
pub use store::{current_rate_card, ensure_standard, list_rate_cards, put_rate_card, rate_card};
