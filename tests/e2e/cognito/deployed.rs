//! What a platform team deploys by docs/aws.md, and a Headgate that runs with nothing but what came out of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, Pool, client, hears, login, tenant, with_token};
use crate::aws_account::Account;
use crate::harness::{ApiClient, Options, Platform, eventually};

/// What only looks.
const LOOKS: [&str; 5] = ["catalog.read", "channels.read", "usage.read", "events.read", "data.read"];

#[tokio::test]
async fn the_pool_and_role_of_our_templates_serve_tenants_clients_and_people_by_their_groups() {
    let Some(mut account) = Account::start().await else { return };
    let people = account.enforce("headgate").await;
    let by = json!({"TrustedPrincipal": "arn:aws:iam::123456789012:user/operator"});
    let role = account.deploy("headgate-role", "platform-role.yaml", &by).await;
    let wanted = json!({"DomainPrefix": "acme", "PlatformRole": role["RoleName"]});
    let made = account.deploy("headgate-pool", "user-pool.yaml", &wanted).await;
    let farm = json!({"Pool": made["PoolId"], "Tenant": "farm"});
    let groups = account.deploy("headgate-pool-farm", "user-pool-tenant.yaml", &farm).await;
    let other = account.ask("cognito-idp", "create_user_pool", &json!({"PoolName": "another"})).await;

    // Headgate's own processes have what the role has, and no other right.
    let session = account.session(&role["RoleArn"]).await;
    let directory = tempfile::Builder::new().prefix("headgate-e2e-").tempdir().unwrap();
    let file = directory.path().join("issuers.toml");
    // The account for tests is where AWS's own addresses do not lead.
    let here = format!(
        "jwks_url = '{url}/{pool}/.well-known/jwks.json'\nendpoint_url = '{url}'\nsweep_seconds = 1\n",
        url = account.url,
        pool = made["PoolId"]
    );
    std::fs::write(&file, format!("{}{here}", made["Settings"])).unwrap();
    let held =
        ["--aws-profiles", "file", "--aws-platform-role", &role["RoleArn"], "--aws-boundary", &role["BoundaryArn"]];
    let arguments = [["--issuers", file.to_str().unwrap()].as_slice(), &held].concat();
    let options = Options { environment: account.environment_of(&session), ..Options::arguments(&arguments) };
    let platform = Platform::start_in(directory, options).unwrap();
    let admin = platform.admin().await.unwrap();
    let (a, b) = (tenant(&admin, "A").await, tenant(&admin, "B").await);

    // A tenant's client is an app client of that pool, with its scopes and no other way in.
    let robot = client(&admin, &a, &["catalog.read", "channels.read"]).await;
    let others = client(&admin, &b, &["catalog.read", "channels.read"]).await;
    assert_eq!(robot["login"]["issuer"], made["Issuer"].as_str());
    assert_eq!(robot["token_url"], made["TokenUrl"].as_str());
    let named = json!({"UserPoolId": made["PoolId"], "ClientId": login(&robot)});
    let described = account.ask("cognito-idp", "describe_user_pool_client", &named).await["UserPoolClient"].clone();
    assert_eq!(described["AllowedOAuthFlows"], json!(["client_credentials"]));
    assert_eq!(described["AllowedOAuthScopes"], json!(["headgate/catalog.read", "headgate/channels.read"]));
    let pool = Pool { account: &account, id: made["PoolId"].clone(), console: made["PeopleClient"].clone() };
    let token = pool.machine(login(&robot), ALL);
    assert_eq!(hears(&platform, "/v1/data-out-channels", &token).await.0, 200);
    assert_eq!(hears(&platform, "/v1/usage", &token).await, (403, "insufficient_scope".to_owned()));

    // Groups of the stacks are roles once they are bound.
    let bind = async |path: String, name: &str, scopes: Option<Value>| {
        let mut body = json!({"issuer": made["Issuer"], "kind": "group", "name": name});
        if let Some(scopes) = scopes {
            body["scopes"] = scopes;
        }
        admin.post(&path, &body).await.unwrap()
    };
    let of_tenant = format!("/v1/admin/tenants/{a}/identities");
    bind("/v1/admin/identities".to_owned(), "headgate-administrators", None).await;
    bind(of_tenant.clone(), &groups["Owners"], None).await;
    bind(of_tenant, &groups["Readers"], Some(json!(LOOKS))).await;
    let there = account.ask("cognito-idp", "list_groups", &json!({"UserPoolId": made["PoolId"]})).await;
    assert_eq!(there["Groups"].as_array().unwrap().len(), 3, "{there}");
    let person =
        |name: &str, groups: &[&str]| json!({"log_in": {"client_id": pool.console, "name": name, "groups": groups}});
    let given = pool.tokens(&json!([
        person("ann", &[&groups["Owners"]]),
        person("ben", &[&groups["Readers"]]),
        person("cem", &["headgate-administrators"]),
        person("dee", &[]),
    ]));
    let access = |at: usize| given[at]["access"].as_str().unwrap();
    assert_eq!(hears(&platform, "/v1/admin/tenants", access(2)).await.0, 200);
    assert_eq!(hears(&platform, "/v1/admin/tenants", access(0)).await, (403, "admin_required".to_owned()));
    assert_eq!(hears(&platform, "/v1/orders", access(3)).await, (401, "invalid_token".to_owned()));

    // An owner orders a channel that the same role makes in the account; a reader sees it and orders none; the
    // other tenant does not find it.
    let mut order = crate::harness::stage::order_in("events");
    (order["channel_profile"], order["performance_profile"]) = (json!("file"), json!("S"));
    let with = |token: &str| ApiClient { token: token.to_owned(), ..admin.clone() };
    let refused = with(access(1)).send(Method::POST, "/v1/data-in-channels", Some(&order), &[]).await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (403, &json!("insufficient_scope")));
    let ordered = with(access(0)).post("/v1/data-in-channels", &order).await.unwrap();
    let path = format!("/v1/orders/{}", ordered["order"]["id"].as_str().unwrap());
    eventually("the channel", async || {
        let state = with(access(0)).get(&path).await.unwrap()["state"].clone();
        assert_ne!(state, "FAILED");
        (state == "SUCCEEDED").then_some(())
    })
    .await;
    let channel = format!("/v1/data-in-channels/{}", ordered["channel"]["id"].as_str().unwrap());
    let seen = with_token(&platform, Method::GET, &channel, access(1)).await;
    assert!(seen.body["status"]["endpoint"]["url"].as_str().unwrap().starts_with("s3://"), "{}", seen.body);
    let stranger = pool.machine(login(&others), ALL);
    assert_eq!(hears(&platform, &channel, &stranger).await, (404, "not_found".to_owned()));

    // The role reaches this pool alone, and no people in it.
    let mut who = people["operator"].clone();
    who["roles"] = json!([{"arn": role["RoleArn"]}]);
    let job = |call: &str, with: Value| json!({"as": who, "service": "cognito-idp", "call": call, "with": with});
    let list = |pool: &Value| job("list_user_pool_clients", json!({"UserPoolId": pool, "MaxResults": 1}));
    let person = json!({"UserPoolId": made["PoolId"], "Username": "eve"});
    let tries = [
        list(&json!(made["PoolId"])),
        list(&other["UserPool"]["Id"]),
        job("admin_create_user", person.clone()),
        job("delete_user_pool", json!({"UserPoolId": made["PoolId"]})),
    ];
    assert_eq!(account.client(&tries).await, ["ok", "refused", "refused", "refused"]);
}
