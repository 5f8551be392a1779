//! Opening a channel: its resource, its reads, and a worker whose flows stand where the books and the
//! target say.

use std::collections::HashSet;
use std::sync::Arc;

use headgate_database::Tx;
use headgate_types::ElementId;
use headgate_types::channel::Lane;

use super::super::wanted::Wanted;
use super::{ChannelTask, Open};
use crate::delivery::{Context, DeliveryError, Flow, TOGETHER, Ticks, Worker, store};
use crate::technology::{self, Committed, FlowKey, OpenChannel, Served, Sink, SinkError};

impl ChannelTask {
    pub(super) async fn open_resource(&self, wanted: &Arc<Wanted>) -> Result<Open, DeliveryError> {
        let technology = technology::by_key(&wanted.profile)
            .ok_or_else(|| SinkError::reject(format!("no technology is called {:?}", wanted.profile)))?;
        let binding = wanted.binding.clone().ok_or_else(|| SinkError::retry("the resource is not there yet"))?;
        let surroundings = &self.surroundings;
        let opened = technology
            .open(OpenChannel {
                tenant: wanted.tenant,
                channel: wanted.channel,
                name: wanted.name.clone(),
                binding,
                elements: wanted.scopes.iter().map(|scope| scope.output.clone()).collect(),
                limits: wanted.limits.clone(),
                public_url: format!("{}/v1/out/{}", surroundings.public_url, wanted.channel),
                clock: Arc::clone(&surroundings.context.clock),
                secrets: Arc::clone(&surroundings.secrets),
                outbound: surroundings.outbound.clone(),
                cloud: surroundings.cloud.clone(),
            })
            .await?;
        let worker = self.worker(wanted, &opened.sink).await;
        let worker = match worker {
            Ok(worker) => worker,
            Err(error) => {
                opened.sink.close().await;
                return Err(error);
            }
        };
        let served = opened.router.map(|router| {
            Served::new(wanted.tenant, router.into_router(), wanted.limits.connections, Arc::clone(&self.reads))
        });
        self.mount(wanted, served.as_ref());
        Ok(Open { wanted: Arc::clone(wanted), sink: opened.sink, served, worker })
    }

    /// Serves the reads of the channel, unless something newer is wanted: that may take something back,
    /// and mounts what is left when the task comes to it.
    pub(super) fn mount(&self, wanted: &Wanted, served: Option<&Served>) {
        let Some(served) = served else { return };
        let all = &self.surroundings.served;
        all.mount(wanted.channel, served.clone());
        if !wanted.standing(&self.newest).holds() {
            all.unmount(wanted.channel);
        }
    }

    /// A worker whose flows stand where the books and the target say. The first serving pins, for
    /// each element, where the history ends and the live lane begins.
    async fn worker(&self, wanted: &Wanted, sink: &Arc<dyn Sink>) -> Result<Worker, DeliveryError> {
        let context = &self.surroundings.context;
        let now = context.clock.now();
        let mut tx = context.data.platform().await?;
        tx.act_for(wanted.tenant).await?;
        let mut known = HashSet::new();
        for scope in &wanted.scopes {
            let element = scope.output.element;
            if !pin(&mut tx, context, wanted, element).await? {
                known.insert(element);
            }
        }
        let rows = store::of_channel(&mut tx, wanted.channel).await?;
        let spent = store::spent(&mut tx, wanted.tenant, wanted.channel).await?;
        tx.commit().await?;

        let last_tick =
            rows.iter().filter(|row| row.key.lane == Lane::Live).filter_map(|row| row.last_delivery_at).max();
        let ticks = Ticks::new(wanted.timing.clone(), last_tick.unwrap_or(now));
        let mut worker = Worker::new(context.clone(), wanted.terms(&self.newest), Arc::clone(sink), spent, ticks);
        if let Some(throttle) = &self.throttle {
            worker.continue_with(throttle.clone());
        }
        for row in rows {
            let Some(scope) = wanted.scopes.iter().find(|scope| scope.output.element == row.key.element) else {
                continue;
            };
            let target = sink.cursor(row.key).await?;
            if let Some(why) = self.held_against(wanted, &row, target).await? {
                self.observe(|observed| observed.restored = Some(why));
            }
            let target = target.map(|committed| committed.offset);
            let plan = Arc::clone(&scope.plan);
            let dims = wanted.dims(row.key.element);
            let live = row.key.lane == Lane::Live;
            let mut flow = Flow::new(row, target, plan, &scope.output, dims);
            if self.unsure && known.contains(&flow.key().element) {
                flow.unsure = TOGETHER;
            }
            worker.flows.push(if live { flow.routed(&context.router) } else { flow });
        }
        Ok(worker)
    }

    /// Holds what a target has of a flow against the log and the books (DATA-PLANE rules 5, 31).
    /// Returns what its owner has to know.
    async fn held_against(
        &self,
        wanted: &Wanted,
        row: &store::FlowRow,
        target: Option<Committed>,
    ) -> Result<Option<String>, DeliveryError> {
        let Some(Committed { offset: held, begun_anew }) = target else { return Ok(None) };
        let (lake, element) = (&self.surroundings.context.lake, row.key.element);
        let head = lake.log().head(element);
        if held > head {
            // The target's cursor is a cursor like any other: new records go on above it, or the
            // target would take them for those it has.
            lake.fence(element, held).await?;
            // Its owner is told no offsets (rule 23).
            let why = format!(
                "the channel holds records that the log of element {element} does not (a restored lake?); new records \
                 go on above them"
            );
            tracing::error!(channel = %wanted.channel, %element, held, head, "a channel's store was ahead of the log");
            return Ok(Some(why));
        }
        if held.max(row.starts_after) < row.booked && !begun_anew {
            let why = format!(
                "the channel holds less of element {element} than was delivered (a restored copy?); the difference is \
                 delivered again, unbilled"
            );
            tracing::warn!(channel = %wanted.channel, %element, held, booked = row.booked,
                "a channel's store holds less than was booked; the difference is delivered again, unbilled");
            return Ok(Some(why));
        }
        Ok(None)
    }
}

/// Pins where an element's lanes begin and end, once. `false`: they were pinned before.
async fn pin(tx: &mut Tx, context: &Context, wanted: &Wanted, element: ElementId) -> Result<bool, DeliveryError> {
    let head = context.lake.log().head(element);
    let now = context.clock.now();
    let live = FlowKey { element, lane: Lane::Live };
    if store::get(tx, wanted.tenant, wanted.channel, live).await?.is_some() {
        return Ok(false);
    }
    store::ensure(tx, wanted.tenant, wanted.channel, live, head, None, now).await?;
    if wanted.history {
        let backfill = FlowKey { element, lane: Lane::Backfill };
        store::ensure(tx, wanted.tenant, wanted.channel, backfill, 0, Some(head), now).await?;
    }
    Ok(true)
}
