//! Every operation of the document, asked for by everybody who has nothing to do there. What is asked
//! is made from the document: an operation that names something new in its path has no case and fails.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use headgate_access::{Access, AccessConfig, CredentialKind, MasterKey, Scope};
use headgate_events::{EventType, NewEvent, emit};
use headgate_types::engine::{DeadLetter, DeadLetterSide};
use headgate_types::{ChannelId, Clock, DeadLetterId, ElementId, FakeClock};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::document::{document, operations};
use crate::http::rate::{Quota, RateLimits};
use crate::testing::{ISSUER, Reply, TestApi, TestTenant};

/// So many that nobody is refused for asking often.
const PLENTY: Quota = Quota { requests: 1_000_000, window_seconds: 1 };
const UNLIMITED: RateLimits = RateLimits { tenant: PLENTY, client: PLENTY, anonymous: PLENTY };

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// The scope it asks for.
    scope: Scope,
    /// Its example, if it takes a body.
    body: Option<Value>,
}

impl Operation {
    fn all() -> Vec<Self> {
        let examples = crate::openapi::examples();
        let secured = operations(&document()).into_iter().filter(|(path, ..)| path.starts_with("/v1"));
        let operations = secured.map(|(path, method, operation)| {
            let scope = operation["security"].as_array().unwrap().iter().find_map(|entry| entry["oauth2"][0].as_str());
            let body = examples.get(operation["operationId"].as_str().unwrap()).cloned();
            let body = body.or_else(|| operation.get("requestBody").map(|_| json!({})));
            let method = method.to_uppercase().parse().unwrap();
            Self { method, path, scope: scope.unwrap().parse().unwrap(), body }
        });
        operations.collect()
    }

    fn is_admin(&self) -> bool {
        self.scope == Scope::Admin
    }

    /// Asks for it with everything right but what is named in the path.
    async fn ask(&self, api: &TestApi, token: Option<&str>, things: &Things) -> Reply {
        let mut call = api.call(self.method.clone(), &things.address(&self.path)).header("if-match", "*");
        call = call.header("idempotency-key", &uuid::Uuid::now_v7().to_string());
        if let Some(token) = token {
            call = call.token(token);
        }
        if let Some(body) = &self.body {
            call = call.json(&things.body(body));
        }
        call.send().await
    }
}

/// One of everything that a tenant can have, by the name that paths give it.
struct Things(BTreeMap<String, String>);

impl Things {
    async fn of(api: &TestApi, tenant: &TestTenant, name: &str) -> Self {
        let token = &tenant.token;
        let id = |reply: &Reply| reply.body["id"].as_str().unwrap().to_owned();
        let (channel_in, element) = api.element(tenant, name).await;
        let out = api.data_out(tenant, element).await.body;
        let node = api.post(token, "/v1/nodes", &json!({"tree": "topic", "name": name})).await.expect(201);
        let hook = json!({"url": "http://127.0.0.1:9/hook", "types": ["io.headgate.channel.ready.v1"]});
        let endpoint = api.post(token, "/v1/event-endpoints", &hook).await.expect(201);
        let friend = api.tenant("friend").await;
        let grants = format!("/v1/elements/{element}/grants");
        let grant = api.post(token, &grants, &json!({"tenant": friend.id})).await.expect(201);
        let clients = format!("/v1/admin/tenants/{}/clients", tenant.id);
        let client = api.post(&api.admin, &clients, &json!({"name": "another"})).await.expect(201);
        let colleague = api.post(&api.admin, "/v1/admin/clients", &json!({"name": "colleague"})).await.expect(201);
        let group = json!({"issuer": ISSUER, "kind": "group", "name": name});
        let identities = format!("/v1/admin/tenants/{}/identities", tenant.id);
        let identity = api.post(&api.admin, &identities, &group).await.expect(201);
        let person = json!({"issuer": ISSUER, "kind": "subject", "name": name});
        let operator = api.post(&api.admin, "/v1/admin/identities", &person).await.expect(201);
        let mut tx = api.db.control.tenant(tenant.id).await.unwrap();
        let kind = CredentialKind::ChannelKey;
        let issued = api.state.access.issue_credential(&mut tx, tenant.id, ChannelId::new(), kind).await.unwrap();
        let (subject, data) = ("ch_1".to_owned(), json!({"n": 1}));
        let event = NewEvent { tenant: tenant.id, event_type: EventType::ChannelReady, subject, data, id: None };
        emit(&mut tx, &api.state.clock, event).await.unwrap();
        tx.commit().await.unwrap();
        let event = api.get(token, "/v1/events").await.body["items"][0]["id"].as_str().unwrap().to_owned();
        let channel_out: ChannelId = out["channel"]["id"].as_str().unwrap().parse().unwrap();
        let [letter_in, letter_out] = [channel_in, channel_out].map(|channel| letter(api, channel, element));
        let letters = [letter_in.clone(), letter_out.clone()].map(|letter| (tenant.id, letter));
        api.engine.dead_letters.lock().extend(letters);
        Self(BTreeMap::from([
            ("in".to_owned(), channel_in.to_string()),
            ("out".to_owned(), channel_out.to_string()),
            ("order".to_owned(), out["order"]["id"].as_str().unwrap().to_owned()),
            ("element".to_owned(), element.to_string()),
            ("node".to_owned(), id(&node)),
            ("endpoint".to_owned(), id(&endpoint)),
            ("event".to_owned(), event),
            ("grant".to_owned(), id(&grant)),
            ("client".to_owned(), id(&client)),
            ("colleague".to_owned(), id(&colleague)),
            ("identity".to_owned(), id(&identity)),
            ("operator".to_owned(), id(&operator)),
            ("claim".to_owned(), issued.claim.to_string()),
            ("letter_in".to_owned(), letter_in.id.to_string()),
            ("letter_out".to_owned(), letter_out.id.to_string()),
            ("tenant".to_owned(), tenant.id.to_string()),
        ]))
    }

