//! The file system calls of the embedded driver, each synced before the next relies on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use headgate_types::channel::Binding;
use headgate_types::{ChannelId, TenantId};
use url::Url;

use super::{Effect, MARKER, Marker};
use crate::driver::{DriverError, Observed};
use crate::failpoint::{Failpoint, SharedFailpoints};

const MARKER_NEW: &str = "channel.json.new";
const LEAVING: &str = "leaving_";

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    failpoints: SharedFailpoints,
}

impl Root {
    pub(super) fn open(path: &Path, failpoints: SharedFailpoints) -> Result<Self, DriverError> {
        make_private(path).map_err(|error| failed("make", path, &error))?;
        let path = path.canonicalize().map_err(|error| failed("open", path, &error))?;
        Ok(Self { path, failpoints })
    }

    pub(super) fn directory(&self, channel: ChannelId) -> PathBuf {
        self.path.join(channel.to_string())
    }

    pub(super) fn ensure(&self, marker: &Marker) -> Result<Binding, DriverError> {
        let directory = self.directory(marker.channel);
        let binding = binding(&directory)?;
        match read_marker(&directory)? {
            Some(found) if found == *marker => {
                // Whoever named it may have been killed before that was durable.
                sync(&directory)?;
                sync(&self.path)?;
                return Ok(binding);
            }
            Some(found) => of_tenant(&found, marker.tenant)?,
            None => {}
        }
        make_private(&directory).map_err(|error| failed("make", &directory, &error))?;
        sync(&self.path)?;
        self.reach(Effect::DirectoryMade)?;

        let text = serde_json::to_vec_pretty(marker).map_err(|error| DriverError::retry(error.to_string()))?;
        let new = directory.join(MARKER_NEW);
        write_synced(&new, &text).map_err(|error| failed("write", &new, &error))?;
        self.reach(Effect::MarkerWritten)?;

        fs::rename(&new, directory.join(MARKER)).map_err(|error| failed("rename", &new, &error))?;
        sync(&directory)?;
        self.reach(Effect::MarkerNamed)?;
        Ok(binding)
    }

    pub(super) fn release(&self, tenant: TenantId, channel: ChannelId) -> Result<(), DriverError> {
        let (directory, leaving) = (self.directory(channel), self.leaving(channel));
        if let Some(found) = read_marker(&directory)? {
            of_tenant(&found, tenant)?;
        }
        // What an interrupted removal left goes first, or the rename would find its place taken.
        remove(&leaving)?;
        match fs::rename(&directory, &leaving) {
            Ok(()) => {
                sync(&self.path)?;
                self.reach(Effect::Renamed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("rename", &directory, &error)),
        }
        remove(&leaving)?;
        sync(&self.path)?;
        self.reach(Effect::Removed)
    }

    pub(super) fn observe(&self, tenant: TenantId, channel: ChannelId) -> Result<Observed, DriverError> {
        let directory = self.directory(channel);
        match read_marker(&directory)? {
            Some(found) if found.tenant == tenant => return Ok(Observed::Present(binding(&directory)?)),
            Some(_) => return Ok(Observed::Absent),
            None => {}
        }
        let partial = exists(&directory)? || exists(&self.leaving(channel))?;
        Ok(if partial { Observed::Partial } else { Observed::Absent })
    }

    pub(super) fn list(&self) -> Result<Vec<ChannelId>, DriverError> {
        let list_failed = |error| failed("list", &self.path, &error);
        let mut channels = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(list_failed)? {
            let name = entry.map_err(list_failed)?.file_name();
            let name = name.to_string_lossy();
            // Anything that is not named after a channel is not ours to touch.
            if let Ok(channel) = name.strip_prefix(LEAVING).unwrap_or(&name).parse::<ChannelId>() {
                channels.push(channel);
            }
        }
        channels.sort_unstable();
        channels.dedup();
        Ok(channels)
    }

    fn leaving(&self, channel: ChannelId) -> PathBuf {
        self.path.join(format!("{LEAVING}{channel}"))
    }

    fn reach(&self, effect: Effect) -> Result<(), DriverError> {
        Ok(self.failpoints.reach(Failpoint::Effect(effect))?)
    }
}

fn binding(directory: &Path) -> Result<Binding, DriverError> {
    let url = Url::from_directory_path(directory).map_err(|()| DriverError::Permanent {
        code: "invalid_data_directory",
        message: "the data directory has no absolute path".to_owned(),
    })?;
    Ok(Binding::plain(url))
}

/// A channel id is unique across tenants, so this never happens unless something went badly wrong;
/// then nothing may be overwritten or removed.
fn of_tenant(found: &Marker, tenant: TenantId) -> Result<(), DriverError> {
    if found.tenant == tenant {
        return Ok(());
    }
    Err(DriverError::Permanent {
        code: "foreign_resource",
        message: "the directory of the channel belongs to somebody else".to_owned(),
    })
}

fn read_marker(directory: &Path) -> Result<Option<Marker>, DriverError> {
    let path = directory.join(MARKER);
    match fs::read(&path) {
        // A marker that cannot be read back was not written by this code; ensure writes it anew.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, &error)),
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // It may have been there before, with another mode.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    synced(&file)
}

fn sync(directory: &Path) -> Result<(), DriverError> {
    File::open(directory).and_then(|file| synced(&file)).map_err(|error| failed("sync", directory, &error))
}

/// Another try would succeed without the bytes or the name.
fn synced(file: &File) -> io::Result<()> {
    file.sync_all().inspect_err(|error| headgate_database::report_failed_sync("a channel's directory", error))
}

fn remove(directory: &Path) -> Result<(), DriverError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", directory, &error)),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Result<bool, DriverError> {
    path.try_exists().map_err(|error| failed("look at", path, &error))
}

/// The tenant sees this text on the step, so it names the directory's last part only.
fn failed(verb: &str, path: &Path, error: &io::Error) -> DriverError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    DriverError::retry(format!("failed to {verb} {name}: {error}"))
}
