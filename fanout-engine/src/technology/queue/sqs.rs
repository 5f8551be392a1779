//! A queue of SQS as a queue channel.
//!
//! A message's body is the document that the embedded queue gives out, without what SQS itself says of a
//! message: its receipt, when it was sent, how often it was received. The platform's cursor decides what
//! was sent, so after a crash up to one range comes again under the same ids. A queue whose name ends in
//! `.fifo` keeps the order of a key (its message group) and drops such repetitions for five minutes.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use headgate_aws::{Failure, SdkConfig};
use headgate_types::channel::Lane;
use headgate_types::{Failpoint, reach};

use crate::cloud::is_throttle;
use crate::technology::cloud::About;
use crate::technology::lanes::{Envelope, Fate, Most, Row, Service, Target};
use crate::technology::{FlowKey, SinkError};

/// Bytes of a message and of a request: `MessageBytes` of the template.
const MESSAGE_BYTES: usize = 262_144;
/// Messages of a request, by SQS.
const BATCH: usize = 10;
/// Requests under way at once.
const REQUESTS: usize = 16;
/// Records taken from the flow at once.
const BATCH_RECORDS: usize = 2_000;
/// How the owner knows it.
const WHAT: &str = "the queue";

/// A queue of SQS.
#[derive(Debug)]
pub struct Sqs {
    client: Client,
    url: String,
    fifo: bool,
}

impl Sqs {
    /// Asks where the queue is, and so whether it is there and open to us.
    pub async fn connect(session: &SdkConfig, account: &str, name: &str) -> Result<Self, SinkError> {
        let client = Client::new(session);
        let request = client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        let answer = request.send().await.map_err(|error| Failure::from(error).about(WHAT))?;
        let url = answer.queue_url.unwrap_or_default();
        Ok(Self { client, url, fifo: name.ends_with(".fifo") })
    }
}

/// The messages of one delivery.
#[derive(Debug)]
pub struct Messages<'a> {
    queue: &'a Sqs,
    envelope: Envelope,
    flow: FlowKey,
}

impl Messages<'_> {
    fn entry(&self, index: usize, row: &Row<'_>) -> Result<SendMessageBatchRequestEntry, Failure> {
        let body = String::from_utf8(self.envelope.around(row.json))
            .map_err(|error| Failure::said("InvalidMessageContents", error.to_string()))?;
        let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(sendable(body));
        let entry = if self.queue.fifo {
            // A key is its own element's; records without one share a group.
            let element = self.flow.element.uuid().simple();
            let group = row.key.map_or_else(|| element.to_string(), |key| format!("{element}-{key:016x}"));
            // A replay is ordered to come again.
            let id = match self.flow.lane {
                Lane::Live => row.id.to_string(),
                lane => format!("{}-{lane}", row.id),
            };
            entry.message_group_id(group).message_deduplication_id(id)
        } else {
            entry
        };
        entry.build().map_err(|error| Failure::said("InvalidMessage", error.to_string()))
    }
}

/// SQS takes no U+FFFE and no U+FFFF; inside a JSON text they can be written otherwise.
fn sendable(body: String) -> String {
    if body.contains(['\u{fffe}', '\u{ffff}']) {
        return body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    }
    body
}

#[async_trait]
impl Service for Messages<'_> {
    fn most(&self) -> Most {
        Most { records: BATCH, bytes: MESSAGE_BYTES, record_bytes: MESSAGE_BYTES, requests: REQUESTS }
    }

    fn size(&self, row: &Row<'_>) -> usize {
        self.envelope.size(row.json)
    }

    async fn send(&self, rows: &[Row<'_>]) -> Result<Vec<Fate>, Failure> {
        let entries = rows.iter().enumerate().map(|(index, row)| self.entry(index, row)).collect::<Result<_, _>>()?;
        let request = self.queue.client.send_message_batch().queue_url(&self.queue.url).set_entries(Some(entries));
        let answer = request.send().await?;
        reach(Failpoint::MessagesTaken);
        // What the answer does not name is sent again.
        let unnamed = || Fate::Later(Failure::said("NoAnswer", "the queue did not say what became of a message"));
        let mut fates: Vec<Fate> = rows.iter().map(|_| unnamed()).collect();
        let place = |id: &str| id.parse::<usize>().ok();
        for taken in answer.successful {
            if let Some(fate) = place(&taken.id).and_then(|index| fates.get_mut(index)) {
                *fate = Fate::Taken;
            }
        }
        for failed in answer.failed {
            let Some(fate) = place(&failed.id).and_then(|index| fates.get_mut(index)) else { continue };
            let failure = Failure::said(failed.code, failed.message.unwrap_or_default());
            *fate = match failed.sender_fault && !is_throttle(&failure) {
                true => Fate::Refused(failure.about(WHAT).to_string()),
                false => Fate::Later(failure),
            };
        }
        Ok(fates)
    }
}

impl Target for Sqs {
    const WHAT: &'static str = WHAT;
    const BATCH_RECORDS: usize = BATCH_RECORDS;
    type Range<'a> = Messages<'a>;

    fn range(&self, envelope: Envelope, flow: FlowKey) -> Messages<'_> {
        Messages { queue: self, envelope, flow }
    }

    /// A standard queue has no order that could be kept. Without a key there is nothing to order by but the offset.
    fn order(&self, key: Option<u64>) -> Option<u64> {
        self.fifo.then(|| key.unwrap_or_default())
    }
}
