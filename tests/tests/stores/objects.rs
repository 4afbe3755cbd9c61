//! What the protocol needs of a store's objects.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use weir::commit::LakeStore;
use weir::commit::store::Put;

/// Races for one name; each has 16 runners.
const RACES: usize = 60;

pub(crate) async fn an_object_is_created_once_and_never_changes(lake: LakeStore) {
    // Hive's escapes, and what people put into partition values.
    for key in ["t/live/dt=a%3Ab/x.parquet", "t/live/dt=b c/y", "t/live/dt=a+b&c=d/z", "t/live/dt=ü/x", "u"]
    {
        assert_eq!(lake.put_if_absent(key, Bytes::from_static(b"1")).await.unwrap(), Put::Created, "{key}");
        assert_eq!(lake.put_if_absent(key, Bytes::from_static(b"2")).await.unwrap(), Put::Exists, "{key}");
        assert_eq!(lake.get(key).await.unwrap().unwrap(), "1", "{key}");
        assert!(lake.list("").await.unwrap().contains(&key.to_owned()), "{key}");
        lake.delete(key).await.unwrap();
        lake.delete(key).await.unwrap();
        assert_eq!(lake.get(key).await.unwrap(), None, "{key}");
        assert!(lake.list("").await.unwrap().is_empty(), "{key}");
    }
}

pub(crate) async fn a_large_and_an_empty_object_come_back_whole(lake: LakeStore) {
    let large: Bytes = (0..9 << 20).map(|n: u32| (n ^ (n >> 9)) as u8).collect::<Vec<_>>().into();
    for (key, bytes) in [("a/large", large), ("a/empty", Bytes::new())] {
        assert_eq!(lake.put_if_absent(key, bytes.clone()).await.unwrap(), Put::Created);
        assert_eq!(lake.put_if_absent(key, bytes.clone()).await.unwrap(), Put::Exists);
        assert!(lake.get(key).await.unwrap().unwrap() == bytes, "{key}");
    }
}

pub(crate) async fn lists_are_complete_sorted_and_paged(lake: LakeStore) {
    // More than a page of S3 (1,000), in no order.
    let names = (0..1_050u64).map(|n| format!("log/s/{:04}", n * 389 % 1_050));
    let puts = names.map(|key| {
        let lake = lake.clone();
        async move { lake.put_if_absent(&key, Bytes::from_static(b"x")).await.unwrap() }
    });
    let puts: Vec<_> = stream::iter(puts).buffer_unordered(16).collect().await;
    assert!(puts.iter().all(|put| *put == Put::Created));
    let _ = lake.put_if_absent("log/t/0", Bytes::from_static(b"x")).await.unwrap();
    let _ = lake.put_if_absent("logs/0", Bytes::from_static(b"x")).await.unwrap();
    let all: Vec<_> = (0..1_050).map(|n| format!("log/s/{n:04}")).collect();
    assert_eq!(lake.list("log/s").await.unwrap(), all);
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = lake.list_after("log/s", after.as_deref(), 400).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(lake.folders("log").await.unwrap(), ["s", "t"]);
    assert!(lake.list("lo").await.unwrap().is_empty(), "a folder is no prefix of a name");
    assert!(lake.folders("nothing").await.unwrap().is_empty());
}

pub(crate) async fn of_sixteen_that_race_for_one_name_exactly_one_wins(lake: LakeStore) {
    // All races at a time: the S3 server lets who meets another at a name wait for a second or more.
    let races = (0..RACES).map(|number| tokio::spawn(race(lake.clone(), format!("race/{number:03}"))));
    for race in races.collect::<Vec<_>>() {
        race.await.unwrap();
    }
}

async fn race(lake: LakeStore, key: String) {
    let runners = (0..16u8).map(|runner| {
        let (lake, key) = (lake.clone(), key.clone());
        // Of different lengths, so that two winners could not hide behind equal bytes.
        let bytes = Bytes::from(vec![runner; 100 + 700 * usize::from(runner)]);
        tokio::spawn(async move { (lake.put_if_absent(&key, bytes).await.unwrap(), runner) })
    });
    let mut winners = BTreeSet::new();
    for run in runners.collect::<Vec<_>>() {
        let (put, runner) = run.await.unwrap();
        if put == Put::Created {
            winners.insert(runner);
        }
    }
    assert_eq!(winners.len(), 1, "C3: winners of {key}: {winners:?}");
    let winner = *winners.first().unwrap();
    let there = lake.get(&key).await.unwrap().unwrap();
    assert!(there.len() == 100 + 700 * usize::from(winner) && there.iter().all(|b| *b == winner));
}
