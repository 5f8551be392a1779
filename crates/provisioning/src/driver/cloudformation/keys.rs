//! The client's user and role: access keys, and nobody any more.

use aws_sdk_iam::Client;
use aws_sdk_iam::config::retry::RetryConfig;
use headgate_aws::Failure;
use secrecy::SecretString;

use crate::driver::AccessKey;

#[derive(Debug, Clone)]
pub(super) struct Keys(pub Client);

impl Keys {
    /// Ends every key of a user that is not in `keep`. A user that is gone has none.
    pub(super) async fn end(&self, user: &str, keep: &[String]) -> Result<(), Failure> {
        // IAM allows two keys per user: there is one page.
        let listed = match self.0.list_access_keys().user_name(user).send().await.map_err(Failure::from) {
            Ok(listed) => listed.access_key_metadata,
            Err(failure) if failure.is_missing() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let ids = listed.into_iter().filter_map(|key| key.access_key_id);
        for id in ids.filter(|id| !keep.contains(id)) {
            missing_is_fine(self.0.delete_access_key().user_name(user).access_key_id(id).send().await)?;
        }
        Ok(())
    }

    /// Makes a key. Asked once only: whoever asks again makes a second key, and the secret of the
    /// first is gone with the answer that was lost.
    pub(super) async fn make(&self, user: &str) -> Result<Option<AccessKey>, Failure> {
        let once = aws_sdk_iam::config::Builder::new().retry_config(RetryConfig::disabled());
        let made = self.0.create_access_key().user_name(user).customize().config_override(once).send().await?;
        let key = made.access_key;
        Ok(key.map(|key| AccessKey { id: key.access_key_id, secret: SecretString::from(key.secret_access_key) }))
    }

    /// Takes a role's rights: sessions that are open end with it, before the role does.
    pub(super) async fn strip(&self, role: &str) -> Result<(), Failure> {
        let listed = match self.0.list_attached_role_policies().role_name(role).send().await.map_err(Failure::from) {
            Ok(listed) => listed.attached_policies.unwrap_or_default(),
            Err(failure) if failure.is_missing() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        for arn in listed.into_iter().filter_map(|policy| policy.policy_arn) {
            missing_is_fine(self.0.detach_role_policy().role_name(role).policy_arn(arn).send().await)?;
        }
        Ok(())
    }
}

fn missing_is_fine<T, E>(result: Result<T, E>) -> Result<(), Failure>
where
    Failure: From<E>,
{
    match result.map_err(Failure::from) {
        Err(failure) if !failure.is_missing() => Err(failure),
        _ => Ok(()),
    }
}
