//! What `cargo xtask test --only` knows by a name that is no part of a test's.

/// A name, and the parts of tests' names that it stands for.
pub const SELECTIONS: &[(&str, &[&str])] = &[("aws", AWS)];

/// Everything that shows what Headgate does with AWS, and what stands beside it without AWS: the promises of
/// every driver and of every sink.
const AWS: &[&str] = &[
    "aws",
    "cloud",
    "cognito",
    "driver",
    "ingest::source",
    "technology::file::bucket",
    "technology::queue::sqs",
    "technology::stream::kinesis",
    "technology::tests",
];

/// The filter of nextest for a name that stands for others.
#[must_use]
pub fn filter(only: &str) -> Option<String> {
    let (_, parts) = SELECTIONS.iter().find(|(name, _)| *name == only)?;
    Some(parts.iter().map(|part| format!("test({part})")).collect::<Vec<_>>().join(" + "))
}
