//! What may happen in one step of a world, and what may become of a store call.

use std::sync::atomic::Ordering;

use super::check::Violation;
use super::mapping::Invoked;
use super::random::Random;
use super::store::{Answer, Call, short};
use super::stream::Stream;
use super::tables;
use super::world::{Broken, World};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lands,
    /// The process dies before the call is sent.
    DiesBefore,
    /// The process dies when the call has landed.
    DiesAfter,
    /// The call will land later; its caller is told of a time-out, or dies.
    LandsLate,
    /// The call lands, and its caller is told of a time-out.
    AnswerLost,
    TimesOut,
    Throttled,
    Refused,
    /// 409 where 412 or success was due.
    Conflict,
}

impl Fate {
    fn of(random: &mut Random, call: &Call, calm: bool) -> Self {
        match random.below(1_000) {
            0..30 => Fate::DiesBefore,
            30..60 => Fate::DiesAfter,
            60..90 if call.mutates() => Fate::AnswerLost,
            90..105 => Fate::Refused,
            105..120 => Fate::Throttled,
            120..130 => Fate::TimesOut,
            130..150 if call.is_put() => Fate::Conflict,
            150..180 if call.mutates() && !calm => Fate::LandsLate,
            _ => Fate::Lands,
        }
    }
}

impl World {
    /// One step.
    pub(crate) fn step(&mut self, random: &mut Random, faults: bool) -> Result<(), Violation> {
        self.now_us.fetch_add(random.below(800) as i64 * 1_000, Ordering::Relaxed);
        let calm = self.plan.calm;
        match random.below(1_000) {
            0..120 => drop(self.deliver(random, faults)?),
            120..160 => self.produce(random),
            160..168 => self.reshard(random),
            168..180 => self.land_one(random)?,
            180..190 => self.storm = if faults && random.chance(20) { 12 } else { 0 },
            190..200 => self.sweep(random)?,
            200..206 => {
                // Scale-in: warm instances go.
                self.idle.truncate(random.below(3));
            }
            _ if calm => self.any_call(random, faults)?,
            206..222 => self.give_up_waiting(random, false)?,
            222..230 => self.give_up_waiting(random, true)?,
            230..240 => self.wake(random),
            240..248 => {
                self.version = random.below(tables::VERSIONS);
                let version = self.version;
                self.log(|| format!("version {version} of the table is deployed"));
            }
            248..258 => self.another_mapping(random),
            258..264 => self.restart_poller(random),
            264..268 => self.make_stream_again(random),
            268..282 => self.duplicate(random)?,
            282..290 => {
                let hours = 1 + random.below(6) as i64;
                self.now_us.fetch_add(hours * 3_600_000_000, Ordering::Relaxed);
                self.log(|| format!("{hours} hours pass"));
            }
            _ => self.any_call(random, faults)?,
        }
        Ok(())
    }

    fn any_call(&mut self, random: &mut Random, faults: bool) -> Result<(), Violation> {
        let mut waiting = self.objects().waiting();
        waiting.retain(|(_, p)| self.running.iter().any(|r| r.process == *p && !r.frozen));
        if waiting.is_empty() {
            return Ok(());
        }
        let (id, process) = random.pick(&waiting);
        let zombie = self.running.iter().any(|r| r.process == process && r.delivery.is_none());
        // Zombies are slow.
        if zombie && random.chance(50) {
            return Ok(());
        }
        self.grant(random, (id, process), faults)
    }

    /// Decide what becomes of a call, and let its process go on.
    pub(crate) fn grant(
        &mut self,
        random: &mut Random,
        (id, process): (u64, u64),
        faults: bool,
    ) -> Result<(), Violation> {
        let Some(call) = self.objects().call(id) else { return Ok(()) };
        let mut fate = if faults { Fate::of(random, &call, self.plan.calm) } else { Fate::Lands };
        if self.storm > 0 && fate == Fate::Lands {
            self.storm -= 1;
            fate = Fate::Throttled;
        }
        let answer = match fate {
            Fate::Lands => self.land(&call)?,
            Fate::DiesBefore => {
                self.log(|| format!("process {process} dies before {call}"));
                return self.die(process);
            }
            Fate::DiesAfter => {
                let answer = self.land(&call)?;
                self.log(|| format!("process {process} dies after {call}: {answer}"));
                return self.die(process);
            }
            Fate::LandsLate => {
                self.late.push(call.clone());
                if random.chance(50) {
                    self.log(|| format!("process {process} dies while {call} is under way"));
                    return self.die(process);
                }
                self.log(|| format!("{call} is under way"));
                Answer::Timeout
            }
            Fate::AnswerLost => {
                let answer = self.land(&call)?;
                self.log(|| format!("{call}: {answer}, and the answer is lost"));
                Answer::Timeout
            }
            Fate::TimesOut => Answer::Timeout,
            Fate::Throttled => Answer::Throttled,
            Fate::Refused => Answer::Refused,
            Fate::Conflict => Answer::Conflict,
        };
        self.log(|| format!("process {process}: {call}: {answer}"));
        self.objects().answer(id, answer);
        self.poll(process)
    }

