//! Partition values to and from their Hive path (`dt=2026-11-20/hour=2026-11-20-05`), as Hive's
//! `FileUtils.makePartName` and `unescapePathName` do it. Never touches a store.

use std::fmt;

/// What stands in a path for null and for the empty text.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The folder of a partition below its table; empty for a table without partition keys.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct PartitionPath(String);

/// The text was not a partition path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a partition path (`key=value/key=value`): {0:?}")]
pub struct NotAPartitionPath(pub String);

impl PartitionPath {
    /// From keys and values in the order of the table's partition keys.
    pub fn from_values<'a>(values: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut path = String::new();
        for (key, value) in values {
            if !path.is_empty() {
                path.push('/');
            }
            escape_into(key, &mut path);
            path.push('=');
            match value {
                None | Some("") => path.push_str(NULL_PARTITION),
                Some(value) => escape_into(value, &mut path),
            }
        }
        Self(path)
    }

    /// From text that already is a path.
    pub fn parse(path: &str) -> Result<Self, NotAPartitionPath> {
        let whole = |part: &str| part.split_once('=').is_some_and(|(k, v)| !k.is_empty() && !v.is_empty());
        if path.is_empty() || path.split('/').all(whole) {
            Ok(Self(path.to_owned()))
        } else {
            Err(NotAPartitionPath(path.to_owned()))
        }
    }

    /// Keys and values; null where the path says [`NULL_PARTITION`].
    pub fn values(&self) -> Vec<(String, Option<String>)> {
        let parts = self.0.split('/').filter_map(|part| part.split_once('='));
        parts
            .map(|(key, value)| (unescape(key), (value != NULL_PARTITION).then(|| unescape(value))))
            .collect()
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the table has no partition keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for PartitionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Hive's `charToEscape`, and NUL, which no path can hold.
fn needs_escape(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '\x7f'
            | '{'
            | '['
            | ']'
            | '^'
    )
}

fn escape_into(text: &str, out: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for c in text.chars() {
        if needs_escape(c) {
            let code = c as usize;
            out.extend(['%', HEX[code >> 4], HEX[code & 15]]);
        } else {
            out.push(c);
        }
    }
}

/// `%` and two hex digits become the character of that code; any other `%` stays.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_character_is_escaped_as_hive_does() {
        let hive = "\"#%'*/:=?\\\u{7f}{[]^";
        for c in (0u32..0x250).filter_map(char::from_u32) {
            let text = c.to_string();
            let path = PartitionPath::from_values([("k", Some(text.as_str()))]);
            let expected = if hive.contains(c) || (c as u32) < 0x20 {
                format!("k=%{:02X}", c as u32)
            } else {
                format!("k={c}")
            };
            assert_eq!(path.as_str(), expected, "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn values_and_paths_match() {
        type Values<'a> = &'a [(&'a str, Option<&'a str>)];
        let cases: &[(Values<'_>, &str)] = &[
            (&[], ""),
            (
                &[("dt", Some("2026-11-20")), ("hour", Some("2026-11-20-05"))],
                "dt=2026-11-20/hour=2026-11-20-05",
            ),
            (&[("a", None)], "a=__HIVE_DEFAULT_PARTITION__"),
            (&[("a", Some("x/y z")), ("b", Some("ü=1"))], "a=x%2Fy z/b=ü%3D1"),
            (&[("a", Some("100%25"))], "a=100%2525"),
            (&[("a", Some("..")), ("b", Some("}"))], "a=../b=}"),
        ];
        for (values, path) in cases {
            let made = PartitionPath::from_values(values.iter().copied());
            assert_eq!(made.as_str(), *path);
            assert_eq!(PartitionPath::parse(path), Ok(made.clone()));
            let back = made.values();
            let back: Vec<_> = back.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
            assert_eq!(back, *values);
        }
        assert_eq!(PartitionPath::from_values([("a", Some(""))]).as_str(), "a=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(unescape("a%zz%4"), "a%zz%4");
        assert_eq!(unescape("%é"), "%é");
        for bad in ["a", "a=", "=b", "a=1//b=2", "a=1/"] {
            assert!(PartitionPath::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(value in "\\PC+|[\\x00-\\x7f]+") {
            prop_assume!(value != NULL_PARTITION);
            let path = PartitionPath::from_values([("k", Some(value.as_str()))]);
            prop_assert_eq!(path.values(), vec![("k".to_owned(), Some(value))]);
            prop_assert!(!path.as_str().contains('/'));
        }
    }
}
