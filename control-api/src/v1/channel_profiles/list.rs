//! Channel profiles, their sizes, limits and settings.

use axum::Json;
use axum::extract::State;
use headgate_provisioning::profiles::{ChannelProfile, Size};
use headgate_types::technology::TechnologyDescriptor;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::caller::{Caller, CatalogRead};
use crate::http::problem::ApiError;
use crate::state::ApiState;

/// Everything that can be ordered now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfilesView {
    /// Raised with every change of a number; an order pins the revision it was priced with.
    revision: u32,
    /// Performance profiles, smallest first.
    performance_profiles: Vec<Size>,
    /// Channel profiles, data-in first, with what each size allows.
    channel_profiles: Vec<ProfileView>,
}

/// One channel profile in one direction.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileView {
    #[serde(flatten)]
    profile: ChannelProfile,
    /// Other names accepted in orders.
    aliases: Vec<String>,
    /// What it does.
    description: String,
    /// JSON Schema of the `options` of an output model.
    #[schema(value_type = Object)]
    settings: serde_json::Value,
}

/// List what can be ordered: channel profiles with their sizes, limits and settings. A profile is
/// listed when the engine can serve it.
#[utoipa::path(get, path = "/v1/channel-profiles", operation_id = "list_channel_profiles", tag = "catalog",
    security(("oauth2" = ["catalog.read"]), ("bearer" = [])),
    responses((status = 200, description = "The profiles", body = ProfilesView)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _caller: Caller<CatalogRead>,
) -> Result<Json<ProfilesView>, ApiError> {
    let technologies = state.engine.technologies().await?;
    let served = |profile: &ChannelProfile| -> Option<&TechnologyDescriptor> {
        technologies.iter().find(|t| t.key == profile.key && t.directions.contains(&profile.direction))
    };
    let channel_profiles = state.profiles.profiles.iter().filter_map(|profile| {
        let technology = served(profile)?;
        Some(ProfileView {
            profile: profile.clone(),
            aliases: technology.aliases.clone(),
            description: technology.description.clone(),
            settings: technology.settings.clone(),
        })
    });
    Ok(Json(ProfilesView {
        revision: state.profiles.revision,
        performance_profiles: state.profiles.sizes.clone(),
        channel_profiles: channel_profiles.collect(),
    }))
}
