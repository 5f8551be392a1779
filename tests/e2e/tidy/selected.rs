//! `cargo xtask test --only aws` plays every test that has an account of AWS, and what it is compared with.

use super::sources;
use crate::selections::SELECTIONS;

/// What a test says that has an account.
const WITH_ACCOUNT: [&str; 5] = ["Account::start(", "CloudStage::start", "Cloud::new(", "Cloud::on_sqlite(", "pytest("];
/// Suites over every implementation, and others that stand for a part of the promises.
const AND: [&str; 6] = [
    "the_embedded_driver_keeps_every_promise_of_a_driver",
    "every_sink_takes_ranges_again_and_empty_ones_and_remembers_across_a_restart",
    "a_bucket_holds_the_files_and_the_manifest_that_a_directory_holds",
    "a_fifo_queue_has_each_record_once_and_each_key_in_order_whatever_part_of_a_batch_fails",
    "records_of_a_key_are_in_one_shard_in_order_whatever_part_of_a_request_fails",
    "every_message_lands_once_whatever_is_lost_on_the_way",
];

/// The module of a source file, as tests are named by it.
fn module(path: &str) -> String {
    let (_, inner) = path.split_once("/src/").or_else(|| path.split_once("tests/e2e/")).unwrap_or_default();
    inner.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

#[test]
fn everything_that_has_an_account_of_aws_is_played_by_its_name() {
    let (_, parts) = SELECTIONS.iter().find(|(name, _)| *name == "aws").unwrap();
    let (mut looked_at, mut left_out, mut missing) = (0, Vec::new(), AND.to_vec());
    for (path, text) in sources(&[".rs"]) {
        let module = module(&path);
        if module.starts_with("tidy") {
            continue;
        }
        for test in text.split("#[tokio::test").flat_map(|part| part.split("#[test]")).skip(1) {
            let name = test.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map_or("", |(name, _)| name);
            missing.retain(|wanted| *wanted != name);
            if !WITH_ACCOUNT.iter().any(|said| test.contains(said)) && !AND.contains(&name) {
                continue;
            }
            looked_at += 1;
            let name = format!("{module}::{name}");
            if !parts.iter().any(|part| name.contains(part)) {
                left_out.push(name);
            }
        }
    }
    assert!(looked_at > 40, "{looked_at} tests have an account");
    assert!(left_out.is_empty(), "not played by --only aws: {left_out:#?}");
    assert!(missing.is_empty(), "there is no test {missing:?}");
}
