//! Creating and changing endpoints.

use chrono::TimeDelta;
use headgate_access::outbound::OutboundPolicy;
use headgate_database::Tx;
use headgate_types::{EndpointId, FieldError, TenantId};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Endpoint, EndpointPatch, EndpointState, MAX_ENDPOINTS, NewEndpoint, get, store};
use crate::Events;
use crate::error::EventsError;
use crate::outbox;

const MAX_URL: usize = 2_048;
const MAX_DESCRIPTION: usize = 500;

impl Events {
    /// Creates an endpoint; it gets events from now on. The secret (`whsec_…`) is shown once.
    ///
    /// # Errors
    /// When the URL may not be reached, or the tenant has too many.
    pub async fn create_endpoint(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        new: NewEndpoint,
    ) -> Result<(Endpoint, SecretString), EventsError> {
        let mut wrong: Vec<FieldError> = Vec::new();
        wrong.extend(check_url(self.outbound.policy(), &new.url).err());
        wrong.extend(check_description(&new.description).err());
        if store::list(tx, tenant).await?.len() >= MAX_ENDPOINTS {
            let detail = format!("a tenant has at most {MAX_ENDPOINTS} endpoints");
            wrong.push(FieldError::new("", "too_many_endpoints", detail));
        }
        if !wrong.is_empty() {
            return Err(EventsError::Invalid(wrong));
        }
        let now = self.clock.now();
        let endpoint = Endpoint {
            id: EndpointId::new(),
            url: new.url,
            description: new.description,
            types: new.types,
            state: EndpointState::Active,
            state_reason: None,
            failing_since: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let (secret, sealed) = self.new_secret(tenant, endpoint.id)?;
        let head = outbox::head(tx, tenant).await?;
        store::insert(tx, tenant, &endpoint, &sealed, head).await?;
        Ok((endpoint, secret))
    }

    /// Gives an endpoint a new secret; the one before it signs beside it for `grace` more.
    ///
    /// # Errors
    /// [`EventsError::NotFound`].
    pub async fn rotate_endpoint_secret(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: EndpointId,
        grace: TimeDelta,
    ) -> Result<(Endpoint, SecretString), EventsError> {
        let now = self.clock.now();
        let (secret, sealed) = self.new_secret(tenant, id)?;
        if store::rotate(tx, tenant, id, &sealed, now + grace, now).await? == 0 {
            return Err(EventsError::NotFound("endpoint"));
        }
        Ok((get(tx, tenant, id).await?, secret))
    }

    /// Changes an endpoint. `version` is that of the `If-Match` header.
    ///
    /// # Errors
    /// [`EventsError::NotFound`], [`EventsError::VersionMismatch`], or what is wrong with the change.
    pub async fn update_endpoint(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: EndpointId,
        patch: EndpointPatch,
        version: Option<i64>,
    ) -> Result<Endpoint, EventsError> {
        let row = store::find(tx, tenant, id).await?.ok_or(EventsError::NotFound("endpoint"))?;
        let dispatched_to = row.dispatched_to;
        let mut endpoint = Endpoint::from(row);
        if version.is_some_and(|version| version != endpoint.version) {
            return Err(EventsError::VersionMismatch);
        }
        let (from, before) = (endpoint.version, endpoint.state);
        let mut wrong: Vec<FieldError> = Vec::new();
        if let Some(url) = patch.url {
            wrong.extend(check_url(self.outbound.policy(), &url).err());
            endpoint.url = url;
        }
        if let Some(description) = patch.description {
            wrong.extend(check_description(&description).err());
            endpoint.description = description;
        }
        if !wrong.is_empty() {
            return Err(EventsError::Invalid(wrong));
        }
        endpoint.types = patch.types.unwrap_or(endpoint.types);
        endpoint.state = patch.state.unwrap_or(before);
        match (before, endpoint.state) {
            (EndpointState::Disabled, EndpointState::Active) => {
                endpoint.state_reason = None;
                endpoint.failing_since = None;
                let head = outbox::head(tx, tenant).await?;
                store::set_dispatched(tx, tenant, id, dispatched_to, head).await?;
            }
            (EndpointState::Active, EndpointState::Disabled) => {
                endpoint.state_reason = Some("disabled by its owner".to_owned());
                store::give_up(tx, tenant, id).await?;
            }
            _ => {}
        }
        endpoint.version += 1;
        endpoint.updated_at = self.clock.now();
        if !store::update(tx, tenant, &endpoint, from).await? {
            return Err(EventsError::VersionMismatch);
        }
        Ok(endpoint)
    }

    fn new_secret(&self, tenant: TenantId, id: EndpointId) -> Result<(SecretString, Vec<u8>), EventsError> {
        let secret = headgate_access::credentials::new_signing_secret();
        let sealed = self.access.envelope().seal(&place(tenant, id), secret.expose_secret().as_bytes())?;
        Ok((secret, sealed))
    }

    /// The secrets of an endpoint that are good now, newest first.
    pub(crate) fn secrets(&self, row: &store::EndpointRow) -> Result<Vec<SecretString>, EventsError> {
        let place = place(row.tenant_id.into(), row.id.into());
        let now = self.clock.now();
        let previous = row.previous_until.is_some_and(|end| now < end).then_some(row.previous_sealed.as_ref());
        let sealed = [Some(&row.sealed), previous.flatten()];
        sealed
            .into_iter()
            .flatten()
            .map(|sealed| {
                let plain = self.access.envelope().open(&place, sealed)?;
                std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| EventsError::Secret)
            })
            .collect()
    }
}

/// Removes an endpoint and everything about it. `version` is that of the `If-Match` header.
///
/// # Errors
/// [`EventsError::NotFound`], [`EventsError::VersionMismatch`].
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: EndpointId, version: Option<i64>) -> Result<(), EventsError> {
    let endpoint = get(tx, tenant, id).await?;
    if version.is_some_and(|version| version != endpoint.version) {
        return Err(EventsError::VersionMismatch);
    }
    store::delete(tx, tenant, id).await?;
    Ok(())
}

/// Removes every endpoint of a tenant that ends. Returns how many there were.
///
/// # Errors
/// When the database fails.
pub async fn delete_all(tx: &mut Tx, tenant: TenantId) -> Result<u64, EventsError> {
    Ok(store::delete_all(tx, tenant).await?)
}

fn place(tenant: TenantId, id: EndpointId) -> Vec<u8> {
    format!("{tenant}|{id}|endpoint").into_bytes()
}

fn check_url(policy: &OutboundPolicy, text: &str) -> Result<(), FieldError> {
    let wrong = |code: &str, detail: String| FieldError::new("/url", code, detail);
    if text.len() > MAX_URL {
        return Err(wrong("too_long", format!("a URL has at most {MAX_URL} bytes")));
    }
    let url = Url::parse(text).map_err(|error| wrong("invalid_url", error.to_string()))?;
    policy.check_url(&url).map_err(|error| wrong("address_refused", error.to_string()))
}

fn check_description(text: &str) -> Result<(), FieldError> {
    if text.chars().count() > MAX_DESCRIPTION {
        let detail = format!("a description has at most {MAX_DESCRIPTION} characters");
        return Err(FieldError::new("/description", "too_long", detail));
    }
    Ok(())
}
