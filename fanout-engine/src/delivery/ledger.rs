//! The ledger: writes the books of all channels, many flows in one transaction (DATA-PLANE rule 35).
//!
//! A durable write costs the same for one flow as for a hundred, so whatever is handed in while one
//! transaction is under way goes into the next. Nothing waits for company: alone, a flow's books are
//! written at once.

use std::sync::Arc;

use headgate_database::{Db, DbError, Tx};
use headgate_metering::UsageRecord;
use tokio::sync::{mpsc, oneshot};

use super::accounts::Refusal;
use super::quota::Spent;
use super::store::{self, FlowRow};
use super::{DeliveryError, refusals};

/// Flows in one transaction at most, so that none waits for very many others.
const GROUP: usize = 256;

/// What becomes of one flow's books, all or nothing.
#[derive(Debug)]
pub struct Entry {
    /// The books as they have to stand.
    pub before: FlowRow,
    /// The books as they will stand.
    pub after: FlowRow,
    /// What is metered with it.
    pub usage: Vec<UsageRecord>,
    /// A record the receiver refused.
    pub refusal: Option<Refusal>,
    /// What its channel has used of its quota.
    pub spent: Option<Spent>,
}

/// Where books are handed in. Cheap to clone; its task ends with the last clone.
#[derive(Debug, Clone)]
pub struct Ledger(mpsc::UnboundedSender<Waiting>);

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    answer: oneshot::Sender<Result<(), DeliveryError>>,
}

impl Ledger {
    /// A ledger over the engine's tables and the usage records.
    #[must_use]
    pub fn new(data: Db) -> Self {
        // Each flow has at most one entry in it.
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(data, receiver));
        Self(sender)
    }

    /// Writes an entry, durably.
    ///
    /// # Errors
    /// [`DeliveryError::Elsewhere`] when the books do not stand as they have to; nothing was written
    /// then. The same when the database fails, unless its answer to a commit was lost.
    pub async fn write(&self, entry: Entry) -> Result<(), DeliveryError> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Waiting { entry, answer }).is_err() {
            return Err(DeliveryError::Stopped);
        }
        answered.await.unwrap_or(Err(DeliveryError::Stopped))
    }
}

/// What lies between a ledger and those who write to it, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The next entry is written, its answer is lost, and the database is away from then on.
    AnswerLost,
    /// The database is away.
    Away,
}

#[cfg(test)]
impl Ledger {
    /// This ledger, reached as `fault` allows.
    pub fn behind(self, fault: Arc<parking_lot::Mutex<Fault>>) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Waiting>();
        tokio::spawn(async move {
            while let Some(Waiting { entry, answer }) = receiver.recv().await {
                let now = *fault.lock();
                let result = match now {
                    Fault::Away => None,
                    Fault::None | Fault::AnswerLost => Some(self.write(entry).await),
                };
                if now == Fault::AnswerLost {
                    *fault.lock() = Fault::Away;
                }
                let away = || Err(DbError::Unreachable(std::io::Error::other("away").into()).into());
                let _ = answer.send(result.filter(|_| now == Fault::None).unwrap_or_else(away));
            }
        });
        Self(sender)
    }
}

async fn run(data: Db, mut receiver: mpsc::UnboundedReceiver<Waiting>) {
    let mut group = Vec::new();
    while receiver.recv_many(&mut group, GROUP).await > 0 {
        // In one order everywhere, so that two processes cannot hold each other's rows; by tenant, whose
        // rows have to be written apart.
        group.sort_by_key(|waiting| (waiting.entry.before.tenant, waiting.entry.before.channel));
        match write(&data, &group).await {
            Ok(moved) => answer(group.drain(..).zip(moved)),
            Err(error) if group.len() == 1 || error.concerns_all() => {
                let error = Arc::new(error);
                for waiting in group.drain(..) {
                    let _ = waiting.answer.send(Err(DeliveryError::Together(Arc::clone(&error))));
                }
            }
            // What cannot be written must not keep the others from it.
            Err(_) => {
                for waiting in group.drain(..) {
                    let result = write(&data, std::slice::from_ref(&waiting)).await;
                    match result {
                        Ok(moved) => answer(std::iter::once(waiting).zip(moved)),
                        Err(error) => drop(waiting.answer.send(Err(error))),
                    }
                }
            }
        }
    }
}

/// Whoever does not wait any more reads the books anew.
fn answer(results: impl Iterator<Item = (Waiting, bool)>) {
    for (waiting, moved) in results {
        let _ = waiting.answer.send(if moved { Ok(()) } else { Err(DeliveryError::Elsewhere) });
    }
}

/// Writes a group; says for each whether its books stood as they had to.
async fn write(data: &Db, group: &[Waiting]) -> Result<Vec<bool>, DeliveryError> {
    let mut tx = data.platform().await?;
    let mut moved = Vec::with_capacity(group.len());
    for of_tenant in group.chunk_by(|one, other| one.entry.before.tenant == other.entry.before.tenant) {
        tx.act_for(of_tenant[0].entry.before.tenant).await?;
        let moves: Vec<_> = of_tenant.iter().map(|waiting| (&waiting.entry.before, &waiting.entry.after)).collect();
        let these = store::move_books(&mut tx, &moves).await?;
        for (waiting, _) in of_tenant.iter().zip(&these).filter(|(_, moved)| **moved) {
            write_besides(&mut tx, &waiting.entry).await?;
        }
        moved.extend(these);
    }
    tx.commit().await?;
    Ok(moved)
}

