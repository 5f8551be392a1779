//! Tokens of other issuers at the running product: a user pool of the account for tests, and an issuer that
//! does nothing but publish a key.

mod deployed;

use std::io::Write;
use std::process::{Command, Stdio};

use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use headgate_types::Failpoint;
use headgate_types::failpoint::VARIABLE;
use reqwest::Method;
use serde_json::{Value, json};

use crate::aws_account::Account;
use crate::harness::client::Answer;
use crate::harness::{ApiClient, Database, Options, Platform, eventually};

const REGION: &str = "us-east-1";
/// An app client that people log in by.
const CONSOLE: &str = "console";

/// A user pool of the account.
struct Pool<'a> {
    account: &'a Account,
    id: String,
    console: String,
}

impl<'a> Pool<'a> {
    async fn start(account: &'a Account) -> Self {
        let pool = ask(account, "CreateUserPool", &json!({"PoolName": "people"})).await;
        let id = pool["UserPool"]["Id"].as_str().unwrap().to_owned();
        let body = json!({"UserPoolId": id, "ClientName": CONSOLE,
            "ExplicitAuthFlows": ["ALLOW_ADMIN_USER_PASSWORD_AUTH"]});
        let console = ask(account, "CreateUserPoolClient", &body).await;
        let console = console["UserPoolClient"]["ClientId"].as_str().unwrap().to_owned();
        Self { account, id, console }
    }

    fn issuer(&self) -> String {
        format!("https://cognito-idp.{REGION}.amazonaws.com/{}", self.id)
    }

    /// Its part of the file of issuers.
    fn entry(&self) -> String {
        format!(
            "[[issuer]]\nkind = 'cognito'\npool = '{}'\njwks_url = '{}/{}/.well-known/jwks.json'\n\
             endpoint_url = '{}'\npeople_clients = ['{}']\napp_clients = true\nsweep_seconds = 1\n\
             token_url = 'https://people.auth.{REGION}.amazoncognito.com/oauth2/token'\n",
            self.id, self.account.url, self.id, self.account.url, self.console
        )
    }

