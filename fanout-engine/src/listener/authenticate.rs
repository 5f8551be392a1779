//! Who is calling a channel.

use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use headgate_access::audit::{Entry, Outcome};
use headgate_access::{Access, AccessError, PLATFORM, Principal, Scope};
use headgate_types::{ChannelId, Coded, ErrorKind, Problem, TenantId};

use super::{Refusal, request_id};

/// How channel keys begin; anything else presented is a token.
const KEY_PREFIX: &str = "hgk_";

/// What a request presents: a bearer token or key, `X-Api-Key`, the password of HTTP Basic, or the
/// query parameter `key` for clients that cannot set headers (an `EventSource` in a browser).
fn presented(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let (scheme, credential) = authorization.to_str().ok()?.split_once(' ')?;
        return match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(credential.trim().to_owned()),
            "basic" => {
                let decoded = String::from_utf8(BASE64_STANDARD.decode(credential.trim()).ok()?).ok()?;
                Some(decoded.split_once(':')?.1.to_owned())
            }
            _ => None,
        };
    }
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok().map(str::to_owned);
    }
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "key").map(|(_, key)| key.into_owned())
}

/// Recognises the caller of a channel by its key, or by a token of the channel's tenant with
/// `scope`. Returns the caller's tenant; whether the channel is that tenant's is the next question,
/// and its answer to a stranger is 404.
pub async fn caller(
    access: &Access,
    headers: &HeaderMap,
    uri: &Uri,
    channel: ChannelId,
    scope: Scope,
) -> Result<TenantId, Refusal> {
    let Some(credential) = presented(headers, uri) else {
        let detail = "present the channel's key or an access token, for example as `Authorization: Bearer …`";
        return Err(Refusal(Problem::new(ErrorKind::Unauthenticated, "unauthenticated", detail)));
    };
    if credential.starts_with(KEY_PREFIX) {
        return Ok(access.verify_channel_key(channel, &credential).await?.tenant);
    }
    let principal = access.verify(&credential).await?;
    let allowed = principal.require(scope).and_then(|_| principal.tenant.ok_or(AccessError::TenantRequired));
    if let Err(error) = &allowed {
        record_denial(access, &principal, channel, error, request_id::of(headers)).await;
    }
    allowed.map_err(Refusal::from)
}

/// Whoever is recognised and refused stands in the audit log. A failure to record is logged and does
/// not turn the refusal into anything else.
async fn record_denial(
    access: &Access,
    principal: &Principal,
    channel: ChannelId,
    error: &AccessError,
    request_id: Option<String>,
) {
    let entry = Entry {
        tenant: principal.tenant.unwrap_or(PLATFORM),
        actor: principal.actor(),
        action: "data.denied",
        resource: channel.to_string(),
        outcome: Outcome::Denied,
        request_id,
        detail: serde_json::json!({"code": error.code()}),
    };
    if let Err(error) = access.audit(entry).await {
        tracing::error!(%error, "failed to record a denial");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_wherever_a_client_can_put_it() {
        let found = |name: &'static str, value: &str, uri: &'static str| {
            let mut headers = HeaderMap::new();
            if !name.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
            presented(&headers, &Uri::from_static(uri))
        };
        assert_eq!(found("authorization", "Bearer hgk_1", "/"), Some("hgk_1".into()));
        let basic = format!("Basic {}", BASE64_STANDARD.encode("any:hgk_1"));
        assert_eq!(found("authorization", &basic, "/"), Some("hgk_1".into()));
        assert_eq!(found("x-api-key", "hgk_1", "/"), Some("hgk_1".into()));
        assert_eq!(found("", "", "/?after=1&key=hgk_1"), Some("hgk_1".into()));
        assert_eq!(found("authorization", "Digest x", "/?key=hgk_1"), None);
        assert_eq!(found("", "", "/"), None);
    }
}
