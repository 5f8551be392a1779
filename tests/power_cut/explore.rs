//! One recorded run, and the power cut at many moments of it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Disk, Entry, Loss, Recorder, entries, folder};

/// Names the directory that a recorded process works in.
pub const DIRECTORY: &str = "HEADGATE_POWER_DIRECTORY";

/// For the process that is recorded: makes `directory` below where it works, durable, and says so.
/// `None` in a process that nobody records.
pub fn recorded(directory: &str) -> Option<PathBuf> {
    let root = PathBuf::from(std::env::var_os(DIRECTORY)?);
    let made = root.join(directory);
    std::fs::create_dir(&made).expect("it is made once");
    std::fs::File::open(root).and_then(|root| root.sync_all()).expect("it can be synced");
    println!("made 0");
    Some(made)
}

/// What a process did to its disk.
pub struct Recording {
    pub journal: Vec<u8>,
    /// Before anything was done.
    pub disk: Disk,
    /// Where it was done.
    pub root: tempfile::TempDir,
}

impl Recording {
    /// Runs an ignored test of this binary in a process that is recorded; its syncs take
    /// `microseconds`.
    pub fn of(test: &str, microseconds: u32) -> Self {
        let (root, recorder) = (folder(), Recorder::new());
        let disk = Disk::of(root.path());
        let status = Command::new(std::env::current_exe().expect("the test binary is there"))
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(DIRECTORY, root.path())
            .envs(recorder.environment(root.path()))
            .env("HEADGATE_POWER_SYNC_US", microseconds.to_string())
            .env("HEADGATE_POWER_MARKS", "yes")
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{test} failed");
        Self { journal: recorder.take(), disk, root }
    }

    /// Cuts the power `cuts` times, spread over the run, and where names are given to what should be
    /// whole by then. `check` is given what is left and what was said until then.
    ///
    /// Fails when something is wrong after a cut, or when the recorder missed something.
    pub async fn survives<F>(&self, cuts: usize, check: impl Fn(PathBuf, Vec<String>) -> F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let all = entries(&self.journal);
        let chosen: BTreeSet<usize> = (0..cuts).map(|cut| all.len() * (2 * cut + 1) / (2 * cuts)).collect();
        let (mut disk, mut problems, mut links) = (self.disk.clone(), Vec::new(), 0_usize);
        for (at, entry) in all.iter().enumerate() {
            disk.take(*entry);
            let mut losses = Vec::new();
            if chosen.contains(&at) {
                losses.extend([Loss::Everything, Loss::by_chance(at as u64)]);
            }
            // Links are many: every fourth.
            links += usize::from(matches!(entry, Entry::Link { .. }));
            if matches!(entry, Entry::Rename { .. }) || (matches!(entry, Entry::Link { .. }) && links % 4 == 0) {
                losses.push(Loss::Bytes);
            }
            for loss in losses {
                if let Some(problem) = cut(&disk, loss.clone(), &check).await {
                    problems.push(format!("cut after {at} of {} with {loss:?}: {problem}", all.len()));
                }
            }
        }
        assert!(disk.said.iter().any(|line| line == "done"), "the run came to its end");
        assert_eq!(disk.unknown, Vec::<String>::new(), "the recorder can follow everything");
        assert_eq!(disk.compare(self.root.path()), Vec::<String>::new(), "the recorder saw every change");
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }

    /// The kinds of files whose syncs can be taken for nothing without `check` finding anything, of
    /// those not in `known`.
    pub async fn not_needed<F>(&self, known: &[&str], check: impl Fn(PathBuf, Vec<String>) -> F) -> Vec<String>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut disk = self.disk.clone();
        let mut syncs = BTreeMap::<String, Vec<usize>>::new();
        for (at, entry) in entries(&self.journal).iter().enumerate() {
            disk.take(*entry);
            for class in std::mem::take(&mut disk.syncs).into_keys() {
                syncs.entry(class).or_default().push(at);
            }
        }
        syncs.retain(|class, _| !known.iter().any(|known| class.ends_with(known)));
        let mut not_needed = Vec::new();
        for (class, syncs) in &syncs {
            // The first, the last and some between.
            let step = (syncs.len() / 4).max(1);
            let chosen: Vec<usize> = syncs.iter().step_by(step).chain(syncs.last()).copied().collect();
            match self.shown_by(class, &chosen, &check).await {
                Some(problem) => eprintln!("without syncs of {class}: {}", problem.lines().next().unwrap_or_default()),
                None => not_needed.push(class.clone()),
            }
        }
        not_needed
    }

    /// Cuts after syncs of `class` that were taken for nothing, until one shows it.
    async fn shown_by<F>(
        &self,
        class: &str,
        syncs: &[usize],
        check: &impl Fn(PathBuf, Vec<String>) -> F,
    ) -> Option<String>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let all = entries(&self.journal);
        let is_said = |entry: &Entry<'_>| matches!(entry, Entry::Mark(text) if text.contains(' '));
        // When the next thing is promised, in the middle of what is done until then, and much later.
        let mut cuts = BTreeSet::from([all.len() / 2, all.len() - 1]);
        for sync in syncs {
            let next = all[*sync..].iter().position(is_said).unwrap_or(all.len() - 1 - sync);
            cuts.extend([sync + next, sync + next / 2, sync + next.min(2)]);
        }
        // SQLite's rollback journal lives for a moment, when a file is made.
        let moment = class.ends_with("-journal");
        if moment {
            cuts.extend(syncs.iter().flat_map(|sync| *sync..sync + 12));
        }
        let mut disk = self.disk.clone().ignoring(&[class]);
        for (at, entry) in all.iter().enumerate() {
            disk.take(*entry);
            if cuts.contains(&at) {
                let chances = if moment { 12 } else { 4 };
                let by_chance = (0..chances).map(|chance| Loss::by_chance((at * 12 + chance) as u64));
                for loss in [Loss::Everything, Loss::Bytes].into_iter().chain(by_chance) {
                    if let Some(problem) = cut(&disk, loss.clone(), check).await {
                        return Some(format!("cut after {at} of {} with {loss:?}: {problem}", all.len()));
                    }
                }
            }
        }
        None
    }
}

/// What is wrong after a cut, if anything.
async fn cut<F>(disk: &Disk, mut loss: Loss, check: &impl Fn(PathBuf, Vec<String>) -> F) -> Option<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let root = folder();
    disk.cut(root.path(), &mut loss);
    match tokio::spawn(check(root.path().to_owned(), disk.said.clone())).await {
        Ok(result) => result.err(),
        Err(panic) => Some(panic.to_string()),
    }
}
