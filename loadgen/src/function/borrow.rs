//! A function whose settings are changed for a measurement and put back afterwards.
//!
//! What is changed stands, as it was before, in an environment variable of the function itself: a
//! measurement that was killed is put right by the next one, or by hand.

use std::collections::BTreeMap;
use std::future::Future;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{CloudFunction, FIRST_PATIENCE, Settings, Stop, Updated};

/// The variable.
const MARK: &str = "WEIR_LOADGEN";

/// What the function was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Before {
    memory_mb: i32,
    /// Variables that are set or removed for the measurement; none where there was none.
    environment: BTreeMap<String, Option<String>>,
}

/// The mark: another one makes new environments.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    renewed: u32,
    before: Before,
}

/// A function while it is measured.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) function: CloudFunction,
    pub(crate) stop: Stop,
    before: Before,
    meanwhile: Vec<(String, Option<String>)>,
    renewed: u32,
}

/// Measure with settings of one's own (`meanwhile`: variables set or removed) and put back what was
/// changed: at the end, after an error, and after Ctrl-C, SIGTERM or a hangup, which end the measurement.
///
/// # Errors
/// The function cannot be read; the measurement's own; it could not be put back.
pub(crate) async fn with_borrowed<T>(
    function: CloudFunction,
    meanwhile: Vec<(String, Option<String>)>,
    measure: impl AsyncFnOnce(&mut Borrowed) -> Result<T>,
) -> Result<T> {
    let (stopper, stop) = watch::channel(false);
    let mut stopped = std::pin::pin!(asked_to_stop()?);
    let mut borrowed = Borrowed::begin(function, meanwhile, Stop(stop)).await?;
    let measured = {
        let mut measuring = std::pin::pin!(measure(&mut borrowed));
        // Not dropped at a signal: a change under way would come after the one that puts back.
        tokio::select! {
            measured = &mut measuring => measured,
            () = &mut stopped => {
                stopper.send_replace(true);
                measuring.await
            }
        }
    };
    eprintln!("putting {} back", borrowed.function.name);
    let back = borrowed.give_back().await;
    let back = back.with_context(|| borrowed.by_hand());
    match (measured, back) {
        (Ok(measured), Ok(())) => Ok(measured),
        (Err(error), Ok(())) => Err(error.context(format!("{} is as it was before", borrowed.function.name))),
        (Ok(_), Err(back)) => Err(back),
        (Err(error), Err(back)) => Err(back.context(format!("{error:#}"))),
    }
}

impl Borrowed {
    async fn begin(
        function: CloudFunction,
        meanwhile: Vec<(String, Option<String>)>,
        stop: Stop,
    ) -> Result<Self> {
        let mut now = function.settled(FIRST_PATIENCE).await?;
        if let Some(left) = now.environment.get(MARK) {
            let left: Mark = serde_json::from_str(left).with_context(|| {
                format!("{MARK} of {} is not what a measurement leaves; remove it", function.name)
            })?;
            eprintln!(
                "{} was left changed by a measurement that was killed; it is put back first",
                function.name
            );
            put_back(&function, &left.before).await?;
            now = function.settled(FIRST_PATIENCE).await?;
        }
        let environment =
            meanwhile.iter().map(|(name, _)| (name.clone(), now.environment.get(name).cloned())).collect();
        let before = Before { memory_mb: now.memory_mb, environment };
        Ok(Self { function, stop, before, meanwhile, renewed: 0 })
    }

    /// The memory that it had before.
    pub(crate) fn memory_mb(&self) -> i32 {
        self.before.memory_mb
    }

    /// New environments, with so much memory. An error where the service refuses that for good is the
    /// inner one; the function is then as it was.
    ///
    /// # Errors
    /// Stopped; it cannot be changed.
    pub(crate) async fn renew(&mut self, memory_mb: i32) -> Result<Result<(), String>> {
        if self.stop.is_set() {
            bail!("stopped");
        }
        self.renewed += 1;
        let mark = serde_json::to_string(&Mark { renewed: self.renewed, before: self.before.clone() })?;
        let updated = self.function.update(|settings| {
            settings.memory_mb = memory_mb;
            for (name, value) in &self.meanwhile {
                set(settings, name, value.as_deref());
            }
            set(settings, MARK, Some(&mark));
        });
        Ok(match updated.await? {
            Updated::Done => Ok(()),
            Updated::Refused(why) => Err(why),
        })
    }

    async fn give_back(&self) -> Result<()> {
        put_back(&self.function, &self.before).await
    }

    /// What to do where it cannot be put back from here.
    fn by_hand(&self) -> String {
        let mut what = format!("set its memory to {} MB, remove {MARK}", self.before.memory_mb);
        for (name, value) in &self.before.environment {
            match value {
                Some(value) => what.push_str(&format!(", set {name}={value}")),
                None => what.push_str(&format!(", remove {name}")),
            }
        }
        format!("{} was left changed; run the same command again, or by hand: {what}", self.function.name)
    }
}

async fn put_back(function: &CloudFunction, before: &Before) -> Result<()> {
    let updated = function.update(|settings| {
        if settings.environment.remove(MARK).is_none() {
            // Nothing was changed, or somebody has put it back.
            return;
        }
        settings.memory_mb = before.memory_mb;
        for (name, value) in &before.environment {
            set(settings, name, value.as_deref());
        }
    });
    match updated.await? {
        Updated::Done => Ok(()),
        Updated::Refused(why) => bail!("{why}"),
    }
}

fn set(settings: &mut Settings, name: &str, value: Option<&str>) {
    match value {
        Some(value) => settings.environment.insert(name.to_owned(), value.to_owned()),
        None => settings.environment.remove(name),
    };
}

/// Ready when the process is asked to end; from the call on, signals no longer end it.
fn asked_to_stop() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
