//! What the disk was told, and what of it is durable.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::journal::{self, Entry};

/// The index that SQLite keeps of its log is shared memory; no power cut leaves any of it.
pub const SHARED_MEMORY: &str = "-shm";

/// A file or a directory, under all its names.
#[derive(Debug, Clone)]
pub enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Debug, Clone, Default)]
pub struct File {
    /// The bytes that a power cut leaves.
    pub durable: Vec<u8>,
    /// What was done since, oldest first, by step.
    pub pending: Vec<(u64, Change)>,
}

#[derive(Debug, Clone)]
pub enum Change {
    Write { offset: u64, data: Vec<u8> },
    Truncate { length: u64 },
}

#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The names as processes see them.
    pub now: BTreeMap<String, usize>,
    /// The names that a power cut leaves.
    pub durable: BTreeMap<String, usize>,
    /// What was done since, oldest first.
    pub pending: Vec<Naming>,
}

/// One change of a directory's names. What is in one of these happens as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Naming {
    pub step: u64,
    pub names: Vec<(String, Option<usize>)>,
    /// A name that moved to another directory is not gone before it is there.
    pub after: Option<(usize, u64)>,
}

impl Change {
    /// Does it to `bytes`.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Self::Truncate { length } => bytes.resize(*length as usize, 0),
        }
    }
}

impl Naming {
    /// Does it to a directory.
    pub fn apply(&self, names: &mut BTreeMap<String, usize>) {
        for (name, node) in &self.names {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }
}

/// The disk below one directory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub nodes: Vec<Node>,
    /// What a node was called first; its class says which sync it is.
    paths: Vec<String>,
    inodes: HashMap<u64, usize>,
    begun: HashMap<u64, (u64, usize)>,
    step: u64,
    ignored: Vec<String>,
    /// Syncs that ended, by class of what was synced.
    pub syncs: BTreeMap<String, u64>,
    /// What the processes said.
    pub said: Vec<String>,
    /// What could not be followed; then nothing here can be trusted.
    pub unknown: Vec<String>,
}

/// The root among the nodes.
pub const ROOT: usize = 0;

