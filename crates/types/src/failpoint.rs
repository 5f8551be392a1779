//! Places right behind what a process does to the world outside of it: there a test ends the process, as a crash would.
//!
//! The list is the whole mechanism: whoever adds a place adds it here, and the crash loop plays it, and fails when it is
//! never reached (`tests/e2e/crash/failpoints.rs`). What the engine does to a source in a cloud (removing messages and
//! objects) has no place here: it comes after [`Failpoint::PayloadLanded`], the crash loop has no cloud, and the tests of
//! `fanout-engine/src/ingest/source` lose each of these calls and end the process there. A release has none of it: [`reach`] is empty there, and nothing can
//! arm it. In other builds it is armed by the environment of the process alone ([`VARIABLE`]).

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the place at which the process ends: `name` or `name:hits`, at the n-th time.
pub const VARIABLE: &str = "HEADGATE_FAILPOINT";

macro_rules! failpoints {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// A place at which a process can be ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Failpoint {
            $($(#[$doc])* $name),*
        }

        impl Failpoint {
            /// Every place there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }
        }
    };
}

failpoints! {
    /// A large payload's file and name are durable; it has no row.
    PayloadFileSynced
    /// A payload is durable; its source has not heard.
    PayloadLanded
    /// A payload's row is gone; its file is there.
    PayloadFreed
    /// An attempt at a feed's next commit is counted.
    AttemptCounted
    /// A commit is durable in the log; nobody knows.
    CommitLogged
    /// The projection has taken a commit up.
    ProjectionMoved
    /// Receipts, dead letters and usage are derived; what they were derived from is there.
    SideDerived
    /// An event about refused records is in the outbox.
    MismatchAnnounced
    /// A data file is durable; no table names it.
    TableFileStored
    /// A table names a data file; the log still holds its records.
    TableCommitted
    /// A table has a new checkpoint; what it makes needless is there.
    TableCheckpointed
    /// A log holds no more what its table holds.
    LogTruncated
    /// Small files are merged; they are there.
    TableCompacted
    /// Live rows are written anew; the files before are there.
    CurrentWritten
    /// A data file that no table names is gone; others are there.
    TableFileRemoved
    /// A file's bytes are durable under no name of the channel's.
    FileStaged
    /// The intent to publish a file is durable.
    FileIntended
    /// A file is visible; no row says so.
    FileVisible
    /// A file and the cursor are in the list; the manifest does not name it.
    FileListed
    /// An upload to a bucket is begun; nothing says so.
    UploadBegun
    /// The intent to publish an object is durable in its bucket.
    ObjectIntended
    /// An object's bytes are in its bucket; it is not visible.
    ObjectUploaded
    /// An object is visible; no manifest names it.
    ObjectVisible
    /// The manifest names an object; the bucket's cursor stands before it.
    ObjectListed
    /// A queue of the cloud has taken messages; no cursor knows.
    MessagesTaken
    /// A stream of the cloud has taken records; no cursor knows.
    RecordsTaken
    /// A block of stream positions is reserved.
    StreamReserved
    /// A stream holds records; no reader has heard.
    StreamAppended
    /// A queue holds messages and cursor; no receiver has heard.
    QueueAppended
    /// A message that nobody acknowledged is a dead letter; what waited behind it may be received.
    QueueBuried
    /// Messages are given out; their receiver has not heard.
    QueueReceived
    /// Messages are acknowledged; their receiver has not heard.
    QueueAcknowledged
    /// Dead letters are messages again; their receiver has not heard.
    QueueRedriven
    /// Dead letters are gone; their receiver has not heard.
    QueueDiscarded
    /// An api table holds records and cursor.
    ApiWritten
    /// A receiver has answered 2xx; no cursor knows.
    WebhookAnswered
    /// A target holds a range that the books do not.
    TargetWritten
    /// Cursor and usage of a delivery are in the books.
    BooksMoved
    /// Usage of a span is cut.
    UsageCut
    /// An event is on its way to its endpoints.
    EventDispatched
    /// A sender has taken events.
    EventTaken
    /// An endpoint has answered; no row says so.
    EventSent
    /// What came of sending an event is written down.
    EventSettled
    /// An order is leased, and what its step will do written down.
    OrderClaimed
    /// The driver has done one of its things.
    DriverActed
    /// A step has acted on the world.
    OrderActed
    /// A step's outcome is in the open transaction.
    OrderSettled
    /// A step's outcome is durable.
    OrderSaved
    /// An app client is in its pool; no row says so.
    AppClientMade
}

impl Failpoint {
    /// Those that only a channel held by a cloud comes to.
    pub const OF_CLOUD: &'static [Self] = &[
        Self::UploadBegun,
        Self::ObjectIntended,
        Self::ObjectUploaded,
        Self::ObjectVisible,
        Self::ObjectListed,
        Self::MessagesTaken,
        Self::RecordsTaken,
    ];
}

/// Place and hits left; 0 is none.
#[cfg(debug_assertions)]
static ARMED: AtomicU64 = AtomicU64::new(0);

/// Arms a place: `name` or `name:hits`. Does nothing in a release.
///
/// # Errors
/// There is no such place.
pub fn arm(text: &str) -> Result<(), String> {
    let (name, hits) = text.split_once(':').unwrap_or((text, "1"));
    let place =
        Failpoint::ALL.iter().find(|place| place.name() == name).ok_or_else(|| format!("no failpoint {name:?}"))?;
    let hits: u32 = hits.parse().map_err(|_| format!("{hits:?} is no number of hits"))?;
    #[cfg(debug_assertions)]
    ARMED.store((*place as u64 + 1) << 32 | u64::from(hits), Ordering::SeqCst);
    #[cfg(not(debug_assertions))]
    let _ = (place, hits);
    Ok(())
}

/// The process is at `place`. Where that is armed it ends at once: nothing is dropped, flushed or told.
#[inline]
#[cfg_attr(debug_assertions, expect(clippy::print_stderr, reason = "the last word of a process that ends here"))]
pub fn reach(place: Failpoint) {
    #[cfg(debug_assertions)]
    {
        let armed = ARMED.load(Ordering::Relaxed);
        if armed >> 32 == place as u64 + 1 && ARMED.fetch_sub(1, Ordering::SeqCst) & 0xffff_ffff == 1 {
            eprintln!("ended at the failpoint {}", place.name());
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_armed_by_its_name_and_others_go_on() {
        assert!(arm("NoSuchPlace").is_err() && arm("UsageCut:x").is_err());
        arm("UsageCut:2").unwrap();
        reach(Failpoint::BooksMoved);
        // The first of two hits.
        reach(Failpoint::UsageCut);
        assert_eq!(ARMED.load(Ordering::SeqCst) & 0xffff_ffff, 1);
        ARMED.store(0, Ordering::SeqCst);
    }
}
