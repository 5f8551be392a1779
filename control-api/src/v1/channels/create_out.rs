//! Ordering a data-out channel.

use std::collections::BTreeMap;

use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use headgate_access::TenantCaller;
use headgate_catalog::channels::{self, History, NewChannel};
use headgate_catalog::subscriptions;
use headgate_metering::{Quote, QuoteRequest};
use headgate_provisioning::orders::{OrderRequest, PinnedSize};
use headgate_types::channel::Direction;
use headgate_types::engine::{CheckScope, Look, ScopeReport};
use headgate_types::schema::Schema;
use headgate_types::selection::{Scope, SelectionItem};
use headgate_types::{ChannelId, ElementId, FieldError};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::body::CreateDataOut;
use super::limits::one_more_channel;
use super::place::{AcceptedView, Placing, place};
use super::quote::{quote, quoted};
use super::technology::{size, technology};
use crate::http::body::Body;
use crate::http::caller::{Caller, OrdersWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::state::ApiState;

/// Records shown of each element that is previewed.
const PREVIEW_RECORDS: u32 = 10;
/// Elements previewed; a selection may reach a thousand.
const PREVIEWED: usize = 5;
/// Scopes the engine compiles at once for one order.
const AT_ONCE: usize = 4;

/// What an order would do and cost. Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValidatedOut {
    /// Always true here.
    pub valid: bool,
    /// The price: what the history costs once, and what every hour and unit costs from then on.
    #[schema(value_type = Quote)]
    pub price: Value,
    /// Records in scope at present, over all elements. Of an element with more than a million rows they are estimated
    /// from those looked at.
    pub records_in_scope: u64,
    /// Their encoded size in bytes, estimated.
    pub bytes_in_scope: u64,
    /// What the receiver gets, per element; the first elements with sample records.
    pub elements: Vec<ElementPreview>,
}

/// What the receiver gets of one element.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ElementPreview {
    /// The element.
    pub element: ElementId,
    /// The table, file prefix or path segment the receiver sees.
    pub name: String,
    /// The fields of a shaped record.
    pub output_schema: Schema,
    /// Shaped records from the lake.
    #[schema(value_type = Vec<Object>)]
    pub preview: Vec<Value>,
}

