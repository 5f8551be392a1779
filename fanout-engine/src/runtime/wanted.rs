//! What is wanted of a data-out channel, compiled.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use headgate_catalog::Lanes;
use headgate_lake::ElementLayout;
use headgate_metering::Dims;
use headgate_types::channel::Binding;
use headgate_types::limits::Limits;
use headgate_types::timing::{Quota, Timing};
use headgate_types::{ChannelId, ElementId, TenantId};

use crate::delivery::{Standing, Terms};
use crate::shape::Plan;
use crate::technology::OutputElement;

/// What a channel's task acts upon.
#[derive(Debug)]
pub struct Wanted {
    /// Whose channel it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// The version of the catalog's row.
    pub version: u64,
    /// Its performance profile.
    pub size: String,
    /// The price keys of its elements.
    pub price_keys: HashMap<ElementId, String>,
    /// The generation of the spec.
    pub generation: u64,
    /// The technology's key.
    pub profile: String,
    /// Run, hold or drain.
    pub mode: Mode,
    /// Where its resource is.
    pub binding: Option<Binding>,
    /// What its size allows.
    pub limits: Limits,
    /// When it delivers.
    pub timing: Timing,
    /// What it may move per period.
    pub quota: Option<Quota>,
    /// Whether it starts with the past.
    pub history: bool,
    /// The lanes that should run.
    pub lanes: Lanes,
    /// Its elements, compiled.
    pub scopes: Vec<WantedScope>,
    /// The elements as the lake has to know them.
    pub layouts: Vec<ElementLayout>,
    /// What is wrong with the others, if anything.
    pub incompatible: Option<String>,
}

/// One element, compiled.
#[derive(Debug)]
pub struct WantedScope {
    /// How its receiver sees it.
    pub output: OutputElement,
    /// How it is shaped.
    pub plan: Arc<Plan>,
    /// Whether the grant withholds rows or columns; the plan does not tell it from what the tenant chose itself.
    pub withholds: bool,
}

/// What the task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Deliver.
    Run,
    /// Serve reads, deliver nothing; the reason is a stable word in PascalCase.
    Hold(&'static str),
    /// Publish what is in flight, cut the last usage, close.
    Drain,
}

impl Wanted {
    /// Whether this is still what is wanted, for whoever acts upon it.
    #[must_use]
    pub fn standing(&self, newest: &Arc<AtomicU64>) -> Standing {
        Standing { version: self.version, newest: Arc::clone(newest) }
    }

    /// What the worker goes by.
    #[must_use]
    pub fn terms(&self, newest: &Arc<AtomicU64>) -> Terms {
        Terms {
            standing: self.standing(newest),
            tenant: self.tenant,
            channel: self.channel,
            limits: self.limits.clone(),
            quota: self.quota.clone(),
            lanes: self.lanes,
        }
    }

    /// What the price of an element's records depends on.
    #[must_use]
    pub fn dims(&self, element: ElementId) -> Dims {
        Dims {
            channel_profile: Some(self.profile.clone()),
            performance_profile: Some(self.size.clone()),
            timing: Some(self.timing.mode().to_owned()),
            price_key: self.price_keys.get(&element).cloned(),
        }
    }

    /// The elements of which no grant withholds anything.
    #[must_use]
    pub fn open(&self) -> HashSet<ElementId> {
        self.scopes.iter().filter(|scope| !scope.withholds).map(|scope| scope.output.element).collect()
    }

    /// Whether `earlier` had no element, and no record of one, that is not there any more.
    #[must_use]
    pub fn keeps_all_of(&self, earlier: &Self) -> bool {
        let kept = |scope: &WantedScope| self.scopes.iter().any(|now| now.plan.id() == scope.plan.id());
        earlier.scopes.iter().all(kept)
    }

    /// Whether the open resource of `self` does for `other` too.
    #[must_use]
    pub fn same_resource(&self, other: &Self) -> bool {
        let same_scope =
            |(one, other): (&WantedScope, &WantedScope)| one.output == other.output && one.plan.id() == other.plan.id();
        self.profile == other.profile
            && self.size == other.size
            && self.timing.mode() == other.timing.mode()
            && self.name == other.name
            && self.binding == other.binding
            && self.limits == other.limits
            && self.scopes.len() == other.scopes.len()
            && self.scopes.iter().zip(&other.scopes).all(same_scope)
    }
}
