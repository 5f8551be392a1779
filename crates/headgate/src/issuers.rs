//! The file of `--issuers`: whose tokens are taken beside those of the built-in issuer.
//!
//! ```toml
//! [[issuer]]
//! kind = "oidc"
//! issuer = "https://login.example.com/realms/main"
//! jwks_url = "https://login.example.com/realms/main/protocol/openid-connect/certs"
//! audience = "headgate"
//!
//! [[issuer]]
//! kind = "cognito"
//! pool = "eu-central-1_Ab129faBb"
//! people_clients = ["1example23456789"]
//! app_clients = true
//! token_url = "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/token"
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use headgate_access::{ClientPool, ForeignIssuer, GROUPS_CLAIM, PoolSweep, Profile};
use headgate_cognito::{CognitoPool, CognitoSettings, region_of};
use ipnet::IpNet;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

/// How often left-over app clients are looked for: longer than making one takes.
const SWEEP_SECONDS: u64 = 600;
const RESOURCE_SERVER: &str = "headgate";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issuer: Vec<Entry>,
}

/// One issuer.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Entry {
    /// Any issuer of access tokens by RFC 9068.
    Oidc {
        issuer: String,
        jwks_url: Url,
        audience: String,
        groups_claim: Option<String>,
        scope_prefix: Option<String>,
        #[serde(default)]
        networks: Vec<IpNet>,
    },
    /// An Amazon Cognito user pool.
    Cognito(Box<Cognito>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cognito {
    /// Issuer, address of keys and region follow from it, unless they are given.
    pool: String,
    issuer: Option<String>,
    jwks_url: Option<Url>,
    region: Option<String>,
    endpoint_url: Option<String>,
    resource_server: Option<String>,
    #[serde(default)]
    people_clients: Vec<String>,
    /// Whether tenants' new clients log in by app clients of the pool.
    #[serde(default)]
    app_clients: bool,
    token_url: Option<String>,
    sweep_seconds: Option<u64>,
    #[serde(default)]
    networks: Vec<IpNet>,
}

/// What the file says.
#[derive(Debug, Default)]
pub struct Issuers {
    /// For recognising tokens.
    pub foreign: Vec<ForeignIssuer>,
    /// The pool that takes tenants' new clients, and how often it is swept.
    pool: Option<(CognitoSettings, Duration)>,
}

/// A pool of app clients, ready to use.
pub struct Pool {
    pub clients: Arc<dyn ClientPool>,
    pub sweep_every: Duration,
}

impl Issuers {
    /// Reads the file, if there is one. `allowed` are networks that are not public and may be reached.
    pub fn load(file: Option<&Path>, installation: &str, allowed: &[IpNet]) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        Self::of(&text, installation, allowed).with_context(|| format!("failed to read {}", file.display()))
    }

    fn of(text: &str, installation: &str, allowed: &[IpNet]) -> Result<Self> {
        let mut issuers = Self::default();
        for entry in toml::from_str::<File>(text)?.issuer {
            let foreign = match entry {
                Entry::Oidc { issuer, jwks_url, audience, groups_claim, scope_prefix, networks } => {
                    if audience.is_empty() {
                        bail!("{issuer}: an audience is needed, or tokens for anybody would be taken");
                    }
                    let groups_claim = groups_claim.unwrap_or_else(|| GROUPS_CLAIM.to_owned());
                    let scope_prefix = scope_prefix.unwrap_or_default();
                    let profile = Profile::Oidc { audience, groups_claim, scope_prefix };
                    ForeignIssuer { issuer, jwks_url, networks, profile }
                }
                Entry::Cognito(cognito) => issuers.cognito(*cognito, installation)?,
            };
            let networks = [foreign.networks.as_slice(), named(&foreign.jwks_url).as_slice(), allowed].concat();
            issuers.foreign.push(ForeignIssuer { networks, ..checked(foreign)? });
        }
        Ok(issuers)
    }

    fn cognito(&mut self, entry: Cognito, installation: &str) -> Result<ForeignIssuer> {
        let region = match entry.region {
            Some(region) => region,
            None => region_of(&entry.pool)?.to_owned(),
        };
        let usual = || format!("https://cognito-idp.{region}.amazonaws.com/{}", entry.pool);
        let issuer = entry.issuer.unwrap_or_else(usual);
        let jwks_url = match entry.jwks_url {
            Some(url) => url,
            None => format!("{}/.well-known/jwks.json", usual()).parse()?,
        };
        let resource_server = entry.resource_server.unwrap_or_else(|| RESOURCE_SERVER.to_owned());
        if entry.app_clients {
            if self.pool.is_some() {
                bail!("{issuer}: app_clients may be true for one pool only");
            }
            let sweep_every = Duration::from_secs(entry.sweep_seconds.unwrap_or(SWEEP_SECONDS).max(1));
            let settings = CognitoSettings {
                pool: entry.pool,
                region,
                endpoint_url: entry.endpoint_url,
                issuer: issuer.clone(),
                token_url: entry.token_url,
                resource_server: resource_server.clone(),
                installation: installation.to_owned(),
            };
            self.pool = Some((settings, sweep_every));
        }
        let profile = Profile::Cognito { people_clients: entry.people_clients, resource_server };
        Ok(ForeignIssuer { issuer, jwks_url, networks: entry.networks, profile })
    }

    /// Makes what asks the pool, if one is to be asked. Nothing of AWS is begun otherwise.
    pub async fn pool(&self) -> Result<Option<Pool>> {
        let Some((settings, sweep_every)) = &self.pool else { return Ok(None) };
        let pool = CognitoPool::open(settings.clone()).await.context("failed to set up the pool of app clients")?;
        Ok(Some(Pool { clients: Arc::new(pool), sweep_every: *sweep_every }))
    }
}

