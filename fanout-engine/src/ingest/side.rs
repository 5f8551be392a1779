//! What leaves beside the records of a commit: the fate of its payloads and the refused records.
//! It is part of the commit (DATA-PLANE rule 3); tables that tenants see derive from it.

use chrono::{DateTime, Utc};
use headgate_types::{ChannelId, DeadLetterId, FeedId, ReceiptId, TenantId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One item of a side stream, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Side {
    /// What one commit did with one payload; a large payload takes several.
    Payload(PayloadPart),
    /// A refused record.
    DeadLetter(Refusal),
}

/// Whose payload it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub tenant: TenantId,
    pub channel: ChannelId,
    pub feed: FeedId,
    pub feed_name: String,
    pub receipt: ReceiptId,
    pub model_version: u32,
}

/// What one commit did with one payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayloadPart {
    #[serde(flatten)]
    pub origin: Origin,
    /// Its place in the landing zone.
    pub sequence: u64,
    pub landed_at: DateTime<Utc>,
    /// It decides the records behind this ordinal.
    pub after: u64,
    /// The last ordinal it decides; the end of the payload counts as one more.
    pub through: u64,
    /// Records that entered the log.
    pub records: u64,
    /// Records that changed nothing: the row was there already, or the key to delete was not.
    pub unchanged: u64,
    /// Records that became dead letters.
    pub refused: u64,
    /// Unpacked bytes of all of them.
    pub bytes: u64,
    /// First and last offset of the records.
    pub offsets: Option<(u64, u64)>,
    /// Whether the payload is done.
    pub done: bool,
    /// For the bill.
    pub profile: String,
    pub size: String,
    pub timing: String,
}

/// A refused record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    #[serde(flatten)]
    pub origin: Origin,
    /// Its place in the payload, from 1; 0 for the payload as a whole.
    pub ordinal: u64,
    pub code: String,
    pub reason: String,
    pub field_path: Option<String>,
    pub raw: String,
}

impl Refusal {
    /// The id of the dead letter: the same however often it is derived. It orders by the payload's
    /// time, because the receipt's id does.
    pub fn id(&self) -> DeadLetterId {
        let receipt = self.origin.receipt.uuid();
        let digest = Sha256::digest([receipt.as_bytes().as_slice(), &self.ordinal.to_be_bytes()].concat());
        let mut bytes = *receipt.as_bytes();
        // A UUIDv7 starts with 48 bits of milliseconds; version and variant stay as they are.
        bytes[9..].copy_from_slice(&digest[..7]);
        DeadLetterId::from_uuid(Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log keeps beside a commit's records is written again as it was read.
    #[test]
    fn fuzzed_items_and_places_are_written_as_they_were_read() {
        let origin = r#""tenant":"ten_00000000000000000000000000000000","channel":"ch_00000000000000000000000000000000",
            "feed":"fd_00000000000000000000000000000000","feed_name":"f","receipt":"rcp_00000000000000000000000000000000",
            "model_version":1"#;
        let letter = format!(
            r#"{{"kind":"dead_letter",{origin},"ordinal":3,"code":"c","reason":"r","field_path":null,"raw":"{{}}"}}"#
        );
        let read = |text: &str| serde_json::from_str::<Side>(text).map_err(|error| error.classify());
        crate::fuzz::text("fanout-engine/src/ingest/side.rs Side", &[&letter], |text| {
            let side = read(text)?;
            assert_eq!(read(&serde_json::to_string(&side).unwrap()), Ok(side));
            Ok::<_, serde_json::error::Category>(())
        });
        let place = r#"{"sequence":7,"ordinal":3,"done":false}"#;
        crate::fuzz::text("fanout-engine/src/ingest/drain.rs read", &[place], |text| {
            let place = super::super::drain::Place::read(text)?;
            assert_eq!(super::super::drain::Place::read(&serde_json::to_string(&place).unwrap()), Some(place));
            Some(place.read_after() <= place.sequence)
        });
    }

    #[test]
    fn a_dead_letter_has_one_id_however_often_it_is_derived() {
        let origin = Origin {
            tenant: TenantId::new(),
            channel: ChannelId::new(),
            feed: FeedId::new(),
            feed_name: "f".into(),
            receipt: ReceiptId::new(),
            model_version: 1,
        };
        let refusal = |ordinal| Refusal {
            origin: origin.clone(),
            ordinal,
            code: "c".into(),
            reason: "r".into(),
            field_path: None,
            raw: String::new(),
        };
        assert_eq!(refusal(1).id(), refusal(1).id());
        assert_ne!(refusal(1).id(), refusal(2).id());
        assert_eq!(refusal(1).id().uuid().get_version_num(), 7);
        let side = Side::DeadLetter(refusal(3));
        assert_eq!(serde_json::from_slice::<Side>(&serde_json::to_vec(&side).unwrap()).unwrap(), side);
    }
}
