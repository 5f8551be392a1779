//! How the ring keeps records: in blocks, so that what a record costs to keep is its bytes.
//!
//! A block holds consecutive records of one flow as one value: where each ends, as 32-bit
//! little-endian numbers counted from the first record's first byte, and then the records.

use std::sync::Arc;

use bytes::Bytes;

/// Bytes of a block's records, at most, unless it holds a single one: a reader may have to take up a
/// whole block for its last record.
const BLOCK_BYTES: usize = 128 << 10;
/// Bytes of a record's end.
const END: usize = size_of::<u32>();

/// Records of one flow on their way into the ring, in offset order.
#[derive(Debug, Default)]
pub struct NewRecords {
    offsets: Vec<u64>,
    ends: Vec<usize>,
    json: Vec<u8>,
}

/// A block as it is kept.
#[derive(Debug)]
pub struct NewBlock {
    /// How many records it holds.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Ends and records.
    pub data: Vec<u8>,
}

impl NewRecords {
    /// Room for this many records of this many bytes together.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            offsets: Vec::with_capacity(records),
            ends: Vec::with_capacity(records),
            json: Vec::with_capacity(bytes),
        }
    }

    /// Adds a shaped record.
    pub fn push(&mut self, offset: u64, json: &[u8]) {
        self.offsets.push(offset);
        self.json.extend_from_slice(json);
        self.ends.push(self.json.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The blocks of what lies behind `held`.
    pub fn blocks(&self, held: u64) -> impl Iterator<Item = NewBlock> {
        let mut next = self.offsets.partition_point(|offset| *offset <= held);
        std::iter::from_fn(move || {
            let (first, start) = (next, self.start(next));
            let fits = |end: &&usize| **end - start <= BLOCK_BYTES;
            next += self.ends.get(first..)?.iter().take_while(fits).count().max(1).min(self.ends.len() - first);
            let ends = self.ends.get(first..next).filter(|ends| !ends.is_empty())?;
            let bytes = self.start(next) - start;
            let mut data = Vec::with_capacity(ends.len() * END + bytes);
            for end in ends {
                // A record has far less than 4 GiB: a payload may have 64 MiB.
                data.extend_from_slice(&u32::try_from(end - start).unwrap_or(u32::MAX).to_le_bytes());
            }
            data.extend_from_slice(&self.json[start..start + bytes]);
            Some(NewBlock { records: ends.len() as u64, bytes: bytes as u64, data })
        })
    }

    fn start(&self, record: usize) -> usize {
        record.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

/// A block that was read.
#[derive(Debug)]
pub struct Block {
    /// The position of its last record.
    pub last: u64,
    /// The name the receiver knows the element by.
    pub element: Arc<str>,
    /// The lane its records came by.
    pub lane: Arc<str>,
    records: u64,
    data: Bytes,
}

/// One record of the ring.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its position.
    pub position: u64,
    /// The element's name.
    pub element: Arc<str>,
    /// The lane it came by.
    pub lane: Arc<str>,
    /// The shaped record: a JSON object.
    pub json: Bytes,
}

impl Block {
    /// A block of so many records; `None` when `data` is not what [`NewRecords::blocks`] made.
    pub fn new(last: u64, records: u64, element: &str, lane: &str, data: Vec<u8>) -> Option<Self> {
        let block = Self { last, element: element.into(), lane: lane.into(), records, data: data.into() };
        let ends = block.data.get(..usize::try_from(records).ok()?.checked_mul(END)?)?;
        let sorted = ends_of(ends).is_sorted();
        let whole = ends_of(ends).last().unwrap_or(0) == (block.data.len() - ends.len()) as u64;
        (records <= last && sorted && whole).then_some(block)
    }

    /// Its records behind `after`.
    pub fn behind(&self, after: u64) -> impl Iterator<Item = Kept> {
        let before_first = self.last - self.records;
        let header = usize::try_from(self.records).unwrap_or(0) * END;
        let mut start = 0;
        let records = ends_of(&self.data[..header]).enumerate().map(move |(index, end)| {
            let range = header + start as usize..header + end as usize;
            start = end;
            (before_first + 1 + index as u64, range)
        });
        records.skip_while(move |(position, _)| *position <= after).map(|(position, range)| Kept {
            position,
            element: Arc::clone(&self.element),
            lane: Arc::clone(&self.lane),
            json: self.data.slice(range),
        })
    }
}

/// Where each record of a block ends, from the first bytes of its data.
pub fn ends_of(data: &[u8]) -> impl Iterator<Item = u64> {
    data.chunks_exact(END).map(|end| u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(records: &NewRecords, held: u64, after: u64) -> Vec<(u64, Vec<u8>)> {
        let (mut last, mut all) = (100, Vec::new());
        for block in records.blocks(held) {
            last += block.records;
            let block = Block::new(last, block.records, "e", "live", block.data).unwrap();
            all.extend(block.behind(after).map(|kept| (kept.position, kept.json.to_vec())));
        }
        all
    }

    #[test]
    fn records_come_out_of_blocks_as_they_went_in() {
        let large = vec![b'x'; BLOCK_BYTES + 1];
        let mut records = NewRecords::default();
        for (offset, json) in [(3, &b"a"[..]), (5, b""), (6, b"bc"), (9, &large), (10, b"d")] {
            records.push(offset, json);
        }
        let all = [(101, b"a".to_vec()), (102, Vec::new()), (103, b"bc".to_vec()), (104, large), (105, b"d".to_vec())];
        assert_eq!(kept(&records, 0, 0), all);
        assert_eq!(kept(&records, 0, 102), all[2..]);
        // What is held already takes no position.
        let rest: Vec<_> = all[3..].iter().map(|(position, json)| (position - 3, json.clone())).collect();
        assert_eq!(kept(&records, 8, 0), rest);
        assert_eq!(kept(&records, 10, 0), []);
        assert_eq!(records.blocks(0).map(|block| block.records).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!(NewRecords::default().blocks(0).count(), 0);
    }

    #[test]
    fn what_is_no_block_is_recognised() {
        let mut records = NewRecords::default();
        records.push(1, b"abc");
        records.push(2, b"d");
        let block = records.blocks(0).next().unwrap();
        let read = |records: u64, data: &[u8]| Block::new(9, records, "e", "live", data.to_vec()).is_some();
        assert!(read(2, &block.data));
        assert!(
            !read(1, &block.data) && !read(3, &block.data) && !read(10, &block.data) && !read(u64::MAX, &block.data)
        );
        assert!(!read(2, &block.data[..block.data.len() - 1]) && !read(2, &[]));
        let mut swapped = block.data.clone();
        swapped.swap(0, END);
        assert!(!read(2, &swapped));
    }
}