    fn named(&self, path: &str, name: &str) -> &str {
        let name = match name {
            "channel" if path.contains("data-in") => "in",
            "channel" => "out",
            "dead_letter" if path.contains("data-in") => "letter_in",
            "dead_letter" => "letter_out",
            "client" if path.starts_with("/v1/admin/clients/") => "colleague",
            "identity" if path.starts_with("/v1/admin/identities/") => "operator",
            name => name,
        };
        self.0.get(name).unwrap_or_else(|| panic!("{path}: there is no case with a {name}"))
    }

    /// The path with what there is in the place of its parameters.
    fn address(&self, path: &str) -> String {
        let parts = path.split('/').map(|part| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => self.named(path, name),
            None => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The example with what there is in the place of ids that name nothing.
    fn body(&self, example: &Value) -> Value {
        let mut text = example.to_string();
        for (prefix, name) in [("el", "element"), ("ten", "tenant"), ("evt", "event"), ("nd", "node")] {
            text = text.replace(&format!("{prefix}_{}", "0".repeat(32)), &self.0[name]);
        }
        serde_json::from_str(&text).unwrap()
    }
}

fn letter(api: &TestApi, channel: ChannelId, element: ElementId) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId::new(),
        channel,
        feed: None,
        element,
        side: DeadLetterSide::In,
        code: "not_a_number".to_owned(),
        reason: "it is not a number".to_owned(),
        field_path: None,
        model_version: 1,
        receipt: None,
        ordinal: Some(1),
        raw: "{}".to_owned(),
        created_at: api.clock.now(),
    }
}

/// Tokens that open nothing anywhere, with what they hear.
async fn strangers(api: &TestApi, tenant: &TestTenant, expired: String) -> Vec<(&'static str, Option<String>, u16)> {
    let (suspended, ended) = (api.tenant("suspended").await, api.tenant("ended").await);
    for (tenant, verb) in [(&suspended, "suspend"), (&ended, "offboard")] {
        let path = format!("/v1/admin/tenants/{}/{verb}", tenant.id);
        let done = api.post(&api.admin, &path, &json!({})).await;
        assert!(done.status.is_success(), "{}", done.text);
    }
    let mut tx = api.db.control.tenant(tenant.id).await.unwrap();
    let (kind, channel) = (CredentialKind::ChannelKey, ChannelId::new());
    let issued = api.state.access.issue_credential(&mut tx, tenant.id, channel, kind).await.unwrap();
    tx.commit().await.unwrap();
    let caller = api.state.access.verify(&tenant.token).await.unwrap().tenant_caller("r").unwrap();
    let key = api.state.access.reveal(&caller, issued.claim).await.unwrap().secret.expose_secret().to_owned();
    // Right in everything but its issuer's key.
    let master_key = MasterKey::from_bytes([6; 32]);
    let config = AccessConfig::new("http://127.0.0.1:7170/".parse().unwrap(), "headgate", master_key);
    let other = headgate_database::testing::databases().await.unwrap().remove(0);
    let forger = Access::open(other.control.clone(), api.clock.clone(), config).await.unwrap();
    let mut tx = other.control.platform().await.unwrap();
    let (client, secret) = forger.bootstrap_admin(&mut tx).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let forged = forger.issue_token(&client.to_string(), &secret, None, None).await.unwrap().access_token;
    vec![
        ("nobody", None, 401),
        ("garbage", Some("garbage".to_owned()), 401),
        ("an expired token", Some(expired), 401),
        ("another issuer's token", Some(forged), 401),
        ("a channel's key", Some(key), 401),
        ("a suspended tenant", Some(suspended.token), 403),
        ("a tenant that ended", Some(ended.token), 401),
    ]
}

