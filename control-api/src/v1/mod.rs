//! `/v1`: one endpoint, one file.

pub(crate) mod access;
pub(crate) mod admin;
pub(crate) mod channel_profiles;
pub(crate) mod channels;
pub(crate) mod elements;
pub(crate) mod events;
pub(crate) mod nodes;
pub(crate) mod orders;
pub(crate) mod schemas;
pub(crate) mod usage;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::ApiState;

/// Every route under `/v1`, and those that lead there.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(access::token::issue))
        .routes(routes!(access::jwks::get))
        .routes(routes!(access::reveal::reveal))
        .merge(catalog())
        .merge(data_in())
        .merge(data_out())
        .routes(routes!(orders::list::list))
        .routes(routes!(orders::get::get))
        .routes(routes!(orders::cancel::cancel))
        .merge(events_and_usage())
        .merge(administration())
}

fn catalog() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(elements::list::list))
        .routes(routes!(elements::get::get))
        .routes(routes!(elements::get::schema))
        .routes(routes!(elements::get::statistics))
        .routes(routes!(elements::grants::list, elements::grants::create))
        .routes(routes!(elements::grants::delete))
        .routes(routes!(nodes::list::list, nodes::create::create))
        .routes(routes!(nodes::delete::delete))
        .routes(routes!(schemas::infer::infer))
        .routes(routes!(channel_profiles::list::list))
}

fn data_in() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(channels::list::data_in, channels::create_in::create))
        .routes(routes!(channels::get::data_in, channels::update::data_in, channels::delete::data_in))
        .routes(routes!(channels::pause::data_in))
        .routes(routes!(channels::resume::data_in))
        .routes(routes!(channels::rotate::data_in))
        .routes(routes!(channels::statistics::data_in))
        .routes(routes!(channels::dead_letters::list_in))
        .routes(routes!(channels::dead_letters::get_in))
        .routes(routes!(channels::snippets::data_in))
}

fn data_out() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(channels::list::data_out, channels::create_out::create))
        .routes(routes!(channels::get::data_out, channels::update::data_out, channels::delete::data_out))
        .routes(routes!(channels::pause::data_out))
        .routes(routes!(channels::resume::data_out))
        .routes(routes!(channels::rotate::data_out))
        .routes(routes!(channels::statistics::data_out))
        .routes(routes!(channels::dead_letters::list_out))
        .routes(routes!(channels::dead_letters::get_out))
        .routes(routes!(channels::snippets::data_out))
}

fn events_and_usage() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(events::list::list))
        .routes(routes!(events::stream::stream))
        .routes(routes!(events::endpoints::list, events::endpoints::create))
        .routes(routes!(events::endpoints::get, events::endpoints::update, events::endpoints::delete))
        .routes(routes!(events::endpoints::rotate))
        .routes(routes!(events::deliveries::attempts))
        .routes(routes!(events::deliveries::deliveries))
        .routes(routes!(events::deliveries::resend))
        .routes(routes!(events::deliveries::recover))
        .routes(routes!(events::deliveries::test))
        .routes(routes!(usage::list::list))
        .routes(routes!(usage::list::list_all))
        .routes(routes!(usage::invoice::preview))
        .routes(routes!(usage::export::export))
}

fn administration() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(admin::tenants::list, admin::tenants::create))
        .routes(routes!(admin::tenants::get))
        .routes(routes!(admin::quota::set))
        .routes(routes!(admin::lifecycle::suspend))
        .routes(routes!(admin::lifecycle::resume))
        .routes(routes!(admin::lifecycle::offboard))
        .routes(routes!(admin::clients::list, admin::clients::create))
        .routes(routes!(admin::clients::revoke))
        .routes(routes!(admin::clients::rotate))
        .routes(routes!(admin::clients::list_admins, admin::clients::create_admin))
        .routes(routes!(admin::clients::revoke_admin))
        .routes(routes!(admin::identities::list, admin::identities::create))
        .routes(routes!(admin::identities::delete))
        .routes(routes!(admin::identities::list_admins, admin::identities::create_admin))
        .routes(routes!(admin::identities::delete_admin))
        .routes(routes!(admin::grants::create))
        .routes(routes!(admin::grants::delete))
        .routes(routes!(admin::rate_cards::get, admin::rate_cards::put))
        .routes(routes!(admin::rate_cards::list))
        .routes(routes!(usage::export::export_for))
        .routes(routes!(admin::lists::orders))
        .routes(routes!(admin::lists::channels))
        .routes(routes!(admin::lists::audit))
}
