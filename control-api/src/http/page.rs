//! Page tokens: where a list goes on, sealed so that nobody can read or make one, and bound to the
//! tenant, the list and its filter, so that one grants nothing anywhere else.

use headgate_access::Seal;
use headgate_types::FieldError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::problem::ApiError;

const MAX_TOKEN_BYTES: usize = 2_048;

/// Seals and opens page tokens.
#[derive(Debug, Clone)]
pub struct PageTokens(Seal);

/// What a token is valid for. Anything that changes which rows a list has belongs in here.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The tenant whose rows they are, or `platform`.
    pub tenant: &'a str,
    /// The list.
    pub list: &'static str,
    /// Its filter and other narrowing parameters.
    pub filter: &'a str,
}

impl Binding<'_> {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.tenant, self.list, self.filter] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl PageTokens {
    /// Tokens under a key of their own, derived from the platform's master key by the caller.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Seal::new(key))
    }

    /// A token that goes on after `cursor`.
    pub fn seal<C: Serialize>(&self, binding: Binding<'_>, cursor: &C) -> String {
        self.0.seal(&binding.digest(), &serde_json::to_vec(cursor).unwrap_or_default())
    }

    /// The cursor in a token.
    ///
    /// # Errors
    /// When the token was not made here, or was made for another tenant, list or filter.
    pub fn open<C: DeserializeOwned>(&self, binding: Binding<'_>, token: &str) -> Result<C, ApiError> {
        let plain = if token.len() > MAX_TOKEN_BYTES { None } else { self.0.open(&binding.digest(), token) };
        plain.and_then(|plain| serde_json::from_slice(&plain).ok()).ok_or_else(|| {
            let detail = "the page token was not made for this list and filter; start again without one";
            ApiError::parameter(FieldError::new("page_token", "invalid_page_token", detail))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding<'_> = Binding { tenant: "ten_1", list: "orders", filter: "state = RUNNING" };

    #[test]
    fn a_page_token_opens_for_its_own_tenant_list_and_filter_only() {
        let tokens = PageTokens::new(&[7; 32]);
        let token = tokens.seal(BINDING, &("cursor", 5));
        assert_eq!(tokens.open::<(String, u32)>(BINDING, &token).unwrap(), ("cursor".to_owned(), 5));
        for other in [
            Binding { tenant: "ten_2", ..BINDING },
            Binding { list: "channels", ..BINDING },
            Binding { filter: "", ..BINDING },
        ] {
            assert_eq!(tokens.open::<(String, u32)>(other, &token).unwrap_err().problem.code, "invalid_parameter");
        }
        assert!(PageTokens::new(&[8; 32]).open::<(String, u32)>(BINDING, &token).is_err());
    }

    #[test]
    fn fuzzed_page_tokens_open_only_as_they_were_made() {
        let tokens = PageTokens::new(&[7; 32]);
        let token = tokens.seal(BINDING, &("cursor", 5));
        crate::fuzz::text("control-api/src/http/page.rs open", &[&token, "AAAAAAAAAAAAAAAAAAAA"], |text| {
            let opened = tokens.open::<(String, u32)>(BINDING, text).ok();
            assert!(opened.is_none() || text == token, "a token that nobody made opens: {text}");
            opened
        });
    }

    #[test]
    fn a_made_up_page_token_is_refused() {
        let tokens = PageTokens::new(&[7; 32]);
        for token in ["", "x", "AAAAAAAAAAAAAAAAAAAA", &"A".repeat(5_000)] {
            assert!(tokens.open::<(String, u32)>(BINDING, token).is_err());
        }
        assert!(!tokens.seal(BINDING, &"secret-cursor").contains("secret"));
    }
}
