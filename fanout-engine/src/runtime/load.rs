//! Reading what is wanted of a channel, and compiling its scopes.

use std::collections::HashMap;
use std::sync::Arc;

use headgate_catalog::channels::{self, ChannelHead};
use headgate_catalog::{ChannelSpec, Element, History, elements};
use headgate_database::Tx;
use headgate_lake::ElementLayout;
use headgate_types::FieldError;
use headgate_types::selection::{Policy, Scope};

use super::mode;
use super::wanted::{Mode, Wanted, WantedScope};
use crate::error::EngineFault;
use crate::shape::{Plan, PlanInput};
use crate::technology::OutputElement;

/// What is wanted of a channel; `None` while nothing is: its resource is not there yet, or no lane
/// was asked for.
pub async fn wanted(tx: &mut Tx, head: ChannelHead, key: &[u8; 32]) -> Result<Option<Wanted>, EngineFault> {
    let Some(mode) = mode(head.state) else { return Ok(None) };
    let Some(desired) = channels::desired(tx, head.tenant, head.id).await? else { return Ok(None) };
    let ChannelSpec::Out(spec) = &desired.channel.spec else { return Ok(None) };
    let started = desired.channel.binding.is_some() && (desired.lanes.live || desired.lanes.backfill);
    if !started && mode != Mode::Drain {
        return Ok(None);
    }
    let channel = &desired.channel;
    let mut wanted = Wanted {
        tenant: channel.tenant,
        channel: channel.id,
        name: channel.name.clone(),
        version: head.version,
        generation: channel.generation,
        profile: channel.profile.clone(),
        size: channel.size.clone(),
        price_keys: HashMap::new(),
        mode,
        binding: channel.binding.clone(),
        limits: channel.limits.clone(),
        timing: spec.timing.clone(),
        quota: spec.quota.clone(),
        history: spec.history == History::All,
        lanes: desired.lanes,
        scopes: Vec::new(),
        layouts: Vec::new(),
        incompatible: None,
    };
    let mut refused = Vec::new();
    for scope in &desired.scopes {
        let Some(element) = elements::find(tx, scope.element).await? else { continue };
        if let Some(price_key) = &element.metadata.price_key {
            wanted.price_keys.insert(scope.element, price_key.clone());
        }
        if mode == Mode::Drain {
            continue;
        }
        match compile(tx, &element, scope, key).await? {
            Ok((compiled, layout)) => {
                wanted.scopes.push(compiled);
                wanted.layouts.push(layout);
            }
            Err(errors) => refused.push(explain(scope, &errors)),
        }
    }
    wanted.incompatible = (!refused.is_empty()).then(|| refused.join("; "));
    Ok(Some(wanted))
}

async fn compile(
    tx: &mut Tx,
    element: &Element,
    scope: &Scope,
    key: &[u8; 32],
) -> Result<Result<(WantedScope, ElementLayout), Vec<FieldError>>, EngineFault> {
    let version = elements::schema(tx, scope.element).await?;
    let layout =
        ElementLayout { element: scope.element, kind: element.kind, schema_id: version.id, schema: version.schema };
    let plan = Plan::compile(PlanInput {
        element: scope.element,
        kind: layout.kind,
        schema_id: layout.schema_id,
        schema: &layout.schema,
        scope,
        record_id_key: key,
    });
    Ok(plan.map(|plan| {
        let output = OutputElement {
            element: scope.element,
            name: scope.name.clone(),
            kind: layout.kind,
            schema: plan.output_schema().clone(),
            model_version: scope.model_version,
            options: scope.model.options.clone(),
        };
        (WantedScope { output, plan: Arc::new(plan), withholds: scope.policy != Policy::default() }, layout)
    }))
}

fn explain(scope: &Scope, errors: &[FieldError]) -> String {
    let places: Vec<String> = errors.iter().map(|error| format!("{} {}", error.pointer, error.detail)).collect();
    format!("{}: {}", scope.name, places.join(", "))
}
