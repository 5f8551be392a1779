//! Credentials and rotate.

use chrono::TimeDelta;
use headgate_access::{CredentialKind, Issued};
use headgate_database::Tx;
use headgate_types::channel::{ConditionStatus, ConditionType};
use headgate_types::technology::TechnologyDescriptor;

use super::{Acted, Outcome, StepFailure};
use crate::announce;
use crate::desired;
use crate::endpoint::ChannelEndpoint;
use crate::orders::{IssuedCredential, OrderRequest};
use crate::worker::Worker;
use crate::worker::turn::Turn;

impl Worker {
    pub(super) async fn act_credentials(&self, turn: &Turn) -> Result<Acted, StepFailure> {
        let technologies = self.parts.engine.technologies().await?;
        Ok(Acted::Technology(technologies.into_iter().find(|technology| technology.key == turn.channel.profile)))
    }

    /// Secrets, claims and the order's row are saved together: a crash issues nothing or all.
    pub(super) async fn settle_credentials(
        &self,
        tx: &mut Tx,
        turn: &mut Turn,
        acted: Acted,
    ) -> Result<Outcome, StepFailure> {
        let technology = described(acted)?;
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        for kind in kinds(&technology) {
            let issued = self.parts.access.issue_credential(tx, tenant, channel, kind).await?;
            turn.order.result.credentials.push(named(issued));
        }
        turn.order.result.endpoint = self.endpoint(tx, turn, &technology).await?;
        let words = ("Issued", "the credentials can be revealed once by their claims");
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
        let technology = described(acted)?;
        let OrderRequest::RotateCredentials { grace_seconds } = turn.order.request else { return Ok(Outcome::DONE) };
        let (tenant, channel) = (turn.order.tenant, turn.order.channel);
        let grace = i64::try_from(grace_seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
        for kind in kinds(&technology) {
            let issued = self.parts.access.rotate_credential(tx, tenant, channel, kind, Some(grace)).await?;
            turn.order.result.credentials.push(named(issued));
        }
        announce::credentials_rotated(tx, &self.parts.clock, turn, grace_seconds).await?;
        Ok(Outcome::DONE)
    }

    /// Where the owner reaches the channel; None where the channel reaches the owner.
    async fn endpoint(
        &self,
        tx: &mut Tx,
        turn: &Turn,
        technology: &TechnologyDescriptor,
    ) -> Result<Option<ChannelEndpoint>, StepFailure> {
        if !technology.issues_key {
            return Ok(None);
        }
        let (tenant, channel, direction) = (turn.order.tenant, turn.order.channel, turn.channel.direction);
        let endpoint = ChannelEndpoint::of(tx, &self.parts.config.data_url, tenant, channel, direction).await?;
        Ok(Some(endpoint))
    }
}

fn described(acted: Acted) -> Result<TechnologyDescriptor, StepFailure> {
    match acted {
        Acted::Technology(Some(technology)) => Ok(technology),
        _ => Err(StepFailure::permanent("unknown_technology", "the engine does not serve this channel profile")),
    }
}

fn kinds(technology: &TechnologyDescriptor) -> impl Iterator<Item = CredentialKind> + use<> {
    let key = technology.issues_key.then_some(CredentialKind::ChannelKey);
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
