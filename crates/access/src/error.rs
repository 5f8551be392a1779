//! What can go wrong between a caller and what it asks for.

use headgate_database::DbError;
use headgate_types::{Coded, ErrorKind, FieldError};

use crate::pool::PoolError;
use crate::scopes::Scope;

/// A refusal or a failure of this crate. No message repeats a secret or a token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The bearer token is not one of ours; says which check failed.
    #[error("the access token is not valid: {0}")]
    InvalidToken(&'static str),
    /// The bearer token was good once.
    #[error("the access token has expired; get a new one at /oauth2/token")]
    TokenExpired,
    /// Unknown client or wrong secret; which of the two is not said.
    #[error("the client is unknown or its secret is wrong")]
    InvalidClient,
    /// A scope that does not exist, or that the client does not have.
    #[error("the scope {0:?} is unknown or not granted to this client")]
    InvalidScope(String),
    /// The token lacks the scope the operation needs.
    #[error("this needs the scope {0}")]
    InsufficientScope(Scope),
    /// A tenant's client called an operation of the platform.
    #[error("this needs a platform administrator")]
    AdminRequired,
    /// An administrator called an operation of a tenant without naming one.
    #[error("this client belongs to no tenant; act on one under /v1/admin/tenants/{{tenant}}")]
    TenantRequired,
    /// The platform has suspended the tenant.
    #[error("the tenant is suspended")]
    TenantSuspended,
    /// Too many failed logins of this client or from this address.
    #[error("too many failed logins; wait {retry_after} seconds")]
    TooManyLogins {
        /// Seconds.
        retry_after: u64,
    },
    /// Unknown, wrong, revoked or expired channel key, or the key of another channel.
    #[error("the channel key is not valid for this channel")]
    InvalidChannelKey,
    /// There is no such thing, or not for this caller.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A claim was redeemed before, or its credential was rotated or revoked.
    #[error("the claim has been used; rotate the credentials to get new ones")]
    ClaimUsed,
    /// A claim was not redeemed in time.
    #[error("the claim has expired; rotate the credentials to get new ones")]
    ClaimExpired,
    /// Something of that name is there.
    #[error("there is such an {0} already")]
    AlreadyExists(&'static str),
    /// No keys of the token's issuer could be had.
    #[error("the token's issuer does not answer; nobody of it can be recognised now")]
    IssuerUnavailable {
        /// Seconds.
        retry_after: u64,
    },
    /// Another issuer cannot be used as configured.
    #[error("failed to set up an issuer: {0}")]
    Issuer(String),
    /// The pool of app clients failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A tenant that has been offboarded cannot come back.
    #[error("the tenant has been offboarded")]
    TenantOffboarded,
    /// Something in the request is wrong.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// A sealed secret cannot be opened: other master key, other place, or damage.
    #[error("failed to open a sealed secret: {0}")]
    Sealed(&'static str),
    /// A key of ours could not be used.
    #[error("failed to use a signing key: {0}")]
    Key(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl AccessError {
    /// The `error` of an OAuth token response (RFC 6749 section 5.2).
    #[must_use]
    pub const fn oauth_error(&self) -> &'static str {
        match self {
            Self::InvalidClient | Self::TooManyLogins { .. } => "invalid_client",
            Self::InvalidScope(_) => "invalid_scope",
            Self::TenantSuspended | Self::TenantOffboarded => "unauthorized_client",
            Self::Database(_) | Self::Sealed(_) | Self::Key(_) => "server_error",
            _ => "invalid_request",
        }
    }
}

impl Coded for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidToken(_) | Self::TokenExpired | Self::InvalidClient | Self::InvalidChannelKey => {
                ErrorKind::Unauthenticated
            }
            Self::InvalidScope(_) => ErrorKind::Invalid,
            Self::InsufficientScope(_) | Self::AdminRequired | Self::TenantRequired | Self::TenantSuspended => {
                ErrorKind::Forbidden
            }
            Self::TooManyLogins { .. } => ErrorKind::TooManyRequests,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::ClaimUsed | Self::ClaimExpired => ErrorKind::Gone,
            Self::TenantOffboarded | Self::AlreadyExists(_) => ErrorKind::Conflict,
            Self::IssuerUnavailable { .. } => ErrorKind::Unavailable,
            Self::Pool(error) => error.kind(),
            Self::Invalid(_) => ErrorKind::Unprocessable,
            Self::Sealed(_) | Self::Key(_) | Self::Issuer(_) => ErrorKind::Internal,
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidToken(_) => "invalid_token",
            Self::TokenExpired => "token_expired",
            Self::InvalidClient => "invalid_client",
            Self::InvalidChannelKey => "invalid_channel_key",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::AdminRequired => "admin_required",
            Self::TenantRequired => "tenant_required",
            Self::TenantSuspended => "tenant_suspended",
            Self::TenantOffboarded => "tenant_offboarded",
            Self::TooManyLogins { .. } => "too_many_logins",
            Self::NotFound(_) => "not_found",
            Self::ClaimUsed => "claim_used",
            Self::ClaimExpired => "claim_expired",
            Self::Invalid(_) => "invalid_request",
            Self::AlreadyExists(_) => "already_exists",
            Self::IssuerUnavailable { .. } => "issuer_unavailable",
            Self::Pool(error) => error.code(),
            Self::Sealed(_) | Self::Key(_) | Self::Issuer(_) => "internal",
            Self::Database(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyLogins { retry_after } | Self::IssuerUnavailable { retry_after } => Some(*retry_after),
            Self::Pool(error) => error.retry_after(),
            Self::Database(error) => error.retry_after(),
            _ => None,
        }
    }
}
