//! Ordering a data-in channel.

use axum::extract::State;
use headgate_access::TenantCaller;
use headgate_catalog::channels::{self, ChannelSpec, FeedSpec, InSpec, NewChannel};
use headgate_catalog::elements::{self, ElementSpec, NewElement};
use headgate_catalog::feeds::{self, NewFeed};
use headgate_database::Tx;
use headgate_metering::{Quote, QuoteRequest, QuotedElement};
use headgate_provisioning::orders::{OrderRequest, PinnedSize};
use headgate_types::channel::Direction;
use headgate_types::engine::{CheckInput, InferSchema};
use headgate_types::model::InputModel;
use headgate_types::schema::{ElementKind, Schema};
use headgate_types::{ChannelId, ElementId, FieldError, TenantId};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{CreateDataIn, FeedBody, NewElementBody, SampleBody};
use super::limits::one_more_channel;
use super::place::{AcceptedView, Placing, place};
use super::quote::{quote, quoted};
use super::technology::{size, technology};
use crate::http::body::Body;
use crate::http::caller::{Caller, OrdersWrite};
use crate::http::idempotency::{Answer, IdempotencyKey, Once};
use crate::http::problem::ApiError;
use crate::state::ApiState;

/// What an order would do and cost. Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValidatedIn {
    /// Always true here.
    pub valid: bool,
    /// The price: what every hour and unit costs.
    #[schema(value_type = Quote)]
    pub price: Value,
    /// The feeds with their schemas and models, inferred where a sample was given.
    pub spec: InSpec,
}

/// Order a data-in channel. Its new elements get their ids at once; they are published when the
/// channel is ready. With `validate_only` nothing is ordered: the answer is a quote with the
/// inferred schemas.
#[utoipa::path(post, path = "/v1/data-in-channels", operation_id = "create_data_in_channel", tag = "channels",
    security(("oauth2" = ["orders.write"]), ("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Required unless `validate_only`: a retry with the same key orders nothing twice")),
    request_body = CreateDataIn,
    responses(
        (status = 202, description = "The channel and its order", body = AcceptedView,
            headers(("Location" = String, description = "The order"))),
        (status = 200, description = "With `validate_only`: the quote and the schemas", body = ValidatedIn)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller<OrdersWrite>,
    key: IdempotencyKey,
    body: Body<CreateDataIn>,
) -> Result<Answer, ApiError> {
    let order = body.value;
    if order.validate_only {
        let checked = check(&state, &caller, &order).await?;
        let validated = ValidatedIn { valid: true, price: checked.price, spec: checked.spec };
        return Ok(Answer::new(StatusCode::OK, &validated));
    }
    let once = match state.once(&caller, key.required()?, &body.fingerprint).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::New(once) => once,
    };
    let checked = check(&state, &caller, &order).await?;
    let (tenant, id) = (caller.tenant, ChannelId::new());
    let mut tx = state.control.tenant(tenant).await?;
    one_more_channel(&mut tx, tenant).await?;
    insert(&state, &mut tx, tenant, id, &order.name, &checked).await?;
    let placing =
        Placing { channel: id, request: OrderRequest::Create, price: Some(checked.price), action: "channel.create" };
    place(&state, &caller, once, tx, placing).await
}

/// Puts the channel with its feeds and new elements into the catalog.
async fn insert(
    state: &ApiState,
    tx: &mut Tx,
    tenant: TenantId,
    id: ChannelId,
    name: &str,
    checked: &Checked,
) -> Result<(), ApiError> {
    let now = state.clock.now();
    let new = NewChannel {
        id,
        tenant,
        profile: checked.profile.clone(),
        size: checked.size.clone().into(),
        name: name.to_owned(),
        spec: ChannelSpec::In(checked.spec.clone()),
    };
    channels::insert(tx, &new, now).await?;
    for (index, feed) in checked.spec.feeds.iter().enumerate() {
        let element = match (&feed.new_element, feed.element) {
            (Some(spec), _) => {
                let new = NewElement { id: ElementId::new(), tenant, spec: spec.clone() };
                let made = elements::insert(tx, &new, now).await;
                made.map_err(|error| within(error, &format!("/feeds/{index}/new_element")))?.id
            }
            (None, Some(element)) => element,
            (None, None) => return Err(ApiError::not_found("element")),
        };
        let new =
            NewFeed { tenant, channel: id, name: feed.name.clone(), element, input_model: feed.input_model.clone() };
        feeds::insert(tx, &new, now).await?;
    }
    Ok(())
}

fn within(error: headgate_catalog::CatalogError, prefix: &str) -> ApiError {
    let mut error = ApiError::from(error);
    for field in &mut error.problem.errors {
        field.pointer.insert_str(0, prefix);
    }
    error
}

/// An order that can be carried out.
struct Checked {
    profile: String,
    size: PinnedSize,
    price: Value,
    spec: InSpec,
}

