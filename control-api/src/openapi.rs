//! The OpenAPI 3.1 document: what the handlers declare, completed by what holds for all of them.

use std::collections::BTreeMap;

use headgate_types::Problem;
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

/// Scopes as the document explains them.
const SCOPES: &[(&str, &str)] = &[
    ("catalog.read", "See elements, schemas, nodes, grants and channel profiles"),
    ("orders.write", "Order, change, cancel and delete channels"),
    ("channels.read", "See channels, orders, statistics and dead letters"),
    ("channels.write", "Pause and resume channels, rotate their credentials"),
    ("credentials.reveal", "Redeem the single-use claims of credentials"),
    ("usage.read", "See usage and invoices"),
    ("events.read", "Read events and keep the endpoints they are sent to"),
    ("data.write", "Send into the tenant's data-in channels"),
    ("data.read", "Read from the tenant's data-out channels"),
    ("admin", "Run the platform: tenants, clients, identities, grants, prices, every channel"),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headgate control API",
        description = "Pick elements out of a catalog, order channels in sizes, watch them being made, filled and \
                       metered. Everything is a resource under `/v1`; changes to channels are orders that run in the \
                       background. Errors are RFC 9457 problem documents with a stable `code`, explained at \
                       `/docs/errors/{code}`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "access", description = "Tokens and keys"),
        (name = "catalog", description = "What there is to order"),
        (name = "channels", description = "Data-in and data-out channels"),
        (name = "orders", description = "What was asked for, and how far it is"),
        (name = "events", description = "What happened, in order: pulled, streamed or sent"),
        (name = "usage", description = "What was used and what it costs"),
        (name = "admin", description = "Running the platform"),
        (name = "service", description = "Health and documentation"),
    ),
)]
struct Base;

/// The document before any route is added.
pub(crate) fn base() -> Document {
    Base::openapi()
}

/// An example of each request body, by operation id; a test sends them.
pub(crate) fn examples() -> BTreeMap<String, Value> {
    serde_yaml_ng::from_str(include_str!("../../templates/examples.yaml")).unwrap_or_else(|error| {
        tracing::error!(%error, "the examples built into the binary cannot be read");
        BTreeMap::new()
    })
}

/// Completes the document after all routes were added.
pub(crate) fn complete(mut document: Document) -> Document {
    let components = document.components.get_or_insert_with(Default::default);
    let scopes: Scopes = SCOPES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let flow = Flow::ClientCredentials(ClientCredentials::new("/oauth2/token", scopes));
    components.add_security_scheme("oauth2", SecurityScheme::OAuth2(OAuth2::new([flow])));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    close(components, "Timing");
    open_parts(components);
    name_items(components);
    let mut examples = examples();
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            finish(operation, path);
            let example = operation.operation_id.as_ref().and_then(|id| examples.remove(id));
            let Some(RefOr::T(body)) = operation.request_body.as_mut() else { continue };
            if let Some(RefOr::T(content)) = body.content.get_mut("application/json") {
                content.example = example;
            }
        }
    }
    document
}

/// Says of a schema with variants what its type does: that members it does not name are refused. A
/// variant that is its tag alone takes others, because serde does not look at them.
fn close(components: &mut Components, name: &str) {
    let Some(RefOr::T(Schema::OneOf(variants))) = components.schemas.get_mut(name) else { return };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant
            && object.properties.len() > 1
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// A schema that is put together of others has the members of all of them: a part that refuses what it
/// does not name, as it does where it stands alone, would refuse the rest.
fn open_parts(components: &mut Components) {
    let whole = components.schemas.clone();
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::AllOf(parts)) = schema else { continue };
        for part in &mut parts.items {
            let RefOr::Ref(reference) = &*part else { continue };
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            if let Some(RefOr::T(Schema::Object(object))) = whole.get(name)
                && object.additional_properties.is_some()
            {
                let mut object = object.clone();
                object.additional_properties = None;
                *part = RefOr::T(Schema::Object(object));
            }
        }
    }
}

/// A page holds things that the document has a name for, not copies of what they are.
fn name_items(components: &mut Components) {
    let names: Vec<String> = components.schemas.keys().cloned().collect();
    for (page, schema) in &mut components.schemas {
        if let Some(name) = page.strip_prefix("Page_").filter(|name| names.iter().any(|known| known == name))
            && let RefOr::T(Schema::Object(object)) = schema
            && let Some(RefOr::T(Schema::Array(items))) = object.properties.get_mut("items")
        {
            items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(name).into()));
        }
    }
}

/// What every operation answers beside its own: a problem, and the headers of the middleware.
fn finish(operation: &mut Operation, path: &str) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let default = ResponseBuilder::new()
        .description("A problem: `code` says which, `errors` where, `request_id` finds it in the logs")
        .content(headgate_types::problem::MEDIA_TYPE, problem)
        .build();
    if path != "/oauth2/token" {
        operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(default));
    }
    if !path.starts_with("/v1") {
        return;
    }
    let parameters = operation.parameters.get_or_insert_default();
    let request_id = "Names the request in logs, problems and audit rows; made up when absent";
    parameters.push(RefOr::T(header("X-Request-Id", request_id, Required::False)));
}

fn header(name: &str, detail: &str, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(detail))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
