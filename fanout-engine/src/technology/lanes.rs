//! Records on their way into a service that takes them in batches and may refuse some of a batch.
//!
//! Of a key one record is on its way at a time, so what is refused for now, or lost, is never
//! overtaken by a later record of its key (DATA-PLANE rule 28). Everything else goes side by side.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use headgate_aws::Failure;
use headgate_types::ElementId;
use headgate_types::channel::Lane;
use parking_lot::Mutex;

use super::{Committed, Delivery, FlowKey, Flush, Sink, SinkError, Written};
use crate::shape::RecordId;
use crate::technology::cloud::About;

/// How often in a row nothing but refusals for now may be heard before the channel pauses.
const TRIES: u32 = 5;
/// The first pause after records were refused for now; it doubles.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// A record to send.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its place in the flow.
    pub offset: u64,
    /// Records of one key are sent one after the other; none: in any order.
    pub key: Option<u64>,
    /// Its id.
    pub id: RecordId,
    /// The shaped record: a JSON object.
    pub json: &'a [u8],
}

/// What a service takes at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Records of a request.
    pub records: usize,
    /// Bytes of a request, as [`Service::size`] counts them.
    pub bytes: usize,
    /// Bytes of a record.
    pub record_bytes: usize,
    /// Requests under way.
    pub requests: usize,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is durable there.
    Taken,
    /// It can be sent again.
    Later(Failure),
    /// It will never be taken.
    Refused(String),
}

/// The service.
#[async_trait]
pub trait Service: Sync {
    /// What it takes at once.
    fn most(&self) -> Most;

    /// Bytes that a record counts there.
    fn size(&self, row: &Row<'_>) -> usize;

    /// Sends records; answers for each, in their order.
    async fn send(&self, rows: &[Row<'_>]) -> Result<Vec<Fate>, Failure>;
}

/// What of a range that is being delivered is there already. Lives in memory: the durable cursor is the
/// range's, so a crash repeats at most one range, under the same ids.
#[derive(Debug, Default)]
pub struct Taken(Mutex<HashMap<FlowKey, HashSet<u64>>>);

impl Taken {
    /// The rows of a delivery that are still to be sent, with the keys that `key` gives them.
    pub fn left<'a>(&self, delivery: &'a Delivery, key: impl Fn(Option<u64>) -> Option<u64>) -> Vec<Row<'a>> {
        let flows = self.0.lock();
        let taken = flows.get(&delivery.flow);
        let rows = delivery.rows().map(|(encoded, row)| Row {
            offset: encoded.offset(row),
            key: key(encoded.key_hash(row)),
            id: encoded.id(row),
            json: encoded.json(row),
        });
        rows.filter(|row| taken.is_none_or(|taken| !taken.contains(&row.offset))).collect()
    }

    fn add(&self, flow: FlowKey, offset: u64) {
        self.0.lock().entry(flow).or_default().insert(offset);
    }

    /// Everything through the delivery's end is there; from here on the durable cursor knows.
    pub fn settled(&self, delivery: &Delivery) {
        let mut flows = self.0.lock();
        if let Some(taken) = flows.get_mut(&delivery.flow) {
            taken.retain(|offset| *offset > delivery.to);
            if taken.is_empty() {
                flows.remove(&delivery.flow);
            }
        }
    }
}

/// A resource that records are sent into.
pub trait Target: fmt::Debug + Send + Sync + 'static {
    /// How the channel's owner knows it, for example "the queue".
    const WHAT: &'static str;
    /// Records taken from a flow at once.
    const BATCH_RECORDS: usize;
    /// The service for one range of a flow.
    type Range<'a>: Service + Send
    where
        Self: 'a;

    /// The service for a range of `flow`, whose records stand in `envelope`.
    fn range(&self, envelope: Envelope, flow: FlowKey) -> Self::Range<'_>;

    /// Records for which this is the same are sent one after the other; `key` is the hash of the declared key.
    fn order(&self, key: Option<u64>) -> Option<u64>;
}

/// The writing end of a channel whose target keeps no cursor: after a crash up to one range comes again.
#[derive(Debug)]
pub struct BatchSink<T> {
    target: T,
    names: HashMap<ElementId, String>,
    taken: Taken,
}

impl<T> BatchSink<T> {
    /// A sink for the elements with these names.
    pub fn new(target: T, names: HashMap<ElementId, String>) -> Self {
        Self { target, names, taken: Taken::default() }
    }
}

#[async_trait]
impl<T: Target> Sink for BatchSink<T> {
    async fn cursor(&self, _flow: FlowKey) -> Result<Option<Committed>, SinkError> {
        Ok(None)
    }