/// Writes what goes with the books.
async fn write_besides(tx: &mut Tx, entry: &Entry) -> Result<(), DeliveryError> {
    for fact in &entry.usage {
        headgate_metering::record(tx, fact).await?;
    }
    if let Some(refusal) = &entry.refusal {
        refusals::put(tx, &entry.before, refusal).await?;
    }
    if let Some(spent) = entry.spent {
        store::put_spent(tx, entry.before.tenant, entry.before.channel, spent).await?;
    }
    Ok(())
}

impl DeliveryError {
    /// Whether whoever tries next meets the same.
    const fn concerns_all(&self) -> bool {
        matches!(self, Self::Database(DbError::Unreachable(_) | DbError::Busy))
    }
}

#[cfg(test)]
mod tests {
    use headgate_database::testing::databases;
    use headgate_types::schema::ElementKind;

    use super::*;
    use crate::delivery::books::{self, Settled};
    use crate::delivery::store::Totals;
    use crate::delivery::tests::bench::Bench;
    use headgate_types::channel::Lane;
    use headgate_types::checksum::Checksum;
    use headgate_types::{ChannelId, TenantId};

    async fn flow(bench: &mut Bench) -> FlowRow {
        bench.channel = ChannelId::new();
        bench.pin(false).await;
        row(bench, bench.tenant, bench.channel).await
    }

    async fn row(bench: &Bench, tenant: TenantId, channel: ChannelId) -> FlowRow {
        let mut tx = bench.context.data.read_platform().await.unwrap();
        store::get(&mut tx, tenant, channel, bench.flow(Lane::Live)).await.unwrap().unwrap()
    }

    fn entry(bench: &Bench, before: &FlowRow, records: u64) -> Entry {
        let delivered = Totals { records, bytes: records * 10, checksum: Checksum::EMPTY };
        let settled = Settled { to: before.booked + records, delivered, ..Settled::default() };
        let now = headgate_types::Clock::now(&*bench.clock);
        let (after, _) = books::book(before, &settled, now, bench.context.usage_span);
        Entry { before: before.clone(), after, usage: Vec::new(), refusal: None, spent: None }
    }

    /// Hands in all at once; the group is what the task finds when it comes to it.
    async fn together(ledger: &Ledger, entries: Vec<Entry>) -> Vec<Result<(), DeliveryError>> {
        futures::future::join_all(entries.into_iter().map(|entry| ledger.write(entry))).await
    }

    #[tokio::test]
    async fn whoever_lost_its_flow_drops_out_of_the_group_alone() {
        for db in databases().await.unwrap() {
            let mut bench = Bench::new(&db, ElementKind::Events).await;
            let mut rows = Vec::new();
            for index in 0..90 {
                if index % 30 == 0 {
                    bench.tenant = TenantId::new();
                }
                rows.push(flow(&mut bench).await);
            }
            let ledger = Ledger::new(db.data.clone());
            let first: Vec<_> = rows.iter().step_by(7).map(|row| entry(&bench, row, 3)).collect();
            assert!(together(&ledger, first).await.iter().all(Result::is_ok));

            let all: Vec<_> = rows.iter().map(|row| entry(&bench, row, 5)).collect();
            let results = together(&ledger, all).await;
            for (index, (before, result)) in rows.iter().zip(&results).enumerate() {
                let lost = index % 7 == 0;
                assert_eq!(matches!(result, Err(DeliveryError::Elsewhere)), lost, "{index}: {result:?}");
                let now = row(&bench, before.tenant, before.channel).await;
                assert_eq!((now.booked, now.totals.records), if lost { (3, 3) } else { (5, 5) });
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_costs_only_its_own_flow() {
        for db in databases().await.unwrap() {
            let mut bench = Bench::new(&db, ElementKind::Events).await;
            let (good, bad) = (flow(&mut bench).await, flow(&mut bench).await);
            let mut refused = entry(&bench, &bad, 1);
            let cut = books::close(&refused.after, headgate_types::Clock::now(&*bench.clock)).1.unwrap();
            refused.usage = crate::delivery::accounts::usage(&bench.context, &bad, &Default::default(), &cut);
            refused.usage[0].id = String::new();
            let ledger = Ledger::new(db.data.clone());
            let results = together(&ledger, vec![entry(&bench, &good, 1), refused]).await;
            assert!(results[0].is_ok() && matches!(results[1], Err(DeliveryError::Metering(_))), "{results:?}");
            assert_eq!(row(&bench, good.tenant, good.channel).await.booked, 1);
            assert_eq!(row(&bench, bad.tenant, bad.channel).await, bad);
        }
    }
}
