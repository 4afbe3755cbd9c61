//! Events of any table, from the types and constraints of its columns. A column it cannot make
//! values for is named.

use anyhow::{Result, bail};
use weir::schema::{Column, Granularity, HiveType, StructField, TableSchema, TimeFormat};

use super::fate::Kind;
use super::pattern::Pattern;
use super::random::{Draws, bits_of};
use super::text::{TimeWriter, digits, escaped, fixed, padded};
use super::{Event, Plan};

/// Words that texts are made of.
const WORDS: [&str; 12] = [
    "amber", "birch", "cedar", "delta", "ember", "flint", "grove", "harbor", "iris", "juniper", "krill",
    "lumen",
];
/// Most items of a generated array or map.
const ITEMS: u32 = 3;

#[derive(Debug)]
enum Value {
    Stamp { numeric: bool },
    EventTime(TimeWriter),
    Text { least: usize },
    OneOf(Vec<String>),
    Pattern(Pattern),
    Boolean,
    Integer { min: i64, max: i64 },
    Double { min: f64, max: f64 },
    Decimal { least: u64, spread: u32, scale: usize },
    Time(TimeWriter),
    Base64,
    Array(Box<Value>),
    Map(Box<Value>),
    Object(Vec<(String, Value)>),
}

/// Makes documents of a table's columns.
#[derive(Debug)]
pub(super) struct Any {
    draws: Draws,
    root: Vec<(String, Value)>,
    /// What a violating document has instead of a column's value, by its top-level field.
    violations: Vec<(String, &'static str)>,
    pad: Option<String>,
    pad_to: usize,
}

impl Any {
    pub(super) fn new(plan: &Plan, lane: u64) -> Result<Self> {
        let table = &*plan.table;
        let mut root = Vec::new();
        let pad = (plan.pad_to > 0).then(|| free_text(plan)).transpose()?;
        for (at, column) in table.columns.iter().enumerate() {
            if pad.as_ref().is_some_and(|name| column.from == [name.clone()]) || plan.is_of_change(column) {
                continue;
            }
            let value = match column.json {
                true => Value::Object(Vec::new()),
                false => value_of(plan, table, at, column)?,
            };
            if let Err(problem) = place(&mut root, &column.from, value) {
                bail!("cannot generate events for table {}: column {}: {problem}", table.name, column.name);
            }
        }
        if let Some(route) = &table.route
            && place(&mut root, &route.path, Value::OneOf(vec![route.value.clone()])).is_err()
        {
            replace(&mut root, &route.path, &route.value);
        }
        let draws = Draws::new(bits_of(plan.seed, u64::MAX - lane));
        Ok(Self { draws, root, violations: violations(plan), pad, pad_to: plan.pad_to })
    }

    pub(super) fn can_violate(&self) -> bool {
        !self.violations.is_empty()
    }

    pub(super) fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        let start = out.len();
        let violation = match event.fate.kind {
            Kind::Violating => self.violations.get((event.fate.bits >> 44) as usize % self.violations.len()),
            _ => None,
        };
        out.push(b'{');
        for (i, (name, value)) in self.root.iter_mut().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            key(name, out);
            match violation {
                Some((broken, text)) if broken == name => out.extend_from_slice(text.as_bytes()),
                _ => value.write(plan, event, &mut self.draws, out),
            }
        }
        if let Some(name) = &self.pad {
            out.push(b',');
            key(name, out);
            let missing = self.pad_to.saturating_sub(out.len() - start + 3);
            out.push(b'"');
            out.resize(out.len() + missing, b'x');
            out.push(b'"');
        }
        if event.fate.kind != Kind::Malformed {
            out.push(b'}');
        }
    }
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(name, out);
    out.extend_from_slice(b"\":");
}

/// A top-level text column without rules that may be of any length.
fn free_text(plan: &Plan) -> Result<String> {
    let carrier = plan.carrier.column();
    let free = |c: &&Column| {
        c.name != carrier
            && c.from.len() == 1
            && c.ty == HiveType::String
            && c.max_length.is_none()
            && c.allowed.is_none()
            && c.pattern.is_none()
            && !c.json
    };
    match plan.table.columns.iter().find(free) {
        Some(column) => Ok(column.from[0].clone()),
        None => {
            bail!("--bytes: table {} has no text column without rules that could be longer", plan.table.name)
        }
    }
}

