//! The disk itself, told what to do by programs of the machine.

use std::path::Path;
use std::process::Command;

use crate::power_cut::{Disk, Loss, Recorder, folder};

/// What a shell did in an empty directory, and what each kind of loss leaves of it: paths and contents.
fn left(script: &str, loss: Loss) -> Vec<String> {
    let (root, recorder) = (folder(), Recorder::new());
    std::fs::create_dir(root.path().join("d")).unwrap();
    let mut disk = Disk::of(root.path());
    let environment = recorder.environment(root.path());
    let shell = Command::new("sh").args(["-ec", script]).current_dir(root.path().join("d")).envs(environment).status();
    assert!(shell.unwrap().success());
    disk.follow(&recorder.take());
    assert_eq!(disk.unknown, Vec::<String>::new());
    assert_eq!(disk.compare(root.path()), Vec::<String>::new());
    disk.cut(root.path(), &mut loss.clone());
    disk.again(root.path());
    let mut found = Vec::new();
    list(&root.path().join("d"), "", &mut found);
    found.sort();
    found
}

fn list(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(format!("{name}={}", std::fs::read_to_string(entry.path()).unwrap().trim()));
        }
    }
}

#[test]
fn a_file_is_there_when_it_and_its_name_were_synced() {
    let all = |script: &str| left(script, Loss::Everything);
    assert_eq!(all("echo 1 > a; sync a; sync ."), ["a=1"]);
    assert_eq!(all("echo 1 > a; sync a"), [""; 0], "no name");
    assert_eq!(all("echo 1 > a; sync ."), ["a="], "no bytes");
    assert_eq!(all("echo 1 > a; sync a .; echo 2 >> a"), ["a=1"]);
    assert_eq!(left("echo 1 > a; echo 2 > b; sync b", Loss::Bytes), ["a=", "b=2"]);
}

#[test]
fn names_that_moved_or_went_do_so_when_their_directory_is_synced() {
    let all = |script: &str| left(script, Loss::Everything);
    let synced = "echo 1 > a; mkdir e; sync a . e; ";
    assert_eq!(all(&format!("{synced} mv a b")), ["a=1"]);
    assert_eq!(all(&format!("{synced} mv a b; sync .")), ["b=1"]);
    assert_eq!(all(&format!("{synced} rm a")), ["a=1"]);
    assert_eq!(all(&format!("{synced} rm a; sync .")), [""; 0]);
    assert_eq!(all(&format!("{synced} ln a b; rm a; sync .")), ["b=1"]);
    // A move between directories loses the file at no time.
    assert_eq!(all(&format!("{synced} mv a e/b; sync .")), ["a=1"]);
    assert_eq!(all(&format!("{synced} mv a e/b; sync e")), ["a=1", "e/b=1"]);
    assert_eq!(all(&format!("{synced} mv a e/b; sync e .")), ["e/b=1"]);
    assert_eq!(all("mkdir f; echo 1 > f/a; sync f/a f"), [""; 0], "the directory has no name");
}

#[test]
fn chance_is_the_same_for_the_same_seed_and_differs_between_seeds() {
    let script = "for n in 1 2 3 4 5 6 7 8; do echo $n > $n; echo $n >> $n; done";
    let by = |seed: u64| left(script, Loss::by_chance(seed));
    let all: Vec<Vec<String>> = (0..8).map(by).collect();
    assert_eq!(all, (0..8).map(by).collect::<Vec<_>>());
    assert!(all.iter().any(|left| left != &all[0]), "{all:?}");
}
