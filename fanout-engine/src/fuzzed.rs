//! Units and options of channels in every form but the right one.

use indexmap::IndexMap;

use crate::fuzz;
use crate::technology::REGISTRY;
use crate::units;

#[test]
fn a_unit_that_is_known_converts_to_itself() {
    let seeds = ["[degF]", "km/h", "10*3/uL", "m2.s-1", "{count}/min"];
    fuzz::text("fanout-engine/src/units/parse.rs unit", &seeds, |text| {
        units::check(text).map_err(|error| error.to_string().split_once(' ').map(|(_, what)| what.to_owned()))?;
        if let Ok(same) = units::convert(text, text) {
            assert!((same.factor - 1.0).abs() < 1e-9 && same.offset.abs() < 1e-9, "{text}: {same:?}");
        }
        Ok::<_, Option<String>>(())
    });
}

#[test]
fn options_of_every_technology_are_checked_or_named() {
    for technology in REGISTRY {
        let descriptor = technology.descriptor();
        let properties = descriptor.settings["properties"].as_object().cloned().unwrap_or_default();
        // Something of every option, as its schema has it.
        let seed: serde_json::Map<_, _> = properties
            .iter()
            .map(|(name, schema)| {
                let value = match schema["type"].as_str() {
                    _ if schema["enum"].is_array() => schema["enum"][0].clone(),
                    Some("integer") => schema["minimum"].as_i64().unwrap_or(1).into(),
                    Some("boolean") => true.into(),
                    Some("array") => serde_json::json!(["a"]),
                    _ => "https://hooks.example.com/a".into(),
                };
                (name.clone(), value)
            })
            .collect();
        let seed = serde_json::Value::Object(seed).to_string();
        let target = format!("fanout-engine/src/technology/{}/settings.rs read", descriptor.key);
        fuzz::text(&target, &[&seed, "{}"], |text| {
            let options = serde_json::from_str::<IndexMap<String, serde_json::Value>>(text).ok()?;
            let errors = technology.check_options(&options);
            Some(errors.into_iter().map(|error| (error.pointer.len().min(20), error.code)).collect::<Vec<_>>())
        });
    }
}