fn violations(plan: &Plan) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for column in &plan.table.columns {
        let [field] = column.from.as_slice() else { continue };
        // The stamp has to stay, since it says which event a dead letter is; json takes everything.
        if column.name == plan.carrier.column()
            || column.json
            || plan.is_of_change(column)
            || plan.keys.contains(field)
        {
            continue;
        }
        match &column.ty {
            HiveType::Int | HiveType::BigInt | HiveType::Double | HiveType::Timestamp | HiveType::Date => {
                found.push((field.clone(), "\"not one\""));
            }
            _ if column.required && column.default.is_none() => found.push((field.clone(), "null")),
            _ if column.allowed.is_some() => found.push((field.clone(), "\"none of them\"")),
            _ => {}
        }
    }
    found
}

fn place(root: &mut Vec<(String, Value)>, path: &[String], value: Value) -> Result<(), String> {
    let Some((name, below)) = path.split_first() else { return Err("it is read from nowhere".to_owned()) };
    let at = root.iter().position(|(known, _)| known == name);
    let Some(at) = at else {
        let value = if below.is_empty() {
            value
        } else {
            let mut inner = Vec::new();
            place(&mut inner, below, value)?;
            Value::Object(inner)
        };
        root.push((name.clone(), value));
        return Ok(());
    };
    match (&mut root[at].1, below.is_empty(), value) {
        (Value::Object(fields), false, value) => place(fields, below, value),
        (Value::Object(_), true, Value::Object(fields)) if fields.is_empty() => Ok(()),
        _ => Err(format!("its field {} is another column's too", path.join("/"))),
    }
}

fn replace(root: &mut [(String, Value)], path: &[String], text: &str) {
    let Some((name, below)) = path.split_first() else { return };
    for (known, value) in root {
        match value {
            Value::Object(fields) if known == name && !below.is_empty() => replace(fields, below, text),
            value if known == name && below.is_empty() => *value = Value::OneOf(vec![text.to_owned()]),
            _ => {}
        }
    }
}

fn value_of(plan: &Plan, table: &TableSchema, at: usize, column: &Column) -> Result<Value> {
    if column.name == plan.carrier.column() {
        return Ok(Value::Stamp { numeric: plan.carrier.is_numeric() });
    }
    if table.event_time == Some(at) {
        if column.min.is_some() || column.max.is_some() {
            bail!(
                "cannot generate events for table {}: column {} is the event time and has bounds; events are of now",
                table.name,
                column.name
            );
        }
        return Ok(Value::EventTime(TimeWriter::new(&column.time_format)));
    }
    let is_identity =
        table.partition_keys.iter().any(|k| k.column == at && k.granularity == Granularity::Identity);
    let made = match &column.pattern {
        Some(pattern) => {
            Pattern::new(pattern, column.max_length, column.allowed.as_deref()).map(Value::Pattern)
        }
        None => match (&column.allowed, &column.ty) {
            (Some(allowed), _) => Ok(Value::OneOf(allowed.clone())),
            // Few values: each is a folder.
            (None, HiveType::String) if is_identity => {
                Ok(Value::OneOf(WORDS[..4].iter().map(|w| (*w).to_owned()).collect()))
            }
            (None, ty) => of_type(ty, column),
        },
    };
    made.or_else(|problem| {
        bail!(
            "cannot generate events for table {}: column {} ({}): {problem}",
            table.name,
            column.name,
            column.ty
        )
    })
}

