//! Texts that come from outside, in every form but the right one.

use chrono::{DateTime, Utc};

use crate::checksum::Checksum;
use crate::model::{InputModel, OutputModel};
use crate::schema::Schema;
use crate::selection::Scope;
use crate::timing::Timing;
use crate::{ChannelId, byte_size, duration, filter, fuzz};

#[test]
fn a_filter_is_read_or_refused_at_a_place() {
    let seeds = [
        "state = ACTIVE AND created_at > 2026-01-01T00:00:00Z",
        "NOT (a = 1 OR b != -2.5e3) AND name:weather",
        "a.b >= \"quoted \\\" text\" OR c = 'x' AND d = null OR e = true",
    ];
    fuzz::text("crates/types/src/filter.rs parse", &seeds, |text| {
        filter::parse(text).map_err(|error| {
            assert!(error.detail.len() < 1_000, "{error:?}");
            (error.code, error.detail.split_once(" at byte").map(|(what, _)| what.to_owned()))
        })
    });
}

#[test]
fn a_timing_comes_to_its_next_tick_or_says_what_is_wrong() {
    let seeds = [
        r#"{"mode":"interval","every":"15m"}"#,
        r#"{"mode":"cron","expression":"*/5 8-18 * * 1-5","time_zone":"Europe/Berlin"}"#,
        r#"{"mode":"cron","expression":"0 0 30 2 *"}"#,
        r#"{"mode":"immediate"}"#,
    ];
    let now: DateTime<Utc> = "2026-03-29T00:59:59Z".parse().unwrap();
    fuzz::text("crates/types/src/timing.rs Timing", &seeds, |text| {
        let timing = serde_json::from_str::<Timing>(text).map_err(|error| error.classify())?;
        let (errors, next) = (timing.errors(), timing.next_tick(now));
        assert!(errors.is_empty() || next.is_none(), "{timing:?}: {next:?}");
        assert!(next.is_none_or(|next| next > now), "{timing:?}: {next:?}");
        Ok::<_, serde_json::error::Category>((errors.first().map(|error| error.code.clone()), next.is_some()))
    });
    fuzz::text("crates/types/src/duration.rs parse", &["1s", "15m", "1h", "7d"], duration::parse);
    fuzz::text("crates/types/src/byte_size.rs parse", &["512B", "256KiB", "4GiB", "1TiB"], byte_size::parse);
}

#[test]
fn ids_and_checksums_are_written_as_they_were_read() {
    let (id, sum) = (ChannelId::new().to_string(), Checksum::EMPTY.to_string());
    fuzz::text("crates/types/src/id.rs parse", &[&id], |text| {
        let read = text.parse::<ChannelId>();
        assert!(read.as_ref().map_or(true, |id| id.to_string() == text), "{text}");
        read.is_ok()
    });
    fuzz::text("crates/types/src/checksum.rs from_str", &[&sum], |text| {
        let read = text.parse::<Checksum>();
        assert!(read.as_ref().map_or(true, |sum| sum.to_string().parse().is_ok_and(|again: Checksum| again == *sum)));
        read.is_ok()
    });
}

#[test]
fn documents_are_written_as_they_were_read() {
    fn documents<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(
        target: &str,
        seeds: &[&str],
    ) {
        fuzz::text(target, seeds, |text| {
            let read = serde_json::from_str::<T>(text).map_err(|error| error.classify())?;
            let written = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<T>(&written).unwrap(), read, "{written}");
            Ok::<_, serde_json::error::Category>(written)
        });
    }
    let input = r#"{"null_markers":["NA"],"fields":[{"name":"temp","from":"t","cast":true,"trim":true,"default":1.5,
        "decimal_separator":",","date_format":"%d.%m.%Y","unit":{"from":"[degF]","to":"Cel"}}],"unknown_fields":"reject"}"#;
    documents::<InputModel>("crates/types/src/model.rs InputModel", &[input, "{}"]);
    let output = r#"{"fields":[{"name":"t","from":"temp","unit":{"to":"Cel"}},{"name":"d","expression":"a + 1"}],
        "options":{"indexes":["a"]}}"#;
    documents::<OutputModel>("crates/types/src/model.rs OutputModel", &[output, "{}"]);
    let schema = r#"{"fields":[{"name":"id","type":"int64","key":true,"required":true,"unit":"m","description":"x"}]}"#;
    documents::<Schema>("crates/types/src/schema.rs Schema", &[schema]);
    let scope = r#"{"element":"el_00000000000000000000000000000000","name":"a","filter":"a > 1","columns":["a"],
        "policy":{"filter":"b = 2"},"model":{},"model_version":1}"#;
    documents::<Scope>("crates/types/src/selection.rs Scope", &[scope]);
}
