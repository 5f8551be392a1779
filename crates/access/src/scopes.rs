//! What a client may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use headgate_types::{FieldError, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident = $word:tt,)*) => {
        /// One permission, as in the `scope` claim of a token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Scope {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Scope {
            /// Every scope, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in tokens, tables and documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for Scope {
            type Err = String;

            /// The error is the unknown word.
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(other.chars().take(64).collect()),
                }
            }
        }
    };
}

scopes! {
    /// See the catalog: elements, nodes, schemas, statistics.
    CatalogRead = "catalog.read",
    /// Place and cancel orders.
    OrdersWrite = "orders.write",
    /// See channels, orders, dead letters.
    ChannelsRead = "channels.read",
    /// Order, change, pause and delete channels.
    ChannelsWrite = "channels.write",
    /// Redeem claims for channel credentials.
    CredentialsReveal = "credentials.reveal",
    /// See usage and prices.
    UsageRead = "usage.read",
    /// See events, and manage where they are sent.
    EventsRead = "events.read",
    /// Send records into one's data-in channels.
    DataWrite = "data.write",
    /// Read from one's data-out channels.
    DataRead = "data.read",
    /// Run the platform; only for clients that belong to no tenant.
    Admin = "admin",
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes; in text they are separated by spaces (RFC 6749 section 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Everything a tenant's client can have.
    #[must_use]
    pub fn tenant() -> Self {
        Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin).collect()
    }

    /// What an administrator has: [`Scope::Admin`], and all of a tenant's for acting on one.
    #[must_use]
    pub fn admin() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// What both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with them for `one` of `many` that acts for `tenant`, or for the platform.
    pub(crate) fn errors(&self, tenant: Option<TenantId>, one: &str, many: &str) -> Vec<FieldError> {
        let wrong = |detail: String| FieldError::new("/scopes", "invalid_scope", detail);
        let none = self.is_empty().then(|| wrong(format!("{one} has at least one scope")));
        let admin = (tenant.is_some() && self.contains(Scope::Admin))
            .then(|| wrong(format!("admin is not for {many} of a tenant")));
        none.into_iter().chain(admin).collect()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = String;

    /// The error is the first unknown word.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split_ascii_whitespace().map(Scope::from_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_round_trip_and_unknown_words_are_named() {
        let scopes = Scopes::admin();
        assert_eq!(scopes.to_string().parse(), Ok(scopes));
        assert_eq!("data.read data.wipe".parse::<Scopes>(), Err("data.wipe".to_owned()));
        assert!(!Scopes::tenant().contains(Scope::Admin));
    }
}
