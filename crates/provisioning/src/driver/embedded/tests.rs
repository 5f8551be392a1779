use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::driver::conformance;
use crate::failpoint::{Failpoint, Failpoints, Killed};

#[tokio::test]
async fn the_embedded_driver_keeps_every_promise_of_a_driver() {
    let directory = tempfile::tempdir().unwrap();
    let driver = EmbeddedDriver::open(&directory.path().join("channels")).unwrap();
    conformance::check(&driver, Direction::Out, "api").await.unwrap();
}

#[tokio::test]
async fn a_channel_has_a_directory_that_nobody_else_may_enter() {
    let directory = tempfile::tempdir().unwrap();
    let driver = EmbeddedDriver::open(&directory.path().join("channels")).unwrap();
    let spec = conformance::sample();
    let Ensured::Ready(binding) = driver.ensure(&spec).await.unwrap() else {
        panic!("the embedded driver never waits")
    };
    let path = driver.directory(spec.channel);
    assert_eq!(binding.url, format!("file://{}/", path.display()));
    for path in [path.as_path(), path.parent().unwrap()] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let marker: Marker = serde_json::from_slice(&std::fs::read(path.join(MARKER)).unwrap()).unwrap();
    assert_eq!((marker.channel, marker.limits), (spec.channel, spec.limits));
}

#[tokio::test]
async fn files_of_others_in_the_root_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let driver = EmbeddedDriver::open(directory.path()).unwrap();
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(driver.list().await.unwrap(), []);
}

#[derive(Debug)]
struct KillAt(Effect);

impl Failpoints for KillAt {
    fn reach(&self, at: Failpoint) -> Result<(), Killed> {
        if at == Failpoint::Effect(self.0) { Err(Killed(at)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_driver_killed_at_any_side_effect_finishes_when_repeated() {
    for effect in Effect::ALL {
        let directory = tempfile::tempdir().unwrap();
        let dying = EmbeddedDriver::with_failpoints(directory.path(), Arc::new(KillAt(*effect))).unwrap();
        let healthy = EmbeddedDriver::open(directory.path()).unwrap();
        let spec = conformance::sample();
        let made = dying.ensure(&spec).await;
        if made.is_err() {
            assert_eq!(healthy.list().await.unwrap(), [spec.channel], "{effect:?}: the sweep must see it");
        }
        let Ensured::Ready(_) = healthy.ensure(&spec).await.unwrap() else { panic!("{effect:?}") };
        std::fs::write(healthy.directory(spec.channel).join("store.db"), "rows").unwrap();
        let removed = dying.release(spec.tenant, spec.channel).await;
        assert!(made.is_err() || removed.is_err(), "{effect:?} was never reached");
        healthy.release(spec.tenant, spec.channel).await.unwrap();
        assert_eq!(healthy.observe(spec.tenant, spec.channel).await.unwrap(), Observed::Absent, "{effect:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{effect:?}");
    }
}
