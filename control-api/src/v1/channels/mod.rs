//! Data-in and data-out channels. The two directions have paths and documents of their own and
//! share what happens behind them.

pub(crate) mod body;
pub(crate) mod create_in;
pub(crate) mod create_out;
pub(crate) mod dead_letters;
pub(crate) mod delete;
pub(crate) mod get;
mod limits;
pub(crate) mod list;
pub(crate) mod pause;
mod place;
mod quote;
pub(crate) mod resume;
pub(crate) mod rotate;
pub(crate) mod snippets;
pub(crate) mod statistics;
mod technology;
pub(crate) mod update;
pub(crate) mod view;
