//! Pages of dead letters, which end by bytes too: each may hold megabytes, and an answer is in memory more than once.

use headgate_database::{DbError, Row, Tx, args};
use headgate_types::DeadLetterId;
use headgate_types::engine::{DeadLetter, ListDeadLetters};
use headgate_types::page::{Page, page_size};
use uuid::Uuid;

/// The most bytes of records on a page that has more than one.
const PAGE_BYTES: i64 = 8 << 20;

/// How a table of dead letters is read, the newest first. Both statements take the tenant, the channel and the id below
/// which to begin.
pub struct Statements {
    /// Ids with the bytes of their records, at most `$4` of them.
    pub sizes: &'static str,
    /// Rows down to the id `$4`.
    pub rows: &'static str,
}

/// Dead letters of a channel, the newest first.
pub async fn list<T: Row + Into<DeadLetter>>(
    tx: &mut Tx,
    wanted: &ListDeadLetters,
    statements: Statements,
) -> Result<Page<DeadLetter>, DbError> {
    let size = page_size(Some(wanted.page_size));
    let before = wanted.before.map_or(Uuid::max(), DeadLetterId::uuid);
    let sizes = args![wanted.tenant, wanted.channel, before, size + 1];
    let sizes: Vec<(Uuid, i64)> = tx.fetch_all(statements.sizes, sizes).await?;
    let Some(End { last, more }) = End::of(&sizes, size) else {
        return Ok(Page { items: Vec::new(), next_page_token: None });
    };
    let rows: Vec<T> = tx.fetch_all(statements.rows, args![wanted.tenant, wanted.channel, before, last]).await?;
    let next_page_token = more.then(|| DeadLetterId::from_uuid(last).to_string());
    Ok(Page { items: rows.into_iter().map(Into::into).collect(), next_page_token })
}

/// The end of a page.
struct End {
    /// The last row of it.
    last: Uuid,
    /// Whether others follow.
    more: bool,
}

impl End {
    /// The end of a page of at most `size` rows; `None` when there are none. `rows` are in the order of the list, each with
    /// its bytes, and one more than fits, if there is one.
    fn of(rows: &[(Uuid, i64)], size: u32) -> Option<Self> {
        let mut bytes = 0;
        let fitting = rows.iter().take(size as usize).enumerate().take_while(|(index, (_, row))| {
            bytes += row;
            *index == 0 || bytes <= PAGE_BYTES
        });
        let (index, (last, _)) = fitting.last()?;
        Some(Self { last: *last, more: rows.len() > index + 1 })
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
