//! One compiled plan for all channels that ask for the same.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::shape::{Plan, PlanId};

/// Plans in use, by their identity.
#[derive(Debug, Default)]
pub struct Plans(Mutex<HashMap<PlanId, Weak<Plan>>>);

impl Plans {
    /// The plan in use that is the same, or this one from now on.
    pub fn shared(&self, plan: Arc<Plan>) -> Arc<Plan> {
        let mut plans = self.0.lock();
        if let Some(known) = plans.get(&plan.id()).and_then(Weak::upgrade) {
            return known;
        }
        // Only now and then, so that each addition costs the same on average.
        if plans.len() == plans.capacity() {
            plans.retain(|_, plan| plan.strong_count() > 0);
        }
        plans.insert(plan.id(), Arc::downgrade(&plan));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::testing::sensors;
    use headgate_types::schema::ElementKind;

    #[test]
    fn plans_are_shared_while_they_are_in_use() {
        let (element, plans) = (sensors(ElementKind::Events), Plans::default());
        let of = |filter: &str| plans.shared(Arc::new(element.plan(filter)));
        let one = of("count > 1");
        assert!(Arc::ptr_eq(&one, &of("COUNT > 1")));
        assert!(!Arc::ptr_eq(&one, &of("count > 2")));
        drop(one);
        assert_eq!(Arc::strong_count(&of("count > 1")), 1);
    }
}
