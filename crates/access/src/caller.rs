//! Who is calling: what a verified token becomes, and what handlers ask for.

use headgate_types::{ClientId, TenantId};

use crate::error::AccessError;
use crate::scopes::{Scope, Scopes};

/// Somebody recognised. The tenant comes from our tables, never from the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The client; for somebody of another issuer a stand-in that stays the same from token to token. Limits,
    /// usage and idempotency keys go by it.
    pub client: ClientId,
    /// Whom it acts for; none for a platform administrator.
    pub tenant: Option<TenantId>,
    /// What the token grants and our tables still allow.
    pub scopes: Scopes,
    /// The `sub` of the token.
    pub subject: String,
    /// The issuer that knows the subject; none for a client of ours.
    pub issuer: Option<String>,
}

impl Principal {
    /// Refuses when `scope` is missing.
    ///
    /// # Errors
    /// [`AccessError::InsufficientScope`].
    pub fn require(&self, scope: Scope) -> Result<(), AccessError> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(AccessError::InsufficientScope(scope)) }
    }

    /// The caller of a tenant's operation.
    ///
    /// # Errors
    /// [`AccessError::TenantRequired`] for a client that belongs to no tenant.
    pub fn tenant_caller(self, request_id: impl Into<String>) -> Result<TenantCaller, AccessError> {
        let tenant = self.tenant.ok_or(AccessError::TenantRequired)?;
        Ok(TenantCaller { tenant, principal: self, request_id: request_id.into() })
    }

    /// The caller of a platform operation.
    ///
    /// # Errors
    /// [`AccessError::AdminRequired`] for a tenant's client or one without the scope.
    pub fn admin_caller(self, request_id: impl Into<String>) -> Result<AdminCaller, AccessError> {
        if self.tenant.is_some() || !self.scopes.contains(Scope::Admin) {
            return Err(AccessError::AdminRequired);
        }
        Ok(AdminCaller { principal: self, request_id: request_id.into() })
    }

    /// How the audit log names the principal.
    #[must_use]
    pub fn actor(&self) -> String {
        match &self.issuer {
            None => self.client.to_string(),
            Some(issuer) => format!("{} of {issuer}", self.subject),
        }
    }
}

/// Somebody who acts for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantCaller {
    /// The tenant that is acted for.
    pub tenant: TenantId,
    /// Who acts; its own tenant is none when an administrator acts on the tenant.
    pub principal: Principal,
    /// The request, for the audit log and for orders.
    pub request_id: String,
}

impl TenantCaller {
    /// What the caller may do.
    #[must_use]
    pub const fn scopes(&self) -> &Scopes {
        &self.principal.scopes
    }

    /// Refuses when `scope` is missing.
    ///
    /// # Errors
    /// [`AccessError::InsufficientScope`].
    pub fn require(&self, scope: Scope) -> Result<(), AccessError> {
        self.principal.require(scope)
    }

    /// How the audit log names the caller.
    #[must_use]
    pub fn actor(&self) -> String {
        self.principal.actor()
    }
}

/// A platform administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminCaller {
    /// Who.
    pub principal: Principal,
    /// The request, for the audit log.
    pub request_id: String,
}

impl AdminCaller {
    /// How the audit log names the caller.
    #[must_use]
    pub fn actor(&self) -> String {
        self.principal.actor()
    }
}
