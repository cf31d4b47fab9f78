//! What is to become of an object, and what became of it.

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was made.
    Done,
    /// The object is not there, and was to be: nothing changed.
    NotThere,
    /// The object is there, and was not to be: nothing changed.
    AlreadyThere,
}

/// In which case it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    #[default]
    Any,
    There,
    Absent,
}

impl When {
    #[cfg(feature = "redis")]
    pub(super) fn word(self) -> &'static str {
        match self {
            When::Any => "any",
            When::There => "there",
            When::Absent => "absent",
        }
    }

    /// What it is called when it is not the case.
    pub(super) fn refusal(self) -> Written {
        match self {
            When::Absent => Written::AlreadyThere,
            When::Any | When::There => Written::NotThere,
        }
    }

    pub(super) fn allows(self, is_there: bool) -> bool {
        match self {
            When::Any => true,
            When::There => is_there,
            When::Absent => !is_there,
        }
    }
}

/// Fields to be set and to be removed, in one step.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) when: When,
    pub(super) set: Vec<(&'static str, Vec<u8>)>,
    pub(super) removed: Vec<&'static str>,
}

impl Change {
    /// The field becomes this, or nothing; the last word on a field counts.
    pub(super) fn field(&mut self, name: &'static str, bytes: Option<Vec<u8>>) {
        self.set.retain(|(other, _)| *other != name);
        self.removed.retain(|other| *other != name);
        match bytes {
            Some(bytes) => self.set.push((name, bytes)),
            None => self.removed.push(name),
        }
    }
}
