//! A power cut can leave the newest log entry of a table torn, or naming a file that never reached
//! the disk. Such an entry is set aside: what it held is still in the element log, which is only
//! truncated below synced commits, and is rolled again.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::durable::{make_directory, sync_directory_of};
use crate::error::Result;

const QUARANTINE: &str = "_quarantine";

/// Sets unreadable newest entries aside; returns where they went.
pub(super) fn quarantine(table: &Path) -> Result<Vec<PathBuf>> {
    let log = table.join("_delta_log");
    let mut moved = Vec::new();
    if !log.is_dir() {
        return Ok(moved);
    }
    let mut versions: Vec<u64> = std::fs::read_dir(&log)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
        .collect();
    versions.sort_unstable();
    while let Some(version) = versions.pop() {
        let path = log.join(format!("{version:020}.json"));
        if is_whole(table, &path)? {
            break;
        }
        let directory = table.join(QUARANTINE);
        make_directory(&directory)?;
        let target = directory.join(format!("{version:020}.{}.json", uuid::Uuid::now_v7().simple()));
        std::fs::rename(&path, &target)?;
        sync_directory_of(&path)?;
        sync_directory_of(&target)?;
        tracing::error!(entry = %path.display(), "the newest entry of a table was unreadable and has been set aside");
        moved.push(target);
    }
    Ok(moved)
}

fn is_whole(table: &Path, entry: &Path) -> Result<bool> {
    let Ok(text) = String::from_utf8(std::fs::read(entry)?) else { return Ok(false) };
    let mut actions = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(Value::Object(action)) = serde_json::from_str(line) else { return Ok(false) };
        if let Some(add) = action.get("add") {
            let (path, size) = (add["path"].as_str().unwrap_or_default(), add["size"].as_u64());
            let found = std::fs::metadata(table.join(path)).ok().map(|file| file.len());
            if found.is_none() || found != size {
                return Ok(false);
            }
        }
        actions += 1;
    }
    Ok(actions > 0)
}