    /// A call that was under way lands now.
    pub(crate) fn land_one(&mut self, random: &mut Random) -> Result<(), Violation> {
        if self.late.is_empty() {
            return Ok(());
        }
        let call = self.late.swap_remove(random.below(self.late.len()));
        let answer = self.land(&call)?;
        self.log(|| format!("late {call} lands: {answer}"));
        Ok(())
    }

    fn reshard(&mut self, random: &mut Random) {
        if let Some(what) = self.streams.last_mut().and_then(|stream| stream.reshard(random)) {
            self.log(|| what);
        }
    }

    /// The mapping's patience, or the function's, is over. The attempt goes on as a zombie, or is
    /// frozen with its machine and wakes up when much has happened.
    fn give_up_waiting(&mut self, random: &mut Random, frozen: bool) -> Result<(), Violation> {
        if self.running.is_empty() {
            return Ok(());
        }
        let at = random.below(self.running.len());
        let attempt = &mut self.running[at];
        let (process, delivery) = (attempt.process, attempt.delivery.take());
        attempt.frozen |= frozen;
        self.log(|| format!("process {process} times out{}", if frozen { " and is frozen" } else { "" }));
        match delivery {
            Some(delivery) => self.settle(delivery, &Invoked::FunctionError),
            None => Ok(()),
        }
    }

    fn wake(&mut self, random: &mut Random) {
        let frozen: Vec<usize> = (0..self.running.len()).filter(|&i| self.running[i].frozen).collect();
        if !frozen.is_empty() {
            let attempt = &mut self.running[random.pick(&frozen)];
            attempt.frozen = false;
            let process = attempt.process;
            self.log(|| format!("process {process} wakes up"));
        }
    }

    /// A mapping is made beside the old one, or in its place.
    fn another_mapping(&mut self, random: &mut Random) {
        if self.mappings.len() >= 4 {
            return;
        }
        if random.chance(50) {
            self.mappings.iter_mut().for_each(|m| m.alive = false);
            self.log(|| "the mapping is deleted".into());
        }
        self.map(random, false);
    }

    fn restart_poller(&mut self, random: &mut Random) {
        let at = random.below(self.mappings.len());
        self.mappings[at].restart(random.pick(&[1, 2, 5, 100]));
        self.log(|| format!("mapping {at} starts again from its checkpoints"));
    }

    /// The stream is deleted and made again under its name: numbers begin anew.
    fn make_stream_again(&mut self, random: &mut Random) {
        if self.streams.len() >= 2 {
            return;
        }
        self.mappings.iter_mut().for_each(|m| m.alive = false);
        self.log(|| "the stream is made again".into());
        let mut stream = Stream::new(1, 1, random.pick(&[4, 8]));
        if self.plan.broken == Broken::SameIdentity {
            stream.identity = self.identity(0);
        }
        self.streams.push(stream);
        self.produce(random);
        self.map(random, false);
    }

    /// A batch that was delivered before, or a part of it, is delivered once more.
    fn duplicate(&mut self, random: &mut Random) -> Result<(), Violation> {
        if self.history.is_empty() || self.running.len() > 8 {
            return Ok(());
        }
        let mut batch = self.history[random.below(self.history.len())].clone();
        if random.chance(50) {
            let from = random.below(batch.records.len());
            batch.records.drain(..from);
        }
        self.attempt(random, batch, None)
    }

    /// What a cleaner deletes: by the dead-file rule, or as a broken world does.
    fn sweep(&mut self, random: &mut Random) -> Result<(), Violation> {
        if self.plan.calm {
            return Ok(());
        }
        if self.plan.broken == Broken::CommitsDeleted {
            self.delete_folded();
            return Ok(());
        }
        let all = self.plan.broken == Broken::SweepUnlisted;
        for (key, proof) in self.orphans()? {
            if (proof.is_some() || all) && random.chance(70) {
                self.log(|| format!("a cleaner deletes {}", short(&key)));
                self.objects().objects.remove(&key);
            }
        }
        Ok(())
    }

    fn delete_folded(&mut self) {
        let mut objects = self.objects();
        let checkpoints: Vec<String> =
            objects.objects.keys().filter(|k| k.ends_with(".ckpt")).cloned().collect();
        for checkpoint in checkpoints {
            let folder = checkpoint.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            let newest = checkpoint.trim_end_matches(".ckpt").to_owned();
            let covered = |key: &String| {
                // Names count down: an older commit sorts after a newer one.
                key.starts_with(&format!("{folder}/"))
                    && key.ends_with(".commit")
                    && key.trim_end_matches(".commit") >= newest.as_str()
            };
            objects.objects.retain(|key, _| !covered(key));
        }
    }
}

/// Used by reports: the invariants in the order in which they are explained.
pub(crate) fn explain(violation: &Violation) -> &'static str {
    match violation.invariant {
        "C1" => "no loss",
        "C2" => "no duplicate",
        "C3" => "one chain per shard",
        "C5" => "live is nearly clean",
        "C8" => "bad is kept",
        _ => "the simulation itself",
    }
}