impl Disk {
    /// The disk that holds what is below `root` now, all of it durable. Files beside the
    /// directories of the root are somebody else's.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.add(fs::metadata(root).expect("the root is there").ino(), "", Node::Directory(Directory::default()));
        disk.scan(root, ROOT, "");
        disk
    }

    /// Takes syncs of these classes for nothing.
    pub fn ignoring(mut self, classes: &[&str]) -> Self {
        self.ignored = classes.iter().map(|class| (*class).to_owned()).collect();
        self
    }

    /// A disk that holds what is below `root` and goes on counting and ignoring as this one does.
    pub fn again(&mut self, root: &Path) {
        let new = Self {
            ignored: std::mem::take(&mut self.ignored),
            syncs: std::mem::take(&mut self.syncs),
            said: std::mem::take(&mut self.said),
            unknown: std::mem::take(&mut self.unknown),
            ..Self::of(root)
        };
        *self = new;
    }

    fn add(&mut self, inode: u64, path: &str, node: Node) -> usize {
        self.nodes.push(node);
        self.paths.push(path.to_owned());
        self.inodes.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn scan(&mut self, from: &Path, into: usize, prefix: &str) {
        for entry in fs::read_dir(from).expect("the directory can be read").flatten() {
            let (name, metadata) = (name_of(&entry), entry.metadata().expect("it is there"));
            if name.ends_with(SHARED_MEMORY) || (into == ROOT && metadata.is_file()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            // Another name of a file that was met already.
            let known = self.inodes.get(&metadata.ino()).copied();
            let node = match (known, metadata.is_dir()) {
                (Some(node), _) => node,
                (None, true) => {
                    let node = self.add(metadata.ino(), &path, Node::Directory(Directory::default()));
                    self.scan(&entry.path(), node, &format!("{path}/"));
                    node
                }
                (None, false) => {
                    let durable = fs::read(entry.path()).expect("the file can be read");
                    self.add(metadata.ino(), &path, Node::File(File { durable, pending: Vec::new() }))
                }
            };
            let directory = self.directory(into);
            directory.now.insert(name.clone(), node);
            directory.durable.insert(name, node);
        }
    }

    fn directory(&mut self, node: usize) -> &mut Directory {
        match &mut self.nodes[node] {
            Node::Directory(directory) => directory,
            Node::File(_) => panic!("{} is no directory", self.paths[node]),
        }
    }

    /// The directory of a path, and the last part of it.
    fn place<'p>(&mut self, path: &'p str) -> (usize, &'p str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = ROOT;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            at = *self.directory(at).now.get(part).unwrap_or_else(|| panic!("{path} has no directory"));
        }
        (at, name)
    }

    fn find(&mut self, path: &str) -> usize {
        let (parent, name) = self.place(path);
        *self.directory(parent).now.get(name).unwrap_or_else(|| panic!("{path} is unknown"))
    }

    fn name(&mut self, parent: usize, names: Vec<(String, Option<usize>)>, after: Option<(usize, u64)>) {
        let naming = Naming { step: self.step, names, after };
        let directory = self.directory(parent);
        naming.apply(&mut directory.now);
        directory.pending.push(naming);
    }

    fn change(&mut self, inode: u64, change: Change) {
        // A file that was forgotten when its last name went may still be written to.
        if let Some(node) = self.inodes.get(&inode)
            && let Node::File(file) = &mut self.nodes[*node]
        {
            file.pending.push((self.step, change));
        }
    }

    /// Follows a journal.
    pub fn follow(&mut self, journal: &[u8]) {
        for entry in journal::entries(journal) {
            self.take(entry);
        }
    }

    /// Follows one entry.
    pub fn take(&mut self, entry: Entry<'_>) {
        self.step += 1;
        match entry {
            Entry::MakeDirectory { path, inode } => {
                let node = self.add(inode, path, Node::Directory(Directory::default()));
                let (parent, name) = self.place(path);
                self.name(parent, vec![(name.to_owned(), Some(node))], None);
            }
            Entry::Create { path, inode } => {
                let node = self.add(inode, path, Node::File(File::default()));
                let (parent, name) = self.place(path);
                self.name(parent, vec![(name.to_owned(), Some(node))], None);
            }
            Entry::Write { inode, offset, data } => self.change(inode, Change::Write { offset, data: data.to_vec() }),
            Entry::Truncate { inode, length } => self.change(inode, Change::Truncate { length }),
            Entry::SyncBegin { number, inode } => {
                if let Some(node) = self.inodes.get(&inode) {
                    self.begun.insert(number, (self.step, *node));
                }
            }
            Entry::SyncEnd { number } => {
                if let Some((begun, node)) = self.begun.remove(&number) {
                    self.sync(begun, node);
                }
            }
            Entry::Rename { from, to } => self.rename(from, to),
            Entry::Link { from, to } => {
                let node = self.find(from);
                let (parent, name) = self.place(to);
                self.name(parent, vec![(name.to_owned(), Some(node))], None);
            }
            Entry::Unlink { path } | Entry::RemoveDirectory { path } => {
                let (parent, name) = self.place(path);
                self.name(parent, vec![(name.to_owned(), None)], None);
            }
            Entry::Mark(text) => self.said.extend(text.lines().map(str::to_owned)),
            Entry::Unknown(what) => self.unknown.push(what.to_owned()),
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let node = self.find(from);
        to.clone_into(&mut self.paths[node]);
        let ((old, old_name), (new, new_name)) = (self.place(from), self.place(to));
        let (gone, there) = ((old_name.to_owned(), None), (new_name.to_owned(), Some(node)));
        if old == new {
            self.name(new, vec![gone, there], None);
        } else {
            self.name(new, vec![there], None);
            self.name(old, vec![gone], Some((new, self.step)));
        }
    }

    /// Whatever was done to a node before `begun` is durable.
    fn sync(&mut self, begun: u64, node: usize) {
        let class = self.class(node);
        *self.syncs.entry(class.clone()).or_default() += 1;
        if self.ignored.contains(&class) {
            return;
        }
        match &mut self.nodes[node] {
            Node::File(file) => {
                let due = file.pending.partition_point(|(step, _)| *step < begun);
                for (_, change) in file.pending.drain(..due) {
                    change.apply(&mut file.durable);
                }
            }
            Node::Directory(directory) => {
                let pending = std::mem::take(&mut directory.pending);
                let mut kept = Vec::new();
                for naming in pending {
                    let waits = naming.after.is_some_and(|(other, step)| match &self.nodes[other] {
                        Node::Directory(other) => other.pending.iter().any(|naming| naming.step == step),
                        Node::File(_) => false,
                    });
                    if naming.step >= begun || waits {
                        kept.push(naming);
                    } else {
                        naming.apply(&mut self.directory(node).durable);
                    }
                }
                self.directory(node).pending = kept;
            }
        }
    }

    /// Which kind of file or directory it is: its path with numbers and ids left out. The name of a
    /// directory ends with a slash.
    fn class(&self, node: usize) -> String {
        let class = classify(&self.paths[node]);
        if matches!(self.nodes[node], Node::Directory(_)) { format!("{class}/") } else { class }
    }

    /// The bytes of a file as processes see them.
    pub fn bytes_now(file: &File) -> Vec<u8> {
        let mut bytes = file.durable.clone();
        file.pending.iter().for_each(|(_, change)| change.apply(&mut bytes));
        bytes
    }

    /// After a kill: holds what processes see against what is there, and takes what is there. Says
    /// what differed. At most the one change that the kill came upon may: its record was not written.
    pub fn compare(&mut self, root: &Path) -> Vec<String> {
        let mut different = Vec::new();
        self.compare_directory(root, ROOT, "", &mut different);
        different
    }

    fn compare_directory(&mut self, real: &Path, node: usize, prefix: &str, different: &mut Vec<String>) {
        let known = self.directory(node).now.clone();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(real).expect("the directory can be read").flatten() {
            let metadata = entry.metadata().expect("it is there");
            if !(node == ROOT && metadata.is_file()) {
                found.insert(name_of(&entry), metadata);
            }
        }
        for name in known.keys().filter(|name| !found.contains_key(*name)) {
            different.push(format!("{prefix}{name} is gone"));
            self.take(Entry::Unlink { path: &format!("{prefix}{name}") });
        }
        for (name, metadata) in found {
            let (path, real) = (format!("{prefix}{name}"), real.join(&name));
            let inode = metadata.ino();
            if name.ends_with(SHARED_MEMORY) {
                continue;
            }
            match known.get(&name) {
                Some(_) if metadata.is_dir() => {}
                Some(known) => {
                    let bytes = fs::read(&real).expect("the file can be read");
                    let same = match &self.nodes[*known] {
                        Node::File(file) => Self::bytes_now(file) == bytes,
                        Node::Directory(_) => false,
                    };
                    if !same {
                        different.push(format!("{path} has other bytes"));
                        self.inodes.insert(inode, *known);
                        self.take(Entry::Truncate { inode, length: 0 });
                        self.take(Entry::Write { inode, offset: 0, data: &bytes });
                    }
                    continue;
                }
                None if metadata.is_dir() => {
                    different.push(format!("{path} was made"));
                    self.take(Entry::MakeDirectory { path: &path, inode });
                }
                None => {
                    different.push(format!("{path} was made"));
                    self.take(Entry::Create { path: &path, inode });
                    let bytes = fs::read(&real).expect("the file can be read");
                    self.take(Entry::Write { inode, offset: 0, data: &bytes });
                    continue;
                }
            }
            let node = self.find(&path);
            self.compare_directory(&real, node, &format!("{path}/"), different);
        }
    }
}

fn name_of(entry: &fs::DirEntry) -> String {
    entry.file_name().into_string().expect("names are UTF-8")
}

/// A path with `*` for what is numbered or has an id, and without the suffix of a staged file.
fn classify(path: &str) -> String {
    let part = |part: &str| {
        let part = part.split('#').next().unwrap_or_default();
        let (stem, extension) = part.split_once('.').map_or((part, None), |(stem, rest)| (stem, Some(rest)));
        let stem = if stem.contains(|c: char| c.is_ascii_digit()) { "*" } else { stem };
        let extension = extension.map(|rest| {
            let words = rest.split('.').filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            words.map(|word| format!(".{word}")).collect::<String>()
        });
        format!("{stem}{}", extension.unwrap_or_default())
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
