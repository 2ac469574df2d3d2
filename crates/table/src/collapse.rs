//! Several upserts of one key in a batch become one.

use std::collections::HashMap;

use store::Target;
use store::tables::{Mode, Record, Value};

/// One key's writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Which row is written.
    pub(crate) winner: usize,
    /// The others, in the order of the batch.
    pub(crate) others: Vec<usize>,
}

/// The groups of `rows`, in the order in which their keys first come. Of an upsert's writes the one
/// with the greatest version is written, of equal ones the first. Each insert is a group of its own:
/// only the store can tell whether two of them are the same.
pub(crate) fn groups(target: &Target, rows: &[Record]) -> Vec<Group> {
    if target.mode == Mode::Insert {
        return (0..rows.len()).map(|winner| Group { winner, others: Vec::new() }).collect();
    }
    let mut groups: Vec<Group> = Vec::with_capacity(rows.len());
    let mut at: HashMap<Vec<&Value>, usize> = HashMap::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let key: Vec<&Value> = target.keys.iter().map(|&key| &row[key]).collect();
        let group = *at.entry(key).or_insert(groups.len());
        match groups.get_mut(group) {
            None => groups.push(Group { winner: index, others: Vec::new() }),
            Some(group) if target.version(row) > target.version(&rows[group.winner]) => {
                group.others.push(std::mem::replace(&mut group.winner, index));
            }
            Some(group) => group.others.push(index),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::prices;

    fn check(mode: Mode, writes: &[(&str, i64)], expect: &[(usize, &[usize])]) {
        let mut target = prices().target;
        target.mode = mode;
        let row = |&(sku, version): &(&str, i64)| {
            vec![Value::Text(sku.into()), Value::Bigint(7), Value::Null, Value::Bigint(version)]
        };
        let rows: Vec<Record> = writes.iter().map(row).collect();
        let got = groups(&target, &rows);
        let got: Vec<(usize, &[usize])> =
            got.iter().map(|group| (group.winner, group.others.as_slice())).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn several_writes_to_one_key_collapse_into_the_last() {
        let mode = Mode::Upsert { version: 3, stamped: false };
        check(mode, &[("a", 1), ("b", 1), ("a", 2), ("a", 3)], &[(3, &[0, 2]), (1, &[])]);
        check(mode, &[], &[]);
    }

    #[test]
    fn the_last_is_that_of_the_greatest_version_whatever_came_when() {
        let mode = Mode::Upsert { version: 3, stamped: false };
        check(mode, &[("a", 2), ("a", 9), ("a", 3), ("a", 9)], &[(1, &[0, 2, 3])]);
    }

    #[test]
    fn each_insert_is_written_by_itself() {
        check(Mode::Insert, &[("a", 1), ("a", 2), ("b", 1)], &[(0, &[]), (1, &[]), (2, &[])]);
    }
}
