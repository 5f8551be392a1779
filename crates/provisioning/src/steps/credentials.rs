//! Credentials and rotate.

use chrono::TimeDelta;
use headgate_access::{CredentialKind, Issued};
use headgate_database::{DbError, Tx};
use headgate_types::channel::{ConditionStatus, ConditionType};
use headgate_types::technology::TechnologyDescriptor;

use super::{Acted, Outcome, StepFailure};
use crate::announce;
use crate::desired;
use crate::driver::Admission;
use crate::endpoint::ChannelEndpoint;
use crate::orders::{IssuedCredential, OrderRequest};
use crate::resources::store;
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    /// A key that a cloud makes is not in any table until the step is saved: that one may be there
    /// is written down first.
    pub(super) async fn prepare_admission(&self, tx: &mut Tx, turn: &Turn) -> Result<(), DbError> {
        if !turn.driver().is_ok_and(|driver| driver.admits_clients()) {
            return Ok(());
        }
        store::admitting(tx, turn.order.tenant, turn.order.channel, Some(self.parts.clock.now())).await
    }

    pub(super) async fn act_credentials(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        let technologies = self.parts.engine.technologies().await?;
        let technology = technologies.into_iter().find(|technology| technology.key == turn.channel.profile);
        let technology = technology.ok_or_else(|| {
            StepFailure::permanent("unknown_technology", "the engine does not serve this channel profile")
        })?;
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        let keys = {
            let mut tx = self.parts.control.read_tenant(tenant).await?;
            self.parts.access.access_keys(&mut tx, tenant, channel).await?
        };
        // The active one stays beside the new one, for as long as it is given: two, never three.
        let stays =
            matches!(turn.order.request, OrderRequest::RotateCredentials { grace_seconds } if grace_seconds > 0);
        let keep: Vec<_> = keys.active.into_iter().filter(|_| stays).collect();
        let admission = turn.driver()?.admit(tenant, channel, &keep).await?;
        Ok(Acted::Admitted(Box::new(technology), admission))
    }

    /// Secrets, claims and the order's row are saved together: a crash issues nothing or all.
    pub(super) async fn settle_credentials(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        let (technology, admission) = admitted(acted)?;
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        for kind in kinds(&technology, &admission) {
            let issued = self.parts.access.issue_credential(tx, tenant, channel, kind).await?;
            turn.order.result.credentials.push(named(issued));
        }
        self.take_in(tx, turn, &admission, TimeDelta::zero()).await?;
        turn.order.result.endpoint = self.endpoint(tx, turn, &technology, &admission).await?;
        let words = match admission {
            Admission::Role => ("Issued", "the client takes up its role; there is no secret"),
            _ => ("Issued", "the credentials can be revealed once by their claims"),
        };
        let issued = ConditionType::CredentialsIssued;
        desired::condition(tx, &self.parts.clock, &turn.channel, issued, ConditionStatus::True, words).await?;
        Ok(Outcome::DONE)
    }

    pub(super) async fn settle_rotate(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        let (technology, admission) = admitted(acted)?;
        let OrderRequest::RotateCredentials { grace_seconds } = turn.order.request else { return Ok(Outcome::DONE) };
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        let grace = i64::try_from(grace_seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
        for kind in kinds(&technology, &admission) {
            let issued = self.parts.access.rotate_credential(tx, tenant, channel, kind, Some(grace)).await?;
            turn.order.result.credentials.push(named(issued));
        }
        self.take_in(tx, turn, &admission, grace).await?;
        announce::credentials_rotated(tx, &self.parts.clock, turn, grace_seconds).await?;
        Ok(Outcome::DONE)
    }

    /// Takes in the key that the driver made, if it made one.
    async fn take_in(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        admission: &Admission,
        grace: TimeDelta,
    ) -> Result<(), StepFailure> {
        let whose = (turn.order.tenant, turn.order.channel);
        if let Admission::Key(key) = admission {
            let issued = self.parts.access.issue_access_key(tx, whose, (&key.id, &key.secret), grace).await?;
            turn.order.result.credentials.push(named(issued));
        }
        if !matches!(admission, Admission::Listener) {
            store::admitting(tx, whose.0, whose.1, None).await?;
        }
        Ok(())
    }

    /// Where the owner reaches the channel; None where the channel reaches the owner.
    async fn endpoint(
        &self,
        tx: &mut Tx,
        turn: &Turn,
        technology: &TechnologyDescriptor,
        admission: &Admission,
    ) -> Result<Option<ChannelEndpoint>, StepFailure> {
        if !technology.issues_key && matches!(admission, Admission::Listener) {
            return Ok(None);
        }
        let Some(binding) = &turn.channel.binding else { return Ok(None) };
        let (tenant, channel, direction) = (turn.order.tenant, turn.order.channel, turn.channel.direction);
        let data_url = &self.parts.config.data_url;
        Ok(Some(ChannelEndpoint::of(tx, data_url, tenant, channel, direction, binding).await?))
    }
}

fn admitted(acted: Acted) -> Result<(TechnologyDescriptor, Admission), StepFailure> {
    match acted {
        Acted::Admitted(technology, admission) => Ok((*technology, admission)),
        _ => Err(StepFailure::retry("the driver gave no answer")),
    }
}

/// What the platform itself issues: keys only where clients come to its own listener.
fn kinds(technology: &TechnologyDescriptor, admission: &Admission) -> impl Iterator<Item = CredentialKind> + use<> {
    let listens = technology.issues_key && matches!(admission, Admission::Listener);
    let key = listens.then_some(CredentialKind::ChannelKey);
    let secret = technology.issues_signing_secret.then_some(CredentialKind::SigningSecret);
    key.into_iter().chain(secret)
}

fn named(issued: Issued) -> IssuedCredential {
    IssuedCredential {
        credential: issued.credential,
        kind: issued.kind.as_str().to_owned(),
        claim: issued.claim,
        claim_expires_at: issued.claim_expires_at,
    }
}
