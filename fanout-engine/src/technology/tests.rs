//! The conformance suite: what every technology in the registry has to hold to.

use std::collections::HashSet;

use headgate_types::channel::{Binding, Direction, Lane};
use headgate_types::schema::ElementKind;
use indexmap::IndexMap;
use serde_json::json;

use super::testing::{World, delivery, open_channel, options};
use super::*;
use crate::cloud::Cloud;
use crate::shape::testing::sensors;

/// What the target holds for certain; without a cursor of its own, what it answered.
async fn held(sink: &dyn Sink, flow: FlowKey, answered: Written) -> u64 {
    sink.cursor(flow).await.unwrap().map_or(answered.through, |committed| committed.offset)
}

/// A resource here for each profile that writes, and in the cloud for those that can have it there.
async fn targets(technology: &dyn Technology, world: Option<&World>) -> Vec<(Target, tempfile::TempDir)> {
    let here = tempfile::tempdir().unwrap();
    let binding = Binding::plain(url::Url::from_directory_path(here.path()).unwrap());
    let options = options(technology).await;
    let mut found = vec![(Target { binding, options, cloud: Cloud::default(), here: true }, here)];
    if let Some(world) = world {
        for url in world.make(&technology.descriptor().key).await {
            let target =
                Target { binding: world.binding(&url), options: IndexMap::new(), cloud: world.cloud(), here: false };
            found.push((target, tempfile::tempdir().unwrap()));
        }
    }
    found
}

struct Target {
    binding: Binding,
    options: IndexMap<String, serde_json::Value>,
    cloud: Cloud,
    here: bool,
}

#[tokio::test]
async fn every_sink_takes_ranges_again_and_empty_ones_and_remembers_across_a_restart() {
    let world = World::start().await;
    for technology in REGISTRY.iter().filter(|found| found.descriptor().directions.contains(&Direction::Out)) {
        for kind in [ElementKind::Events, ElementKind::Entity] {
            for (target, _folder) in targets(*technology, world.as_ref()).await {
                conforms(*technology, kind, target).await;
            }
        }
    }
}

async fn conforms(technology: &dyn Technology, kind: ElementKind, target: Target) {
    let name = target.binding.url.clone();
    let element = sensors(kind);
    let channel = open_channel(&element, target.binding, target.options, target.cloud);
    let opened = technology.open(channel.clone()).await.unwrap();
    let flow = FlowKey { element: element.id, lane: Lane::Live };
    let answered = opened.router.map(|router| router.list().to_vec()).unwrap_or_default();
    // Reads of what a cloud holds do not come by us.
    let listed = if target.here { technology.addresses() } else { Vec::new() };
    assert_eq!(answered, listed, "{name}: what a channel answers is what is listed");
    let sink = opened.sink;

    for range in [(0, 5), (0, 5), (5, 8)] {
        let written = sink.write(&delivery(&element, Lane::Live, range.0, range.1)).await.unwrap();
        assert!(written.through <= 8, "{name}: nothing beyond the range is held");
    }
    let empty = Delivery { parts: Vec::new(), ..delivery(&element, Lane::Live, 8, 12) };
    let written = sink.write(&empty).await.unwrap();
    let flushed = sink.flush(flow, Flush::Now).await.unwrap();
    assert!(flushed.through >= 12, "{name}: a flush publishes everything written");
    assert!(held(sink.as_ref(), flow, written).await >= 12, "{name}: an empty range moves the cursor");
    let keeps_cursor = sink.cursor(flow).await.unwrap().is_some();
    let other = FlowKey { element: element.id, lane: Lane::Backfill };
    if keeps_cursor {
        let cursor = sink.cursor(other).await.unwrap().map(|committed| committed.offset);
        assert_eq!(cursor, Some(0), "{name}: lanes keep places of their own");
    }
    sink.close().await;
    drop(sink);

    let opened = technology.open(channel).await.unwrap();
    if keeps_cursor {
        let cursor = opened.sink.cursor(flow).await.unwrap().map(|committed| committed.offset);
        assert_eq!(cursor, Some(12), "{name}: the place survives a restart");
    }
    opened.sink.write(&delivery(&element, Lane::Live, 12, 14)).await.unwrap();
    assert!(opened.sink.flush(flow, Flush::Now).await.unwrap().through >= 14, "{name}");
    opened.sink.close().await;
}

#[tokio::test]
async fn a_technology_without_a_way_out_opens_no_sink() {
    for technology in REGISTRY.iter().filter(|found| !found.descriptor().directions.contains(&Direction::Out)) {
        let binding = Binding::plain("file:///nowhere/");
        let channel = open_channel(&sensors(ElementKind::Events), binding, IndexMap::new(), Cloud::default());
        assert!(matches!(technology.open(channel).await, Err(SinkError::Reject { .. })));
    }
}

#[test]
fn every_technology_describes_itself_and_refuses_options_it_does_not_have() {
    let mut names = HashSet::new();
    for technology in REGISTRY {
        let descriptor = technology.descriptor();
        for name in descriptor.aliases.iter().chain([&descriptor.key]) {
            assert!(names.insert(name.clone()), "{name} is taken");
            assert_eq!(by_key(name).map(|found| found.descriptor().key), Some(descriptor.key.clone()));
        }
        assert!(!descriptor.title.is_empty() && !descriptor.directions.is_empty());
        assert_eq!(descriptor.settings["type"], "object", "{}", descriptor.key);
        assert_eq!(descriptor.settings["additionalProperties"], false, "{}", descriptor.key);
        let wrong = IndexMap::from([("no_such_option".to_owned(), json!(1))]);
        let errors = technology.check_options(&wrong);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert!(pointers.contains(&"/no_such_option"), "{}: {pointers:?}", descriptor.key);
    }
}
