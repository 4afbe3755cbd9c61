//! What is broken on purpose, and what shows that it is.

/// What is broken on purpose: the rows on close of 'What breaks without each rule'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The driver in place of the library, with every rule kept.
    DrivenByTheRules,
    PlanPinsNothing,
    NoOwner,
    NoMarker,
    /// Whoever has compacted goes on with his own directory, whatever the result names.
    ResultNamesOneself,
    /// The directory of a revision has one name, whoever owns it.
    SharedDirectory,
    /// What lies in the live folder is deleted, in place of what plans name.
    CollectByPrefix,
    /// What is superseded is deleted as soon as the revision is done.
    NoGrace,
    /// A later revision is made of what lies in the live folder.
    BaseIsLive,
}

impl Broken {
    /// Whether the rule is there for processes that sleep longer than a run can be.
    pub(crate) fn needs_sleepers(self) -> bool {
        matches!(self, Broken::ResultNamesOneself)
    }

    pub(crate) fn allows_sleepers(self) -> bool {
        !matches!(self, Broken::PlanPinsNothing | Broken::NoOwner | Broken::NoMarker)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}
