//! A seed → tables of any types, documents that fit them, and documents that nearly do.

use crate::decode::time::civil_from_days;
use crate::schema::{Column, HiveType, StructField, TableSchema};

/// Small reproducible random numbers (SplitMix64).
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A JSON value as it will be written: numbers keep their text, objects their order and duplicates.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doc {
    Word(&'static str),
    Number(String),
    Text(String),
    /// Of a `binary` column: base64 for Weir, hex for `arrow-json`.
    Bytes(Vec<u8>),
    List(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

/// Whose notation of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    Base64,
    Hex,
}

impl Doc {
    /// The text; the seed decides on white space and escapes, so that both notations get the same.
    pub(super) fn text(&self, notation: Notation, seed: u64) -> String {
        let mut out = String::new();
        let mut style = Random(seed);
        let plain = style.one_in(2);
        self.write(notation, &mut style, plain, &mut out);
        out
    }

    fn write(&self, notation: Notation, style: &mut Random, plain: bool, out: &mut String) {
        let space = |style: &mut Random, out: &mut String| {
            if !plain && style.one_in(4) {
                out.push_str(style.pick(&[" ", "\t", "  ", "\r", "\n"]));
            }
        };
        space(style, out);
        match self {
            Doc::Word(word) => out.push_str(word),
            Doc::Number(text) => out.push_str(text),
            Doc::Text(text) => write_text(text, style, plain, out),
            Doc::Bytes(bytes) if notation == Notation::Base64 => {
                write_text(&base64_simd::STANDARD.encode_to_string(bytes), style, plain, out);
            }
            Doc::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                out.push_str(&format!("\"{hex}\""));
            }
            Doc::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    item.write(notation, style, plain, out);
                }
                out.push(']');
            }
            Doc::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    space(style, out);
                    write_text(key, style, plain, out);
                    space(style, out);
                    out.push(':');
                    value.write(notation, style, plain, out);
                }
                out.push('}');
            }
        }
        space(style, out);
    }

    /// Replace one random scalar or container below (or at) this value.
    pub(super) fn edit(&mut self, random: &mut Random) {
        match self {
            Doc::List(items) if !items.is_empty() && !random.one_in(12) => {
                let at = random.below(items.len() as u64) as usize;
                items[at].edit(random);
            }
            Doc::Object(members) if !members.is_empty() && !random.one_in(12) => {
                let at = random.below(members.len() as u64) as usize;
                members[at].1.edit(random);
            }
            Doc::Number(text) if !random.one_in(3) => *text = edited_number(text, random),
            Doc::Text(text) if !random.one_in(3) => *text = edited_text(text, random),
            other => *other = any_scalar(random),
        }
    }

    /// Whether an object in it has a key twice.
    pub(super) fn repeats_a_key(&self) -> bool {
        match self {
            Doc::List(items) => items.iter().any(Doc::repeats_a_key),
            Doc::Object(members) => {
                let twice = |i: usize| members[..i].iter().any(|(key, _)| *key == members[i].0);
                (0..members.len()).any(twice) || members.iter().any(|(_, value)| value.repeats_a_key())
            }
            _ => false,
        }
    }
}

fn write_text(text: &str, style: &mut Random, plain: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        // `arrow-json` reads pairs of escapes above U+1FFFF wrongly (DIFFERENCES has one).
        if c < ' ' || (!plain && c < '\u{20000}' && style.one_in(9)) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let hex = if style.one_in(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                out.push_str(&hex);
            }
        } else if c == '"' || c == '\\' || (c == '/' && style.one_in(2)) {
            out.push('\\');
            out.push(c);
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

/// Tables of one to five columns, nested at most three times.
pub(super) fn table(random: &mut Random) -> TableSchema {
    let count = 1 + random.below(5);
    let columns = (0..count).map(|i| Column::new(format!("c{i}"), any_type(random, 3))).collect();
    TableSchema::for_test("t", columns)
}

fn any_type(random: &mut Random, depth: u32) -> HiveType {
    let decimal = |random: &mut Random, from: u64, to: u64| {
        let precision = (from + random.below(to - from + 1)) as u8;
        HiveType::Decimal { precision, scale: random.below(u64::from(precision) + 1) as u8 }
    };
    match random.below(if depth == 0 { 16 } else { 24 }) {
        0 => HiveType::Boolean,
        1 => HiveType::TinyInt,
        2 => HiveType::SmallInt,
        3 => HiveType::Int,
        4 => HiveType::BigInt,
        5 => HiveType::Float,
        6 => HiveType::Double,
        7 => decimal(random, 1, 9),
        8 => decimal(random, 10, 18),
        9 => decimal(random, 19, 38),
        10 => HiveType::Timestamp,
        11 => HiveType::Date,
        12 => HiveType::Binary,
        13 => HiveType::String,
        14 => HiveType::Varchar(1 + random.below(20) as u32),
        15 => HiveType::Char(1 + random.below(5) as u32),
        16..=18 => HiveType::Array(Box::new(any_type(random, depth - 1))),
        19 | 20 => HiveType::Map(Box::new(HiveType::String), Box::new(any_type(random, depth - 1))),
        _ => {
            let count = 1 + random.below(4);
            let field = |i| format!("f{i}");
            HiveType::Struct(
                (0..count)
                    .map(|i| StructField { name: field(i), key: field(i), ty: any_type(random, depth - 1) })
                    .collect(),
            )
        }
    }
}

/// A document whose every value the table holds exactly.
pub(super) fn fitting(random: &mut Random, table: &TableSchema) -> Doc {
    let fields: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), &c.ty)).collect();
    object(random, &fields)
}

