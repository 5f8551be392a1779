//! Emptying a bucket: CloudFormation removes empty ones only.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use headgate_aws::Failure;

use super::failure::told_of;
use crate::driver::DriverError;

/// Pages of 1,000 versions removed in one call of the driver; the next call goes on.
const PAGES: usize = 200;

/// How empty a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emptied {
    /// Versions and markers removed now.
    pub removed: u64,
    /// Whether nothing is left.
    pub empty: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Bucket(pub Client);

impl Bucket {
    /// Removes versions and delete markers, page by page. A bucket that is gone is empty.
    pub(super) async fn empty(&self, name: &str) -> Result<Emptied, DriverError> {
        let failed = |failure: Failure| told_of(&failure, "the bucket could not be emptied");
        let mut removed = 0;
        for _ in 0..PAGES {
            // Always the first page: what was on it is gone by the next time.
            let listed = match self.0.list_object_versions().bucket(name).send().await.map_err(Failure::from) {
                Ok(listed) => listed,
                Err(failure) if failure.is_missing() => return Ok(Emptied { removed, empty: true }),
                Err(failure) => return Err(failed(failure)),
            };
            let versions = listed.versions.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
            let markers = listed.delete_markers.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
            let objects: Vec<_> = versions
                .chain(markers)
                .filter_map(|(key, version)| ObjectIdentifier::builder().key(key?).set_version_id(version).build().ok())
                .collect();
            if objects.is_empty() {
                return Ok(Emptied { removed, empty: true });
            }
            let count = u64::try_from(objects.len()).unwrap_or_default();
            let wrong = |error: aws_sdk_s3::error::BuildError| DriverError::retry(error.to_string());
            let these = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(wrong)?;
            let answer = self.0.delete_objects().bucket(name).delete(these).send().await;
            let refused = match answer.map_err(Failure::from) {
                Ok(answer) => answer.errors.unwrap_or_default(),
                Err(failure) if failure.is_missing() => return Ok(Emptied { removed, empty: true }),
                Err(failure) => return Err(failed(failure)),
            };
            if let Some(first) = refused.first() {
                let code = first.code.as_deref().unwrap_or("without a reason");
                return Err(DriverError::retry(format!("{} objects could not be removed: {code}", refused.len())));
            }
            removed += count;
        }
        Ok(Emptied { removed, empty: false })
    }
}
