//! Statements over several rows.

use crate::tx::{Dialect, Tx};

/// Rows of one statement: the more, the fewer hand-overs. An answer of as many rows fits the channel from SQLite's thread.
const SHAPES: [usize; 4] = [48, 12, 3, 1];

/// Items in their order, in groups of few sizes: a statement over a group has few texts, and each is prepared once.
pub fn in_shapes<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let shape = SHAPES.into_iter().find(|shape| *shape <= items.len())?;
        let (these, rest) = items.split_at(shape);
        items = rest;
        Some(these)
    })
}

impl Tx {
    /// The rows of `VALUES` for so many parameters, all that the statement has: `($1, $2), ($3, $4)` for four in two rows.
    ///
    /// # Panics
    /// When there are no rows.
    #[must_use]
    pub fn values(&self, parameters: usize, rows: usize) -> String {
        values(self.dialect(), parameters, rows)
    }
}

fn values(dialect: Dialect, parameters: usize, rows: usize) -> String {
    let width = parameters / rows;
    let place = |place: usize| match dialect {
        // Without a name: to bind a named one SQLite looks through the names of all.
        Dialect::Sqlite => "?".to_owned(),
        Dialect::Postgres => format!("${}", place + 1),
    };
    let row = |first: usize| format!("({})", (first..first + width).map(place).collect::<Vec<_>>().join(", "));
    (0..parameters).step_by(width).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_item_once_in_its_order() {
        for count in 0..140 {
            let items: Vec<usize> = (0..count).collect();
            let groups: Vec<&[usize]> = in_shapes(&items).collect();
            assert_eq!(groups.concat(), items);
            assert!(groups.iter().all(|group| SHAPES.contains(&group.len())), "{groups:?}");
        }
    }

    #[test]
    fn parameters_are_numbered_through_all_rows() {
        assert_eq!(values(Dialect::Postgres, 4, 2), "($1, $2), ($3, $4)");
        assert_eq!(values(Dialect::Postgres, 2, 2), "($1), ($2)");
        assert_eq!(values(Dialect::Sqlite, 3, 1), "(?, ?, ?)");
    }
}
