//! A failing plan → the shortest one found that fails alike.

use super::check::Violation;
use super::world::{Plan, run};

/// Runs that shrinking may cost.
const RUNS: u32 = 3_000;

/// Leave out whatever is not needed for the same invariant to fail.
pub(crate) fn shrink(plan: &Plan, violation: &Violation) -> (Plan, Violation) {
    let mut shrinking = Shrinking { best: plan.clone(), violation: violation.clone(), runs: 0 };
    shrinking.steps();
    shrinking.leave_out(|plan, step| plan.left_out.insert(step));
    shrinking.leave_out(|plan, step| plan.faultless.insert(step));
    (shrinking.best, shrinking.violation)
}

struct Shrinking {
    best: Plan,
    violation: Violation,
    runs: u32,
}

impl Shrinking {
    /// Take the plan if it fails alike.
    fn take(&mut self, plan: Plan) -> bool {
        self.runs += 1;
        match run(&plan, false).violation {
            Some(violation) if violation.invariant == self.violation.invariant => {
                (self.best, self.violation) = (plan, violation);
                true
            }
            _ => false,
        }
    }

    /// Fewer steps, by halves.
    fn steps(&mut self) {
        let (mut low, mut high) = (0, self.best.steps);
        while low < high {
            let middle = (low + high) / 2;
            if self.take(Plan { steps: middle, ..self.best.clone() }) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    /// Leave out ever smaller runs of steps.
    fn leave_out(&mut self, out: impl Fn(&mut Plan, u32) -> bool) {
        let mut width = self.best.steps / 2;
        while width > 0 {
            let mut start = 0;
            while start < self.best.steps && self.runs < RUNS {
                let mut plan = self.best.clone();
                let mut changed = false;
                for step in start..self.best.steps.min(start + width) {
                    changed |= out(&mut plan, step);
                }
                if changed {
                    self.take(plan);
                }
                start += width;
            }
            width /= 2;
        }
    }
}

/// What is told of a failure: the seed's command, and the shortest trace.
pub(crate) fn report(plan: &Plan, violation: &Violation) -> String {
    let (small, shown) = shrink(plan, violation);
    let trace = run(&small, true).trace;
    let kept = small.steps as usize - small.left_out.iter().filter(|s| **s < small.steps).count();
    let lines: Vec<_> =
        trace.iter().filter(|line| !line.starts_with("-- step")).map(String::as_str).collect();
    let meaning = super::actions::explain(&shown);
    format!(
        "seed {} ({:?}): {violation}\n\nshrunk to {kept} steps: {shown} ({meaning})\n  {}\n\nrepeat with\n  {}\n",
        plan.seed,
        plan.broken,
        lines.join("\n  "),
        command(plan),
    )
}

fn command(plan: &Plan) -> String {
    format!(
        "WEIR_SIMULATION_SEED={} WEIR_SIMULATION_WORLD={:?} cargo test -p weir-tests --test simulation one_seed -- --nocapture",
        plan.seed, plan.broken
    )
}
