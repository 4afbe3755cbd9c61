//! Open letters, grouped or one by one. Everything in a letter is somebody else's text: it is cut
//! and escaped before a terminal sees it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;

use weir::clock::EpochMicros;
use weir::naming::ChainKey;
use weir::quarantine::StoredLetter;
use weir::replay::{Columns, LetterFileRef, Letters, Selection, open_files};

use super::super::args::Global;
use super::super::lake::Lake;
use super::super::output::{count, table};

/// Groups held; letters of further ones are counted together.
const MAX_GROUPS: usize = 10_000;
/// Characters of a cell.
const CELL: usize = 80;

struct Group {
    letters: u64,
    oldest: EpochMicros,
    newest: EpochMicros,
}

pub(super) async fn ls(
    global: &Global,
    lake: &Lake,
    which: &Selection,
    now: EpochMicros,
) -> Result<ExitCode> {
    let mut groups: BTreeMap<(String, String, String), Group> = BTreeMap::new();
    each(lake, which, Columns::WithoutRaw, &mut |source, letter| {
        let mut key = (source.to_owned(), letter.reason.clone(), any_index(&letter.path));
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
            key.2 = "(other fields)".into();
        }
        let at = letter.arrived_at;
        let group = groups.entry(key).or_insert(Group { letters: 0, oldest: at, newest: at });
        group.letters += 1;
        group.oldest = group.oldest.min(at);
        group.newest = group.newest.max(at);
        true
    })
    .await?;
    let total: u64 = groups.values().map(|g| g.letters).sum();
    if global.json {
        for ((source, reason, path), group) in &groups {
            println!(
                "{}",
                serde_json::json!({"table": source, "reason": reason, "path": path, "letters": group.letters,
                    "oldest": rfc3339(group.oldest), "newest": rfc3339(group.newest)})
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    if total == 0 {
        println!("no open letters");
        return Ok(ExitCode::SUCCESS);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.letters));
    let lines: Vec<_> = groups
        .iter()
        .map(|((source, reason, path), group)| {
            let (letters, path) = (count(group.letters), cell(path));
            vec![source.clone(), cell(reason), path, letters, age(group.oldest, now), age(group.newest, now)]
        })
        .collect();
    println!("{}", table(&["table", "reason", "field", "letters", "oldest", "newest"], &lines));
    println!("\n{} open letters; see them with `weir quarantine show`", count(total));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(
    global: &Global,
    lake: &Lake,
    which: &Selection,
    (limit, bytes): (usize, usize),
) -> Result<ExitCode> {
    let (mut shown, mut more) = (0, false);
    each(lake, which, Columns::All, &mut |source, letter| {
        more = shown == limit;
        if !more {
            shown += 1;
            print(global, source, letter, bytes);
        }
        !more
    })
    .await?;
    if shown == 0 && !more {
        eprintln!("no open letters");
    } else if more {
        eprintln!("there are more; give a larger --limit, or --table, --reason or --since");
    }
    Ok(ExitCode::SUCCESS)
}

fn print(global: &Global, source: &str, letter: &StoredLetter, bytes: usize) {
    let head = &letter.raw[..letter.raw.len().min(bytes)];
    let cut = head.len() < letter.raw.len();
    if global.json {
        let text = std::str::from_utf8(&letter.raw).ok().filter(|_| !cut);
        let base64 = text.is_none().then(|| base64_simd::STANDARD.encode_to_string(head));
        println!(
            "{}",
            serde_json::json!({"table": source, "reason": letter.reason, "path": letter.path,
                "expected": letter.expected, "found": letter.found, "stream": letter.stream,
                "shard": letter.shard, "sequence": letter.id.sequence.to_string(),
                "subsequence": letter.id.subsequence, "arrived_at": rfc3339(letter.arrived_at),
                "quarantined_at": rfc3339(letter.quarantined_at), "schema_version": letter.schema_version,
                "raw": text, "raw_base64": base64, "raw_bytes": letter.raw.len(), "raw_is_cut": cut,
                "raw_is_truncated": letter.raw_is_truncated})
        );
        return;
    }
    let field = if letter.path.is_empty() { String::new() } else { format!(" at {}", cell(&letter.path)) };
    println!(
        "{source}: {}{field}: expected {}, found {}",
        cell(&letter.reason),
        cell(&letter.expected),
        cell(&letter.found)
    );
    println!(
        "  {} {} {}.{}, arrived {}",
        cell(&letter.stream),
        cell(&letter.shard),
        letter.id.sequence,
        letter.id.subsequence,
        rfc3339(letter.arrived_at)
    );
    let rest =
        if cut { format!(" … {} bytes in all", count(letter.raw.len() as u64)) } else { String::new() };
    println!("  {}{rest}", escaped(head));
}

/// Every selected open letter, until `take` says no; memory is that of one file.
async fn each(
    lake: &Lake,
    which: &Selection,
    columns: Columns,
    take: &mut (dyn FnMut(&str, &StoredLetter) -> bool + Send),
) -> Result<()> {
    for chain in weir::commit::reader::chains(&lake.store).await? {
        if chain.replayed().is_some() {
            continue;
        }
        for file in selected(lake, &chain, which).await? {
            let Some(bytes) = lake.store.get(&file.key()).await? else { continue };
            let source = file.source_table().unwrap_or_default();
            for letter in Letters::open(&file.key(), bytes, columns)? {
                let letter = letter?;
                if which.takes(&letter) && !take(&source, &letter) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn selected(lake: &Lake, chain: &ChainKey, which: &Selection) -> Result<Vec<LetterFileRef>> {
    let open = open_files(&lake.store, chain).await?;
    Ok(open.into_iter().filter(|file| which.takes_file(file)).collect())
}

/// `items[2].price` → `items[].price`: one field, whatever the index.
fn any_index(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside &= c != ']';
        if !(inside && c.is_ascii_digit()) {
            out.push(c);
        }
        inside |= c == '[';
    }
    out
}

/// Text as a terminal may see it: nothing that moves the cursor, turns the writing direction or
/// cannot be seen.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\'' => out.push(c),
                c => out.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// One line of an aligned table.
fn cell(text: &str) -> String {
    let mut cut: String = text.chars().take(CELL).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    escaped(cut.as_bytes())
}

fn rfc3339(at: EpochMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |t| t.to_string())
}

fn age(at: EpochMicros, now: EpochMicros) -> String {
    let seconds = (now.0 - at.0).max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_do_anything_to_a_terminal() {
        for (raw, shown) in [
            (&b"{\"a\":'b'}"[..], "{\"a\":'b'}"),
            (b"a\nb\tc\\", "a\\nb\\tc\\\\"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            ("\u{202e}é\u{7f}".as_bytes(), "\\u{202e}é\\u{7f}"),
            (b"a\xff\xc3(", "a\\xff\\xc3("),
        ] {
            assert_eq!(escaped(raw), shown);
        }
        assert_eq!(cell(&"ü".repeat(81)), format!("{}…", "ü".repeat(80)));
    }

    #[test]
    fn fields_of_lists_are_one_field_and_ages_are_short() {
        assert_eq!(any_index("items[12].price"), "items[].price");
        assert_eq!(any_index("a1[0][3].b2"), "a1[][].b2");
        let now = EpochMicros(10_000_000_000_000);
        for (seconds, shown) in
            [(-5, "0 s"), (119, "119 s"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(age(EpochMicros(now.0 - seconds * 1_000_000), now), shown);
        }
    }
}
