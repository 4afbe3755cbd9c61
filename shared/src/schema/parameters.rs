//! Names and texts of `weir.*` parameters: which exist, the nearest to a wrong one, durations,
//! booleans, lists and places in a record.

use std::collections::BTreeMap;
use std::time::Duration;

/// Parameters of a table; `weir.partition.<key>` stands beside them.
const TABLE: &[&str] = &[
    "weir.allowed_lateness",
    "weir.bloom",
    "weir.compact_size",
    "weir.compression",
    "weir.current",
    "weir.current_of",
    "weir.dedupe_key",
    "weir.event_time",
    "weir.job",
    "weir.keys",
    "weir.max_age",
    "weir.max_future",
    "weir.on_close",
    "weir.provenance",
    "weir.route",
    "weir.schema_hash",
    "weir.sort",
    "weir.unknown_fields",
];

/// Parameters of a column; `weir.from.<struct field>` stands beside them.
const COLUMN: &[&str] = &[
    "weir.default",
    "weir.enum",
    "weir.from",
    "weir.json",
    "weir.max",
    "weir.max_length",
    "weir.min",
    "weir.pattern",
    "weir.required",
    "weir.time_format",
    "weir.transform",
];

/// Prefix of a partition key's derivation.
pub(super) const PARTITION_PREFIX: &str = "weir.partition.";
/// Prefix of a struct field's place.
pub(super) const FROM_PREFIX: &str = "weir.from.";
/// The parameter that holds the schema's version.
pub(super) const SCHEMA_HASH: &str = "weir.schema_hash";

/// Parameters as Glue holds them: text to text, in a settled order.
pub(super) type Parameters = BTreeMap<String, String>;

/// Whose parameters are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// `TableInput.Parameters`
    Table,
    /// `Column.Parameters`
    Column,
}

/// Refuses `weir.*` names that do not exist, with the nearest that does.
pub(super) fn check_names(parameters: &Parameters, level: Level) -> Result<(), String> {
    let (known, prefix, other, other_is) = match level {
        Level::Table => (TABLE, PARTITION_PREFIX, COLUMN, "a parameter of a column, not of the table"),
        Level::Column => (COLUMN, FROM_PREFIX, TABLE, "a parameter of the table, not of a column"),
    };
    for name in parameters.keys().filter(|name| name.starts_with("weir.")) {
        let has_suffix = name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        if known.contains(&name.as_str()) || has_suffix {
            continue;
        }
        if other.contains(&name.as_str()) {
            return Err(format!("parameter `{name}` is {other_is}"));
        }
        let nearest = known.iter().min_by_key(|candidate| distance(candidate, name)).copied();
        let nearest = nearest.unwrap_or(prefix);
        return Err(format!("there is no parameter `{name}`; the nearest is `{nearest}`"));
    }
    Ok(())
}

/// Reads `10m`, `7d`, `1h30m`, `90s`: units d, h, m, s, each at most once, largest first.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let wrong = || format!("`{text}` is not a duration; write `10m`, `7d` or `1h30m`");
    let mut rest = text.trim();
    let mut seconds = 0u64;
    let mut first_unit = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = UNITS[first_unit..].iter().position(|(c, _)| rest[digits..].starts_with(*c));
        let unit = first_unit + unit.ok_or_else(wrong)?;
        let part = number.checked_mul(UNITS[unit].1).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        first_unit = unit + 1;
        rest = &rest[digits + 1..];
    }
    // Times are microseconds in an i64, so a longer duration can only overflow later.
    if seconds > i64::MAX as u64 / 1_000_000 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a size of `128MB` to `512MB` (2^20 bytes each).
pub(super) fn parse_compact_size(text: &str) -> Result<u64, String> {
    let megabytes = text.trim().strip_suffix("MB").and_then(|n| n.trim().parse::<u64>().ok());
    match megabytes {
        Some(n @ 128..=512) => Ok(n << 20),
        _ => Err(format!("expected a size from `128MB` to `512MB`, found `{text}`")),
    }
}

/// `true` or `false`.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("expected `true` or `false`, found `{other}`")),
    }
}

/// `a,b` or, where texts hold commas, a JSON array of texts.
pub(super) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|e| format!("expected a JSON array of texts: {e}"))?
    } else {
        text.split(',').map(|part| part.trim().to_owned()).collect()
    };
    if list.is_empty() || list.iter().any(String::is_empty) && !text.trim_start().starts_with('[') {
        return Err(format!("expected a list as `a,b`, found `{text}`"));
    }
    Ok(list)
}

/// Where a value stands: a JSON pointer (`/geo/coordinates/lat`) or one key, dots included.
pub(super) fn parse_place(text: &str) -> Result<Vec<String>, String> {
    let Some(pointer) = text.strip_prefix('/') else {
        return if text.is_empty() {
            Err("expected a key or a JSON pointer".to_owned())
        } else {
            Ok(vec![text.to_owned()])
        };
    };
    pointer.split('/').map(|token| unescape(token).ok_or_else(|| bad_pointer(text))).collect()
}

/// RFC 6901: `~1` is `/`, `~0` is `~`, another `~` is an error.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut key = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        key.push(c);
        key.push_str(rest);
    }
    Some(key)
}

fn bad_pointer(text: &str) -> String {
    format!("`{text}` is not a JSON pointer: `~` is written `~0` and `/` inside a key `~1`")
}

/// Levenshtein distance, for names of parameters only.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_days_to_seconds() {
        for (text, seconds) in [
            ("10m", Some(600)),
            ("7d", Some(604_800)),
            ("1h30m", Some(5_400)),
            ("90s", Some(90)),
            ("0s", Some(0)),
        ] {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_secs()), seconds, "{text}");
        }
        for text in ["", "10", "m", "10 m", "1m1h", "1m1m", "-1m", "1.5h", "10ms", "9999999999999d", "1w"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error, format!("`{text}` is not a duration; write `10m`, `7d` or `1h30m`"));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, level, message) in [
            ("weir.allowed_latness", Level::Table, "the nearest is `weir.allowed_lateness`"),
            ("weir.partition.", Level::Table, "there is no parameter `weir.partition.`"),
            ("weir.require", Level::Column, "the nearest is `weir.required`"),
            ("weir.required", Level::Table, "a parameter of a column, not of the table"),
            ("weir.bloom", Level::Column, "a parameter of the table, not of a column"),
        ] {
            let parameters = Parameters::from([(name.to_owned(), String::new())]);
            let error = check_names(&parameters, level).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn every_parameter_is_documented() {
        let page = include_str!("../../../docs/TABLES.md");
        for name in TABLE.iter().chain(COLUMN) {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is not in docs/TABLES.md");
        }
    }

    #[test]
    fn places_are_keys_or_json_pointers() {
        for (text, keys) in [
            ("id.orig_h", Some(vec!["id.orig_h"])),
            ("/geo/coordinates/lat", Some(vec!["geo", "coordinates", "lat"])),
            ("/a~1b/c~0d", Some(vec!["a/b", "c~d"])),
            ("/", Some(vec![""])),
            ("/a~2b", None),
            ("/a~", None),
            ("", None),
        ] {
            let found = parse_place(text).ok();
            assert_eq!(found, keys.map(|keys| keys.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }

    #[test]
    fn lists_are_split_at_commas_or_given_as_json() {
        assert_eq!(parse_list("a, b").unwrap(), ["a", "b"]);
        assert_eq!(parse_list(r#"["a,b", ""]"#).unwrap(), ["a,b", ""]);
        assert!(parse_list("a,,b").is_err());
        assert!(parse_list("").is_err());
        assert!(parse_list("[1]").is_err());
    }
}
