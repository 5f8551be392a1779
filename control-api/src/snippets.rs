//! Copy-paste commands for channels. They are data (`templates/snippets.yaml`): this crate knows
//! no technology by name.

use std::collections::BTreeMap;

use headgate_types::channel::Direction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const EMBEDDED: &str = include_str!("../../templates/snippets.yaml");

/// A command or short program that uses a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snippet {
    /// What it does.
    pub title: String,
    /// `bash`, `python`, …
    pub language: String,
    /// The text. It reads the channel's key from `HEADGATE_KEY`; no secret is in it.
    pub code: String,
}

/// What stands for the channel in the texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    /// Start of the channel's addresses, without a slash at its end.
    pub data_url: &'a str,
    /// The channel's id.
    pub channel: &'a str,
    /// The first feed, or the first table.
    pub name: &'a str,
}

/// Snippets by direction and channel profile.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Snippets {
    #[serde(rename = "in")]
    data_in: BTreeMap<String, Vec<Snippet>>,
    #[serde(rename = "out")]
    data_out: BTreeMap<String, Vec<Snippet>>,
}

impl Snippets {
    /// Those built into the binary; a test reads them.
    pub(crate) fn embedded() -> Self {
        serde_yaml_ng::from_str(EMBEDDED).unwrap_or_else(|error| {
            tracing::error!(%error, "the snippets built into the binary cannot be read");
            Self::default()
        })
    }

    /// The snippets for one channel; none for a profile that has no entry.
    pub(crate) fn of(&self, direction: Direction, profile: &str, values: Values<'_>) -> Vec<Snippet> {
        let by_profile = match direction {
            Direction::In => &self.data_in,
            Direction::Out => &self.data_out,
        };
        let fill = |text: &str| {
            text.replace("{data_url}", values.data_url)
                .replace("{channel}", values.channel)
                .replace("{name}", values.name)
        };
        let snippets = by_profile.get(profile).into_iter().flatten();
        snippets.map(|snippet| Snippet { code: fill(&snippet.code), ..snippet.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snippets_of_the_binary_are_readable_and_filled_in() {
        let snippets: Snippets = serde_yaml_ng::from_str(EMBEDDED).unwrap();
        let values = Values { data_url: "http://127.0.0.1:7171", channel: "ch_1", name: "weather" };
        for (direction, profiles) in [(Direction::In, &snippets.data_in), (Direction::Out, &snippets.data_out)] {
            assert!(!profiles.is_empty());
            for profile in profiles.keys() {
                for snippet in snippets.of(direction, profile, values) {
                    assert!(!snippet.code.contains("{name}") && !snippet.code.contains("{channel}"), "{profile}");
                }
            }
        }
    }
}