    async fn write(&self, delivery: &Delivery) -> Result<Written, SinkError> {
        let flow = delivery.flow;
        let element = self.names.get(&flow.element).ok_or_else(SinkError::not_carried)?;
        let range = self.target.range(Envelope::new(element, flow.lane), flow);
        let rows = self.taken.left(delivery, |key| self.target.order(key));
        send_all(&range, T::WHAT, flow, &rows, &self.taken).await?;
        self.taken.settled(delivery);
        Ok(Written { through: delivery.to })
    }

    async fn flush(&self, _flow: FlowKey, _why: Flush) -> Result<Written, SinkError> {
        Ok(Written::ALL)
    }

    /// These services do not tell how many bytes they hold.
    async fn stored_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) {}

    fn batch_records(&self) -> usize {
        T::BATCH_RECORDS
    }
}

/// Sends rows, in order per key. `what` names the service to the channel's owner, for example "the queue".
///
/// # Errors
/// `Retry` when the service takes no more for now; `Reject` naming the first record that it will never take.
pub async fn send_all(
    service: &impl Service,
    what: &str,
    flow: FlowKey,
    rows: &[Row<'_>],
    taken: &Taken,
) -> Result<(), SinkError> {
    let most = service.most();
    if let Some((row, size)) =
        rows.iter().map(|row| (row, service.size(row))).find(|(_, size)| *size > most.record_bytes)
    {
        let reason = format!("the record has {size} bytes as it is sent, {what} takes at most {}", most.record_bytes);
        return Err(SinkError::Reject { records: vec![row.offset], reason });
    }
    let (mut ready, next) = chains(rows);
    let mut under_way = FuturesUnordered::new();
    let (mut broken, mut refused, mut pauses) = (None, None, 0);
    loop {
        while broken.is_none() && under_way.len() < most.requests && !ready.is_empty() {
            let batch = cut(service, &most, rows, &mut ready);
            under_way.push(async move {
                let these: Vec<Row<'_>> = batch.iter().map(|index| rows[*index]).collect();
                let fates = service.send(&these).await;
                (batch, fates)
            });
        }
        let Some((batch, fates)) = under_way.next().await else { break };
        let fates = match fates {
            Ok(fates) => fates,
            Err(failure) => {
                broken.get_or_insert(failure);
                continue;
            }
        };
        let mut later = Vec::new();
        for (index, fate) in batch.into_iter().zip(fates) {
            match fate {
                Fate::Taken => {
                    pauses = 0;
                    taken.add(flow, rows[index].offset);
                    ready.extend(next[index]);
                }
                Fate::Later(failure) => later.push((index, failure)),
                // What follows it under its key waits until it is a dead letter.
                Fate::Refused(reason) => refused = refused.or(Some((rows[index].offset, reason))),
            }
        }
        let Some((_, failure)) = later.first() else { continue };
        pauses += 1;
        if pauses > TRIES {
            broken.get_or_insert(failure.clone());
            continue;
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(pauses - 1)).await;
        for (index, _) in later.into_iter().rev() {
            ready.push_front(index);
        }
    }
    match (broken, refused) {
        (Some(failure), _) => Err(failure.about(what)),
        (None, Some((offset, reason))) => Err(SinkError::Reject { records: vec![offset], reason }),
        (None, None) => Ok(()),
    }
}

/// The first row of each key, in order, and for each row the next of its key.
fn chains(rows: &[Row<'_>]) -> (VecDeque<usize>, Vec<Option<usize>>) {
    let (mut ready, mut next) = (VecDeque::with_capacity(rows.len()), vec![None; rows.len()]);
    let mut last: HashMap<u64, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        match row.key.and_then(|key| last.insert(key, index)) {
            Some(before) => next[before] = Some(index),
            None => ready.push_back(index),
        }
    }
    (ready, next)
}

/// Takes the rows of one request; a single one always fits.
fn cut(service: &impl Service, most: &Most, rows: &[Row<'_>], ready: &mut VecDeque<usize>) -> Vec<usize> {
    let (mut batch, mut bytes) = (Vec::with_capacity(most.records.min(ready.len())), 0);
    while batch.len() < most.records
        && let Some(index) = ready.front()
    {
        bytes += service.size(&rows[*index]);
        if bytes > most.bytes && !batch.is_empty() {
            break;
        }
        batch.extend(ready.pop_front());
    }
    batch
}

/// The document around a record, as the embedded technologies have it: `{"element":…,"lane":…,"data":…}`;
/// `data` keeps its canonical bytes, so that the receiver can recompute the checksum over it.
#[derive(Debug, Clone)]
pub struct Envelope(String);

impl Envelope {
    /// The envelope of a flow's records.
    pub fn new(element: &str, lane: Lane) -> Self {
        Self(format!("{{\"element\":{},\"lane\":\"{lane}\",\"data\":", serde_json::json!(element)))
    }

    /// Length of the document around a record.
    pub fn size(&self, json: &[u8]) -> usize {
        self.0.len() + json.len() + 1
    }

    /// The document around a record.
    pub fn around(&self, json: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.size(json));
        body.extend_from_slice(self.0.as_bytes());
        body.extend_from_slice(json);
        body.push(b'}');
        body
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Refuses some for now and one for good, and notes what it took and how much was under way at once.
    struct Moody {
        rng: Mutex<StdRng>,
        failing: f64,
        never: Option<u64>,
        took: Mutex<Vec<(Option<u64>, u64)>>,
        under_way: AtomicUsize,
        at_once: AtomicUsize,
    }

    impl Moody {
        fn new(failing: f64, never: Option<u64>) -> Self {
            let rng = Mutex::new(StdRng::seed_from_u64(7));
            let (under_way, at_once) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Self { rng, failing, never, took: Mutex::default(), under_way, at_once }
        }
    }

    #[async_trait]
    impl Service for Moody {
        fn most(&self) -> Most {
            Most { records: 10, bytes: 100, record_bytes: 50, requests: 4 }
        }

        fn size(&self, row: &Row<'_>) -> usize {
            row.json.len()
        }

        async fn send(&self, rows: &[Row<'_>]) -> Result<Vec<Fate>, Failure> {
            assert!(
                rows.len() <= 10 && (rows.len() == 1 || rows.iter().map(|row| row.json.len()).sum::<usize>() <= 100)
            );
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_once.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let fates = rows.iter().map(|row| {
                if self.never == Some(row.offset) {
                    return Fate::Refused("never".to_owned());
                }
                if self.rng.lock().gen_bool(self.failing) {
                    return Fate::Later(Failure::said("SlowDown", ""));
                }
                self.took.lock().push((row.key, row.offset));
                Fate::Taken
            });
            let fates = fates.collect();
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(fates)
        }
    }

    fn flow() -> FlowKey {
        FlowKey { element: ElementId::new(), lane: Lane::Live }
    }

    fn rows(count: u64, keys: Option<u64>) -> Vec<Row<'static>> {
        let row =
            |offset| Row { offset, key: keys.map(|keys| offset % keys), id: RecordId([0; 16]), json: b"0123456789" };
        (1..=count).map(row).collect()
    }

    fn in_order(took: &[(Option<u64>, u64)]) -> bool {
        let mut last: HashMap<u64, u64> = HashMap::new();
        took.iter().all(|(key, offset)| key.and_then(|key| last.insert(key, *offset)).is_none_or(|last| last < *offset))
    }

    #[tokio::test]
    async fn records_of_a_key_stay_in_order_whatever_is_refused_for_now() {
        let service = Moody::new(0.3, None);
        let (rows, taken) = (rows(500, Some(13)), Taken::default());
        let flow = flow();
        // It pauses now and then; what was taken is not sent again.
        let mut attempts = 0;
        let left = |taken: &Taken| {
            let had = taken.0.lock().get(&flow).cloned().unwrap_or_default();
            rows.iter().filter(|row| !had.contains(&row.offset)).copied().collect::<Vec<_>>()
        };
        while !left(&taken).is_empty() {
            attempts += 1;
            let sent = send_all(&service, "it", flow, &left(&taken), &taken).await;
            assert!(matches!(sent, Ok(()) | Err(SinkError::Retry { .. })) && attempts < 100);
        }
        let took = service.took.lock().clone();
        assert!(took.len() == 500 && in_order(&took), "{took:?}");
    }

    #[tokio::test]
    async fn what_has_no_order_goes_side_by_side_and_keys_do_too() {
        for keys in [None, Some(40)] {
            let service = Moody::new(0.0, None);
            send_all(&service, "it", flow(), &rows(200, keys), &Taken::default()).await.unwrap();
            assert_eq!(service.at_once.load(Ordering::SeqCst), 4);
        }
    }

    #[tokio::test]
    async fn a_record_that_is_never_taken_is_named_and_holds_up_its_own_key_alone() {
        let service = Moody::new(0.0, Some(15));
        let (rows, taken) = (rows(40, Some(10)), Taken::default());
        let refused = send_all(&service, "it", flow(), &rows, &taken).await;
        let Err(SinkError::Reject { records, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(records, [15]);
        let mut took: Vec<u64> = service.took.lock().iter().map(|(_, offset)| *offset).collect();
        took.sort_unstable();
        assert_eq!(took, (1..=40).filter(|offset| ![15, 25, 35].contains(offset)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_record_too_large_is_named_with_its_size_before_anything_is_sent() {
        let service = Moody::new(0.0, None);
        let mut rows = rows(3, None);
        rows[1].json = &[b'x'; 51];
        let refused = send_all(&service, "the queue", flow(), &rows, &Taken::default()).await;
        let Err(SinkError::Reject { records, reason }) = refused else { panic!("{refused:?}") };
        assert_eq!(records, [2]);
        assert!(reason.contains("51 bytes") && reason.contains("at most 50"), "{reason}");
        assert!(service.took.lock().is_empty());
    }
}
