//! Which way a channel may go.

use headgate_types::channel::ChannelState::{self, *};

/// Every way from one state to another; there are no others.
pub const ALLOWED: &[(ChannelState, &[ChannelState])] = &[
    (Provisioning, &[Active, Deleting, Failed]),
    (Active, &[Updating, Paused, Suspended, Deleting]),
    // An update ends where it began, whether it succeeded or not.
    (Updating, &[Active, Paused, Suspended, Deleting]),
    (Paused, &[Active, Updating, Suspended, Deleting]),
    (Suspended, &[Active, Paused, Deleting]),
    // FAILED: its creation failed, and what there was of it has been removed.
    (Deleting, &[Deleted, Failed]),
    (Deleted, &[]),
    (Failed, &[]),
];

/// Whether a channel may go from `from` to `to`.
#[must_use]
pub fn is_allowed(from: ChannelState, to: ChannelState) -> bool {
    ALLOWED.iter().any(|(state, targets)| *state == from && targets.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per state, one column per target, in the order of `ChannelState::ALL`.
    const SNAPSHOT: &str = "\
PROVISIONING . ACTIVE . . . DELETING . FAILED
ACTIVE . . UPDATING PAUSED SUSPENDED DELETING . .
UPDATING . ACTIVE . PAUSED SUSPENDED DELETING . .
PAUSED . ACTIVE UPDATING . SUSPENDED DELETING . .
SUSPENDED . ACTIVE . PAUSED . DELETING . .
DELETING . . . . . . DELETED FAILED
DELETED . . . . . . . .
FAILED . . . . . . . .
";

    #[test]
    fn the_table_of_channel_states_is_the_reviewed_one() {
        let mut table = String::new();
        for from in ChannelState::ALL {
            table.push_str(from.as_str());
            for to in ChannelState::ALL {
                table.push(' ');
                table.push_str(if is_allowed(*from, *to) { to.as_str() } else { "." });
            }
            table.push('\n');
        }
        assert_eq!(table, SNAPSHOT);
    }

    #[test]
    fn final_states_are_those_without_a_way_out() {
        for (state, targets) in ALLOWED {
            assert_eq!(state.is_final(), targets.is_empty(), "{state}");
        }
    }
}
