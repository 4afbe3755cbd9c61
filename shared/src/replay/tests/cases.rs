//! What a replay makes of each kind of letter.

use super::*;
use crate::commit::reader::{read_headers, shard_status};
use crate::commit::store::Put;
use crate::replay::{Fate, fates, open_files, resolutions};

fn only(reasons: &[&str]) -> Selection {
    Selection { reasons: reasons.iter().map(|r| (*r).to_owned()).collect(), ..Selection::default() }
}

const NONE: &[&str] = &[];

/// Good, out of bounds (twice in one record), of a wrong type, not JSON.
fn records() -> Vec<Record> {
    vec![
        record(1, &[r#"{"n":1,"p":"a"}"#]),
        record(2, &[r#"{"n":50,"p":"a"}"#, r#"{"n":2,"p":"b"}"#, r#"{"n":500,"p":"b"}"#]),
        record(3, &[r#"{"n":"x","p":"a"}"#]),
        record(4, &["{"]),
    ]
}

#[tokio::test]
async fn letters_that_fit_become_rows_with_their_provenance_and_the_rest_stays() {
    let lake = memory();
    load(&lake, &shard("0"), &[table("t", 10, None)], &records()).await;
    let (rows, letters) = seen(&lake).await;
    assert_eq!((rows.len(), letters.len()), (2, 4));

    let mended = [table("t", 100, None)];
    let dry = replay(&lake, &mended, only(NONE), Mode::DryRun, "dry").await.unwrap();
    assert_eq!((dry.counts.letters, dry.counts.resolved(), dry.commits), (4, 1, 0));
    assert_eq!(seen(&lake).await, (rows, letters), "a dry run changes nothing");

    let done = replay(&lake, &mended, only(NONE), Mode::Commit, "one").await.unwrap();
    assert_eq!(done.counts, dry.counts, "a dry run says what a run does");
    assert_eq!((done.commits, done.replaced, done.counts.new_reasons), (1, 1, 1));
    let (rows, letters) = seen(&lake).await;
    assert_eq!((rows.len(), letters.len()), (3, 3));
    let row = &rows[&("0".to_owned(), 2, 0)];
    let expected = Seen { table: "t".into(), stream: "clicks".into(), arrived_at: DAY_ONE + 2, n: 50 };
    assert_eq!(*row, expected, "the original provenance");
    // The text fails again, with the new type in its reason; what is not JSON is as it was.
    let again = &letters[&("0".to_owned(), 3, 0)];
    assert!(again.expected.contains("32767"), "{}", again.expected);
    assert_eq!(again.quarantined_at, EpochMicros(DAY_ONE + 5 * DAY));
    let untouched = &letters[&("0".to_owned(), 4, 0)];
    assert_eq!((untouched.raw.as_slice(), untouched.quarantined_at), (&b"{"[..], EpochMicros(DAY_ONE)));

    let nothing = replay(&lake, &mended, only(NONE), Mode::Commit, "two").await.unwrap();
    assert_eq!((nothing.commits, nothing.replaced, nothing.counts.resolved()), (0, 0, 0));
    assert!(nothing.partitions.iter().any(|(table, _)| table == "t"), "registered again after a kill");

    // Letters of a replay's own file are replayed like any other.
    let wider = [table("t", 1_000, None)];
    let more = replay(&lake, &wider, only(NONE), Mode::Commit, "three").await.unwrap();
    assert_eq!((more.counts.resolved(), more.commits), (1, 1));
    let (rows, letters) = seen(&lake).await;
    assert_eq!((rows.len(), letters.len()), (4, 2));
    let status = &shard_status(&lake).await.unwrap()[..];
    let [status] = status else { panic!("one shard: {status:?}") };
    assert_eq!((status.rows, status.replayed, status.quarantined, status.positions), (4, 2, 2, 4));
}

#[tokio::test]
async fn what_is_not_selected_is_left_alone() {
    let lake = memory();
    load(&lake, &shard("0"), &[table("t", 10, None)], &records()).await;
    let mended = [table("t", 1_000, None)];
    let other_table = Selection { tables: ["u".to_owned()].into(), ..Selection::default() };
    let later = Selection { since: Some(EpochMicros(DAY_ONE + 3)), ..Selection::default() };
    for (selection, letters, rows) in
        [(only(&["malformed_json", "wrong_type"]), 2, 0), (other_table, 0, 0), (later, 2, 0)]
    {
        let done = replay(&lake, &mended, selection, Mode::Commit, "none").await.unwrap();
        assert_eq!((done.counts.letters, done.counts.resolved(), done.commits), (letters, rows, 0));
    }
    let done = replay(&lake, &mended, only(&["constraint"]), Mode::Commit, "some").await.unwrap();
    assert_eq!((done.counts.letters, done.counts.resolved()), (2, 2), "{done:?}");
    let (rows, letters) = seen(&lake).await;
    assert_eq!((rows.len(), letters.len()), (4, 2));
    let reasons: Vec<_> = letters.values().map(|l| l.reason.as_str()).collect();
    assert_eq!(reasons, ["wrong_type", "malformed_json"]);
}

#[tokio::test]
async fn a_commit_says_which_letters_it_resolved() {
    let lake = memory();
    load(&lake, &shard("0"), &[table("t", 10, None)], &records()).await;
    let chain = crate::naming::ChainKey::of(&shard("0"));
    let before = open_files(&lake, &chain).await.unwrap();
    assert!(resolutions(&lake, &chain).await.unwrap().is_empty());
    let _ = replay(&lake, &[table("t", 100, None)], only(NONE), Mode::Commit, "one").await.unwrap();
    let found = resolutions(&lake, &chain).await.unwrap();
    let [resolution] = found.as_slice() else { panic!("one commit: {found:?}") };
    assert_eq!(resolution.replaced, before);
    assert_eq!((resolution.rows, resolution.letters), (1, 3));
    let mut told = Vec::new();
    fates(&lake, resolution, &mut |id, fate| {
        told.push((id.sequence.as_u64().unwrap(), id.subsequence, fate))
    })
    .await
    .unwrap();
    told.sort_by_key(|(sequence, sub, _)| (*sequence, *sub));
    assert_eq!(told, [(2, 0, Fate::Row), (2, 2, Fate::Letter), (3, 0, Fate::Letter), (4, 0, Fate::Letter)]);
}

#[tokio::test]
async fn a_dead_file_that_came_after_its_burial_is_buried_by_the_next_replay() {
    let lake = memory();
    load(&lake, &shard("0"), &[table("t", 10, None)], &records()).await;
    let wider = [table("t", 100, None)];
    // One was killed before its commit: what it put stands in the way of the next.
    let stays = memory();
    load(&stays, &shard("0"), &[table("t", 10, None)], &records()).await;
    let _ = replay(&stays, &wider, only(NONE), Mode::Commit, "same").await.unwrap();
    let chain = crate::naming::ChainKey::of(&shard("0")).replay();
    let headers = read_headers(&stays, &chain).await.unwrap();
    let names: Vec<String> = headers[0].files.iter().map(|file| file.key()).collect();
    for key in &names {
        let bytes = stays.get(key).await.unwrap().unwrap();
        assert_eq!(lake.put_if_absent(key, bytes).await.unwrap(), Put::Created);
    }
    let _ = replay(&lake, &wider, only(NONE), Mode::Commit, "winner").await.unwrap();
    assert!(lake.get(&names[0]).await.unwrap().is_none(), "it buries what it steps over");
    // A third, overtaken by the winner, put its file before it was killed.
    let _ = lake.put_if_absent(&names[0], bytes::Bytes::from_static(b"late")).await.unwrap();
    let dry = replay(&lake, &wider, only(NONE), Mode::DryRun, "dry").await.unwrap();
    assert!(lake.get(&names[0]).await.unwrap().is_some(), "a dry run deletes nothing");
    let last = replay(&lake, &wider, only(NONE), Mode::Commit, "last").await.unwrap();
    assert_eq!((dry.counts.resolved(), last.commits), (0, 0));
    assert!(lake.get(&names[0]).await.unwrap().is_none());
}

#[tokio::test]
async fn letters_without_a_route_find_the_table_made_for_them() {
    let lake = memory();
    let before = [table("t", 10, Some("kind=t")), table("u", 10, Some("kind=u"))];
    let documents =
        [r#"{"kind":"v","n":1,"p":"a"}"#, r#"{"kind":"w","n":1,"p":"a"}"#, r#"{"kind":"u","n":99,"p":"a"}"#];
    load(&lake, &shard("0"), &before, &[record(1, &documents)]).await;
    let after = [before[0].clone(), table("u", 100, Some("kind=u")), table("v", 10, Some("kind=v"))];
    let done = replay(&lake, &after, only(NONE), Mode::Commit, "one").await.unwrap();
    assert_eq!(done.counts.rows, [("u".to_owned(), 1), ("v".to_owned(), 1)].into());
    assert_eq!(done.counts.failed, [(("t".to_owned(), "no_route".to_owned()), 1)].into());
    let (rows, letters) = seen(&lake).await;
    let tables: Vec<_> = rows.values().map(|row| row.table.as_str()).collect();
    assert_eq!((tables, letters.len()), (vec!["v", "u"], 1));
}

#[tokio::test]
async fn containers_that_cannot_be_opened_and_cut_bytes_stay_as_they_are() {
    let lake = memory();
    let mut records = vec![record(1, &[]), record(2, &[]), record(3, &[]), record(4, &[])];
    records[0].packed = Some((Reason::Compression, vec![0x1f, 0x8b, 1, 2, 3]));
    records[1].packed = Some((Reason::OutOfRange, vec![b' '; crate::limits::MAX_DEAD_LETTER_BYTES]));
    // An envelope without events is a JSON object, and no row all the same.
    let envelope = br#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":[],"logEvents":[]}"#;
    records[2].packed = Some((Reason::Empty, envelope.to_vec()));
    // Opened by a newer program, it is one document.
    let packed = zstd::encode_all(&br#"{"n":3,"p":"a"}"#[..], 3).unwrap();
    records[3].packed = Some((Reason::Compression, packed));
    let open = [table("t", 10, None)];
    load(&lake, &shard("0"), &open, &records).await;
    let done = replay(&lake, &open, only(NONE), Mode::Commit, "one").await.unwrap();
    assert_eq!((done.counts.letters, done.counts.resolved(), done.counts.new_reasons), (4, 1, 0));
    assert_eq!(done.counts.stuck, [("its raw bytes were cut", 1)].into());
    let (rows, letters) = seen(&lake).await;
    assert_eq!((rows.len(), letters.len()), (1, 3));
    let gone = replay(&lake, &[], only(NONE), Mode::Commit, "two").await.unwrap();
    assert_eq!(gone.counts.stuck["its table is not in the catalog"], 2);
}
