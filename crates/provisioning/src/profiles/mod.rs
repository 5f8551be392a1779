//! What can be ordered: channel profiles, performance profiles and their limits, as data.

mod document;

use std::path::Path;

use headgate_types::channel::Direction;
use headgate_types::limits::Limits;
use headgate_types::{Coded, ErrorKind, FieldError};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The file that is built into the binary.
const EMBEDDED: &str = include_str!("../../../../templates/profiles.yaml");

/// Everything that can be ordered, at one revision.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Profiles {
    /// Raised with every change of a number; an order pins the revision it was priced with.
    pub revision: u32,
    /// Performance profiles, smallest first.
    pub sizes: Vec<Size>,
    /// Channel profiles, data-in first.
    pub profiles: Vec<ChannelProfile>,
}

/// A performance profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Size {
    /// The key in orders, tables and prices, for example `XL`.
    pub key: String,
    /// For a person choosing.
    pub title: String,
    /// Other names accepted in orders, in any case.
    pub aliases: Vec<String>,
}

/// One channel profile in one direction.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChannelProfile {
    /// Which way it carries data.
    pub direction: Direction,
    /// The technology's key, for example `webhook`.
    pub key: String,
    /// For a person choosing.
    pub title: String,
    /// Whether only a cloud can hold channels of this profile: it is not offered where none does.
    #[serde(skip)]
    pub cloud_only: bool,
    /// The meters that a channel of this profile is charged by; prices are in the rate card, by
    /// meter, profile and size.
    pub meters: Vec<String>,
    /// What each size allows, smallest first.
    pub sizes: Vec<Offer>,
}

/// One channel profile at one size.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Offer {
    /// Key of the performance profile.
    pub size: String,
    /// What the engine enforces.
    pub limits: Limits,
    /// Parameters of the driver's template; empty for the embedded driver.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub parameters: IndexMap<String, Value>,
}

/// Why a file of profiles, or a choice from it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a document of profiles.
    #[error("the profiles are not valid: {0}")]
    Invalid(String),
    /// No such channel profile in this direction.
    #[error("there is no channel profile {asked:?} for data-{direction}; there are {known}")]
    UnknownProfile {
        /// What was asked for.
        asked: String,
        /// In which direction.
        direction: Direction,
        /// What could have been asked for.
        known: String,
    },
    /// No such performance profile.
    #[error("there is no performance profile {asked:?}; there are {known}")]
    UnknownSize {
        /// What was asked for.
        asked: String,
        /// What could have been asked for.
        known: String,
    },
}

impl Coded for ProfilesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Invalid(_) => ErrorKind::Internal,
            Self::UnknownProfile { .. } | Self::UnknownSize { .. } => ErrorKind::Unprocessable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Invalid(_) => "internal",
            Self::UnknownProfile { .. } => "unknown_channel_profile",
            Self::UnknownSize { .. } => "unknown_performance_profile",
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        let pointer = match self {
            Self::Read { .. } | Self::Invalid(_) => return Vec::new(),
            Self::UnknownProfile { .. } => "/channel_profile",
            Self::UnknownSize { .. } => "/performance_profile",
        };
        vec![FieldError::new(pointer, self.code(), self.to_string())]
    }
}

impl Profiles {
    /// The profiles built into the binary.
    ///
    /// # Errors
    /// Never for a released binary: a test loads them.
    pub fn embedded() -> Result<Self, ProfilesError> {
        Self::parse(EMBEDDED)
    }

    /// The profiles in a file that replaces the built-in ones.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid.
    pub fn load(path: &Path) -> Result<Self, ProfilesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProfilesError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads profiles from YAML, shaped as `templates/profiles.yaml`.
    ///
    /// # Errors
    /// [`ProfilesError::Invalid`] names the profile, size and limit at fault.
    pub fn parse(yaml: &str) -> Result<Self, ProfilesError> {
        document::read(yaml).map_err(ProfilesError::Invalid)
    }

    /// Without what only a cloud can hold, unless it is among the profiles that one holds here.
    #[must_use]
    pub fn held_by_a_cloud(mut self, held: &[String]) -> Self {
        self.profiles.retain(|profile| !profile.cloud_only || held.contains(&profile.key));
        self
    }

    /// The channel profile `key` in a direction, by its exact key: aliases of technologies are in
    /// their descriptors.
    ///
    /// # Errors
    /// [`ProfilesError::UnknownProfile`].
    pub fn profile(&self, direction: Direction, key: &str) -> Result<&ChannelProfile, ProfilesError> {
        let mut offered = self.profiles.iter().filter(|profile| profile.direction == direction);
        offered.clone().find(|profile| profile.key == key).ok_or_else(|| ProfilesError::UnknownProfile {
            asked: key.to_owned(),
            direction,
            known: join(offered.by_ref().map(|profile| profile.key.as_str())),
        })
    }

    /// The performance profile that `name` means: a key or an alias, in any case.
    ///
    /// # Errors
    /// [`ProfilesError::UnknownSize`].
    pub fn size(&self, name: &str) -> Result<&Size, ProfilesError> {
        let wanted = name.trim();
        let is = |text: &str| text.eq_ignore_ascii_case(wanted);
        self.sizes.iter().find(|size| is(&size.key) || size.aliases.iter().any(|alias| is(alias))).ok_or_else(|| {
            ProfilesError::UnknownSize {
                asked: name.to_owned(),
                known: join(self.sizes.iter().map(|size| size.key.as_str())),
            }
        })
    }

    /// What one channel profile offers at one size, given by key or alias.
    ///
    /// # Errors
    /// [`ProfilesError::UnknownProfile`], [`ProfilesError::UnknownSize`].
    pub fn offer(&self, direction: Direction, profile: &str, size: &str) -> Result<&Offer, ProfilesError> {
        let profile = self.profile(direction, profile)?;
        let size = self.size(size)?;
        profile.sizes.iter().find(|offer| offer.size == size.key).ok_or_else(|| ProfilesError::UnknownSize {
            asked: size.key.clone(),
            known: join(profile.sizes.iter().map(|offer| offer.size.as_str())),
        })
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