    /// Tokens made by `tests/aws/tokens.py`, one a job.
    fn tokens(&self, jobs: &Value) -> Vec<Value> {
        let mut process = Command::new(std::env::var("HEADGATE_TEST_PYTHON").unwrap())
            .args(["tokens.py", &self.account.url, &self.id, REGION])
            .current_dir(crate::tidy::root().join("tests/aws"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.account.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(jobs.to_string().as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn token(&self, claims: &Value) -> String {
        self.tokens(&json!([{ "claims": claims }]))[0].as_str().unwrap().to_owned()
    }

    fn machine(&self, client_id: &str, scope: &str) -> String {
        self.token(&json!({"sub": client_id, "client_id": client_id, "scope": scope}))
    }

    /// `(name, app client)` of those that Headgate made.
    async fn app_clients(&self) -> Vec<String> {
        let left = self.account.left().await.remove("app_clients").unwrap_or_default();
        left.into_iter().filter(|name| name != CONSOLE).collect()
    }
}

/// A request as the account takes it while rights are not enforced.
async fn ask(account: &Account, action: &str, body: &Value) -> Value {
    let credential = format!("Credential=AKIATEST/20260101/{REGION}/cognito-idp/aws4_request");
    let answer = reqwest::Client::new()
        .post(&account.url)
        .header("x-amz-target", format!("AWSCognitoIdentityProviderService.{action}"))
        .header("authorization", format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{action}: {}", answer.status());
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// The variables by which a program finds the account with the key of a user that may use one user pool as
/// docs/issuers.md says, and nothing else. From now on every request is held against what its caller may.
async fn limited(account: &mut Account, pool: &str) -> Vec<(String, String)> {
    let actions = ["DescribeResourceServer", "CreateResourceServer", "UpdateResourceServer"].into_iter();
    let actions = actions.chain(["CreateUserPoolClient", "DeleteUserPoolClient", "ListUserPoolClients"]);
    let actions: Vec<_> = actions.map(|action| format!("cognito-idp:{action}")).collect();
    let resource = format!("arn:aws:cognito-idp:{REGION}:123456789012:userpool/{pool}");
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": resource});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let iam = async |form: &[(&str, &str)]| {
        let scope = format!("Credential=AKIATEST/20260101/{REGION}/iam/aws4_request");
        let request = reqwest::Client::new().post(&account.url).form(form);
        let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}, Signature=0"));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{form:?}: {}", answer.status());
        answer.text().await.unwrap()
    };
    let user = ("UserName", "headgate");
    iam(&[("Action", "CreateUser"), user]).await;
    let named = ("PolicyName", "pool");
    iam(&[("Action", "PutUserPolicy"), user, named, ("PolicyDocument", &policy)]).await;
    let key = iam(&[("Action", "CreateAccessKey"), user]).await;
    let told = |name: &str| {
        let rest = key.split(&format!("<{name}>")).nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let (id, secret) = (told("AccessKeyId"), told("SecretAccessKey"));
    account.enforce("headgate").await;
    let own = account.environment().into_iter().map(|(name, value)| match name.as_str() {
        "AWS_ACCESS_KEY_ID" => (name, id.clone()),
        "AWS_SECRET_ACCESS_KEY" => (name, secret.clone()),
        _ => (name, value),
    });
    own.collect()
}

/// A platform with this file of issuers.
async fn platform(issuers: &str, environment: Vec<(String, String)>, database: Database) -> Platform {
    let directory = tempfile::Builder::new().prefix("headgate-e2e-").tempdir().unwrap();
    let file = directory.path().join("issuers.toml");
    std::fs::write(&file, issuers).unwrap();
    let database_url = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(crate::harness::platform::fresh_database().await.unwrap()),
    };
    let arguments = vec!["--issuers".to_owned(), file.to_str().unwrap().to_owned()];
    Platform::start_in(directory, Options { arguments, environment, database_url, ..Options::default() }).unwrap()
}

/// The API with any token, and none of the ways to get one.
async fn with_token(platform: &Platform, method: Method, path: &str, token: &str) -> Answer {
    let admin = platform.admin().await.unwrap();
    ApiClient { token: token.to_owned(), ..admin }.send(method, path, None, &[]).await.unwrap()
}

async fn hears(platform: &Platform, path: &str, token: &str) -> (u16, String) {
    let answer = with_token(platform, Method::GET, path, token).await;
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

async fn tenant(admin: &ApiClient, name: &str) -> String {
    admin.post("/v1/admin/tenants", &json!({"name": name})).await.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn client(admin: &ApiClient, tenant: &str, scopes: &[&str]) -> Value {
    let body = json!({"name": "robot", "scopes": scopes});
    admin.post(&format!("/v1/admin/tenants/{tenant}/clients"), &body).await.unwrap()
}

fn login(client: &Value) -> &str {
    client["login"]["client_id"].as_str().unwrap()
}

const ALL: &str = "headgate/catalog.read headgate/channels.read headgate/orders.write";

async fn a_pool_is_used(database: Database) {
    let Some(account) = Account::start().await else { return };
    let (pool, other) = (Pool::start(&account).await, Pool::start(&account).await);
    let platform = platform(&pool.entry(), account.environment(), database).await;
    let admin = platform.admin().await.unwrap();
    let (a, b) = (tenant(&admin, "A").await, tenant(&admin, "B").await);
    assert!(pool.app_clients().await.is_empty());
    let robot = client(&admin, &a, &["catalog.read", "channels.read"]).await;
    let others = client(&admin, &b, &["catalog.read", "channels.read"]).await;
    assert_eq!(robot["login"]["issuer"], pool.issuer());
    assert_eq!(robot["token_scope"], "headgate/catalog.read headgate/channels.read");
    let names = pool.app_clients().await;
    assert_eq!(names.len(), 2);
    assert!(names.iter().any(|name| name.contains(robot["id"].as_str().unwrap())), "{names:?}");
    let described = json!({"UserPoolId": pool.id, "ClientId": login(&robot)});
    let described = ask(&account, "DescribeUserPoolClient", &described).await["UserPoolClient"].clone();
    assert_eq!(described["AllowedOAuthFlows"], json!(["client_credentials"]));
    assert_eq!(described["AllowedOAuthScopes"], json!(["headgate/catalog.read", "headgate/channels.read"]));
    assert_eq!(described["ClientSecret"], robot["client_secret"]);

    // As a machine, each for its own tenant; what it did not ask for, or the client does not have, is refused.
    let token = pool.machine(login(&robot), ALL);
    assert_eq!(hears(&platform, "/v1/data-out-channels", &token).await.0, 200);
    assert_eq!(hears(&platform, "/v1/usage", &token).await, (403, "insufficient_scope".to_owned()));
    let narrow = pool.machine(login(&robot), "headgate/catalog.read other/channels.read channels.read");
    assert_eq!(hears(&platform, "/v1/elements", &narrow).await.0, 200);
    assert_eq!(hears(&platform, "/v1/data-out-channels", &narrow).await, (403, "insufficient_scope".to_owned()));

    // As a person of a group; the token is the pool's own.
    let body = json!({"issuer": pool.issuer(), "kind": "group", "name": "farm"});
    admin.post(&format!("/v1/admin/tenants/{a}/identities"), &body).await.unwrap();
    let body = json!({"issuer": pool.issuer(), "kind": "group", "name": "operators"});
    admin.post("/v1/admin/identities", &body).await.unwrap();
    let in_group =
        |name: &str, groups: &[&str]| json!({"log_in": {"client_id": pool.console, "name": name, "groups": groups}});
    let given =
        pool.tokens(&json!([in_group("ann", &["farm"]), in_group("ben", &[]), in_group("cem", &["operators"])]));
    let access = |at: usize| given[at]["access"].as_str().unwrap();
    assert_eq!(hears(&platform, "/v1/orders", access(0)).await.0, 200);
    assert_eq!(hears(&platform, "/v1/admin/tenants", access(0)).await, (403, "admin_required".to_owned()));
    assert_eq!(hears(&platform, "/v1/orders", access(1)).await, (401, "invalid_token".to_owned()));
    assert_eq!(hears(&platform, "/v1/admin/tenants", access(2)).await.0, 200);
    assert_eq!(hears(&platform, "/v1/orders", access(2)).await, (403, "tenant_required".to_owned()));
    let id = given[0]["id"].as_str().unwrap();
    assert_eq!(hears(&platform, "/v1/orders", id).await, (401, "invalid_token".to_owned()), "an ID token");

    // What the person orders belongs to its tenant, and the other tenant's client does not find it.
    let feed = crate::harness::stage::order_in("events");
    let ann = ApiClient { token: access(0).to_owned(), ..platform.admin().await.unwrap() };
    let ordered = ann.post("/v1/data-in-channels", &feed).await.unwrap();
    let channel = format!("/v1/data-in-channels/{}", ordered["channel"]["id"].as_str().unwrap());
    assert_eq!(hears(&platform, &channel, &token).await.0, 200, "its colleague, the robot");
    let stranger = pool.machine(login(&others), ALL);
    assert_eq!(hears(&platform, &channel, &stranger).await, (404, "not_found".to_owned()));
    let listed = with_token(&platform, Method::GET, "/v1/data-in-channels", &stranger).await;
    assert_eq!(listed.body["items"], json!([]));
    // Nor where its token says that it is of the other tenant, in any way.
    let claims = json!({"sub": login(&others), "client_id": login(&others), "scope": ALL, "tenant": a,
        "custom:tenant_id": a, "cognito:groups": ["farm"]});
    assert_eq!(hears(&platform, &channel, &pool.token(&claims)).await, (404, "not_found".to_owned()));

    // Whatever is wrong with a token: all pools share one key here, so only what is said makes them wrong.
    let good = json!({"sub": login(&robot), "client_id": login(&robot), "scope": ALL});
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (claim, value) in [
        ("iss", json!(other.issuer())),
        ("iss", json!(format!("{}/", pool.issuer()))),
        ("client_id", json!("somebody")),
        ("client_id", json!(null)),
        ("token_use", json!("id")),
        ("token_use", json!(null)),
        ("scope", json!(null)),
        ("nbf", json!(now + 600)),
        ("exp", json!(null)),
    ] {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        let heard = hears(&platform, "/v1/elements", &pool.token(&claims)).await;
        assert_eq!(heard, (401, "invalid_token".to_owned()), "{claim} = {value}");
    }
    let mut old = good.clone();
    (old["iat"], old["exp"]) = (json!(now - 7_200), json!(now - 3_600));
    assert_eq!(hears(&platform, "/v1/elements", &pool.token(&old)).await, (401, "token_expired".to_owned()));

    // The secret of an app client opens nothing at the built-in issuer.
    let (id, secret) = (robot["id"].as_str().unwrap(), robot["client_secret"].as_str().unwrap());
    assert!(ApiClient::sign_in(&platform.control, id, secret).await.is_err());

    // A new secret, a revoked client, an ended tenant.
    let path = format!("/v1/admin/tenants/{a}/clients/{id}");
    let rotated = admin.post(&format!("{path}/rotate-secret"), &json!({"grace_seconds": 0})).await.unwrap();
    assert_ne!(login(&rotated), login(&robot));
    assert_eq!(hears(&platform, "/v1/elements", &token).await.0, 401);
    let token = pool.machine(login(&rotated), ALL);
    assert_eq!(hears(&platform, &channel, &token).await.0, 200);
    eventually("the sweep", async || (pool.app_clients().await.len() == 2).then_some(())).await;
    admin.post(&format!("{path}/revoke"), &json!({})).await.unwrap();
    assert_eq!(hears(&platform, "/v1/elements", &token).await, (401, "invalid_token".to_owned()));
    assert_eq!(pool.app_clients().await.len(), 1);
    admin.post(&format!("/v1/admin/tenants/{b}/offboard"), &json!({})).await.unwrap();
    assert_eq!(hears(&platform, "/v1/elements", &stranger).await, (401, "invalid_token".to_owned()));
    eventually("the sweep", async || pool.app_clients().await.is_empty().then_some(())).await;
    assert_eq!(hears(&platform, "/v1/orders", access(0)).await.0, 200, "people are not concerned");
}

#[tokio::test]
async fn machines_and_people_of_a_user_pool_act_for_their_tenant_and_no_other_on_sqlite() {
    a_pool_is_used(Database::Sqlite).await;
}

#[tokio::test]
async fn machines_and_people_of_a_user_pool_act_for_their_tenant_and_no_other_on_postgres() {
    a_pool_is_used(Database::Postgres).await;
}

#[tokio::test]
async fn a_pool_that_throttles_breaks_off_or_refuses_leaves_no_app_client_behind() {
    let Some(account) = Account::start().await else { return };
    let pool = Pool::start(&account).await;
    let entry = pool.entry().replace("sweep_seconds = 1", "sweep_seconds = 2");
    let platform = platform(&entry, account.environment(), Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let tenant = tenant(&admin, "A").await;
    let clients = format!("/v1/admin/tenants/{tenant}/clients");
    let create = async || admin.send(Method::POST, &clients, Some(&json!({"name": "robot"})), &[]).await.unwrap();
    let at = |action: &str, effect: &str| json!({"service": "cognito-idp", "action": action, "effect": effect});
    let times = |mut fault: Value, times: u32| {
        fault["times"] = json!(times);
        fault
    };

    // What passes costs time only, and makes one app client.
    for effect in ["throttle", "lose_request", "lose_answer"] {
        let before = pool.app_clients().await.len();
        account.fault(times(at("CreateUserPoolClient", effect), 2)).await;
        assert_eq!(create().await.status, 201, "{effect}");
        assert_eq!(pool.app_clients().await.len(), before + 1, "{effect}");
    }
    let before = pool.app_clients().await.len();
    let listed = admin.get(&clients).await.unwrap();
    // What lasts is told, and leaves nothing: neither a client nor an app client.
    for effect in ["throttle", "lose_request", "lose_answer"] {
        account.fault(at("CreateUserPoolClient", effect)).await;
        let failed = create().await;
        assert_eq!((failed.status.as_u16(), &failed.body["code"]), (503, &json!("pool_unavailable")), "{effect}");
        assert_eq!(pool.app_clients().await.len(), before, "{effect}");
        account.no_faults().await;
    }
    account
        .fault({
            let mut refusal = at("CreateUserPoolClient", "refuse");
            refusal["code"] = json!("LimitExceededException");
            refusal["message"] = json!("too many app clients");
            refusal
        })
        .await;
    let failed = create().await;
    assert_eq!((failed.status.as_u16(), &failed.body["code"]), (503, &json!("pool_refused")));
    assert!(failed.body["detail"].as_str().unwrap().contains("too many app clients"), "{}", failed.body);
    account.no_faults().await;
    assert_eq!(admin.get(&clients).await.unwrap(), listed, "nothing was written down");

    // The answer is lost, and so is the way to clear up after it: the sweep finds what is left.
    account.fault(at("CreateUserPoolClient", "lose_answer")).await;
    account.fault(at("DeleteUserPoolClient", "throttle")).await;
    assert_eq!(create().await.status, 503);
    assert_eq!(pool.app_clients().await.len(), before + 1);
    account.no_faults().await;
    eventually("the sweep", async || (pool.app_clients().await.len() == before).then_some(())).await;

    // Keys that cannot be had: those who are known stay known, the rest are told that it is not their fault.
    let robot = admin.get(&clients).await.unwrap()["items"][0].clone();
    account.fault(at("keys", "refuse")).await;
    let token = pool.machine(login(&robot), ALL);
    let answer = with_token(&platform, Method::GET, "/v1/elements", &token).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("issuer_unavailable")));
    assert_eq!(
        platform.admin().await.unwrap().get("/v1/admin/clients").await.unwrap()["items"][0]["name"],
        "first administrator"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_behind_a_new_app_client_leaves_it_to_the_sweep() {
    let Some(account) = Account::start().await else { return };
    let pool = Pool::start(&account).await;
    let mut platform = platform(&pool.entry(), account.environment(), Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let tenant = tenant(&admin, "A").await;
    let clients = format!("/v1/admin/tenants/{tenant}/clients");
    let kept = client(&admin, &tenant, &["data.read"]).await;
    let rotate = format!("{clients}/{}/rotate-secret", kept["id"].as_str().unwrap());
    for (path, body) in [(&clients, json!({"name": "robot"})), (&rotate, json!({}))] {
        platform.kill().unwrap();
        platform.set_variable(VARIABLE, Failpoint::AppClientMade.name());
        platform.start_again().unwrap();
        let admin = platform.admin().await.unwrap();
        assert!(admin.post(path, &body).await.is_err());
        eventually("its end", async || (!platform.is_running()).then_some(())).await;
        assert_eq!(pool.app_clients().await.len(), 2);
        platform.set_variable(VARIABLE, "");
        platform.start_again().unwrap();
        eventually("the sweep", async || (pool.app_clients().await.len() == 1).then_some(())).await;
        let listed = platform.admin().await.unwrap().get(&clients).await.unwrap();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(listed["items"][0]["login"], kept["login"], "it is as it was");
    }
}

#[tokio::test]
async fn no_secret_of_an_app_client_is_kept_or_logged_whatever_is_logged() {
    let Some(account) = Account::start().await else { return };
    let pool = Pool::start(&account).await;
    let mut environment = account.environment();
    environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let mut platform = platform(&pool.entry(), environment, Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let tenant = tenant(&admin, "A").await;
    let made = client(&admin, &tenant, &["data.read"]).await;
    let path = format!("/v1/admin/tenants/{tenant}/clients/{}/rotate-secret", made["id"].as_str().unwrap());
    let rotated = admin.post(&path, &json!({})).await.unwrap();
    let token = pool.machine(login(&rotated), "headgate/data.read");
    hears(&platform, "/v1/elements", &token).await;
    platform.stop().unwrap();
    let log = platform.log();
    assert!(log.contains("TRACE") && log.contains("CreateUserPoolClient"), "everything was logged");
    let mut kept = vec![("the log".to_owned(), log.into_bytes())];
    for entry in std::fs::read_dir(platform.directory().join("data")).unwrap().flatten() {
        if entry.path().is_file() {
            kept.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    assert!(kept.iter().any(|(name, _)| name.contains("control.db")), "the tables were read");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [made["client_secret"].as_str().unwrap(), rotated["client_secret"].as_str().unwrap(), signature] {
        for (name, bytes) in &kept {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret stands in {name}");
        }
    }
}

#[tokio::test]
async fn a_resource_server_of_before_is_completed() {
    let Some(account) = Account::start().await else { return };
    let pool = Pool::start(&account).await;
    let scope = |name: &str| json!({"ScopeName": name, "ScopeDescription": name});
    let server = json!({"UserPoolId": pool.id, "Identifier": "headgate", "Name": "Ours",
        "Scopes": [scope("catalog.read"), scope("of.others")]});
    ask(&account, "CreateResourceServer", &server).await;
    let platform = platform(&pool.entry(), account.environment(), Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let tenant = tenant(&admin, "A").await;
    for _ in 0..2 {
        client(&admin, &tenant, &["data.read", "data.write"]).await;
    }
    let named = json!({"UserPoolId": pool.id, "Identifier": "headgate"});
    let server = ask(&account, "DescribeResourceServer", &named).await["ResourceServer"].clone();
    let names: Vec<_> = server["Scopes"].as_array().unwrap().iter().map(|s| s["ScopeName"].clone()).collect();
    for scope in ["of.others", "catalog.read", "data.read", "data.write", "orders.write"] {
        assert_eq!(names.iter().filter(|name| **name == scope).count(), 1, "{names:?}");
    }
    assert!(!names.contains(&json!("admin")), "a machine of a tenant never runs the platform");
    assert_eq!(server["Name"], "Ours");
    let asked = account.requests().await;
    assert_eq!(asked["cognito-idp:UpdateResourceServer"], 1, "once a process");
}

#[tokio::test]
async fn a_pool_is_asked_for_no_more_than_its_operator_allows() {
    let Some(mut account) = Account::start().await else { return };
    let Pool { id, console, .. } = Pool::start(&account).await;
    // With enforcement on, by keys that may do what docs/issuers.md lists.
    let environment = limited(&mut account, &id).await;
    let pool = Pool { account: &account, id, console };
    let platform = platform(&pool.entry(), environment, Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let tenant = tenant(&admin, "A").await;
    let robot = client(&admin, &tenant, &["catalog.read"]).await;
    let token = pool.machine(login(&robot), ALL);
    assert_eq!(hears(&platform, "/v1/elements", &token).await.0, 200, "keys are published to everybody");
    let path = format!("/v1/admin/tenants/{tenant}/clients/{}/revoke", robot["id"].as_str().unwrap());
    admin.post(&path, &json!({})).await.unwrap();
    assert!(pool.app_clients().await.is_empty());
    let asked = account.requests().await;
    for action in ["DescribeResourceServer", "CreateResourceServer", "CreateUserPoolClient", "DeleteUserPoolClient"] {
        assert!(asked[&format!("cognito-idp:{action}")] >= 1, "{asked:?}");
    }
}

/// An issuer that publishes one key.
struct Issuer {
    key: SigningKey,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let key = SigningKey::from_bytes(&[11; 32]);
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": x}]});
        let router = axum::Router::new().route("/keys", get(move || std::future::ready(keys.to_string())));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self { key, url }
    }

    fn entry(&self) -> String {
        format!(
            "[[issuer]]\nkind = 'oidc'\nissuer = 'https://login.example.com/main'\njwks_url = '{}/keys'\n\
             audience = 'headgate'\ngroups_claim = 'roles'\nscope_prefix = 'headgate:'\n",
            self.url
        )
    }

    fn token(&self, changed: &Value) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": "https://login.example.com/main", "aud": "headgate", "sub": "ann", "client_id": "web", "jti": "1",
            "iat": now, "exp": now + 600, "roles": ["farm"],
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "one"}));
        let message = format!("{header}.{}", part(&claims));
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

#[tokio::test]
async fn people_and_machines_of_any_issuer_act_for_their_tenant_on_both_planes() {
    let issuer = Issuer::start().await;
    let platform = platform(&issuer.entry(), Vec::new(), Database::Sqlite).await;
    let admin = platform.admin().await.unwrap();
    let (a, b) = (tenant(&admin, "A").await, tenant(&admin, "B").await);
    let bind = async |tenant: &str, kind: &str, name: &str| {
        let body = json!({"issuer": "https://login.example.com/main", "kind": kind, "name": name});
        admin.post(&format!("/v1/admin/tenants/{tenant}/identities"), &body).await.unwrap()
    };
    let farm = bind(&a, "group", "farm").await;
    bind(&a, "client", "sensor").await;
    bind(&b, "client", "intruder").await;
    let machine = |name: &str, scope: &str| issuer.token(&json!({"sub": name, "client_id": name, "scope": scope}));

    let ann = ApiClient { token: issuer.token(&json!({})), ..platform.admin().await.unwrap() };
    let feed = ann.post("/v1/data-in-channels", &crate::harness::stage::order_in("events")).await.unwrap();
    let order = format!("/v1/orders/{}", feed["order"]["id"].as_str().unwrap());
    eventually("the channel", async || (ann.get(&order).await.unwrap()["state"] == "SUCCEEDED").then_some(())).await;
    let id = feed["channel"]["id"].as_str().unwrap();
    let channel = format!("/v1/data-in-channels/{id}");
    assert_eq!(hears(&platform, &channel, &machine("intruder", "headgate:channels.read")).await.0, 404);
    assert_eq!(hears(&platform, &channel, &machine("sensor", "headgate:channels.read")).await.0, 200);
    assert_eq!(hears(&platform, &channel, &machine("sensor", "channels.read")).await.0, 403);

    // The data listener takes the same tokens.
    let send = async |token: &str| {
        let url = format!("{}/v1/in/{id}/readings", platform.data);
        let record = json!([crate::harness::stage::reading(1)]);
        let answer = reqwest::Client::new().post(url).bearer_auth(token).json(&record).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(send(&machine("sensor", "headgate:data.write")).await, 202);
    assert_eq!(send(&machine("sensor", "headgate:data.read")).await, 403);
    assert_eq!(send(&machine("intruder", "headgate:data.write")).await, 404);
    assert_eq!(send(&issuer.token(&json!({"aud": "another"}))).await, 401);

    // The audit log names the person.
    let rows = admin.get(&format!("/v1/admin/audit?tenant={a}&page_size=1000")).await.unwrap();
    let named =
        rows["items"].as_array().unwrap().iter().any(|row| row["actor"] == "ann of https://login.example.com/main");
    assert!(named, "{rows}");

    // Unbound, it is nobody; suspended, it waits.
    admin.post(&format!("/v1/admin/tenants/{a}/suspend"), &json!({})).await.unwrap();
    assert_eq!(hears(&platform, "/v1/orders", &ann.token).await, (403, "tenant_suspended".to_owned()));
    admin.post(&format!("/v1/admin/tenants/{a}/resume"), &json!({})).await.unwrap();
    let path = format!("/v1/admin/tenants/{a}/identities/{}", farm["id"].as_str().unwrap());
    assert_eq!(with_token(&platform, Method::DELETE, &path, &admin.token).await.status, 204);
    assert_eq!(hears(&platform, "/v1/orders", &ann.token).await, (401, "invalid_token".to_owned()));
    bind(&b, "group", "farm").await;
    assert_eq!(hears(&platform, &channel, &ann.token).await, (404, "not_found".to_owned()), "of another tenant now");
}
