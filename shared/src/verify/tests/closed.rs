//! Faults of closed partitions, and what is none: live files that a revision superseded are gone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::planted::verified;
use super::world::World;
use crate::Result;
use crate::clock::{Clock, EpochMicros, SystemClock};
use crate::close::{ActionCall, ActionState, Actions, Closer, Run, Settings, StreamingCompact};
use crate::partition::PartitionPath;
use crate::schema::CloseAction;
use crate::verify::Kind;

struct Nothing;

#[async_trait]
impl Actions for Nothing {
    async fn start(&self, _: &CloseAction, _: &ActionCall) -> Result<ActionState> {
        Ok(ActionState::Started { run: String::new() })
    }
}

const DAY: &str = "dt=2025-11-20";

/// A day is closed by hand; with `collect`, what it superseded is deleted.
async fn world(collect: bool) -> World {
    let world = World::filled("columns").await;
    let scratch = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(scratch.path().to_owned());
    settings.grace = Duration::ZERO;
    let closer = Closer::new(
        (world.lake.clone(), world.catalog.clone()),
        Vec::new(),
        (Arc::new(StreamingCompact), Arc::new(Nothing)),
        Arc::new(SystemClock),
        settings,
    );
    for n in 0..1 + u32::from(collect) {
        let only = Some(("t".to_owned(), Some(PartitionPath::parse(DAY).unwrap())));
        let until = EpochMicros(SystemClock.now().0 + 60_000_000);
        let report = closer.run(&Run { id: format!("run{n}"), until, only }).await.unwrap();
        assert_eq!((report.failures, report.closed.len() as u32), (0, 1 - n), "{report:?}");
    }
    let live = world.lake.list(&format!("t/live/{DAY}")).await.unwrap();
    assert_eq!(live.is_empty(), collect);
    world
}

async fn closed_file(world: &World) -> String {
    world.lake.list(&format!("t/closed/{DAY}")).await.unwrap().remove(0)
}

fn object(name: &str) -> String {
    format!("_weir/close/t/{DAY}/r0001/{name}")
}

/// What is found, and what should be.
pub(super) async fn cases() -> Vec<(&'static str, Vec<(Kind, String)>, Vec<(Kind, String)>)> {
    let mut cases = vec![
        ("a closed partition", verified(&world(false).await).await, vec![]),
        ("superseded files are deleted", verified(&world(true).await).await, vec![]),
    ];
    let gone = world(true).await;
    let key = closed_file(&gone).await;
    gone.lake.delete(&key).await.unwrap();
    cases.push(("a closed file is gone", verified(&gone).await, vec![(Kind::MissingFile, key)]));

    let cut = world(true).await;
    let key = closed_file(&cut).await;
    let bytes = cut.lake.get(&key).await.unwrap().unwrap();
    cut.lake.delete(&key).await.unwrap();
    let _ = cut.lake.put_if_absent(&key, bytes.slice(..bytes.len() - 9)).await.unwrap();
    cases.push(("a closed file is cut", verified(&cut).await, vec![(Kind::DamagedFile, key)]));

    let unread = world(false).await;
    unread.lake.delete(&object("result")).await.unwrap();
    let found = verified(&unread).await;
    cases.push(("a result is gone", found, vec![(Kind::BrokenRevision, object("result"))]));

    let miscounted = world(true).await;
    let text = miscounted.lake.get(&object("result")).await.unwrap().unwrap();
    let mut result: serde_json::Value = serde_json::from_slice(&text).unwrap();
    result["committed"] = (result["committed"].as_u64().unwrap() + 1).into();
    miscounted.lake.delete(&object("result")).await.unwrap();
    let result = Bytes::from(result.to_string());
    let _ = miscounted.lake.put_if_absent(&object("result"), result).await.unwrap();
    let found = verified(&miscounted).await;
    cases.push(("a revision counts other rows", found, vec![(Kind::RowCount, format!("t/{DAY}"))]));

    let live = world(false).await;
    live.lake.delete(&format!("_weir/catalog/partitions/t/{DAY}.json")).await.unwrap();
    live.catalog.register_partitions("t", &[vec!["2025-11-20".into()]]).await.unwrap();
    let found = verified(&live).await;
    cases.push((
        "the catalog shows another revision",
        found,
        vec![(Kind::CatalogPartition, format!("t/{DAY}"))],
    ));
    cases
}