/// Members in any order; some absent, null, given twice, or unknown to the table.
fn object(random: &mut Random, fields: &[(&str, &HiveType)]) -> Doc {
    let mut members = Vec::new();
    for (name, ty) in fields {
        if random.one_in(20) {
            members.push(((*name).to_owned(), any_scalar(random)));
        } else if random.one_in(8) {
            continue;
        }
        members.push(((*name).to_owned(), value(random, ty)));
    }
    // The last of equal keys counts, so only members of different keys may change places.
    if !members.is_empty() && random.one_in(3) {
        let (a, b) = (random.below(members.len() as u64), random.below(members.len() as u64));
        let mut swapped = members.clone();
        swapped.swap(a as usize, b as usize);
        if !Doc::Object(members.clone()).repeats_a_key() {
            members = swapped;
        }
    }
    if random.one_in(6) {
        let at = random.below(members.len() as u64 + 1) as usize;
        members.insert(at, ("unknown".to_owned(), Doc::List(vec![any_scalar(random), Doc::Object(vec![])])));
    }
    Doc::Object(members)
}

/// A value of that type, or null.
fn value(random: &mut Random, ty: &HiveType) -> Doc {
    if random.one_in(12) {
        return Doc::Word("null");
    }
    match ty {
        HiveType::Boolean => Doc::Word(random.pick(&["true", "false"])),
        HiveType::TinyInt => whole(random, i8::MIN.into(), i8::MAX.into()),
        HiveType::SmallInt => whole(random, i16::MIN.into(), i16::MAX.into()),
        HiveType::Int => whole(random, i32::MIN.into(), i32::MAX.into()),
        HiveType::BigInt => whole(random, i64::MIN, i64::MAX),
        HiveType::Float => Doc::Number(float(random)),
        HiveType::Double => Doc::Number(double(random)),
        HiveType::Decimal { precision, scale } => Doc::Number(decimal(random, *precision, *scale)),
        HiveType::String => {
            let length = random.below(40);
            Doc::Text(text(random, length))
        }
        HiveType::Varchar(n) | HiveType::Char(n) => {
            let length = random.below(u64::from(*n) + 1);
            Doc::Text(text(random, length))
        }
        HiveType::Timestamp => Doc::Text(timestamp(random)),
        HiveType::Date => Doc::Text(date(random)),
        HiveType::Binary => Doc::Bytes((0..random.below(20)).map(|_| random.next() as u8).collect()),
        HiveType::Array(element) => Doc::List((0..random.below(4)).map(|_| value(random, element)).collect()),
        HiveType::Map(_, of) => Doc::Object(
            // Over the number of entries that the cursor compares, too.
            (0..if random.one_in(10) { 20 } else { random.below(4) })
                .map(|i| (format!("{i}:{}", text(random, 3)), value(random, of)))
                .collect(),
        ),
        HiveType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| (f.key.as_str(), &f.ty)).collect();
            object(random, &fields)
        }
    }
}

fn whole(random: &mut Random, min: i64, max: i64) -> Doc {
    let v = match random.below(6) {
        0 => min,
        1 => max,
        2 => (random.below(20) as i64 - 10).clamp(min, max),
        _ => (random.next() as i64 >> random.below(60)).clamp(min, max),
    };
    // `arrow-json` reads any other notation by way of a double, which is exact up to here.
    let exact = v.unsigned_abs() < 1 << 53;
    Doc::Number(match random.below(10) {
        0 if exact => format!("{v}.0"),
        1 if exact => format!("{v}.000e0"),
        2 if exact && v != 0 => format!("{v}0E-1"),
        3 if v == 0 => "-0".to_owned(),
        _ => v.to_string(),
    })
}

fn float(random: &mut Random) -> String {
    let v = match random.below(4) {
        0 => random.below(1_000) as f32 / 8.0,
        1 => f32::from_bits(0x3F80_0000 | random.next() as u32 & 0x00FF_FFFF),
        _ => f32::from_bits(random.next() as u32),
    };
    let v = if v.is_finite() { v } else { 0.5 };
    match random.below(4) {
        // Just above the middle of two neighbours: rounding twice, by way of a double, goes down.
        0 if v.abs() > 1e-6 && v.abs() < 1e9 => {
            let middle = (f64::from(v) + f64::from(f32::from_bits(v.to_bits() + 1))) / 2.0;
            format!("{middle:.90}1")
        }
        1 => format!("{v:e}"),
        _ => format!("{v:?}"),
    }
}

