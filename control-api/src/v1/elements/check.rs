//! Checking a policy before it is given: the engine compiles predicates, nobody else.

use headgate_types::ElementId;
use headgate_types::channel::Direction;
use headgate_types::engine::CheckScope;
use headgate_types::model::OutputModel;
use headgate_types::selection::{Policy, Scope};

use crate::http::problem::ApiError;
use crate::state::ApiState;

/// Refuses a policy whose predicate or columns do not fit the element.
pub(crate) async fn policy(state: &ApiState, element: ElementId, policy: &Policy) -> Result<(), ApiError> {
    if *policy == Policy::default() {
        return Ok(());
    }
    // The policy stands where a selection's own scope would: errors then point at its members.
    let scope = Scope {
        element,
        name: "policy".to_owned(),
        filter: policy.filter.clone(),
        columns: policy.columns.clone(),
        policy: Policy::default(),
        model: OutputModel::default(),
        model_version: 1,
    };
    // A policy holds for every technology; any that delivers will do to compile it.
    let technologies = state.engine.technologies().await?;
    let technology = technologies.into_iter().find(|technology| technology.directions.contains(&Direction::Out));
    let technology = technology.map(|technology| technology.key).unwrap_or_default();
    let request = CheckScope { scope, technology, look: None };
    let errors = state.engine.check_scope(request).await?.errors;
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::refused(errors.into_iter().map(|error| error.under("/policy")).collect()))
}
