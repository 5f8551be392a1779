//! The order's state machine. Every change of an order's state in a table goes through
//! [`Standing::after`]; the full table of standings and events is a snapshot test.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order is. An open enum: readers must expect new words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderState {
    /// Accepted; no worker has taken it up.
    Pending,
    /// Being carried out, or being undone when `ending` is set.
    Running,
    /// Done.
    Succeeded,
    /// Not possible; undone.
    Failed,
    /// Withdrawn or superseded; undone.
    Cancelled,
}

impl OrderState {
    /// Every state, in order.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The state with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the order will not change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an order that is being undone will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ending {
    /// A step could not be done.
    Failed,
    /// Its owner withdrew it.
    Cancelled,
}

impl Ending {
    /// Every ending, in order.
    pub const ALL: [Self; 2] = [Self::Failed, Self::Cancelled];

    /// The word in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.state().as_str()
    }

    /// The ending with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.as_str() == word)
    }

    /// The state it leads to.
    #[must_use]
    pub const fn state(self) -> OrderState {
        match self {
            Self::Failed => OrderState::Failed,
            Self::Cancelled => OrderState::Cancelled,
        }
    }
}

/// Everything the state machine looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The state.
    pub state: OrderState,
    /// Set while the order is being undone.
    pub ending: Option<Ending>,
}

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderEvent {
    /// A worker took it up.
    TakenUp,
    /// A step is done and another follows.
    StepDone,
    /// The last step of the phase is done.
    PhaseDone,
    /// A step cannot be done, now or ever.
    StepFailed,
    /// Its owner withdrew it.
    Cancelled,
    /// A delete order took its place.
    Superseded,
}

impl OrderEvent {
    #[cfg(test)]
    const ALL: [Self; 6] =
        [Self::TakenUp, Self::StepDone, Self::PhaseDone, Self::StepFailed, Self::Cancelled, Self::Superseded];
}

impl Standing {
    /// Of an order that was just accepted.
    pub(crate) const NEW: Self = Self { state: OrderState::Pending, ending: None };

    const fn at(state: OrderState) -> Self {
        Self { state, ending: None }
    }

    const fn undoing(ending: Ending) -> Self {
        Self { state: OrderState::Running, ending: Some(ending) }
    }

    /// The standing after `event`; None where the event is not allowed.
    pub(crate) const fn after(self, event: OrderEvent) -> Option<Self> {
        use OrderEvent as E;
        use OrderState as S;
        let next = match (self.state, self.ending, event) {
            (S::Pending | S::Running, None, E::TakenUp) => Self::at(S::Running),
            // Undoing does not fail: what it cannot undo stays on the step, is listed and swept.
            (S::Running, Some(ending), E::TakenUp | E::StepDone | E::StepFailed) => Self::undoing(ending),
            (S::Running, None, E::StepDone) => Self::at(S::Running),
            (S::Running, None, E::PhaseDone) => Self::at(S::Succeeded),
            (S::Running, Some(ending), E::PhaseDone) => Self::at(ending.state()),
            (S::Running, None, E::StepFailed) => Self::undoing(Ending::Failed),
            // Even an order that no worker took up has something to undo: its channel.
            (S::Pending | S::Running, None, E::Cancelled) => Self::undoing(Ending::Cancelled),
            // The delete order does the undoing.
            (S::Pending | S::Running, _, E::Superseded) => Self::at(S::Cancelled),
            _ => return None,
        };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn name(standing: Standing) -> String {
        match standing.ending {
            None => standing.state.to_string(),
            Some(ending) => format!("{}, ending {}", standing.state, ending.as_str()),
        }
    }

    #[test]
    fn the_full_table_of_order_states_and_events_is_as_reviewed() {
        let endings = [None, Some(Ending::Failed), Some(Ending::Cancelled)];
        let mut table = String::new();
        for state in OrderState::ALL {
            for ending in endings {
                let standing = Standing { state, ending };
                if ending.is_some() && state != OrderState::Running {
                    continue;
                }
                for event in OrderEvent::ALL {
                    let after = standing.after(event).map_or_else(|| "refused".to_owned(), name);
                    writeln!(table, "{:<26} {:<11} {after}", name(standing), format!("{event:?}")).unwrap();
                }
            }
        }
        crate::snapshot::check("src/orders/state.txt", &table);
    }

    #[test]
    fn a_final_order_never_changes() {
        for state in OrderState::ALL.into_iter().filter(|state| state.is_final()) {
            for event in OrderEvent::ALL {
                assert_eq!(Standing::at(state).after(event), None, "{state} {event:?}");
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        assert!(OrderState::ALL.into_iter().all(|state| OrderState::from_word(state.as_str()) == Some(state)));
        assert!(Ending::ALL.into_iter().all(|ending| Ending::from_word(ending.as_str()) == Some(ending)));
    }
}