/// An address that the operator names literally is meant, public or not.
fn named(url: &Url) -> Vec<IpNet> {
    match url.host() {
        Some(Host::Ipv4(address)) => vec![IpNet::from(std::net::IpAddr::V4(address))],
        Some(Host::Ipv6(address)) => vec![IpNet::from(std::net::IpAddr::V6(address))],
        _ => Vec::new(),
    }
}

/// An issuer is a URL without query and fragment (OpenID Connect Core 1.0 section 2), kept as it is written.
fn checked(foreign: ForeignIssuer) -> Result<ForeignIssuer> {
    let issuer = &foreign.issuer;
    let url = Url::parse(issuer).with_context(|| format!("the issuer {issuer:?} is not a URL"))?;
    if !matches!(url.scheme(), "https" | "http") || url.query().is_some() || url.fragment().is_some() {
        bail!("the issuer {issuer:?} is not an https URL without query and fragment");
    }
    Ok(foreign)
}

/// Removes left-over app clients until `stop`.
pub async fn sweep(mut sweep: PoolSweep, every: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match sweep.look().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "left-over app clients are removed"),
            Err(error) => tracing::warn!(%error, "failed to look for left-over app clients; it is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OIDC: &str = "[[issuer]]\nkind = 'oidc'\nissuer = 'https://login.example.com/realms/main'\n\
                        jwks_url = 'https://login.example.com/keys'\naudience = 'headgate'\n";

    #[test]
    fn any_issuer_is_named_by_its_three_settings() {
        let issuers = Issuers::of(OIDC, "headgate", &[]).unwrap();
        let one = &issuers.foreign[0];
        assert_eq!(one.issuer, "https://login.example.com/realms/main");
        let Profile::Oidc { audience, groups_claim, scope_prefix } = &one.profile else { panic!() };
        assert_eq!((audience.as_str(), groups_claim.as_str(), scope_prefix.as_str()), ("headgate", "groups", ""));
        assert!(one.networks.is_empty() && issuers.pool.is_none());
        for (wrong, with) in [
            ("https://login.example.com/realms/main", "login.example.com"),
            ("https://login.example.com/realms/main", "https://login.example.com/?a=b"),
            ("audience = 'headgate'", ""),
            ("audience = 'headgate'", "audience = ''"),
            ("kind = 'oidc'", "kind = 'saml'"),
            ("audience", "audiense"),
        ] {
            assert!(Issuers::of(&OIDC.replace(wrong, with), "headgate", &[]).is_err(), "{wrong} → {with}");
        }
    }

    #[test]
    fn a_pool_names_its_issuer_keys_and_region_unless_they_are_given() {
        let pool = "[[issuer]]\nkind = 'cognito'\npool = 'eu-central-1_Ab129faBb'\napp_clients = true\n";
        let issuers = Issuers::of(pool, "headgate", &[]).unwrap();
        let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab129faBb";
        assert_eq!(issuers.foreign[0].issuer, issuer);
        assert_eq!(issuers.foreign[0].jwks_url.as_str(), format!("{issuer}/.well-known/jwks.json"));
        let (settings, every) = issuers.pool.as_ref().unwrap();
        assert_eq!((settings.region.as_str(), &settings.endpoint_url), ("eu-central-1", &None));
        assert_eq!(*every, Duration::from_secs(600));

        let apart = "jwks_url = 'http://10.1.2.3:8080/keys'\nendpoint_url = 'http://10.1.2.3:8080'\n\
                     issuer = 'https://issuer.example'\nregion = 'us-east-1'\n";
        let issuers = Issuers::of(&format!("{pool}{apart}"), "headgate", &[]).unwrap();
        let (settings, _) = issuers.pool.as_ref().unwrap();
        assert_eq!(issuers.foreign[0].issuer, "https://issuer.example");
        assert_eq!(settings.region, "us-east-1");
        assert_eq!(settings.endpoint_url.as_deref(), Some("http://10.1.2.3:8080"));
        // What the operator names literally may be reached, and nothing beside it.
        assert_eq!(issuers.foreign[0].networks, ["10.1.2.3/32".parse::<IpNet>().unwrap()]);

        let other = pool.replace("Ab129faBb", "Other");
        assert!(Issuers::of(&format!("{pool}{other}"), "headgate", &[]).is_err(), "two pools for app clients");
        assert!(Issuers::of(&pool.replace("eu-central-1_", ""), "headgate", &[]).is_err());
    }
}
