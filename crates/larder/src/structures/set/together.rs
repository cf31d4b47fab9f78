//! Sets put together, once their members are here.

use std::collections::BTreeSet;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Union,
    Intersection,
    Difference,
}

impl How {
    pub(super) fn word(self) -> &'static str {
        match self {
            How::Union => "unite",
            How::Intersection => "intersect",
            How::Difference => "subtract from",
        }
    }

    pub(super) fn of(self, sets: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
        let mut sets = sets.into_iter().map(BTreeSet::from_iter);
        let mut all: BTreeSet<Vec<u8>> = sets.next().unwrap_or_default();
        for set in sets {
            match self {
                How::Union => all.extend(set),
                How::Intersection => all.retain(|member| set.contains(member)),
                How::Difference => all.retain(|member| !set.contains(member)),
            }
        }
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_put_together_as_redis_would() {
        let set = |text: &str| text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>();
        let of = |how: How, sets: [&str; 3]| {
            how.of(sets.map(set).to_vec()).concat().escape_ascii().to_string()
        };
        assert_eq!(of(How::Union, ["ab", "bc", "d"]), "abcd");
        assert_eq!(of(How::Intersection, ["abc", "bcd", "cb"]), "bc");
        assert_eq!(of(How::Difference, ["abcd", "b", "dx"]), "ac");
        assert!(How::Union.of(vec![]).is_empty());
    }
}
