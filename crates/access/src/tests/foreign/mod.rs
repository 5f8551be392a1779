//! Issuers beside the built-in one: a small one that publishes its keys on this machine, and what can be forged
//! in its name.

mod bindings;
mod forgeries;
mod keys;
mod pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headgate_types::{Clock, TenantId};
use jsonwebtoken::{Algorithm, EncodingKey};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::tokens::{part, with, without};
use super::{World, worlds};
use crate::identities::{Identity, IdentityKind, NewIdentity};
use crate::outbound::OutboundPolicy;
use crate::{Access, AccessError, ForeignIssuer, Principal, Profile, Scopes};

const OIDC: &str = "https://login.example.com/realms/main";
const COGNITO: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab129faBb";
const OTHER_POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other";

/// What the address of the keys does.
#[derive(Debug, Clone)]
enum Answer {
    Text(String),
    Status(u16),
    Away,
    Long,
    Silence,
}

/// Publishes keys.
struct Publisher {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    async fn start(keys: &Value) -> Self {
        let answer = Arc::new(Mutex::new(Answer::Text(keys.to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let state = (Arc::clone(&answer), Arc::clone(&asked));
        let router = Router::new().route("/keys", get(publish)).route("/elsewhere", get(elsewhere)).with_state(state);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self { address, answer, asked }
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn issuer(&self, issuer: &str, profile: Profile) -> ForeignIssuer {
        ForeignIssuer {
            issuer: issuer.to_owned(),
            jwks_url: format!("http://{}/keys", self.address).parse().unwrap(),
            networks: OutboundPolicy::development().allow,
            profile,
        }
    }
}

type Shared = (Arc<Mutex<Answer>>, Arc<AtomicUsize>);

async fn publish(State((answer, asked)): State<Shared>) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().clone();
    match answer {
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => http_status(status).into_response(),
        Answer::Away => Redirect::temporary("/elsewhere").into_response(),
        Answer::Long => Body::from(format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(1 << 20))).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

fn http_status(status: u16) -> axum::http::StatusCode {
    axum::http::StatusCode::from_u16(status).unwrap()
}

async fn elsewhere() -> String {
    json!({"keys": [rsa_key("rsa")]}).to_string()
}

fn file(name: &str) -> &'static str {
    match name {
        "rsa.n" => include_str!("keys/rsa.n"),
        "rsa.pem" => include_str!("keys/rsa.pem"),
        "rsa.pub.pem" => include_str!("keys/rsa.pub.pem"),
        "other.n" => include_str!("keys/other.n"),
        "other.pem" => include_str!("keys/other.pem"),
        "weak.n" => include_str!("keys/weak.n"),
        "weak.pem" => include_str!("keys/weak.pem"),
        "ec.xy" => include_str!("keys/ec.xy"),
        "ec.pem" => include_str!("keys/ec.pem"),
        name => panic!("{name}"),
    }
}

/// The public half of an RSA key, under its own name.
fn rsa_key(name: &str) -> Value {
    json!({"kty": "RSA", "kid": name, "alg": "RS256", "use": "sig", "n": file(&format!("{name}.n")), "e": "AQAB"})
}

fn ec_key() -> Value {
    let (x, y) = file("ec.xy").split_once(' ').unwrap();
    json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": x, "y": y})
}

/// Signs whatever the header says.
fn signed_by(pem: &str, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let pem = file(pem).as_bytes();
    let key =
        if algorithm == Algorithm::ES256 { EncodingKey::from_ec_pem(pem) } else { EncodingKey::from_rsa_pem(pem) };
    let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.unwrap(), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn signed(header: &Value, claims: &Value) -> String {
    signed_by("rsa.pem", Algorithm::RS256, &header.to_string(), &claims.to_string())
}

/// A platform that takes tokens of an issuer of each kind, both with the same keys.
struct Rig {
    world: World,
    access: Access,
    publisher: Publisher,
}

impl Rig {
    async fn all() -> Vec<Self> {
        let mut rigs = Vec::new();
        for world in worlds().await {
            rigs.push(Self::over(world, &json!({"keys": [rsa_key("rsa"), ec_key()]})).await);
        }
        rigs
    }

    async fn one(keys: &Value) -> Self {
        Self::over(worlds().await.remove(0), keys).await
    }

    async fn over(world: World, keys: &Value) -> Self {
        let publisher = Publisher::start(keys).await;
        let groups_claim = crate::GROUPS_CLAIM.to_owned();
        let oidc = Profile::Oidc { audience: "headgate".to_owned(), groups_claim, scope_prefix: String::new() };
        let cognito =
            || Profile::Cognito { people_clients: vec!["console".to_owned()], resource_server: "headgate".to_owned() };
        let mut config = world.config.clone();
        config.foreign = vec![
            publisher.issuer(OIDC, oidc),
            publisher.issuer(COGNITO, cognito()),
            publisher.issuer(OTHER_POOL, cognito()),
        ];
        let access = Access::open(world.db.control.clone(), world.clock(), config).await.unwrap();
        Self { world, access, publisher }
    }

    fn now(&self) -> i64 {
        self.world.clock.now().timestamp()
    }

    /// Header and claims of a person's token.
    fn person(&self, issuer: &str, sub: &str, groups: &[&str]) -> (Value, Value) {
        let (now, is_pool) = (self.now(), issuer != OIDC);
        let mut claims = json!({
            "iss": issuer, "sub": sub, "client_id": "console", "jti": "1", "iat": now, "exp": now + 3_600,
        });
        if is_pool {
            claims["token_use"] = json!("access");
            claims["scope"] = json!("aws.cognito.signin.user.admin");
            claims["username"] = json!("ann");
            claims["cognito:groups"] = json!(groups);
            return (json!({"alg": "RS256", "kid": "rsa"}), claims);
        }
        claims["aud"] = json!(["headgate", "other"]);
        claims["groups"] = json!(groups);
        (json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}), claims)
    }

    /// Header and claims of a machine's token.
    fn machine(&self, issuer: &str, client: &str, scope: &str) -> (Value, Value) {
        let (header, mut claims) = self.person(issuer, client, &[]);
        claims["client_id"] = json!(client);
        claims["scope"] = json!(scope);
        (header, without(&claims, "username"))
    }

    async fn try_bind(
        &self,
        tenant: Option<TenantId>,
        issuer: &str,
        kind: IdentityKind,
        name: &str,
        scopes: Scopes,
    ) -> Result<Identity, AccessError> {
        let mut tx = self.world.db.control.platform().await.unwrap();
        tx.act_for(tenant.unwrap_or(crate::PLATFORM)).await.unwrap();
        let (issuer, name) = (issuer.to_owned(), name.to_owned());
        let bound = self.access.bind(&mut tx, NewIdentity { tenant, issuer, kind, name, scopes }).await?;
        tx.commit().await.unwrap();
        self.access.forget();
        Ok(bound)
    }

    async fn bind(&self, tenant: TenantId, issuer: &str, kind: IdentityKind, name: &str) -> Identity {
        self.try_bind(Some(tenant), issuer, kind, name, Scopes::tenant()).await.unwrap()
    }

    async fn verify(&self, (header, claims): &(Value, Value)) -> Result<Principal, AccessError> {
        self.access.verify(&signed(header, claims)).await
    }
}
