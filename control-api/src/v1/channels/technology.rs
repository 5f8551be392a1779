//! From the words of an order to a technology and a size.

use headgate_provisioning::Profiles;
use headgate_provisioning::orders::PinnedSize;
use headgate_types::FieldError;
use headgate_types::channel::Direction;
use headgate_types::engine::Engine;
use headgate_types::technology::TechnologyDescriptor;

use crate::http::problem::ApiError;

/// The technology that `name` means, by key or alias, in any case: what the engine can serve and this installation offers.
pub(super) async fn technology(
    engine: &dyn Engine,
    profiles: &Profiles,
    direction: Direction,
    name: &str,
) -> Result<TechnologyDescriptor, ApiError> {
    let wanted = name.trim();
    let is_offered =
        |t: &TechnologyDescriptor| t.directions.contains(&direction) && profiles.profile(direction, &t.key).is_ok();
    let offered: Vec<_> = engine.technologies().await?.into_iter().filter(is_offered).collect();
    let is = |text: &String| text.eq_ignore_ascii_case(wanted);
    if let Some(found) = offered.iter().find(|t| is(&t.key) || t.aliases.iter().any(is)) {
        return Ok(found.clone());
    }
    let known: Vec<_> = offered.iter().map(|t| t.key.as_str()).collect();
    let detail = format!("there is no channel profile {name:?} for data-{direction}; there are {}", known.join(", "));
    Err(ApiError::refused(vec![FieldError::new("/channel_profile", "unknown_channel_profile", detail)]))
}

/// The limits of a channel profile at a size, pinned.
pub(super) fn size(
    profiles: &Profiles,
    direction: Direction,
    profile: &str,
    size: &str,
) -> Result<PinnedSize, ApiError> {
    Ok(PinnedSize::of(profiles, direction, profile, size)?)
}
