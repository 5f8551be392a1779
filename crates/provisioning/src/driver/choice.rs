//! Which driver makes the resource of a channel.

use std::sync::Arc;

use super::Driver;

/// The drivers of an installation. A new channel gets the one that serves its profile; one that
/// has a resource keeps the driver that made it, whatever is configured since.
#[derive(Debug, Clone)]
pub struct Drivers {
    usual: Arc<dyn Driver>,
    others: Vec<(Vec<String>, Arc<dyn Driver>)>,
}

impl Drivers {
    /// One driver for everything.
    #[must_use]
    pub fn only(usual: Arc<dyn Driver>) -> Self {
        Self { usual, others: Vec::new() }
    }

    /// Another driver for these channel profiles.
    #[must_use]
    pub fn and(mut self, profiles: Vec<String>, driver: Arc<dyn Driver>) -> Self {
        self.others.push((profiles, driver));
        self
    }

    /// The driver for new channels of a profile.
    #[must_use]
    pub fn for_profile(&self, profile: &str) -> &Arc<dyn Driver> {
        let serves = |(profiles, _): &&(Vec<String>, _)| profiles.iter().any(|served| served == profile);
        self.others.iter().find(serves).map_or(&self.usual, |(_, driver)| driver)
    }

    /// The driver with this name; None when this process has none of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<dyn Driver>> {
        self.all().find(|driver| driver.name() == name)
    }

    /// Every driver once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        std::iter::once(&self.usual).chain(self.others.iter().map(|(_, driver)| driver))
    }
}
