//! Function `ingest`: the event of a Kinesis event source mapping → rows, dead letters, one commit,
//! and an answer that says which records are done.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use weir::catalog::{Catalog, FolderCatalog};
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::commit::LakeStore;
use weir::event::{EventParser, ParsedEvent};
use weir::pipeline::{Attempt, Ingest};

use crate::answer::Answer;
use crate::context::Config;
use crate::emf::{Invocation, describe, line};

/// Boxed error of the runtime.
pub type RuntimeError = lambda_runtime::Error;

struct Handler {
    config: Config,
    tables: String,
    ingest: Ingest,
    parser: EventParser,
    event: ParsedEvent,
    cold: bool,
}

/// Run until the host ends the process. Init fails with the setting's name, before the first poll.
///
/// # Errors
/// Init failed, or the Runtime API is gone.
pub async fn run() -> Result<(), RuntimeError> {
    let handler = match Config::from_environment() {
        Ok(config) => init(config).await,
        Err(error) => Err(error),
    };
    let handler = match handler {
        Ok(handler) => Arc::new(Mutex::new(handler)),
        Err(error) => {
            eprintln!("{}", serde_json::json!({"level": "ERROR", "phase": "init", "error": describe(&error)}));
            return Err(describe(&error).into());
        }
    };
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let handler = handler.clone();
        async move { handler.lock().await.handle(event).await }
    }))
    .await
}

async fn init(config: Config) -> weir::Result<Handler> {
    let lake = LakeStore::open(&config.lake, &config.store_options)?;
    let catalog = Arc::new(FolderCatalog::new(lake.object_store(), lake.path("")?, config.lake.clone()));
    let mut tables = Vec::new();
    for table in &config.tables {
        tables.push(catalog.table(table).await?);
    }
    let ingest = Ingest::new(lake, catalog, tables, config.stream_identity.clone(), Arc::new(SystemClock));
    let names = config.tables.join(",");
    let (parser, event) = (EventParser::default(), ParsedEvent::default());
    Ok(Handler { config, tables: names, ingest, parser, event, cold: true })
}

impl Handler {
    async fn handle(&mut self, event: LambdaEvent<Box<RawValue>>) -> Result<Answer, RuntimeError> {
        let clock = SystemClock;
        let start = clock.now();
        let payload = event.payload.get().as_bytes();
        let parsed = self.parser.parse(payload, &mut self.event);
        let parse_us = clock.now().0 - start.0;
        let context = &event.context;
        let invocation = Invocation {
            function: &self.config.function,
            tables: &self.tables,
            request_id: &context.request_id,
            trace_id: context.xray_trace_id.as_deref(),
            cold_start: std::mem::take(&mut self.cold),
            now_ms: start.millis(),
            event_bytes: payload.len(),
            parse_us,
        };
        let reserve = self.config.deadline_reserve.as_micros() as i64;
        let deadline = EpochMicros::from_millis(context.deadline as i64);
        let id = format!("{}-{:x}", context.request_id, start.0);
        let attempt = Attempt { event: &self.event, id: &id, build_until: EpochMicros(deadline.0 - reserve) };
        let done = match parsed {
            Ok(()) => self.ingest.process(&attempt).await,
            Err(error) => Err(error),
        };
        println!("{}", line(&invocation, &self.event, done.as_ref()));
        let processed = done.map_err(|e| RuntimeError::from(describe(&e)))?;
        let window_state = self.event.window_state.take().and_then(|s| RawValue::from_string(s).ok());
        Ok(Answer { first_uncommitted: processed.first_uncommitted, window_state })
    }
}
