//! A local file system that syncs. object_store's own never does (DATA-PLANE rule 12), so a power
//! cut could take a committed data file, or bring a log entry without its content.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::durable::{make_directory, sync, sync_directory_of};

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
        let staged = self.staged(&path);
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

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let staged = self.staged(&path);
        let open = (staged.clone(), path.clone());
        let file = blocking(move || stage(&open.0, &open.1)).await?;
        Ok(Box::new(SyncedUpload { file: Arc::new(file), staged, path, bytes: 0, named: false }))
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
        self.sync_content(from).await?;
        self.inner.copy_opts(from, to, options).await?;
        self.sync_name(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.sync_content(from).await?;
        self.inner.rename_opts(from, to, options).await?;
        self.sync_name(to).await?;
        self.sync_name(from).await
    }
}

impl SyncedFiles {
    /// Where what becomes `path` is written. `#<digits>` is the suffix LocalFileSystem itself uses for
    /// staged files and hides in listings.
    fn staged(&self, path: &FsPath) -> PathBuf {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        PathBuf::from(format!("{}#{}{number}", path.display(), std::process::id()))
    }

    async fn sync_content(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || File::open(path).and_then(|file| sync(&file)).map_err(generic)).await
    }

    async fn sync_name(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || sync_directory_of(&path).map_err(generic)).await
    }
}

/// A file that comes in parts. Dropped before it has its name, it goes.
#[derive(Debug)]
struct SyncedUpload {
    file: Arc<File>,
    staged: PathBuf,
    path: PathBuf,
    bytes: u64,
    named: bool,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, mut at) = (Arc::clone(&self.file), self.bytes);
        self.bytes += data.content_length() as u64;
        Box::pin(blocking(move || {
            for chunk in data.iter() {
                file.write_all_at(chunk, at).map_err(generic)?;
                at += chunk.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, staged, path) = (Arc::clone(&self.file), self.staged.clone(), self.path.clone());
        blocking(move || {
            sync(&file).map_err(generic)?;
            std::fs::rename(staged, &path).and_then(|()| sync_directory_of(&path)).map_err(generic)
        })
        .await?;
        self.named = true;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.clone();
        blocking(move || std::fs::remove_file(staged).map_err(generic)).await
    }
}

impl Drop for SyncedUpload {
    fn drop(&mut self) {
        if !self.named {
            // It may have been aborted.
            let _ = std::fs::remove_file(&self.staged);
        }
    }
}

fn stage(staged: &FsPath, path: &FsPath) -> Result<File> {
    if let Some(parent) = path.parent()
        && !parent.is_dir()
    {
        make_directory(parent).map_err(generic)?;
    }
    File::options().write(true).create_new(true).open(staged).map_err(generic)
}

fn write(staged: &FsPath, path: &FsPath, payload: &PutPayload, create: bool) -> Result<()> {
    let mut file = stage(staged, path)?;
    for chunk in payload.iter() {
        file.write_all(chunk).map_err(generic)?;
    }
    sync(&file).map_err(generic)?;
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

    #[tokio::test]
    async fn what_comes_in_parts_has_its_name_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let store = SyncedFiles::default();
        let path = Path::from_absolute_path(directory.path().join("a/parts")).unwrap();
        let mut upload = store.put_multipart(&path).await.unwrap();
        let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
        second.await.unwrap();
        first.await.unwrap();
        assert!(store.get(&path).await.is_err());
        upload.complete().await.unwrap();
        drop(upload);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one two");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("three".into()).await.unwrap();
        drop(upload);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one two");
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 1);
    }
}
