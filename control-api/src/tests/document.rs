//! The OpenAPI document and what it promises.

use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::testing::TestApi;

pub(super) fn document() -> Value {
    serde_json::to_value(crate::openapi()).unwrap()
}

#[test]
fn the_openapi_document_in_the_repository_is_the_one_generated() {
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).parent().unwrap().join("openapi/openapi.json");
    let text = crate::openapi_json();
    if std::env::var_os("HEADGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "openapi/openapi.json is out of date; run with HEADGATE_BLESS=1");
}

pub(super) fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                operations.push((path.clone(), method.clone(), operation.clone()));
            }
        }
    }
    operations
}

/// Calls `look` with every object of a document and where it is.
fn walk(value: &Value, at: &str, look: &mut impl FnMut(&serde_json::Map<String, Value>, &str)) {
    match value {
        Value::Object(object) => {
            look(object, at);
            object.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"), look));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| walk(item, &format!("{at}/{index}"), look));
        }
        _ => {}
    }
}

#[test]
fn no_part_of_a_schema_refuses_what_the_other_parts_name() {
    let document = document();
    let mut parts = 0;
    walk(&document, "", &mut |object, at| {
        for part in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let reference = part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
            let part = reference.map_or(part, |pointer| document.pointer(pointer).unwrap());
            assert_ne!(part["additionalProperties"], false, "{at}");
            parts += 1;
        }
    });
    assert!(parts > 5, "{parts}");
}

#[test]
fn every_operation_documents_its_problem_its_scope_and_its_name() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = std::collections::BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(operation["responses"]["default"].is_object(), "{at} has no default answer");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at} has a name twice");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{at}");
        assert!(operation["summary"].is_string(), "{at} has no summary");
        if path.starts_with("/v1") {
            let security = operation["security"].as_array().unwrap_or_else(|| panic!("{at} has no security"));
            assert!(security.iter().any(|entry| entry.get("bearer").is_some()), "{at}");
            let scopes: Vec<_> = security.iter().filter_map(|entry| entry["oauth2"].as_array()).flatten().collect();
            assert_eq!(scopes.len(), 1, "{at}");
            assert_eq!(*scopes[0] == "admin", path.starts_with("/v1/admin"), "{at}");
        }
    }
    assert!(names.len() > 40);
}

#[tokio::test]
async fn every_operation_refuses_strangers_and_clients_without_its_scope() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        // data.read opens nothing of the control API.
        let powerless = api.client(tenant.id, "data.read").await;
        for (path, method, _) in operations(&document()) {
            if !path.starts_with("/v1") {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let anonymous = api.call(method.clone(), &filled(&path)).send().await;
            assert_eq!(anonymous.status, 401, "{method} {path}: {}", anonymous.text);
            let refused = api.call(method.clone(), &filled(&path)).token(&powerless).send().await;
            assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text);
        }
    }
}

#[tokio::test]
async fn every_request_body_has_an_example_that_is_understood() {
    let mut examples = crate::openapi::examples();
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        for (path, method, operation) in operations(&document()) {
            let Some(content) = operation["requestBody"]["content"].get("application/json") else { continue };
            let id = operation["operationId"].as_str().unwrap();
            let example = content.get("example").unwrap_or_else(|| panic!("add {id} to templates/examples.yaml"));
            let token = if path.starts_with("/v1/admin") { &api.admin } else { &tenant.token };
            let method: Method = method.to_uppercase().parse().unwrap();
            let call = api.call(method, &filled(&path)).token(token).header("if-match", "*");
            let reply = call.header("idempotency-key", id).json(example).send().await;
            // Ids in paths and bodies name nothing here; everything else of the body is right.
            let fine = matches!(reply.status.as_u16(), 200..=202 | 404) || reply.pointers() == ["/data/0/element"];
            assert!(fine, "{id}: {} {}", reply.status, reply.text);
            examples.remove(id);
        }
    }
    assert!(examples.is_empty(), "these are examples of nothing: {:?}", examples.keys());
}

/// A path with ids of the right kind that name nothing.
fn filled(path: &str) -> String {
    let prefix = |name: &str| match name {
        "channel" => "ch",
        "order" => "ord",
        "element" => "el",
        "tenant" => "ten",
        "client" => "cli",
        "identity" => "idn",
        "claim" => "clm",
        "grant" => "gr",
        "node" => "nd",
        "dead_letter" => "dl",
        "endpoint" => "ep",
        "event" => "evt",
        other => panic!("{other} has no id"),
    };
    let parts = path.split('/').map(|part| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => format!("{}_{}", prefix(name), "0".repeat(32)),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_documentation_and_health_are_served_without_a_token() {
    for api in TestApi::all().await {
        for path in ["/livez", "/readyz", "/openapi.json", "/docs/", "/docs/errors", "/docs/errors/not_found"] {
            api.call(Method::GET, path).send().await.expect(200);
        }
        let document = api.call(Method::GET, "/openapi.json").send().await;
        let flow = &document.body["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"];
        assert_eq!(flow["tokenUrl"], "/oauth2/token");
        let ui = api.call(Method::GET, "/docs/swagger-initializer.js").send().await.expect(200);
        assert!(ui.text.contains("initOAuth") && ui.text.contains("/openapi.json"), "{}", ui.text);
    }
}

#[test]
fn the_words_of_every_enum_are_those_on_the_wire() {
    use headgate_access::Scope;
    use headgate_events::EventType;
    use headgate_metering::Meter;
    use headgate_types::channel::{ChannelState, ConditionStatus, ConditionType, Direction, Lane};

    fn words<T: serde::Serialize>(all: &[T]) -> Value {
        serde_json::to_value(all).unwrap()
    }
    let document = document();
    for (name, expected) in [
        ("ChannelState", words(ChannelState::ALL)),
        ("ConditionStatus", words(ConditionStatus::ALL)),
        ("ConditionType", words(ConditionType::ALL)),
        ("Direction", words(Direction::ALL)),
        ("Lane", words(Lane::ALL)),
        ("EventType", words(EventType::ALL)),
        ("Meter", words(Meter::ALL)),
        ("Scope", words(Scope::ALL)),
    ] {
        assert_eq!(document["components"]["schemas"][name]["enum"], expected, "{name}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_longer_than_documented_is_refused_by_name() {
    let api = TestApi::all().await.remove(0);
    let tenant = api.tenant("a").await;
    let mut checked = 0;
    for (path, method, operation) in operations(&document()) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            let Some(most) = schema["maxLength"].as_u64().filter(|_| parameter["in"] == "query") else { continue };
            let name = parameter["name"].as_str().unwrap();
            let address = format!("{}?{name}={}", filled(&path), "a".repeat(most as usize + 1));
            let token = if path.starts_with("/v1/admin") { &api.admin } else { &tenant.token };
            let refused = api.call(method.to_uppercase().parse().unwrap(), &address).token(token).send().await;
            assert_eq!(refused.status, 400, "{path} {name}: {}", refused.text);
            assert_eq!(refused.body["errors"][0]["pointer"], name, "{path}: {}", refused.text);
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}
