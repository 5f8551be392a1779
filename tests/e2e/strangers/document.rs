//! The running product against its own OpenAPI document, asked by schemathesis.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::stage::reading;
use crate::harness::{ApiClient, Database, Platform, Stage};
use crate::tidy::root;

#[tokio::test]
async fn the_running_api_keeps_its_document_on_sqlite() {
    keeps_its_document(Database::Sqlite).await;
}

#[tokio::test]
async fn the_running_api_keeps_its_document_on_postgres() {
    keeps_its_document(Database::Postgres).await;
}

async fn keeps_its_document(database: Database) {
    let stage = Stage::on(Platform::start(database).await.unwrap(), "events").await;
    stage.send(&[reading(1), reading(2)]).await;
    let out = stage.channel("api", json!({})).await;
    let (consumer, provider) = (&stage.consumer.api, &stage.provider.api);
    let admin = stage.platform.admin().await.unwrap();
    let tenant = admin.post("/v1/admin/tenants", &json!({"name": "Another"})).await.unwrap();
    let tenant = tenant["id"].as_str().unwrap();
    let made = async |api: &ApiClient, path: &str, body: Value| -> String {
        api.post(path, &body).await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let client = made(&admin, &format!("/v1/admin/tenants/{tenant}/clients"), json!({"name": "its"})).await;
    let endpoint = json!({"url": "http://127.0.0.1:9/hook", "types": ["io.headgate.channel.ready.v1"]});
    let endpoint = made(consumer, "/v1/event-endpoints", endpoint).await;
    let orders = consumer.get("/v1/orders").await.unwrap();
    let of = |direction: &str| format!("^/v1/data-{direction}-channels/\\\\{{channel\\\\}}");
    // What exists, by where it is named; what an operation ends is left to what it makes itself.
    let tenants = [
        (
            provider,
            vec![
                (of("in"), "channel", stage.feed.id.as_str()),
                ("^/v1/elements/".to_owned(), "element", stage.feed.element()),
            ],
        ),
        (
            consumer,
            vec![
                (of("out"), "channel", out.id.as_str()),
                ("^/v1/elements/".to_owned(), "element", stage.feed.element()),
                ("^/v1/orders/".to_owned(), "order", orders["items"][0]["id"].as_str().unwrap()),
                ("^/v1/event-endpoints/".to_owned(), "endpoint", endpoint.as_str()),
            ],
        ),
    ];
    for (api, there) in &tenants {
        schemathesis(&stage.platform, api, &["--exclude-path-regex", "^/v1/admin"], there);
    }
    let there =
        [("^/v1/admin/tenants/".to_owned(), "tenant", tenant), ("/clients/".to_owned(), "client", client.as_str())];
    schemathesis(&stage.platform, &admin, &["--include-path-regex", "^/v1/admin"], &there);
}

/// Asks for every operation selected, with one client, and names what is there to be named in paths.
fn schemathesis(platform: &Platform, api: &ApiClient, select: &[&str], there: &[(String, &str, &str)]) {
    let Some(python) = std::env::var_os("HEADGATE_TEST_PYTHON") else {
        panic!("HEADGATE_TEST_PYTHON is not set: run the tests by `cargo xtask test`")
    };
    let folder = root().join("tests/document");
    let mut settings = std::fs::read_to_string(folder.join("schemathesis.toml")).unwrap();
    for (path, name, id) in there {
        let _ = write!(
            settings,
            "\n[[operations]]\ninclude-path-regex = \"{path}\"\nexclude-method = \"DELETE\"\n\
             exclude-path-regex = \"/(offboard|revoke|suspend)$\"\nparameters = {{ \"path.{name}\" = \"{id}\" }}\n"
        );
    }
    let written = platform.directory().join("schemathesis.toml");
    std::fs::write(&written, settings).unwrap();
    let number = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let output = Command::new(python)
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file"])
        .arg(&written)
        .args(["run", &format!("{}/openapi.json", platform.control), "--no-color"])
        .args(["--header", &format!("Authorization: Bearer {}", api.token)])
        .args(["--max-examples", &number("HEADGATE_DOCUMENT_EXAMPLES", "4")])
        .args(["--seed", &number("HEADGATE_SOAK_SEED", "1")])
        .args(select)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", &folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(platform.directory())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{select:?}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{}", said.lines().filter(|line| line.contains("generated")).collect::<String>());
}