fn double(random: &mut Random) -> String {
    let v = match random.below(3) {
        0 => random.below(1_000) as f64 / 8.0,
        1 => f64::from_bits(0x3FF0_0000_0000_0000 | random.next() >> 11),
        _ => f64::from_bits(random.next()),
    };
    let v = if v.is_finite() { v } else { -0.0 };
    match random.below(4) {
        0 if v.abs() > 1e-6 && v.abs() < 1e15 => format!("{v:.40}"),
        1 => format!("{v:E}"),
        _ => format!("{v:?}"),
    }
}

fn decimal(random: &mut Random, precision: u8, scale: u8) -> String {
    let all = 10u128.pow(u32::from(precision));
    let unscaled = match random.below(4) {
        0 => all - 1,
        1 => u128::from(random.below(100)) % all,
        _ => {
            let wide = u128::from(random.next()) << 64 | u128::from(random.next());
            (wide % all) >> random.below(40)
        }
    };
    let scale = usize::from(scale);
    let digits = format!("{unscaled:0width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled > 0 && random.one_in(2) { "-" } else { "" };
    let short = fraction.trim_end_matches('0');
    match random.below(5) {
        0 if short.is_empty() => format!("{sign}{whole}"),
        // More digits than the column has, all of them zeros.
        1 => format!("{sign}{whole}.{fraction}000"),
        2 if scale > 0 => format!("{sign}{unscaled}e-{scale}"),
        3 if !short.is_empty() => format!("{sign}{whole}.{short}"),
        _ if scale == 0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

fn text(random: &mut Random, length: u64) -> String {
    let odd =
        ['"', '\\', '/', '\n', '\0', '\u{1f}', '\u{7f}', 'é', '€', '\u{1F980}', '\u{10FFFF}', '\u{2028}'];
    let common = random.one_in(2);
    (0..length)
        .map(|_| match random.below(if common { 40 } else { 4 }) {
            0 => random.pick(&odd),
            _ => char::from(b' ' + random.below(94) as u8),
        })
        .filter(|c| !common || *c != '\\')
        .collect()
}

fn date(random: &mut Random) -> String {
    // 0001-01-01 … 9999-12-31
    let days = random.below(3_652_059) as i64 - 719_162;
    let (year, month, day) = civil_from_days(if random.one_in(2) { days } else { days / 200 });
    format!("{year:04}-{month:02}-{day:02}")
}

fn timestamp(random: &mut Random) -> String {
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    let fraction = match random.below(5) {
        0 => String::new(),
        1 => format!(".{:03}", random.below(1_000)),
        2 => format!(".{:06}000", random.below(1_000_000)),
        3 => format!(".{}", random.below(10)),
        _ => format!(".{:06}", random.below(1_000_000)),
    };
    let zone = match random.below(4) {
        0 => format!("+{:02}:{:02}", random.below(15), random.below(60)),
        1 => format!("-{:02}:{:02}", random.below(13), 15 * random.below(4)),
        _ => "Z".to_owned(),
    };
    let between = random.pick(&["T", "T", "T", " ", "t"]);
    format!("{}{between}{hour:02}:{minute:02}:{second:02}{fraction}{zone}", date(random))
}

fn any_scalar(random: &mut Random) -> Doc {
    match random.below(9) {
        0 => Doc::Word(random.pick(&["null", "true", "false"])),
        1 => whole(random, i64::MIN, i64::MAX),
        2 => Doc::Number(double(random)),
        3 => Doc::Number(decimal(random, 38, 6)),
        4 => Doc::Text(timestamp(random)),
        5 => Doc::Text(date(random)),
        6 => Doc::List(vec![]),
        7 => Doc::Object(vec![]),
        _ => {
            let length = random.below(12);
            Doc::Text(text(random, length))
        }
    }
}

/// Another number, mostly: a digit, a point or an exponent more or less.
fn edited_number(number: &str, random: &mut Random) -> String {
    let mut bytes = number.as_bytes().to_vec();
    if bytes.is_empty() {
        return "1".to_owned();
    }
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(5) {
        0 => bytes[at] = b'0' + random.below(10) as u8,
        1 => bytes.insert(at, b'0' + random.below(10) as u8),
        2 => bytes.extend_from_slice(format!("e{}", random.below(40) as i64 - 20).as_bytes()),
        3 => bytes.extend_from_slice(format!(".{}", random.below(100)).as_bytes()),
        _ => _ = bytes.remove(at),
    }
    String::from_utf8(bytes).unwrap()
}

fn edited_text(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len() as u64 + 1) as usize;
    let new = random.pick(&['0', '9', '-', ':', ' ', 'Z', 'é', '.', '+']);
    match random.below(3) {
        0 if at < chars.len() => chars[at] = new,
        1 if at < chars.len() => _ = chars.remove(at),
        _ => chars.insert(at, new),
    }
    chars.into_iter().collect()
}
