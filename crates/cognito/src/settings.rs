//! Which pool, and how it is reached.

use std::time::Duration;

use headgate_aws::{Patience, Reach, SdkConfig};

/// Somebody waits for the answer.
const PATIENCE: Patience = Patience { tries: 3, one_try: Duration::from_secs(5), one_call: Duration::from_secs(15) };

/// A user pool and the names that are used in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CognitoSettings {
    /// The pool's id, for example `eu-central-1_Ab129faBb`.
    pub pool: String,
    /// The pool's region.
    pub region: String,
    /// Where Cognito is reached, in place of its public endpoint.
    pub endpoint_url: Option<String>,
    /// The `iss` of the pool's tokens.
    pub issuer: String,
    /// Where app clients get tokens: `https://<domain>/oauth2/token`.
    pub token_url: Option<String>,
    /// The identifier of the resource server that has our scopes.
    pub resource_server: String,
    /// The name of this installation; names of app clients begin with it.
    pub installation: String,
}

/// Why settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The pool's id has no region.
    #[error("{0:?} is not the id of a user pool, such as eu-central-1_Ab129faBb")]
    Pool(String),
    /// Names of app clients could not be told apart.
    #[error(
        "the installation's name {0:?} must be lower-case letters, digits and hyphens, begin with a letter, and have at most 31 characters"
    )]
    Installation(String),
    /// The resource server's identifier cannot stand before a scope.
    #[error("{0:?} cannot be the identifier of a resource server: 1 to 256 printable characters without a space")]
    ResourceServer(String),
}

/// The region that a pool's id begins with.
///
/// # Errors
/// [`SettingsError::Pool`].
pub fn region_of(pool: &str) -> Result<&str, SettingsError> {
    let known = |text: &str, also: fn(u8) -> bool| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also(byte))
    };
    match pool.split_once('_') {
        Some((region, rest)) if pool.len() <= 55 && known(region, |b| b == b'-') && known(rest, |_| false) => {
            Ok(region)
        }
        _ => Err(SettingsError::Pool(pool.to_owned())),
    }
}

impl CognitoSettings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        region_of(&self.pool)?;
        let name = self.installation.as_bytes();
        let known = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if !name.first().is_some_and(u8::is_ascii_lowercase) || name.len() > 31 || !name.iter().all(known) {
            return Err(SettingsError::Installation(self.installation.clone()));
        }
        let server = self.resource_server.as_bytes();
        if !(1..=256).contains(&server.len()) || !server.iter().all(u8::is_ascii_graphic) {
            return Err(SettingsError::ResourceServer(self.resource_server.clone()));
        }
        Ok(())
    }

    /// Finds credentials as every AWS program does.
    pub(crate) async fn load(&self) -> SdkConfig {
        Reach { region: Some(self.region.clone()), endpoint_url: self.endpoint_url.clone() }.load(PATIENCE).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_id_begins_with_its_region() {
        assert_eq!(region_of("eu-central-1_Ab129faBb"), Ok("eu-central-1"));
        for wrong in ["", "eu-central-1", "_a", "eu-central-1_", "eu/1_a", "eu-1_a/b", "eu-1_a_b"] {
            assert!(region_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_could_be_taken_for_others_are_refused() {
        let settings = |installation: &str, resource_server: &str| CognitoSettings {
            pool: "eu-central-1_Ab129faBb".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint_url: None,
            issuer: String::new(),
            token_url: None,
            resource_server: resource_server.to_owned(),
            installation: installation.to_owned(),
        };
        assert!(settings("headgate-2", "https://api.example.com").check().is_ok());
        for wrong in ["", "2", "a.b", "A", &"a".repeat(32)] {
            assert!(settings(wrong, "headgate").check().is_err(), "{wrong}");
        }
        for wrong in ["", "a b", "ä"] {
            assert!(settings("headgate", wrong).check().is_err(), "{wrong}");
        }
    }
}
