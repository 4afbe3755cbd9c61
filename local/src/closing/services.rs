//! The services that wait for partitions, on one machine: `event` is a line of a file,
//! `aggregate:NAME` runs in this process; services of AWS are refused, with the way out.

use std::io::Write;
use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::json;
use weir::clock::{Clock, SystemClock};
use weir::close::{ActionCall, ActionState, Actions};
use weir::schema::CloseAction;
use weir::{Error, Result};

use crate::jobs::LocalAggregates;

/// Starts what can be started here.
pub struct LocalServices {
    events: PathBuf,
    aggregates: Option<LocalAggregates>,
    say: fn(&str),
}

impl LocalServices {
    /// Events go to `events.ndjson` in this folder, and `say` hears of each.
    pub fn new(state: &std::path::Path, say: fn(&str)) -> Self {
        Self { events: state.join("events.ndjson"), aggregates: None, say }
    }

    /// The same, with who runs aggregation jobs.
    pub fn with_aggregates(mut self, aggregates: LocalAggregates) -> Self {
        self.aggregates = Some(aggregates);
        self
    }

    fn event(&self, call: &ActionCall) -> std::io::Result<()> {
        let seen = match std::fs::read_to_string(&self.events) {
            Ok(text) => text.contains(&format!("\"id\":\"{}\"", call.id)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        // Once for an id, also if the one before was killed before it wrote down that it did it.
        if call.repeated && seen {
            return Ok(());
        }
        let line = json!({
            "id": call.id, "time": SystemClock.now().0 / 1_000, "source": "weir", "detail-type": "partition closed",
            "detail": {
                "table": call.table, "partition": call.partition, "values": call.values, "location": call.location,
                "revision": call.revision, "rows": call.rows, "late_rows": call.late_rows,
                "given_up_records": call.given_up, "bytes": call.bytes,
            },
        });
        if let Some(folder) = self.events.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::options().create(true).append(true).open(&self.events)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        let (table, partition, revision) = (&call.table, &call.partition, call.revision);
        (self.say)(&format!("event: partition closed: {table}/{partition} revision {revision}"));
        Ok(())
    }
}

#[async_trait]
impl Actions for LocalServices {
    async fn start(&self, action: &CloseAction, call: &ActionCall) -> Result<ActionState> {
        match action {
            CloseAction::Event => {
                self.event(call).map_err(|e| Error::Store {
                    operation: "write the event to",
                    object: self.events.display().to_string(),
                    retryable: true,
                    source: Box::new(e),
                })?;
                Ok(ActionState::Started { run: call.id.clone() })
            }
            CloseAction::Aggregate(name) => match &self.aggregates {
                Some(aggregates) => aggregates.start(name, call).await,
                None => {
                    Ok(ActionState::Refused { reason: "nothing here runs jobs; use `weir close`".into() })
                }
            },
            other => {
                let reason = format!("{other} is not run on one machine; the function close starts it");
                Ok(ActionState::Refused { reason })
            }
        }
    }
}
