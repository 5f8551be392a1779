//! Where a page of dead letters ends: each may hold megabytes, and an answer is in memory more than once.

use headgate_types::DeadLetterId;
use headgate_types::engine::DeadLetter;
use headgate_types::page::Page;
use uuid::Uuid;

/// The most bytes of records on a page that has more than one.
const PAGE_BYTES: i64 = 8 << 20;

/// The end of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The last row of it.
    pub last: Uuid,
    /// Whether others follow.
    pub more: bool,
}

impl End {
    /// The end of a page of at most `size` rows; `None` when there are none. `rows` are in the order of the list, each with
    /// its bytes, and one more than fits, if there is one.
    pub fn of(rows: &[(Uuid, i64)], size: u32) -> Option<Self> {
        let mut bytes = 0;
        let fitting = rows.iter().take(size as usize).enumerate().take_while(|(index, (_, row))| {
            bytes += row;
            *index == 0 || bytes <= PAGE_BYTES
        });
        let (index, (last, _)) = fitting.last()?;
        Some(Self { last: *last, more: rows.len() > index + 1 })
    }

    /// The page of these rows.
    pub fn page(self, rows: impl IntoIterator<Item = impl Into<DeadLetter>>) -> Page<DeadLetter> {
        let next_page_token = self.more.then(|| DeadLetterId::from_uuid(self.last).to_string());
        Page { items: rows.into_iter().map(Into::into).collect(), next_page_token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_by_its_rows_or_by_their_bytes() {
        let ids: Vec<Uuid> = (0..4).map(Uuid::from_u128).collect();
        let end = |bytes: &[i64], size| {
            let rows: Vec<_> = ids.iter().copied().zip(bytes.iter().copied()).collect();
            End::of(&rows, size).map(|end| (end.last.as_u128(), end.more))
        };
        assert_eq!(end(&[], 3), None);
        assert_eq!(end(&[1, 1, 1], 3), Some((2, false)));
        assert_eq!(end(&[1, 1, 1, 1], 3), Some((2, true)));
        assert_eq!(end(&[1, PAGE_BYTES, 1], 3), Some((0, true)));
        assert_eq!(end(&[PAGE_BYTES + 1, 1], 3), Some((0, true)), "there is no page without a row");
        assert_eq!(end(&[PAGE_BYTES + 1], 3), Some((0, false)));
    }
}
