//! Which steps an order takes, in which order, and how each kind is undone.

use std::fmt;

use headgate_types::channel::Direction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kind::OrderKind;

/// Which way an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Towards what was ordered.
    Do,
    /// Back to where it began.
    Undo,
}

impl Phase {
    /// Both phases.
    pub const ALL: [Self; 2] = [Self::Do, Self::Undo];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Undo => "undo",
        }
    }

    /// The phase with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $word:tt,)*) => {
        /// The steps orders are made of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum StepName {
            $($(#[$doc])* $name,)*
        }

        impl StepName {
            /// Every step, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in tables and documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The step with that word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

steps! {
    /// Looks whether the order still makes sense: tenant, channel, profile.
    Validate = "validate",
    /// The driver makes or resizes the channel's resource.
    Provision = "provision",
    /// The engine opens the resource.
    Serve = "serve",
    /// Keys and secrets are issued.
    Credentials = "credentials",
    /// The history is delivered.
    InitialLoad = "initial_load",
    /// New records flow; the channel is ACTIVE.
    Live = "live",
    /// The elements born with the channel are published.
    Publish = "publish",
    /// The owner is told that the channel is ready.
    Ready = "ready",
    /// The channel gets its new spec.
    Apply = "apply",
    /// A change is over; the channel is ACTIVE again.
    Finish = "finish",
    /// The channel's state tells the engine to stop.
    Stop = "stop",
    /// Credentials end.
    Revoke = "revoke",
    /// What is in flight comes to its end.
    Drain = "drain",
    /// The driver removes the channel's resource.
    Release = "release",
    /// The channel becomes a tombstone.
    Tombstone = "tombstone",
    /// The channel, and what was born with it, is given up.
    Discard = "discard",
    /// The channel gets its old spec back.
    Restore = "restore",
    /// New credentials are issued beside the old ones.
    Rotate = "rotate",
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The steps of one phase of an order.
pub(crate) const fn plan(kind: OrderKind, direction: Direction, phase: Phase) -> &'static [StepName] {
    use OrderKind as K;
    use StepName as S;
    match (phase, kind) {
        (Phase::Do, K::Create) => match direction {
            Direction::Out => &[S::Validate, S::Provision, S::Serve, S::Credentials, S::InitialLoad, S::Live, S::Ready],
            // Elements are published before the key is announced: the owner may write at once.
            Direction::In => &[S::Validate, S::Provision, S::Serve, S::Credentials, S::Live, S::Publish, S::Ready],
        },
        (Phase::Do, K::Change) => &[S::Validate, S::Provision, S::Apply, S::Serve, S::Finish],
        (Phase::Do, K::Pause) => &[S::Stop, S::Drain, S::Finish],
        (Phase::Do, K::Resume) => &[S::Validate, S::Serve, S::Finish],
        // The channel is DELETING from the moment the order was accepted: it has stopped already.
        (Phase::Do, K::Delete) => &[S::Revoke, S::Drain, S::Release, S::Tombstone],
        (Phase::Do, K::RotateCredentials) => &[S::Validate, S::Rotate],
        (Phase::Undo, K::Create) => &[S::Revoke, S::Stop, S::Drain, S::Release, S::Discard],
        (Phase::Undo, K::Change) => &[S::Restore, S::Provision, S::Finish],
        (Phase::Undo, K::Pause | K::Resume) => &[S::Finish],
        (Phase::Undo, K::Delete | K::RotateCredentials) => &[],
    }
}

/// Whether an order can still be withdrawn at a step. Behind these steps its owner was told, or
/// the channel is gone.
pub(crate) const fn cancellable(kind: OrderKind, step: StepName) -> bool {
    match kind {
        OrderKind::Create => !matches!(step, StepName::Publish | StepName::Ready),
        OrderKind::Change | OrderKind::Pause | OrderKind::Resume => !matches!(step, StepName::Finish),
        OrderKind::Delete => false,
        OrderKind::RotateCredentials => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_taken_by_some_order() {
        for step in StepName::ALL {
            let taken = OrderKind::ALL.into_iter().any(|kind| {
                [Direction::In, Direction::Out]
                    .into_iter()
                    .any(|direction| Phase::ALL.into_iter().any(|phase| plan(kind, direction, phase).contains(step)))
            });
            assert!(taken, "{step}");
            assert_eq!(StepName::from_word(step.as_str()), Some(*step));
        }
    }

    #[test]
    fn nothing_of_a_created_channel_is_left_when_it_is_undone() {
        for direction in [Direction::In, Direction::Out] {
            let undo = plan(OrderKind::Create, direction, Phase::Undo);
            let delete = plan(OrderKind::Delete, direction, Phase::Do);
            let (end, tail) = (undo.len() - 1, delete.len() - 1);
            let shared: Vec<_> = undo[..end].iter().filter(|step| **step != StepName::Stop).collect();
            assert_eq!(shared, delete[..tail].iter().collect::<Vec<_>>(), "undoing is deleting");
        }
    }
}
