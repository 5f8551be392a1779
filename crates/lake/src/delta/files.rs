//! A local file system that syncs. object_store's own never does (DATA-PLANE rule 12), so a power
//! cut could take a committed data file, or bring a log entry without its content.

use std::fs::File;
use std::io::Write;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

const STORE: &str = "synced file system";

/// Content is synced before it gets its name, and the name before the call returns.
#[derive(Debug, Default)]
pub(crate) struct SyncedFiles {
    inner: LocalFileSystem,
    staged: AtomicU64,
}

impl std::fmt::Display for SyncedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SyncedFiles")
    }
}

#[async_trait]
impl ObjectStore for SyncedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(object_store::Error::NotImplemented {
                    operation: "conditional update".to_owned(),
                    implementer: STORE.to_owned(),
                });
            }
        };
        let path = self.inner.path_to_filesystem(location)?;
        // `#<digits>` is the suffix LocalFileSystem itself uses for staged files and hides in listings.
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let staged = PathBuf::from(format!("{}#{}{number}", path.display(), std::process::id()));
        blocking(move || {
            let written = write(&staged, &path, &payload, create);
            if written.is_err() {
                let _ = std::fs::remove_file(&staged);
            }
            written
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SyncedUpload { inner, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync_named(&path)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || sync_named(&path)).await
    }
}

#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || sync_named(&path)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

fn write(staged: &FsPath, path: &FsPath, payload: &PutPayload, create: bool) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_directory(parent).map_err(generic)?;
    }
    let mut file = File::options().write(true).create_new(true).open(staged).map_err(generic)?;
    for chunk in payload.iter() {
        file.write_all(chunk).map_err(generic)?;
    }
    file.sync_all().map_err(generic)?;
    drop(file);
    if create {
        std::fs::hard_link(staged, path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => {
                object_store::Error::AlreadyExists { path: path.display().to_string(), source: Box::new(source) }
            }
            _ => generic(source),
        })?;
        std::fs::remove_file(staged).map_err(generic)?;
    } else {
        std::fs::rename(staged, path).map_err(generic)?;
    }
    sync_directory_of(path).map_err(generic)
}

fn sync_named(path: &FsPath) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).and_then(|()| sync_directory_of(path)).map_err(generic)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_directory_of(path: &FsPath) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a directory and the names that lead to it durable.
pub(crate) fn make_directory(path: &FsPath) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(path),
    }
}

fn generic(source: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: Box::new(source) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    // The kernel's engine also calls from threads without a runtime.
    match tokio::runtime::Handle::try_current() {
        Ok(handle) => handle
            .spawn_blocking(work)
            .await
            .map_err(|source| object_store::Error::Generic { store: STORE, source: Box::new(source) })?,
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn create_never_replaces_and_leaves_no_staged_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = SyncedFiles::default();
        let path = Path::from_absolute_path(directory.path().join("a/b/0.json")).unwrap();
        store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), PutMode::Create.into()).await.unwrap_err();
        assert!(matches!(again, object_store::Error::AlreadyExists { .. }));
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
        assert_eq!(std::fs::read_dir(directory.path().join("a/b")).unwrap().count(), 1);
    }
}
