//! A stream of Kinesis as a stream channel.
//!
//! A record is the document that the embedded stream gives out, without its position: Kinesis has sequence
//! numbers of its own. The partition key is the hash of the declared key, so records of a key are in one
//! shard, in order; records without a key are spread by their ids. The platform's cursor decides what was
//! sent, so after a crash up to one range comes again under the same ids.

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use headgate_aws::{Failure, SdkConfig};
use headgate_types::{Failpoint, reach};

use crate::technology::cloud::About;
use crate::technology::lanes::{Envelope, Fate, Most, Row, Service, Target};
use crate::technology::{FlowKey, SinkError};

/// What Kinesis takes: records and bytes of a request, bytes of a record, partition keys included.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 5 << 20;
const RECORD_BYTES: usize = 1 << 20;
/// Requests under way at once.
const REQUESTS: usize = 8;
/// Records taken from the flow at once.
const BATCH_RECORDS: usize = 5_000;
/// Bytes of a partition key, at most: a record's id.
const KEY_BYTES: usize = 32;
/// How the owner knows it.
const WHAT: &str = "the stream";

/// A stream of Kinesis.
#[derive(Debug)]
pub struct Kinesis {
    client: Client,
    stream: String,
}

impl Kinesis {
    /// Asks for the stream, and so whether it is there and open to us.
    pub async fn connect(session: &SdkConfig, stream: String) -> Result<Self, SinkError> {
        let client = Client::new(session);
        let asked = client.describe_stream_summary().stream_name(&stream).send().await;
        let found = asked.map_err(|error| Failure::from(error).about(WHAT))?.stream_description_summary;
        match found.map(|found| found.stream_status) {
            // While it is resharded it takes records.
            Some(StreamStatus::Active | StreamStatus::Updating) => Ok(Self { client, stream }),
            status => Err(SinkError::retry(format!("the stream is not ready: {status:?}"))),
        }
    }
}

/// The records of one delivery.
#[derive(Debug)]
pub struct Records<'a> {
    stream: &'a Kinesis,
    envelope: Envelope,
}

#[async_trait]
impl Service for Records<'_> {
    fn most(&self) -> Most {
        Most { records: BATCH, bytes: BATCH_BYTES, record_bytes: RECORD_BYTES, requests: REQUESTS }
    }

    fn size(&self, row: &Row<'_>) -> usize {
        self.envelope.size(row.json) + KEY_BYTES
    }

    async fn send(&self, rows: &[Row<'_>]) -> Result<Vec<Fate>, Failure> {
        let entries = rows.iter().map(|row| {
            let key = row.key.map_or_else(|| row.id.to_string(), |key| format!("{key:016x}"));
            let data = Blob::new(self.envelope.around(row.json));
            let entry = PutRecordsRequestEntry::builder().data(data).partition_key(key).build();
            entry.map_err(|error| Failure::said("InvalidRecord", error.to_string()))
        });
        let entries = entries.collect::<Result<_, _>>()?;
        let request = self.stream.client.put_records().stream_name(&self.stream.stream).set_records(Some(entries));
        let answer = request.send().await?;
        reach(Failpoint::RecordsTaken);
        let fates = answer.records.into_iter().map(|record| match record.error_code {
            None => Fate::Taken,
            Some(code) => Fate::Later(Failure::said(code, record.error_message.unwrap_or_default())),
        });
        let fates: Vec<Fate> = fates.collect();
        if fates.len() == rows.len() {
            return Ok(fates);
        }
        Err(Failure::said("NoAnswer", "the stream did not say what became of each record"))
    }
}

impl Target for Kinesis {
    const WHAT: &'static str = WHAT;
    const BATCH_RECORDS: usize = BATCH_RECORDS;
    type Range<'a> = Records<'a>;

    fn range(&self, envelope: Envelope, _flow: FlowKey) -> Records<'_> {
        Records { stream: self, envelope }
    }

    fn order(&self, key: Option<u64>) -> Option<u64> {
        key
    }
}