/// Everything that can be said about an order before it is placed.
async fn check(state: &ApiState, caller: &TenantCaller, order: &CreateDataIn) -> Result<Checked, ApiError> {
    let mut errors: Vec<_> = headgate_catalog::elements::label_error("/name", &order.name).into_iter().collect();
    let mut feeds = Vec::with_capacity(order.feeds.len());
    for (index, feed) in order.feeds.iter().enumerate() {
        let at = format!("/feeds/{index}");
        match given(state, feed).await? {
            Ok(feed) => feeds.push(feed),
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| error.under(&at))),
        }
    }
    let spec = InSpec { feeds, timing: order.timing.clone(), client_principal: order.client_principal.clone() };
    if errors.is_empty() {
        errors.extend(ChannelSpec::In(spec.clone()).errors());
    }
    if !errors.is_empty() {
        return Err(ApiError::refused(errors));
    }
    check_models(state, caller.tenant, &spec).await?;
    let technology = technology(state.engine.as_ref(), &state.profiles, Direction::In, &order.channel_profile).await?;
    let size = size(&state.profiles, Direction::In, &technology.key, &order.performance_profile)?;
    let elements = quoted_elements(state, caller.tenant, &spec).await?;
    let request = QuoteRequest {
        direction: Direction::In,
        channel_profile: technology.key.clone(),
        performance_profile: size.size.clone(),
        timing: order.timing.mode().to_owned(),
        elements,
    };
    let price = quote(state, &request).await?;
    Ok(Checked { profile: technology.key, size, price, spec })
}

async fn quoted_elements(state: &ApiState, tenant: TenantId, spec: &InSpec) -> Result<Vec<QuotedElement>, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    let mut elements = Vec::with_capacity(spec.feeds.len());
    for feed in &spec.feeds {
        match (&feed.new_element, feed.element) {
            (Some(new), _) => elements.push(QuotedElement {
                element: None,
                price_key: new.metadata.price_key.clone(),
                initial_records: 0,
                initial_bytes: 0,
            }),
            (None, Some(id)) => elements.push(quoted(&mut tx, tenant, id, (0, 0)).await?),
            (None, None) => {}
        }
    }
    Ok(elements)
}

/// A feed with the schema that was given, or inferred from its sample.
async fn given(state: &ApiState, feed: &FeedBody) -> Result<Result<FeedSpec, Vec<FieldError>>, ApiError> {
    let mut model = feed.input_model.clone();
    let new_element = match &feed.new_element {
        None => None,
        Some(body) => {
            let errors: Vec<_> = body.errors().into_iter().map(|error| error.under("/new_element")).collect();
            if !errors.is_empty() {
                return Ok(Err(errors));
            }
            let (schema, inferred) = match (&body.schema, &body.sample) {
                (Some(schema), _) => (schema.clone(), None),
                (None, Some(sample)) => infer(state, sample).await?,
                (None, None) => return Ok(Err(Vec::new())),
            };
            model = model.or(inferred);
            Some(element(body, schema))
        }
    };
    let input_model = model.unwrap_or_default();
    Ok(Ok(FeedSpec { name: feed.name.clone(), element: feed.element, new_element, input_model }))
}

async fn infer(state: &ApiState, sample: &SampleBody) -> Result<(Schema, Option<InputModel>), ApiError> {
    let request = InferSchema { sample: sample.text.clone(), format: sample.format, keys: sample.keys.clone() };
    let inferred = state.engine.infer_schema(request).await?;
    Ok((inferred.schema, Some(inferred.input_model)))
}

fn element(body: &NewElementBody, schema: Schema) -> ElementSpec {
    ElementSpec {
        name: body.name.clone(),
        kind: body.kind,
        metadata: body.metadata.clone(),
        schema,
        facets: body.facets.clone(),
        nodes: body.nodes.clone(),
    }
}

/// Lets the engine compile the input models, each against the schema of its element.
async fn check_models(state: &ApiState, tenant: TenantId, spec: &InSpec) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    for (index, feed) in spec.feeds.iter().enumerate() {
        let at = format!("/feeds/{index}");
        let found = match (&feed.new_element, feed.element) {
            (Some(new), _) => Some((new.kind, new.schema.clone())),
            (None, Some(id)) => existing(state, tenant, id).await?,
            (None, None) => None,
        };
        let Some((kind, schema)) = found else {
            let detail = "there is no such element of yours that data can be sent into";
            errors.push(FieldError::new(format!("{at}/element"), "unknown_element", detail));
            continue;
        };
        let wrong = state.engine.check_input(CheckInput { kind, schema, model: feed.input_model.clone() }).await?;
        errors.extend(wrong.into_iter().map(|error| error.under(&format!("{at}/input_model"))));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::refused(errors)) }
}

/// Kind and schema of an element that the tenant owns; nothing else can be written.
async fn existing(
    state: &ApiState,
    tenant: TenantId,
    id: ElementId,
) -> Result<Option<(ElementKind, Schema)>, ApiError> {
    let mut tx = state.control.read_tenant(tenant).await?;
    match elements::get(&mut tx, tenant, id).await {
        Ok(element) if element.state != elements::ElementState::Retired && element.kind != ElementKind::View => {
            Ok(Some((element.kind, elements::schema(&mut tx, id).await?.schema)))
        }
        Ok(_) | Err(headgate_catalog::CatalogError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
