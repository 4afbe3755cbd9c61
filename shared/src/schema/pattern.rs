//! The text of `weir.pattern` → what tells whether a whole text matches.
//!
//! Most patterns are a row of character sets, each with a count: `[A-Z]{2}`, `[0-9a-f]{8}-[0-9]+`.
//! Those are matched byte by byte, at once; building a regular expression would be a good part of
//! a function's init. All others are regular expressions, in linear time.

use regex::Regex;

/// A regular expression that a whole text has to match.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Sets(Vec<Set>),
    Regex(Regex),
}

/// ASCII characters, `min` to `max` of them. No character of a set whose count varies can begin what
/// comes after it, so taking as many as there are is right.
#[derive(Debug, Clone, PartialEq)]
struct Set {
    members: u128,
    min: usize,
    max: usize,
}

impl Pattern {
    /// Of the syntax of crate `regex`.
    ///
    /// # Errors
    /// What is wrong with the syntax, or that the expression is too large.
    pub fn new(text: &str) -> Result<Self, String> {
        let matcher = match sets(text) {
            Some(sets) => Matcher::Sets(sets),
            None => {
                // Compiled alone first: `a)(b` would be a pattern inside the group.
                Regex::new(text).map_err(|e| e.to_string())?;
                Matcher::Regex(Regex::new(&format!("^(?:{text})$")).map_err(|e| e.to_string())?)
            }
        };
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` matches.
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.matcher {
            Matcher::Sets(sets) => {
                let mut rest = text.as_bytes();
                for set in sets {
                    let taken = rest.iter().take(set.max).take_while(|&&byte| set.has(byte)).count();
                    if taken < set.min {
                        return false;
                    }
                    rest = &rest[taken..];
                }
                rest.is_empty()
            }
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Set {
    fn has(&self, byte: u8) -> bool {
        byte < 128 && self.members >> byte & 1 == 1
    }
}

/// The pattern as sets, if it is one of few and simple signs whose matches are never ambiguous.
fn sets(text: &str) -> Option<Vec<Set>> {
    let (mut sets, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let members = match first {
            b'[' => {
                let end = after.iter().position(|&b| b == b']')?;
                let members = class(&after[..end])?;
                rest = &after[end + 1..];
                members
            }
            _ if stands_for_itself(*first) || *first == b'-' => {
                rest = after;
                1 << first
            }
            _ => return None,
        };
        let (min, max);
        (min, max, rest) = count(rest)?;
        sets.push(Set { members, min, max });
    }
    let unambiguous = sets.iter().enumerate().all(|(at, set)| {
        let after = &sets[at + 1..];
        let needed = after.iter().position(|next| next.min > 0).map_or(after.len(), |at| at + 1);
        set.min == set.max || after[..needed].iter().all(|next| next.members & set.members == 0)
    });
    unambiguous.then_some(sets)
}

/// What stands between brackets.
fn class(mut text: &[u8]) -> Option<u128> {
    let mut members = 0;
    while let [from, after @ ..] = text {
        if !stands_for_itself(*from) {
            return None;
        }
        let (to, after) = match after {
            [b'-', to, after @ ..] if stands_for_itself(*to) && from <= to => (to, after),
            [b'-', ..] => return None,
            after => (from, after),
        };
        (*from..=*to).for_each(|byte| members |= 1_u128 << byte);
        text = after;
    }
    (members != 0).then_some(members)
}

/// How often what stood before is repeated, and what comes after.
fn count(text: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (min, max, rest) = match text {
        [b'?', rest @ ..] => (0, 1, rest),
        [b'*', rest @ ..] => (0, usize::MAX, rest),
        [b'+', rest @ ..] => (1, usize::MAX, rest),
        [b'{', rest @ ..] => {
            let end = rest.iter().position(|&b| b == b'}')?;
            let inside = std::str::from_utf8(&rest[..end]).ok()?;
            let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
                true => text.parse::<u16>().ok().map(usize::from),
                false => None,
            };
            let (min, max) = match inside.split_once(',') {
                None => (number(inside)?, number(inside)?),
                Some((min, "")) => (number(min)?, usize::MAX),
                Some((min, max)) => (number(min)?, number(max)?),
            };
            if min > max {
                return None;
            }
            (min, max, &rest[end + 1..])
        }
        rest => return Some((1, 1, rest)),
    };
    // A lazy or repeated repetition.
    (!matches!(rest, [b'?' | b'*' | b'+' | b'{', ..])).then_some((min, max, rest))
}

fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'/' | b'@' | b' ' | b',' | b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_sets(text: &str) -> bool {
        matches!(Pattern::new(text).unwrap().matcher, Matcher::Sets(_))
    }

    #[test]
    fn rows_of_sets_need_no_regular_expression() {
        for text in ["", "[A-Z]{2}", "[0-9a-f]{8}-[0-9a-f]{4}", "v[0-9]+/[a-z_]*", "a?b{2,}", "[0-9]{1,3}"] {
            assert!(is_sets(text), "{text}");
        }
        for text in [
            "[A-Z]+[A-Z]",
            "[a-z]*x?b",
            "a|b",
            r"\d",
            ".",
            "[^a]",
            "[a&&b]",
            "(ab)+",
            "a+?",
            "[é]",
            "^a",
            "a{2}{3}",
        ] {
            assert!(!is_sets(text), "{text}");
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let simple_set = prop::sample::select(vec!["a", "b", "-", "[ab]", "[b-c]", "[a-cx]", "[a_0-9]"]);
        let set = prop::sample::select(vec!["[a-]", "[-a]", "[c-a]", ".", "[]", "[^b]", "é", "\\d", "a|b"]);
        let simple_count = prop::sample::select(vec!["", "?", "*", "+", "{2}", "{1,2}", "{2,}", "{0,3}"]);
        let count = prop::sample::select(vec!["{0}", "{3,1}", "{,2}", "{+1}", "{ 1}", "??"]);
        (prop_oneof![9 => simple_set, 1 => set], prop_oneof![9 => simple_count, 1 => count])
            .prop_map(|(set, count)| format!("{set}{count}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn says_what_the_regular_expression_says(
            pieces in prop::collection::vec(piece(), 0..4),
            texts in prop::collection::vec(prop_oneof!["[ab]{0,5}", "[abcx0é\n-]{0,6}"], 1..16),
        ) {
            let source = pieces.concat();
            let oracle = Regex::new(&source).and_then(|_| Regex::new(&format!("^(?:{source})$")));
            let pattern = Pattern::new(&source);
            prop_assert_eq!(pattern.is_ok(), oracle.is_ok(), "{}", source);
            let (Ok(pattern), Ok(oracle)) = (pattern, oracle) else { return Ok(()) };
            for text in texts {
                prop_assert_eq!(pattern.is_match(&text), oracle.is_match(&text), "{} on {:?}", source, text);
            }
        }
    }
}
