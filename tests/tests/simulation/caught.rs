//! Each rule of the protocol, left out: the simulation must see it. One row a rule, in the order of
//! 'What breaks without each rule' in docs/COMMIT_PROTOCOL.md.

use super::shrink::shrink;
use super::world::{Broken, Plan, run};

/// The rule that is left out, in how many worlds that must show, and as what.
const RULES: [(Broken, u64, &[&str]); 13] = [
    (Broken::SweepUnlisted, 200, &["C1"]),
    (Broken::FileOverwrite, 200, &["C1", "C2"]),
    (Broken::DeleteOwnOnError, 600, &["C1"]),
    (Broken::OwnCommitUnknown, 200, &["C1"]),
    (Broken::CommitsDeleted, 400, &["C2", "C3"]),
    (Broken::HighWaterMark, 100, &["C1"]),
    (Broken::NoRecheck, 100, &["C2"]),
    (Broken::VersionOverwrite, 100, &["C3"]),
    (Broken::DeadNotListed, 200, &["C5"]),
    (Broken::RandomSuffix, 200, &["C5"]),
    (Broken::CutInsideARecord, 100, &["C1"]),
    (Broken::SameIdentity, 200, &["C1", "C2"]),
    (Broken::DeafMapping, 200, &["C1"]),
];

#[test]
fn each_rule_that_is_left_out_is_missed() {
    for (broken, seeds, invariants) in RULES {
        let as_expected = |seed: u64| {
            let violation = run(&Plan::new(seed, broken), false).violation?;
            invariants.contains(&violation.invariant).then_some((seed, violation))
        };
        let caught = (0..seeds).find_map(as_expected);
        let (seed, violation) = caught.unwrap_or_else(|| panic!("{broken:?} goes unseen in {seeds} worlds"));
        eprintln!("{broken:?}: seed {seed}: {violation}");
    }
}

#[test]
fn with_every_rule_kept_crashes_alone_leave_no_file_behind() {
    for broken in [Broken::Nothing, Broken::DrivenByTheRules] {
        for seed in 0..100 {
            let plan = Plan { calm: true, ..Plan::new(seed, broken) };
            assert_eq!(run(&plan, false).violation, None, "{broken:?}: seed {seed}");
        }
    }
}

#[test]
fn a_failure_shrinks_to_a_short_trace_that_fails_alike() {
    let found = (0..100).find_map(|seed| {
        let plan = Plan::new(seed, Broken::NoRecheck);
        run(&plan, false).violation.filter(|v| v.invariant == "C2").map(|violation| (plan, violation))
    });
    let (plan, violation) = found.unwrap();
    let (small, shown) = shrink(&plan, &violation);
    assert_eq!(shown.invariant, "C2");
    assert_eq!(run(&small, false).violation.as_ref(), Some(&shown), "the same plan, the same end");
    let kept = (0..small.steps).filter(|step| !small.left_out.contains(step)).count();
    assert!(kept <= 20, "{kept} of {} steps are left", plan.steps);
}
