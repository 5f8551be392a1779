use super::*;

#[test]
fn every_profile_of_this_release_is_offered_in_every_size() {
    let profiles = Profiles::embedded().unwrap();
    let offered: Vec<_> = profiles.profiles.iter().map(|p| (p.direction.as_str(), p.key.as_str())).collect();
    assert_eq!(
        offered,
        [
            ("in", "http"),
            ("in", "file"),
            ("in", "queue"),
            ("in", "stream"),
            ("out", "api"),
            ("out", "file"),
            ("out", "queue"),
            ("out", "stream"),
            ("out", "webhook"),
        ]
    );
    for profile in &profiles.profiles {
        let sizes: Vec<_> = profile.sizes.iter().map(|offer| offer.size.as_str()).collect();
        assert_eq!(sizes, ["S", "M", "L", "XL"], "{}", profile.key);
    }
}

#[test]
fn a_larger_size_never_allows_less() {
    for profile in Profiles::embedded().unwrap().profiles {
        for pair in profile.sizes.windows(2) {
            let (small, large) = (&pair[0].limits, &pair[1].limits);
            assert!(small.records_per_second < large.records_per_second, "{}", profile.key);
            assert!(small.bytes_per_second < large.bytes_per_second, "{}", profile.key);
            assert!(small.connections < large.connections, "{}", profile.key);
            assert!(small.retention_bytes < large.retention_bytes, "{}", profile.key);
            assert!(small.retention_seconds <= large.retention_seconds, "{}", profile.key);
            assert!(small.memory_bytes < large.memory_bytes, "{}", profile.key);
            assert!(small.payload_bytes <= large.payload_bytes, "{}", profile.key);
        }
    }
}

#[test]
fn sizes_are_found_by_key_and_alias_in_any_case() {
    let profiles = Profiles::embedded().unwrap();
    for (name, key) in [("S", "S"), ("small", "S"), ("Medium", "M"), ("l", "L"), ("XLarge", "XL"), ("xl", "XL")] {
        assert_eq!(profiles.size(name).unwrap().key, key);
    }
    let error = profiles.offer(Direction::Out, "api", "XXL").unwrap_err();
    assert_eq!(error.code(), "unknown_performance_profile");
    assert_eq!(error.fields()[0].pointer, "/performance_profile");
    assert_eq!(error.to_string(), "there is no performance profile \"XXL\"; there are S, M, L, XL");
}

#[test]
fn a_profile_is_offered_in_its_direction_only() {
    let profiles = Profiles::embedded().unwrap();
    assert_eq!(profiles.offer(Direction::In, "http", "S").unwrap().limits.payload_bytes, 16 << 20);
    let error = profiles.held_by_a_cloud(&[]).profile(Direction::In, "api").unwrap_err().to_string();
    assert_eq!(error, "there is no channel profile \"api\" for data-in; there are http");
}

#[test]
fn what_only_a_cloud_can_hold_is_offered_where_one_does() {
    let held = |profiles: &[&str]| {
        let held: Vec<_> = profiles.iter().map(|profile| (*profile).to_owned()).collect();
        let profiles = Profiles::embedded().unwrap().held_by_a_cloud(&held).profiles;
        let into = profiles.iter().filter(|profile| profile.direction == Direction::In);
        (into.map(|profile| profile.key.clone()).collect::<Vec<_>>(), profiles.len())
    };
    // What is handed out, Headgate can serve by itself.
    assert_eq!(held(&[]), (vec!["http".to_owned()], 6));
    assert_eq!(held(&["stream", "file"]), (["http", "file", "stream"].map(str::to_owned).to_vec(), 8));
}

#[test]
fn everything_that_can_be_ordered_has_a_standard_price() {
    use headgate_metering::{Dims, Meter, standard};
    let card = standard().unwrap();
    for profile in Profiles::embedded().unwrap().profiles {
        for meter in &profile.meters {
            let meter: Meter = meter.parse().unwrap();
            for offer in &profile.sizes {
                for timing in ["immediate", "interval", "cron"] {
                    let dims = Dims {
                        channel_profile: Some(profile.key.clone()),
                        performance_profile: Some(offer.size.clone()),
                        timing: Some(timing.to_owned()),
                        price_key: None,
                    };
                    let (_, price) = card.price(meter, &dims).unwrap();
                    let of_its_own = price.channel_profile.is_some() && price.performance_profile.is_some();
                    assert!(of_its_own || meter != Meter::ChannelHours, "{} {}", profile.key, offer.size);
                }
            }
        }
    }
}

#[test]
fn wrong_documents_name_the_place() {
    let broken = |from: &str, to: &str| {
        let text = EMBEDDED.replacen(from, to, 1);
        assert_ne!(text, EMBEDDED, "{from}");
        Profiles::parse(&text).unwrap_err().to_string()
    };
    assert!(broken("retention_bytes: 1GiB", "retention_bytes: 1GB").contains("data_in/http: S: retention_bytes"));
    assert!(broken("connections: 16", "connections: 0").contains("connections must not be 0"));
    assert!(broken("aliases: [Medium]", "aliases: [s]").contains("two performance profiles"));
    assert!(broken("      XL:\n", "      XXL:\n").contains("\"XXL\" is not one of the sizes"));
    assert!(broken("    L: { Shards: 50, ", "    XXL: { Shards: 50, ").contains("cloudformation/data-in/stream"));
    assert!(broken("revision: 1", "revison: 1").contains("revison"));
}

#[test]
fn fuzzed_profiles_are_whole_or_refused() {
    const ONE: &str = "revision: 1\nsizes:\n  S: {title: Small}\ndata_in:\n  http:\n    sizes: {}\ndata_out: {}\n";
    let embedded = include_str!("../../../../templates/profiles.yaml");
    let beginning = &embedded[..embedded.len().min(6_000)];
    crate::fuzz::text("crates/provisioning/src/profiles/document.rs read", &[ONE, beginning, embedded], |text| {
        Profiles::parse(text).map(|profiles| profiles.profiles.len()).map_err(|error| error.to_string())
    });
}
