//! The journal's records; `disk.c` writes them.

/// One change, or one sync, in the order of the disk. Paths are below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    MakeDirectory {
        path: &'a str,
        inode: u64,
    },
    Create {
        path: &'a str,
        inode: u64,
    },
    Write {
        inode: u64,
        offset: u64,
        data: &'a [u8],
    },
    Truncate {
        inode: u64,
        length: u64,
    },
    SyncBegin {
        number: u64,
        inode: u64,
    },
    SyncEnd {
        number: u64,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    Link {
        from: &'a str,
        to: &'a str,
    },
    Unlink {
        path: &'a str,
    },
    RemoveDirectory {
        path: &'a str,
    },
    /// A line that the process said.
    Mark(&'a str),
    /// Something that the recorder cannot follow.
    Unknown(&'a str),
}

const HEADER: usize = 32;

/// The entries of a journal. A record cut short by the end of its process was not acted on.
pub fn entries(bytes: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((header, body)) = rest.split_at_checked(HEADER) {
        let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")) as usize;
        let (a, b, first, second) = (long(8), long(16), short(24), short(28));
        let Some((names, behind)) = body.split_at_checked(first + second) else { break };
        let (first, data) = names.split_at(first);
        let text = |bytes| std::str::from_utf8(bytes).expect("names are UTF-8");
        entries.push(match header[0] {
            1 => Entry::MakeDirectory { path: text(first), inode: a },
            2 => Entry::Create { path: text(first), inode: a },
            3 => Entry::Write { inode: a, offset: b, data },
            4 => Entry::Truncate { inode: a, length: b },
            5 => Entry::SyncBegin { number: a, inode: b },
            6 => Entry::SyncEnd { number: a },
            7 if a & 2 != 0 => Entry::Unknown("an exchange of names"),
            7 => Entry::Rename { from: text(first), to: text(data) },
            8 => Entry::Link { from: text(first), to: text(data) },
            9 => Entry::Unlink { path: text(first) },
            10 => Entry::RemoveDirectory { path: text(first) },
            11 => Entry::Mark(text(data)),
            _ => Entry::Unknown(text(first)),
        });
        rest = behind;
    }
    entries
}
