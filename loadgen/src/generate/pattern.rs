//! Texts that match a column's pattern.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::random::Draws;

/// How much more than the least a repetition gives.
const MORE: u32 = 3;
/// Draws until a pattern counts as one that cannot be met.
const TRIES: u64 = 200;

/// Texts found for a pattern, drawn before the run.
#[derive(Debug)]
pub(super) struct Pattern {
    texts: Vec<String>,
}

impl Pattern {
    /// Texts that match, are short enough and are allowed; the error says why there are none.
    pub(super) fn new(
        pattern: &weir::schema::Pattern,
        max_length: Option<usize>,
        allowed: Option<&[String]>,
    ) -> Result<Self, String> {
        let source = pattern.as_str();
        let fits = |text: &String| {
            pattern.is_match(text) && max_length.is_none_or(|max| text.chars().count() <= max)
        };
        let texts: Vec<String> = match allowed {
            Some(allowed) => allowed.iter().filter(|text| fits(text)).cloned().collect(),
            None => {
                let hir = regex_syntax::parse(source).map_err(|e| format!("pattern {source}: {e}"))?;
                let drawn = (0..TRIES).map(|seed| {
                    let (mut draws, mut text) = (Draws::new(seed), String::new());
                    write(&hir, &mut draws, &mut text);
                    text
                });
                drawn.filter(|text| fits(text)).collect()
            }
        };
        if texts.is_empty() {
            return Err(format!("no text was found that matches {source} and the column's other rules"));
        }
        Ok(Self { texts })
    }

    pub(super) fn draw(&self, draws: &mut Draws) -> &str {
        &self.texts[draws.below(self.texts.len() as u32) as usize]
    }
}

fn write(hir: &Hir, draws: &mut Draws, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.push(one_of(class, draws)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX).min(repetition.min.saturating_add(MORE));
            for _ in 0..repetition.min + draws.below(most - repetition.min + 1) {
                write(&repetition.sub, draws, out);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, draws, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, draws, out)),
        HirKind::Alternation(parts) => write(&parts[draws.below(parts.len() as u32) as usize], draws, out),
    }
}

fn one_of(class: &Class, draws: &mut Draws) -> char {
    match class {
        Class::Unicode(class) => {
            let ranges = class.ranges();
            let Some(range) = ranges.get(draws.below(ranges.len().max(1) as u32) as usize) else {
                return '?';
            };
            let (low, high) = (u32::from(range.start()), u32::from(range.end()));
            char::from_u32(low + draws.below(high - low + 1)).unwrap_or(range.start())
        }
        Class::Bytes(class) => {
            let ranges = class.ranges();
            ranges.first().map_or('?', |range| char::from(range.start()))
        }
    }
}
