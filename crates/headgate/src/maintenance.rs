//! Commands that look at the state and end: migrations, the OpenAPI document, proofs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use headgate_access::{PLATFORM, audit};
use headgate_database::{Db, Part};
use headgate_types::{SystemClock, TenantId};
use url::Url;

use crate::config::Config;
use crate::directory::Directory;
use crate::serve;

/// `headgate migrate`.
pub async fn migrate(config: Config) -> Result<()> {
    let directory = Directory::open(&config.data_dir)?;
    let options = serve::database_options(&config, &directory);
    for part in Part::ALL {
        Db::migrate(&options, part).await.with_context(|| format!("failed to migrate the {} tables", part.as_str()))?;
    }
    say("the tables are up to date");
    Ok(())
}

/// `headgate openapi`.
pub fn openapi(output: Option<&Path>) -> Result<()> {
    write(&headgate_control_api::openapi_json(), output)
}

/// `headgate asyncapi`.
pub fn asyncapi(output: Option<&Path>) -> Result<()> {
    write(&format!("{:#}\n", serve::asyncapi()), output)
}

fn write(document: &str, output: Option<&Path>) -> Result<()> {
    match output {
        Some(file) => std::fs::write(file, document).with_context(|| format!("failed to write {}", file.display())),
        None => {
            say(document.trim_end());
            Ok(())
        }
    }
}

/// `headgate usage reconcile`.
pub async fn reconcile(config: Config) -> Result<()> {
    let directory = Directory::open(&config.data_dir)?;
    let (_, data) = serve::databases(&config, &directory).await?;
    let mut tx = data.read_platform().await?;
    let books = headgate_fanout_engine::books(&mut tx).await?;
    let report = headgate_metering::reconcile(&mut tx, None, &books).await?;
    if let Some(first) = report.differences.first() {
        bail!(
            "usage and deliveries differ in {} places; the first: {}",
            report.difference_count,
            serde_json::to_string(first)?
        );
    }
    say(&format!(
        "usage equals deliveries: {} flows, {} records, {} bytes",
        report.flows, report.delivered_records, report.delivered_bytes
    ));
    Ok(())
}

/// `headgate audit verify`.
pub async fn verify_audit(config: Config) -> Result<()> {
    let directory = Directory::open(&config.data_dir)?;
    let (control, _) = serve::databases(&config, &directory).await?;
    let mut tx = control.read_platform().await?;
    let tenants: Vec<TenantId> = audit::tenants(&mut tx).await?;
    let mut rows = 0;
    for tenant in &tenants {
        let report = audit::verify(&mut tx, *tenant).await?;
        if let Some(broken) = report.broken_at {
            let whose = if *tenant == PLATFORM { "the platform".to_owned() } else { tenant.to_string() };
            bail!("the audit log of {whose} was changed at row {broken}; {} rows before it are intact", report.intact);
        }
        rows += report.intact;
    }
    say(&format!("{rows} audit rows of {} chains are intact", tenants.len()));
    Ok(())
}

/// `headgate keys rotate`.
pub async fn rotate_keys(config: Config) -> Result<()> {
    let directory = Directory::open(&config.data_dir)?;
    let (control, _) = serve::databases(&config, &directory).await?;
    // Whoever asks for no token needs no issuer's address.
    let issuer = Url::parse("http://localhost/")?;
    let seconds = config.token_seconds;
    let access = serve::access(&directory, &control, &SystemClock::shared(), &issuer, seconds, Vec::new()).await?;
    let key = access.rotate_signing_key().await?.kid;
    access.audit(audit::Entry::by_platform(PLATFORM, "signing_key.rotate", &key)).await?;
    say(&format!("{key} signs from now on; tokens of the key before are good until they expire"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use headgate_events::EventType;

    use super::*;
    use crate::config::Settings;

    #[tokio::test]
    async fn a_rotated_signing_key_signs_from_then_on_and_the_rotation_is_on_the_record() {
        let root = tempfile::tempdir().unwrap();
        let settings = Settings { data_dir: Some(root.path().to_owned()), ..Settings::default() };
        let config = settings.resolve().unwrap();
        migrate(config.clone()).await.unwrap();
        let keys = async || {
            let directory = Directory::open(&config.data_dir).unwrap();
            let (control, _) = serve::databases(&config, &directory).await.unwrap();
            let (clock, issuer) = (SystemClock::shared(), Url::parse("http://localhost/").unwrap());
            let access = serve::access(&directory, &control, &clock, &issuer, 3_600, Vec::new()).await.unwrap();
            let keys = access.jwks().await.unwrap().keys;
            let mut tx = control.read_platform().await.unwrap();
            let said = audit::list(&mut tx, PLATFORM, None, 10).await.unwrap();
            let rotations: Vec<_> = said.into_iter().filter(|row| row.action == "signing_key.rotate").collect();
            (keys.into_iter().map(|key| key.kid).collect::<Vec<_>>(), rotations)
        };
        let (before, rotations) = keys().await;
        assert_eq!((before.len(), rotations.len()), (1, 0));
        rotate_keys(config.clone()).await.unwrap();
        let (after, rotations) = keys().await;
        assert_eq!(after.len(), 2);
        assert!(after[0] != before[0] && after[1] == before[0], "the new one signs, the old one is known still");
        assert_eq!((rotations.len(), &rotations[0].resource), (1, &after[0]));
    }

    #[test]
    fn the_asyncapi_document_in_the_repository_is_the_one_generated_and_tells_every_event_once() {
        let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
        let file = root.join("openapi/asyncapi.json");
        let written = tempfile::NamedTempFile::new().unwrap();
        asyncapi(Some(written.path())).unwrap();
        let text = std::fs::read_to_string(written.path()).unwrap();
        if std::env::var_os("HEADGATE_BLESS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(found == text, "openapi/asyncapi.json is out of date; run with HEADGATE_BLESS=1");

        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let messages = document["components"]["messages"].as_object().unwrap().values();
        let mut told: Vec<EventType> =
            messages.map(|message| serde_json::from_value(message["name"].clone()).unwrap()).collect();
        told.sort_unstable();
        assert_eq!(told, EventType::ALL);
        // Whatever is referred to is there.
        for reference in text.split("\"$ref\": \"#").skip(1) {
            let pointer = &reference[..reference.find('"').unwrap()];
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
