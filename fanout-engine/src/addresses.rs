//! Routers that know what they answer to. Whatever the data plane serves is routed through
//! [`Addresses`], so that it can be listed, and a test can ask every address for what it must refuse.

use std::fmt;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post};
use http::Method;
use tower_http::cors::CorsLayer;

/// One thing that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The method.
    pub method: Method,
    /// The path as axum has it, with parameters in braces.
    pub path: &'static str,
}

/// A router over the state `S`, and its list.
#[derive(Clone)]
pub struct Addresses<S = ()> {
    router: Router<S>,
    listed: Vec<Address>,
}

impl<S> fmt::Debug for Addresses<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Addresses").field(&self.listed).finish()
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Addresses<S> {
    fn default() -> Self {
        Self { router: Router::new(), listed: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Addresses<S> {
    /// `GET`, and `HEAD` with it.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.at(Method::GET, path, get(handler))
    }

    /// `POST`.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.at(Method::POST, path, post(handler))
    }

    /// `DELETE`.
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.at(Method::DELETE, path, delete(handler))
    }

    fn at(mut self, method: Method, path: &'static str, answers: MethodRouter<S>) -> Self {
        self.listed.push(Address { method, path });
        Self { router: self.router.route(path, answers), listed: self.listed }
    }

    /// What is answered.
    #[must_use]
    pub fn list(&self) -> &[Address] {
        &self.listed
    }

    /// With the state that the handlers ask for.
    #[must_use]
    pub fn with_state(self, state: S) -> Addresses {
        Addresses { router: self.router.with_state(state), listed: self.listed }
    }

    /// Behind a layer that answers browsers' questions of origin.
    #[must_use]
    pub fn cors(self, layer: CorsLayer) -> Self {
        Self { router: self.router.layer(layer), listed: self.listed }
    }

    /// To be served.
    pub fn into_router(self) -> Router<S> {
        self.router
    }
}
