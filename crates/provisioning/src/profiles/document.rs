//! The YAML shape of the profiles, with quantities as people write them.

use headgate_types::channel::Direction;
use headgate_types::limits::Limits;
use headgate_types::{byte_size, duration};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::{ChannelProfile, Offer, Profiles, Size};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    revision: u32,
    sizes: IndexMap<String, SizeDocument>,
    data_in: IndexMap<String, ProfileDocument>,
    data_out: IndexMap<String, ProfileDocument>,
    /// Template → size → mapping. The templates hold the same numbers and a driver names the size
    /// only, so nothing of it is kept; a file that replaces the built-in one may leave it out.
    #[serde(default)]
    cloudformation: IndexMap<String, IndexMap<String, IndexMap<String, Value>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SizeDocument {
    title: String,
    #[serde(default)]
    aliases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileDocument {
    title: String,
    #[serde(default)]
    cloud_only: bool,
    meters: Vec<String>,
    sizes: IndexMap<String, OfferDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferDocument {
    limits: LimitsDocument,
    #[serde(default)]
    parameters: IndexMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsDocument {
    records_per_second: u64,
    bytes_per_second: Bytes,
    connections: u32,
    retention_bytes: Bytes,
    retention: String,
    memory_bytes: Bytes,
    payload_bytes: Bytes,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Number(u64),
    Text(String),
}

impl Bytes {
    fn count(&self) -> Result<u64, String> {
        match self {
            Self::Number(count) => Ok(*count),
            Self::Text(text) => byte_size::parse(text),
        }
    }
}

pub(super) fn read(yaml: &str) -> Result<Profiles, String> {
    let document: Document = serde_yaml_ng::from_str(yaml).map_err(|error| error.to_string())?;
    if document.revision == 0 || document.sizes.is_empty() {
        return Err("revision and sizes must not be empty".to_owned());
    }
    let sizes: Vec<Size> =
        document.sizes.into_iter().map(|(key, size)| Size { key, title: size.title, aliases: size.aliases }).collect();
    unambiguous(&sizes)?;
    for (template, mapped) in &document.cloudformation {
        if !mapped.keys().eq(sizes.iter().map(|size| &size.key)) {
            return Err(format!("cloudformation/{template}: its sizes are not those of this file, in their order"));
        }
    }
    let mut profiles = Vec::new();
    for (direction, offered) in [(Direction::In, document.data_in), (Direction::Out, document.data_out)] {
        for (key, profile) in offered {
            let at = format!("data_{direction}/{key}");
            let sizes = offers(&sizes, profile.sizes).map_err(|detail| format!("{at}: {detail}"))?;
            let (title, meters, cloud_only) = (profile.title, profile.meters, profile.cloud_only);
            profiles.push(ChannelProfile { direction, key, title, cloud_only, meters, sizes });
        }
    }
    Ok(Profiles { revision: document.revision, sizes, profiles })
}

fn unambiguous(sizes: &[Size]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    let names = sizes.iter().flat_map(|size| size.aliases.iter().chain([&size.key]));
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("two performance profiles answer to {name:?}"));
        }
    }
    Ok(())
}

/// Puts the offers into the order of the sizes and turns the words into numbers.
fn offers(sizes: &[Size], mut offered: IndexMap<String, OfferDocument>) -> Result<Vec<Offer>, String> {
    let mut offers = Vec::with_capacity(offered.len());
    for size in sizes {
        let Some(offer) = offered.shift_remove(&size.key) else { continue };
        let limits = limits(&offer.limits).map_err(|detail| format!("{}: {detail}", size.key))?;
        offers.push(Offer { size: size.key.clone(), limits, parameters: offer.parameters });
    }
    if let Some(unknown) = offered.keys().next() {
        return Err(format!("{unknown:?} is not one of the sizes"));
    }
    if offers.is_empty() {
        return Err("it is offered in no size".to_owned());
    }
    Ok(offers)
}

fn limits(document: &LimitsDocument) -> Result<Limits, String> {
    let bytes = |name: &str, bytes: &Bytes| bytes.count().map_err(|detail| format!("{name}: {detail}"));
    let retention_seconds = match document.retention.as_str() {
        "0s" => 0,
        text => duration::parse(text).map_err(|detail| format!("retention: {detail}"))?.num_seconds().unsigned_abs(),
    };
    let limits = Limits {
        records_per_second: document.records_per_second,
        bytes_per_second: bytes("bytes_per_second", &document.bytes_per_second)?,
        connections: document.connections,
        retention_bytes: bytes("retention_bytes", &document.retention_bytes)?,
        retention_seconds,
        memory_bytes: bytes("memory_bytes", &document.memory_bytes)?,
        payload_bytes: bytes("payload_bytes", &document.payload_bytes)?,
    };
    // Zero would mean a channel that never moves anything; every limit is enforced.
    for (name, value) in [
        ("records_per_second", limits.records_per_second),
        ("bytes_per_second", limits.bytes_per_second),
        ("connections", u64::from(limits.connections)),
        ("retention_bytes", limits.retention_bytes),
        ("memory_bytes", limits.memory_bytes),
        ("payload_bytes", limits.payload_bytes),
    ] {
        if value == 0 {
            return Err(format!("{name} must not be 0"));
        }
    }
    Ok(limits)
}