/// Order a data-out channel. It is visible at once in PROVISIONING; the order behind `Location`
/// provisions it, loads the history and announces it by the event `channel.ready`. With
/// `validate_only` nothing is ordered: every check runs, and the answer is a quote with a preview.
#[utoipa::path(post, path = "/v1/data-out-channels", operation_id = "create_data_out_channel", tag = "channels",
    security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Required unless `validate_only`: a retry with the same key orders nothing twice")),
    request_body = CreateDataOut,
    responses(
        (status = 202, description = "The channel and its order", body = AcceptedView,
            headers(("Location" = String, description = "The order"))),
        (status = 200, description = "With `validate_only`: the quote and a preview", body = ValidatedOut)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    key: IdempotencyKey,
    body: Body<CreateDataOut>,
) -> Result<Answer, ApiError> {
    let order = body.value;
    if order.validate_only {
        let checked = check(&state, &caller, &order, PREVIEW_RECORDS).await?;
        return Ok(Answer::new(StatusCode::OK, &checked.validated()));
    }
    let once = match state.once(&caller, key.required()?, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let checked = check(&state, &caller, &order, 0).await?;
    let (tenant, id, now) = (caller.tenant, ChannelId::new(), state.clock.now());
    let mut tx = state.control.tenant(tenant).await?;
    one_more_channel(&mut tx, tenant).await?;
    let new = NewChannel {
        id,
        tenant,
        profile: checked.profile,
        size: checked.size.into(),
        name: order.name.clone(),
        spec: order.spec(),
    };
    channels::insert(&mut tx, &new, now).await?;
    // Resolved again where nothing can change any more: a grant may have gone since the check.
    let scopes = resolve(&mut tx, &caller, &order).await?;
    subscriptions::replace_scopes(&mut tx, tenant, id, scopes, now).await?;
    let placing =
        Placing { channel: id, request: OrderRequest::Create, price: Some(checked.price), action: "channel.create" };
    place(&state, &caller, once, tx, placing).await
}

/// An order that can be carried out.
struct Checked {
    profile: String,
    size: PinnedSize,
    price: Value,
    scopes: Vec<(Scope, ScopeReport)>,
}

impl Checked {
    fn validated(self) -> ValidatedOut {
        let sum = |of: fn(&ScopeReport) -> u64| self.scopes.iter().map(|(_, report)| of(report)).sum();
        ValidatedOut {
            valid: true,
            records_in_scope: sum(|report| report.records_in_scope),
            bytes_in_scope: sum(|report| report.bytes_in_scope),
            price: self.price,
            elements: self
                .scopes
                .into_iter()
                .map(|(scope, report)| ElementPreview {
                    element: scope.element,
                    name: scope.name,
                    output_schema: report.output_schema,
                    preview: report.preview,
                })
                .collect(),
        }
    }
}

/// Everything that can be said about an order before it is placed.
async fn check(
    state: &ApiState,
    caller: &TenantCaller,
    order: &CreateDataOut,
    preview_records: u32,
) -> Result<Checked, ApiError> {
    let spec = order.spec();
    let mut errors = spec.errors();
    errors.extend(headgate_catalog::elements::label_error("/name", &order.name));
    if !errors.is_empty() {
        return Err(ApiError::refused(errors));
    }
    let technology = technology(state.engine.as_ref(), &state.profiles, Direction::Out, &order.channel_profile).await?;
    let size = size(&state.profiles, Direction::Out, &technology.key, &order.performance_profile)?;
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let scopes = resolve(&mut tx, caller, order).await?;
    drop(tx);
    let scopes = compiled(state, order, &technology.key, scopes, preview_records).await?;
    let mut tx = state.control.read_tenant(caller.tenant).await?;
    let mut elements = Vec::with_capacity(scopes.len());
    for (scope, report) in &scopes {
        let all = order.history == History::All;
        let initial = if all { (report.records_in_scope, report.bytes_in_scope) } else { (0, 0) };
        elements.push(quoted(&mut tx, caller.tenant, scope.element, initial).await?);
    }
    drop(tx);
    let request = QuoteRequest {
        direction: Direction::Out,
        channel_profile: technology.key.clone(),
        performance_profile: size.size.clone(),
        timing: order.timing.mode().to_owned(),
        elements,
    };
    let price = quote(state, &request).await?;
    Ok(Checked { profile: technology.key, size, price, scopes })
}

async fn resolve(
    tx: &mut headgate_database::Tx,
    caller: &TenantCaller,
    order: &CreateDataOut,
) -> Result<Vec<Scope>, ApiError> {
    let resolved = subscriptions::resolve_selection(tx, caller.tenant, &order.data, &order.output_data_model).await;
    resolved.map_err(|error| {
        let mut error = ApiError::from(error);
        for field in &mut error.problem.errors {
            field.pointer.insert_str(0, "/data");
        }
        error
    })
}

/// Lets the engine compile every scope; what is wrong is pointed at in the order.
async fn compiled(
    state: &ApiState,
    order: &CreateDataOut,
    technology: &str,
    scopes: Vec<Scope>,
    preview_records: u32,
) -> Result<Vec<(Scope, ScopeReport)>, ApiError> {
    let reports: Vec<(Scope, ScopeReport)> = stream::iter(scopes.into_iter().enumerate())
        .map(|(index, scope)| async move {
            let look = Some(Look { preview_records: if index < PREVIEWED { preview_records } else { 0 } });
            let request = CheckScope { scope: scope.clone(), technology: technology.to_owned(), look };
            let report = state.engine.check_scope(request).await?;
            Ok::<_, ApiError>((scope, report))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    // One model is shared by many scopes: each place is named once.
    let mut errors: BTreeMap<(String, String), FieldError> = BTreeMap::new();
    for (scope, report) in &reports {
        for error in &report.errors {
            let error = FieldError { pointer: place_in(order, scope, &error.pointer), ..error.clone() };
            errors.entry((error.pointer.clone(), error.code.clone())).or_insert(error);
        }
    }
    if errors.is_empty() { Ok(reports) } else { Err(ApiError::refused(errors.into_values().collect())) }
}

/// Where in the order a place of a scope comes from.
fn place_in(order: &CreateDataOut, scope: &Scope, pointer: &str) -> String {
    let reaches = |item: &SelectionItem| match item.element {
        Some(element) => element == scope.element,
        None => item.filter == scope.filter && item.columns == scope.columns,
    };
    let named = order.data.iter().position(|item| item.element == Some(scope.element));
    let index = named.or_else(|| order.data.iter().position(reaches)).unwrap_or_default();
    match pointer.strip_prefix("/model") {
        Some(rest) if order.data.get(index).is_some_and(|item| item.output_data_model.is_some()) => {
            format!("/data/{index}/output_data_model{rest}")
        }
        Some(rest) => format!("/output_data_model{rest}"),
        None => format!("/data/{index}{pointer}"),
    }
}
