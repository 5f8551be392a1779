//! The power is cut.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::disk::{Change, Directory, Disk, File, Node, ROOT, SHARED_MEMORY};

/// A disk writes this much or nothing.
const SECTOR: u64 = 512;

/// What becomes of changes that were not synced.
#[derive(Debug, Clone)]
pub enum Loss {
    /// They are lost.
    Everything,
    /// Names are kept, and what the files hold is lost.
    Bytes,
    /// Chance decides, for each file and directory by itself: all, none, the oldest, or any of them,
    /// a write also in part.
    Chance(Chance),
}

impl Loss {
    /// By chance, the same for the same seed.
    pub fn by_chance(seed: u64) -> Self {
        Self::Chance(Chance(seed))
    }
}

/// Numbers by splitmix64: <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// Which of `count` changes, oldest first, reached the disk.
    fn choose(&mut self, count: usize) -> Vec<bool> {
        match self.below(4) {
            0 => vec![false; count],
            1 => vec![true; count],
            2 => {
                let oldest = self.below(count as u64 + 1) as usize;
                (0..count).map(|index| index < oldest).collect()
            }
            _ => (0..count).map(|_| self.below(2) == 0).collect(),
        }
    }

    /// What of a write reached the disk: all of it, or the sectors up to some point, or from there.
    fn tear(&mut self, change: &Change) -> Change {
        let Change::Write { offset, data } = change else { return change.clone() };
        let end = offset + data.len() as u64;
        let sectors = end / SECTOR - offset / SECTOR;
        if sectors == 0 || self.below(4) != 0 {
            return change.clone();
        }
        let at = (offset / SECTOR + 1 + self.below(sectors)) * SECTOR;
        let at = at.clamp(*offset, end);
        let middle = (at - offset) as usize;
        if self.below(2) == 0 {
            Change::Write { offset: *offset, data: data[..middle].to_vec() }
        } else {
            Change::Write { offset: at, data: data[middle..].to_vec() }
        }
    }
}

impl Disk {
    /// Puts below `root`, in place of the directories there, what is left when the power is cut now.
    pub fn cut(&self, root: &Path, loss: &mut Loss) {
        for entry in fs::read_dir(root).expect("the root can be read").flatten() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).expect("what was there goes");
            }
        }
        let names = self.names_left(loss);
        let mut written = HashMap::new();
        self.put(ROOT, root, &names, loss, &mut written);
    }

    /// The names that are left, by directory.
    fn names_left(&self, loss: &mut Loss) -> HashMap<usize, BTreeMap<String, usize>> {
        let mut kept = HashSet::new();
        let directories: Vec<(usize, &Directory)> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(node, found)| match found {
                Node::Directory(directory) => Some((node, directory)),
                Node::File(_) => None,
            })
            .collect();
        for (node, directory) in &directories {
            let choice = match loss {
                Loss::Everything => continue,
                Loss::Bytes => vec![true; directory.pending.len()],
                Loss::Chance(chance) => chance.choose(directory.pending.len()),
            };
            let chosen = directory.pending.iter().zip(choice).filter(|(_, chosen)| *chosen);
            kept.extend(chosen.map(|(naming, _)| (*node, naming.step)));
        }
        let is_durable = |(other, step): (usize, u64)| match &self.nodes[other] {
            Node::Directory(other) => other.pending.iter().all(|naming| naming.step != step),
            Node::File(_) => true,
        };
        let left = directories.into_iter().map(|(node, directory)| {
            let mut names = directory.durable.clone();
            for naming in directory.pending.iter().filter(|naming| kept.contains(&(node, naming.step))) {
                if naming.after.is_none_or(|other| kept.contains(&other) || is_durable(other)) {
                    naming.apply(&mut names);
                }
            }
            (node, names)
        });
        left.collect()
    }

    fn put(
        &self,
        node: usize,
        at: &Path,
        names: &HashMap<usize, BTreeMap<String, usize>>,
        loss: &mut Loss,
        written: &mut HashMap<usize, PathBuf>,
    ) {
        for (name, node) in names.get(&node).into_iter().flatten() {
            let path = at.join(name);
            if name.ends_with(SHARED_MEMORY) {
                continue;
            }
            match &self.nodes[*node] {
                // A directory has one name; a second one is a move whose other half was lost.
                Node::Directory(_) if written.contains_key(node) => {}
                Node::Directory(_) => {
                    written.insert(*node, path.clone());
                    fs::create_dir(&path).expect("the directory can be made");
                    self.put(*node, &path, names, loss, written);
                }
                Node::File(file) => match written.get(node) {
                    Some(first) => fs::hard_link(first, &path).expect("the second name can be given"),
                    None => {
                        fs::write(&path, bytes_left(file, loss)).expect("the file can be written");
                        written.insert(*node, path);
                    }
                },
            }
        }
    }
}

fn bytes_left(file: &File, loss: &mut Loss) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    if let Loss::Chance(chance) = loss {
        let choice = chance.choose(file.pending.len());
        for ((_, change), _) in file.pending.iter().zip(choice).filter(|(_, chosen)| *chosen) {
            chance.tear(change).apply(&mut bytes);
        }
    }
    bytes
}
