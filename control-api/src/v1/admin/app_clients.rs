//! Clients that log in by an app client of a pool. The pool is asked outside of any transaction; what it made
//! and could not be written down is removed at once, or by the sweep.

use chrono::TimeDelta;
use headgate_access::clients::{self, Client, Login, NewClient};
use headgate_access::identities::{self, AppClient};
use headgate_access::{ClientPool, PoolError, PoolMember, Scopes};
use headgate_types::{ClientId, Failpoint, IdentityId, TenantId, reach};
use secrecy::SecretString;

use crate::http::problem::ApiError;
use crate::state::ApiState;

/// An app client that was made a moment ago, with its secret.
pub(super) struct Made {
    pub(super) app: AppClient,
    pub(super) secret: SecretString,
}

impl Made {
    async fn by(pool: &dyn ClientPool, tenant: TenantId, client: ClientId, scopes: Scopes) -> Result<Self, PoolError> {
        let member = PoolMember { id: IdentityId::new(), client, scopes };
        let login = pool.create(&member).await?;
        reach(Failpoint::AppClientMade);
        let issuer = pool.issuer().to_owned();
        let app = AppClient { id: member.id, tenant, client, issuer, client_id: login.client_id };
        Ok(Self { app, secret: login.secret })
    }
}

/// Makes an app client for a client to be created. Whatever would refuse the client refuses it before.
pub(super) async fn make(
    state: &ApiState,
    pool: &dyn ClientPool,
    tenant: TenantId,
    new: &NewClient,
) -> Result<Made, ApiError> {
    let mut tx = state.control.read_platform().await?;
    clients::check(&mut tx, new).await?;
    drop(tx);
    Ok(Made::by(pool, tenant, ClientId::new(), new.scopes.clone()).await?)
}

/// Makes another app client for a client that has one: Headgate does not see or keep secrets of a pool, so a
/// new secret is a new app client.
pub(super) async fn make_another(
    state: &ApiState,
    tenant: TenantId,
    client: &Client,
    login: &Login,
) -> Result<Made, ApiError> {
    let pool = pool_of(state, &login.issuer)?;
    Ok(Made::by(pool, tenant, client.id, client.scopes.clone()).await?)
}

/// Writes down that a client logs in by another app client from now on.
pub(super) async fn replace(
    state: &ApiState,
    tx: &mut headgate_database::Tx,
    app: &AppClient,
    grace: TimeDelta,
) -> Result<Client, ApiError> {
    let now = state.clock.now();
    identities::attach(tx, app, now + grace, now).await?;
    let client = clients::get(tx, Some(app.tenant), app.client).await?;
    // It may have been revoked while the pool was asked.
    if client.revoked_at.is_some() {
        return Err(ApiError::not_found("client"));
    }
    Ok(client)
}

fn pool_of<'a>(state: &'a ApiState, issuer: &str) -> Result<&'a dyn ClientPool, PoolError> {
    let pool = state.pool.as_deref().filter(|pool| pool.issuer() == issuer);
    pool.ok_or_else(|| PoolError::Refused(format!("no pool is configured for {issuer}")))
}

/// Removes app clients that nobody can log in by any more. A failure is logged: the sweep goes on.
pub(super) async fn expel(state: &ApiState, apps: &[AppClient]) {
    for app in apps {
        let removed = match pool_of(state, &app.issuer) {
            Ok(pool) => pool.remove(&app.client_id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(client = %app.client, %error, "an app client is left to the sweep");
        }
    }
}
