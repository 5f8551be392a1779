//! The templates, as the driver knows them: their text, and what their mappings say of shards.

use std::collections::BTreeMap;

use headgate_types::channel::Direction;
use serde_yaml_ng::Value;

/// The mapping that every template has, and its key for streams.
const SIZES: &str = "Size";
const SHARDS: &str = "Shards";

/// One template.
#[derive(Debug)]
pub(super) struct Template {
    /// What is sent to CloudFormation.
    pub text: &'static str,
    /// Names of its parameters.
    parameters: Vec<String>,
    /// The condition of each resource, where it has one.
    resources: Vec<Option<String>>,
    /// Shards by size; empty where the template has no stream.
    shards: BTreeMap<String, u64>,
    sizes: Vec<String>,
}

const FILES: [(Direction, &str, &str); 6] = [
    (Direction::In, "file", include_str!("../../../../../templates/data-in/file.yaml")),
    (Direction::In, "queue", include_str!("../../../../../templates/data-in/queue.yaml")),
    (Direction::In, "stream", include_str!("../../../../../templates/data-in/stream.yaml")),
    (Direction::Out, "file", include_str!("../../../../../templates/data-out/file.yaml")),
    (Direction::Out, "queue", include_str!("../../../../../templates/data-out/queue.yaml")),
    (Direction::Out, "stream", include_str!("../../../../../templates/data-out/stream.yaml")),
];

/// Channel profiles that have templates.
pub const PROFILES: [&str; 3] = ["file", "queue", "stream"];

impl Template {
    /// The template of a profile in a direction; None when there is none.
    pub(super) fn of(direction: Direction, profile: &str) -> Option<Self> {
        let (_, _, text) = FILES.iter().find(|(of, key, _)| (*of, *key) == (direction, profile))?;
        Self::read(text)
    }

    fn read(text: &'static str) -> Option<Self> {
        let document: Value = serde_yaml_ng::from_str(text).ok()?;
        let keys = |section: &str| {
            let mapping = document.get(section).and_then(Value::as_mapping);
            mapping.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)))
        };
        let condition = |resource: &Value| resource.get("Condition").and_then(Value::as_str).map(str::to_owned);
        let sizes = document.get("Mappings").and_then(|mappings| mappings.get(SIZES)).and_then(Value::as_mapping)?;
        let of_size = |(key, value): (&Value, &Value)| {
            Some((key.as_str()?.to_owned(), value.get(SHARDS).and_then(Value::as_u64)?))
        };
        Some(Self {
            text,
            parameters: keys("Parameters").map(|(name, _)| name).collect(),
            resources: keys("Resources").map(|(_, resource)| condition(resource)).collect(),
            shards: sizes.iter().filter_map(of_size).collect(),
            sizes: sizes.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
        })
    }

    /// Whether it takes a parameter of this name.
    pub(super) fn takes(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|name| name == parameter)
    }

    /// Whether it knows a size.
    pub(super) fn has_size(&self, size: &str) -> bool {
        self.sizes.iter().any(|known| known == size)
    }

    /// How many resources a stack has, with a role for the client or with keys.
    pub(super) fn resources(&self, client_is_principal: bool) -> u64 {
        let left_out = if client_is_principal { "ClientHasKeys" } else { "ClientHasPrincipal" };
        let made = self.resources.iter().filter(|condition| condition.as_deref() != Some(left_out));
        u64::try_from(made.count()).unwrap_or_default()
    }

    /// Shards of a stream of this size.
    pub(super) fn shards(&self, size: &str) -> Option<u64> {
        self.shards.get(size).copied()
    }
}

/// The next stop on the way to a number of shards; None when one update gets there. Kinesis at
/// most doubles or halves a stream in one update
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>).
pub(super) fn shard_step(from: u64, to: u64) -> Option<u64> {
    if to > from.saturating_mul(2) {
        return Some(from.saturating_mul(2));
    }
    (to.saturating_mul(2) < from).then(|| from.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_read_with_its_sizes_and_what_it_makes() {
        for (direction, profile, _) in FILES {
            let template = Template::of(direction, profile).unwrap();
            assert_eq!(template.sizes, ["S", "M", "L", "XL"]);
            assert!(PROFILES.contains(&profile));
            assert_eq!(template.takes("ShardStep"), profile == "stream");
            assert_eq!(template.shards("XL"), (profile == "stream").then_some(200), "{profile}");
            assert_eq!(template.resources(true), template.resources(false), "a role in place of a user");
            assert!(template.resources(true) > 4, "{direction}/{profile}");
        }
        assert!(Template::of(Direction::Out, "api").is_none());
    }

    #[test]
    fn a_stream_grows_and_shrinks_by_steps_that_kinesis_takes() {
        for (from, to) in [(3, 200), (200, 3), (3, 10), (50, 10), (1, 1), (7, 3)] {
            let mut now = from;
            let mut updates = 1;
            while let Some(next) = shard_step(now, to) {
                assert!(next <= now * 2 && next * 2 >= now, "{now} to {next}");
                now = next;
                updates += 1;
            }
            assert!(to <= now * 2 && to * 2 >= now && updates <= 7, "{from} to {to} took {updates}");
        }
    }
}