fn of_type(ty: &HiveType, column: &Column) -> Result<Value, String> {
    let bound = |text: &Option<String>, default: f64| match text {
        Some(text) => text.parse::<f64>().map_err(|_| format!("its bound {text} is no number")),
        None => Ok(default),
    };
    let integer = |low: i64, high: i64| -> Result<Value, String> {
        let whole = |text: &Option<String>| text.as_deref().and_then(|t| t.parse::<i64>().ok());
        let (min, max) = match (whole(&column.min), whole(&column.max)) {
            (Some(min), Some(max)) => (min, max),
            (Some(min), None) => (min, high.max(min)),
            (None, Some(max)) => (low.min(max), max),
            (None, None) => (low, high),
        };
        Ok(Value::Integer { min, max })
    };
    Ok(match ty {
        HiveType::Boolean => Value::Boolean,
        HiveType::TinyInt => integer(0, 100)?,
        HiveType::SmallInt => integer(0, 10_000)?,
        HiveType::Int | HiveType::BigInt => integer(0, 1_000_000)?,
        HiveType::Float | HiveType::Double => {
            let min = bound(&column.min, 0.0)?;
            Value::Double { min, max: bound(&column.max, min + 1_000.0)? }
        }
        HiveType::Decimal { precision, scale } => {
            let (scale, digits) = (usize::from(*scale).min(9), u32::from((*precision).min(9)));
            let unit = 10f64.powi(scale as i32);
            let least = (bound(&column.min, 0.0)?.max(0.0) * unit).ceil();
            let most = (bound(&column.max, f64::INFINITY)? * unit)
                .floor()
                .min(least + 10f64.powi(digits as i32) - 1.0);
            if most < least || most > 1e15 {
                return Err("its bounds leave no value above 0 to make".to_owned());
            }
            Value::Decimal { least: least as u64, spread: (most - least).min(4e9) as u32, scale }
        }
        HiveType::String => Value::Text { least: column.max_length.unwrap_or(24).min(24) },
        HiveType::Varchar(n) | HiveType::Char(n) => Value::Text { least: (*n as usize).min(24) },
        HiveType::Timestamp | HiveType::Date => {
            if column.min.is_some() || column.max.is_some() {
                return Err("bounds of times are not generated".to_owned());
            }
            let format = match (&column.time_format, ty) {
                (TimeFormat::Rfc3339, HiveType::Date) => TimeFormat::Strftime("%Y-%m-%d".to_owned()),
                (format, _) => format.clone(),
            };
            Value::Time(TimeWriter::new(&format))
        }
        HiveType::Binary => Value::Base64,
        HiveType::Array(item) => Value::Array(Box::new(of_type(item, column)?)),
        HiveType::Map(_, value) => Value::Map(Box::new(of_type(value, column)?)),
        HiveType::Struct(fields) => {
            let fields =
                fields.iter().map(|StructField { key, ty, .. }| Ok((key.clone(), of_type(ty, column)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

impl Value {
    fn write(&mut self, plan: &Plan, event: &Event, draws: &mut Draws, out: &mut Vec<u8>) {
        match self {
            Value::Stamp { numeric: true } => digits(plan.tag.as_number(event.number) as u64, out),
            Value::Stamp { numeric: false } => {
                out.push(b'"');
                plan.tag.write(event.number, event.intended, out);
                out.push(b'"');
            }
            Value::EventTime(writer) | Value::Time(writer) => writer.write(event.time, out),
            Value::Text { least } => text(*least, draws, out),
            Value::OneOf(all) => {
                out.push(b'"');
                escaped(&all[draws.below(all.len() as u32) as usize], out);
                out.push(b'"');
            }
            Value::Pattern(pattern) => {
                out.push(b'"');
                escaped(pattern.draw(draws), out);
                out.push(b'"');
            }
            Value::Boolean => out.extend_from_slice(if draws.below(2) == 0 { b"false" } else { b"true" }),
            Value::Integer { min, max } => {
                let spread = max.abs_diff(*min).min(u64::from(u32::MAX) - 1) as u32;
                out.extend_from_slice((*min + i64::from(draws.below(spread + 1))).to_string().as_bytes());
            }
            Value::Double { min, max } => {
                let value = *min + (*max - *min) * draws.share();
                out.extend_from_slice(format!("{value:.3}").as_bytes());
            }
            Value::Decimal { least, spread, scale } => {
                fixed(*least + u64::from(draws.below(spread.saturating_add(1))), *scale, out);
            }
            Value::Base64 => {
                out.push(b'"');
                // Four characters are three bytes, whatever they are.
                (0..8).for_each(|_| out.push(b'A' + draws.below(26) as u8));
                out.push(b'"');
            }
            Value::Array(item) => {
                out.push(b'[');
                for i in 0..draws.below(ITEMS + 1) {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(plan, event, draws, out);
                }
                out.push(b']');
            }
            Value::Map(value) => {
                out.push(b'{');
                for i in 0..draws.below(ITEMS + 1) {
                    if i > 0 {
                        out.push(b',');
                    }
                    key(WORDS[i as usize], out);
                    value.write(plan, event, draws, out);
                }
                out.push(b'}');
            }
            Value::Object(fields) => {
                out.push(b'{');
                for (i, (name, value)) in fields.iter_mut().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    key(name, out);
                    value.write(plan, event, draws, out);
                }
                out.push(b'}');
            }
        }
    }
}

fn text(length: usize, draws: &mut Draws, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(draws.of(&WORDS).as_bytes());
    out.push(b'-');
    padded(u64::from(draws.below(10_000)), 4, out);
    out.truncate(out.len().min(start + length));
    out.push(b'"');
}