#[tokio::test]
async fn every_operation_refuses_everybody_who_has_no_right_to_it() {
    for api in TestApi::with_limits(UNLIMITED).await {
        // Its time is over before anything else begins.
        let tenant = api.tenant("a").await;
        let past = FakeClock::at(api.clock.now() - TimeDelta::hours(2));
        let expired = api.token_of(past, tenant.id).await;
        let things = Things::of(&api, &tenant, "weather").await;
        let strangers = strangers(&api, &tenant, expired).await;
        let mut lacking = BTreeMap::new();
        for scope in Scope::ALL.iter().filter(|scope| **scope != Scope::Admin) {
            let rest: Vec<_> = Scope::ALL.iter().filter(|other| *other != scope && **other != Scope::Admin).collect();
            let rest: Vec<_> = rest.into_iter().map(ToString::to_string).collect();
            lacking.insert(scope.to_string(), api.client(tenant.id, &rest.join(" ")).await);
        }
        for operation in Operation::all() {
            let at = format!("{} {}", operation.method, operation.path);
            for (who, token, hears) in &strangers {
                let refused = operation.ask(&api, token.as_deref(), &things).await;
                assert_eq!(refused.status.as_u16(), *hears, "{who} at {at}: {}", refused.text);
                assert!(things.0.values().all(|id| !refused.body["detail"].to_string().contains(id)), "{at}");
            }
            // Every right but the one it takes.
            let rest = if operation.is_admin() { &tenant.token } else { &lacking[&operation.scope.to_string()] };
            let refused = operation.ask(&api, Some(rest), &things).await;
            let code = if operation.is_admin() { "admin_required" } else { "insufficient_scope" };
            assert_eq!((refused.status.as_u16(), refused.code()), (403, code), "{at}: {}", refused.text);
            if !operation.is_admin() {
                let refused = operation.ask(&api, Some(&api.admin), &things).await;
                assert_eq!((refused.status.as_u16(), refused.code()), (403, "tenant_required"), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_finds_nothing_of_another_tenant_and_changes_nothing() {
    for api in TestApi::with_limits(UNLIMITED).await {
        let (owner, stranger) = (api.tenant("a").await, api.tenant("b").await);
        let things = Things::of(&api, &owner, "weather").await;
        let mut operations = Operation::all();
        let seen = async |operations: &[Operation]| {
            let mut seen = Vec::new();
            let read = operations.iter().filter(|operation| operation.method == Method::GET && !operation.is_admin());
            // A stream does not end by itself.
            for operation in read.filter(|operation| !operation.path.ends_with("/stream")) {
                let reply = operation.ask(&api, Some(&owner.token), &things).await;
                seen.push((operation.path.clone(), reply.status, reply.text));
            }
            seen
        };
        let before = seen(&operations).await;
        for operation in operations.iter().filter(|operation| !operation.path.ends_with("/stream")) {
            let at = format!("{} {}", operation.method, operation.path);
            let reply = if operation.is_admin() {
                // The platform may; but not on one tenant's things by the name of another.
                let mut mixed = Things(things.0.clone());
                mixed.0.insert("tenant".to_owned(), stranger.id.to_string());
                if operation.path.matches('{').count() < 2 {
                    continue;
                }
                operation.ask(&api, Some(&api.admin), &mixed).await
            } else {
                operation.ask(&api, Some(&stranger.token), &things).await
            };
            if operation.path.contains('{') {
                assert_eq!((reply.status.as_u16(), reply.code()), (404, "not_found"), "{at}: {}", reply.text);
            }
            // What it sent itself may be named in the answer; nothing else.
            let sent = operation.body.as_ref().map(|body| things.body(body).to_string()).unwrap_or_default();
            let told = |id: &&String| reply.text.contains(id.as_str()) && !sent.contains(id.as_str());
            let told: Vec<_> = things.0.values().filter(told).collect();
            assert!(told.is_empty() || reply.body["instance"].is_string(), "{at} tells of {told:?}: {}", reply.text);
        }
        let after = seen(&operations).await;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "a stranger changed it");
        }
        // All of it is there: what strangers hear says nothing about the address. What ends a thing comes last.
        operations.sort_by_key(|operation| {
            let last = ["DELETE", "/revoke", "/suspend", "/offboard"];
            let at = format!("{} {}", operation.method, operation.path);
            last.iter().position(|end| at.contains(end)).map_or(0, |position| position + 1)
        });
        let others = Things::of(&api, &owner, "rain").await;
        for operation in operations.iter().filter(|operation| !operation.path.ends_with("/stream")) {
            // What is deleted by the one cannot be by the other.
            let (token, things) = if operation.is_admin() { (&api.admin, &others) } else { (&owner.token, &things) };
            let reply = operation.ask(&api, Some(token), things).await;
            assert!(
                !matches!(reply.status.as_u16(), 400 | 401 | 403 | 404 | 500..),
                "{} {}: {} {}",
                operation.method,
                operation.path,
                reply.status,
                reply.text
            );
        }
    }
}
