//! What a bucket says about itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use headgate_aws::Failure;
use serde::{Deserialize, Serialize};

use super::super::store::Listed;

/// Where each flow is, and what is under way. Its offsets are internal: the client may not read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The opening of the channel that writes.
    pub holder: String,
    /// Counts the writes, so that no two have the same bytes.
    pub revision: u64,
    /// The last sequence given to a file.
    pub sequence: u64,
    /// The last offset in a visible file, by element and lane.
    pub cursors: BTreeMap<String, u64>,
    /// The file under way.
    pub intent: Option<Intent>,
}

/// A file that is to become visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Element and lane.
    pub flow: String,
    /// The range starts behind this offset.
    pub after: u64,
    /// The last offset of the range.
    pub to: u64,
    /// The upload that its bytes go to.
    pub upload: String,
    /// The file as it will be listed.
    pub file: Listed,
}

/// What is visible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was written.
    pub generated_at: String,
    /// The files, oldest first.
    pub files: Vec<Listed>,
}

impl State {
    /// Reads what [`State::bytes`] made.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|error| damaged("state", &error))
    }

    /// As it is kept.
    pub fn bytes(&self) -> Result<Bytes, Failure> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| damaged("state", &error))
    }

    /// The last offset of a flow.
    pub fn cursor(&self, flow: &str) -> u64 {
        self.cursors.get(flow).copied().unwrap_or(0)
    }

    /// Moves a flow's cursor forward; `false` when it is there already.
    pub fn advance(&mut self, flow: &str, to: u64) -> bool {
        let moves = self.cursor(flow) < to;
        if moves {
            self.cursors.insert(flow.to_owned(), to);
        }
        moves
    }
}

impl Manifest {
    /// Reads what [`Manifest::bytes`] made.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|error| damaged("manifest", &error))
    }

    /// As readers of the bucket find it.
    pub fn bytes(&self) -> Result<Bytes, Failure> {
        serde_json::to_vec_pretty(self).map(Bytes::from).map_err(|error| damaged("manifest", &error))
    }
}

fn damaged(what: &str, error: &serde_json::Error) -> Failure {
    Failure::said("Damaged", format!("the {what} of the channel is not what the platform wrote: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzzed_states_are_read_as_they_were_written_or_refused() {
        let state = State { holder: "a".into(), cursors: BTreeMap::from([("e live".into(), 7)]), ..State::default() };
        let text = String::from_utf8(state.bytes().unwrap().to_vec()).unwrap();
        crate::fuzz::text("fanout-engine/src/technology/file/bucket/state.rs read", &[&text], |text| {
            let read = State::read(text.as_bytes());
            if let Ok(read) = &read {
                assert_eq!(State::read(&read.bytes().unwrap()).as_ref(), Ok(read));
            }
            (read.is_ok(), Manifest::read(text.as_bytes()).is_ok())
        });
        assert_eq!(State::read(&state.bytes().unwrap()), Ok(state));
    }

    #[test]
    fn a_cursor_never_moves_back() {
        let mut state = State::default();
        assert!(state.advance("e live", 5) && !state.advance("e live", 5) && !state.advance("e live", 3));
        assert_eq!((state.cursor("e live"), state.cursor("e backfill")), (5, 0));
    }
}
