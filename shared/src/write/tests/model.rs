//! Values as trees: into column buffers, and into JSON for the oracle.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema, TimeUnit};

use crate::columns::{ColumnSet, Field, FieldKind, Layout, LeafSpec, Physical};
use crate::schema::*;
use crate::write::{Encoder, FileFormat, FileWriter};

/// A value of any Hive type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// Integers, dates in days, timestamps in microseconds, decimals unscaled.
    Int(i128),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Struct(Vec<Tree>),
}

/// A table with these columns and no rules.
pub(crate) fn table(columns: &[(String, HiveType)]) -> TableSchema {
    let column = |(name, ty): &(String, HiveType)| Column {
        name: name.clone(),
        ty: ty.clone(),
        comment: None,
        from: vec![name.clone()],
        required: false,
        min: None,
        max: None,
        pattern: None,
        allowed: None,
        max_length: None,
        default: None,
        transforms: Vec::new(),
        json: false,
        time_format: TimeFormat::Rfc3339,
    };
    let columns = columns.iter().map(column).collect();
    TableSchema { version: String::new(), ..TableSchema::for_test("t", columns) }
}

/// Push one value of a field; `rep` is the repetition level of its first entry.
fn shred(columns: &mut ColumnSet, layout: &Layout, field: &Field, value: &Tree, rep: u8) {
    match (&field.kind, value) {
        (_, Tree::Null) => columns.push_null(field.leaves.clone(), field.def - 1, rep),
        (FieldKind::Leaf, value) => {
            let i = field.leaves.start;
            push_leaf(columns, i, &layout.leaves[i], value, rep);
        }
        (FieldKind::Struct(members), Tree::Struct(values)) => {
            for (member, value) in members.iter().zip(values) {
                shred(columns, layout, member, value, rep);
            }
        }
        (FieldKind::List(element), Tree::List(values)) => {
            if values.is_empty() {
                columns.push_null(field.leaves.clone(), field.def, rep);
            }
            for (i, value) in values.iter().enumerate() {
                shred(columns, layout, element, value, if i == 0 { rep } else { element.rep });
            }
        }
        (FieldKind::Map(key_field, value_field), Tree::Map(pairs)) => {
            if pairs.is_empty() {
                columns.push_null(field.leaves.clone(), field.def, rep);
            }
            for (i, (key, value)) in pairs.iter().enumerate() {
                let rep = if i == 0 { rep } else { key_field.rep };
                shred(columns, layout, key_field, key, rep);
                shred(columns, layout, value_field, value, rep);
            }
        }
        (kind, value) => panic!("{value:?} is no value of {kind:?}"),
    }
}

fn push_leaf(columns: &mut ColumnSet, i: usize, spec: &LeafSpec, value: &Tree, rep: u8) {
    let leaf = &mut columns.leaves[i];
    match (spec.physical, value) {
        (Physical::Bool, Tree::Bool(v)) => leaf.push_bool(u8::from(*v), rep),
        (Physical::Int32, Tree::Int(v)) => leaf.push_i32(*v as i32, rep),
        (Physical::Int64, Tree::Int(v)) => leaf.push_i64(*v as i64, rep),
        (Physical::Fixed(_), Tree::Int(v)) => leaf.push_fixed(*v, rep),
        (Physical::Float, Tree::Float(v)) => leaf.push_f32(*v as f32, rep),
        (Physical::Double, Tree::Float(v)) => leaf.push_f64(*v, rep),
        (Physical::Bytes, Tree::Text(v)) => leaf.push_bytes(v.as_bytes(), rep),
        (Physical::Bytes, Tree::Binary(v)) => leaf.push_bytes(v, rep),
        (physical, value) => panic!("{value:?} is no {physical:?}"),
    }
}

/// Push rows into buffers.
pub(crate) fn fill(columns: &mut ColumnSet, layout: &Layout, rows: &[Vec<Tree>]) {
    for row in rows {
        for (field, value) in layout.fields.iter().zip(row) {
            shred(columns, layout, field, value, 0);
        }
        columns.finish_row();
    }
}

/// Write rows as a file of several row groups.
pub(crate) fn write(table: &TableSchema, groups: &[&[Vec<Tree>]]) -> Vec<u8> {
    let layout = Layout::of(table);
    // Some as live files are, some as those of closed partitions.
    let format = match groups.len() % 2 {
        0 if table.bloom.is_empty() => FileFormat::short_lived(&layout, table.compression).unwrap(),
        _ => FileFormat::new(&layout, table.compression, &table.bloom).unwrap(),
    };
    let mut writer = FileWriter::new(&format);
    let mut encoder = Encoder::new();
    let mut columns = ColumnSet::new(&layout);
    for rows in groups {
        fill(&mut columns, &layout, rows);
        writer.write_row_group(&columns, &mut encoder).unwrap();
        columns.clear();
    }
    writer.finish(&[("weir.shard".into(), "shardId-000000000000".into())]).unwrap()
}

/// The zone of timestamps as readers see it.
pub(crate) const UTC: &str = "UTC";
/// The same zone, as `arrow-json` can parse it.
const UTC_OFFSET: &str = "+00:00";

/// The Arrow type that readers see.
fn arrow_type(ty: &HiveType, zone: &str) -> DataType {
    let arrow_type = |ty: &HiveType| arrow_type(ty, zone);
    match ty {
        HiveType::Boolean => DataType::Boolean,
        HiveType::TinyInt => DataType::Int8,
        HiveType::SmallInt => DataType::Int16,
        HiveType::Int => DataType::Int32,
        HiveType::BigInt => DataType::Int64,
        HiveType::Float => DataType::Float32,
        HiveType::Double => DataType::Float64,
        HiveType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        HiveType::String | HiveType::Varchar(_) | HiveType::Char(_) => DataType::Utf8,
        HiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        HiveType::Date => DataType::Date32,
        HiveType::Binary => DataType::Binary,
        HiveType::Array(element) => {
            DataType::List(Arc::new(ArrowField::new("element", arrow_type(element), true)))
        }
        HiveType::Map(key, value) => {
            let pair = Fields::from(vec![
                ArrowField::new("key", arrow_type(key), false),
                ArrowField::new("value", arrow_type(value), true),
            ]);
            DataType::Map(Arc::new(ArrowField::new("key_value", DataType::Struct(pair), false)), false)
        }
        HiveType::Struct(members) => {
            let member = |m: &StructField| ArrowField::new(&m.name, arrow_type(&m.ty), true);
            DataType::Struct(members.iter().map(member).collect())
        }
    }
}

pub(crate) fn arrow_schema(table: &TableSchema, zone: &str) -> Schema {
    let field = |c: &Column| ArrowField::new(&c.name, arrow_type(&c.ty, zone), true);
    Schema::new(table.columns.iter().map(field).collect::<Vec<_>>())
}

fn json(ty: &HiveType, value: &Tree) -> serde_json::Value {
    use serde_json::Value;
    match (ty, value) {
        (_, Tree::Null) => Value::Null,
        (_, Tree::Bool(v)) => Value::Bool(*v),
        (HiveType::Date, Tree::Int(v)) => {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(*v as i64);
            Value::String(date.to_string())
        }
        (HiveType::Decimal { scale, .. }, Tree::Int(v)) => {
            let digits = format!("{:0width$}", v.unsigned_abs(), width = usize::from(*scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            let point = if *scale == 0 { "" } else { "." };
            Value::String(format!("{}{whole}{point}{fraction}", if *v < 0 { "-" } else { "" }))
        }
        (_, Tree::Int(v)) => Value::from(*v as i64),
        (_, Tree::Float(v)) => Value::from(*v),
        (_, Tree::Text(v)) => Value::String(v.clone()),
        (_, Tree::Binary(v)) => Value::String(v.iter().map(|b| format!("{b:02x}")).collect()),
        (HiveType::Array(element), Tree::List(values)) => values.iter().map(|v| json(element, v)).collect(),
        (HiveType::Map(_, ty), Tree::Map(pairs)) => {
            let key = |key: &Tree| match key {
                Tree::Text(key) => key.clone(),
                key => panic!("key {key:?}"),
            };
            Value::Object(pairs.iter().map(|(k, v)| (key(k), json(ty, v))).collect())
        }
        (HiveType::Struct(members), Tree::Struct(values)) => {
            let member = |(m, v): (&StructField, &Tree)| (m.name.clone(), json(&m.ty, v));
            Value::Object(members.iter().zip(values).map(member).collect())
        }
        (ty, value) => panic!("{value:?} is no {ty:?}"),
    }
}

/// What `arrow-json` makes of the same rows.
pub(crate) fn oracle(table: &TableSchema, rows: &[Vec<Tree>]) -> RecordBatch {
    let schema = Arc::new(arrow_schema(table, UTC_OFFSET));
    let mut text = Vec::new();
    for row in rows {
        let member = |(c, v): (&Column, &Tree)| (c.name.clone(), json(&c.ty, v));
        let object = serde_json::Value::Object(table.columns.iter().zip(row).map(member).collect());
        serde_json::to_writer(&mut text, &object).unwrap();
        text.push(b'\n');
    }
    let mut decoder = arrow_json::ReaderBuilder::new(schema.clone())
        .with_batch_size(rows.len() + 1)
        .build_decoder()
        .unwrap();
    assert_eq!(decoder.decode(&text).unwrap(), text.len());
    decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema))
}

/// Small reproducible random numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Any type, nested at most `depth` times.
pub(crate) fn random_type(random: &mut Random, depth: u32) -> HiveType {
    let inner = |random: &mut Random| random_type(random, depth - 1);
    match random.below(if depth == 0 { 14 } else { 20 }) {
        0 => HiveType::Boolean,
        1 => HiveType::TinyInt,
        2 => HiveType::SmallInt,
        3 => HiveType::Int,
        4 => HiveType::BigInt,
        5 => HiveType::Float,
        6 => HiveType::Double,
        7 => HiveType::Decimal { precision: 1 + random.below(9) as u8, scale: random.below(2) as u8 },
        8 => HiveType::Decimal { precision: 10 + random.below(9) as u8, scale: random.below(10) as u8 },
        9 => HiveType::Decimal { precision: 19 + random.below(20) as u8, scale: random.below(19) as u8 },
        10 => HiveType::Timestamp,
        11 => HiveType::Date,
        12 => HiveType::Binary,
        13 => HiveType::String,
        14 | 15 => HiveType::Array(Box::new(inner(random))),
        16 | 17 => HiveType::Map(Box::new(HiveType::String), Box::new(inner(random))),
        _ => HiveType::Struct(
            (0..1 + random.below(3))
                .map(|i| StructField { name: format!("f{i}"), key: format!("f{i}"), ty: inner(random) })
                .collect(),
        ),
    }
}

/// A value, null once in `nulls`; one in two repeats a common one, so that dictionaries pay.
pub(crate) fn random_value(random: &mut Random, ty: &HiveType, nulls: u64) -> Tree {
    if random.one_in(nulls) {
        return Tree::Null;
    }
    let common = !random.one_in(2);
    let bits = if common { random.below(5) } else { random.next() };
    match ty {
        HiveType::Boolean => Tree::Bool(bits & 1 == 1),
        HiveType::TinyInt => Tree::Int(i128::from(bits as i8)),
        HiveType::SmallInt => Tree::Int(i128::from(bits as i16)),
        HiveType::Int => Tree::Int(i128::from(bits as i32)),
        HiveType::BigInt | HiveType::Timestamp => Tree::Int(i128::from(bits as i64)),
        HiveType::Date => Tree::Int(i128::from(bits as i32 % 700_000)),
        HiveType::Float => Tree::Float(f64::from(bits as i32 as f32 / 64.0)),
        HiveType::Double => Tree::Float(bits as i64 as f64 / 1024.0),
        HiveType::Decimal { precision, .. } => {
            let wide = if common { i128::from(bits) } else { i128::from(bits as i64) << random.below(64) };
            Tree::Int(wide % 10i128.pow(u32::from(*precision)))
        }
        HiveType::String | HiveType::Varchar(_) | HiveType::Char(_) => Tree::Text(match bits % 7 {
            0 => String::new(),
            1 => format!("{}\u{1F980}", "long ".repeat(bits as usize % 40)),
            2 => "\u{10FFFF}".repeat(20),
            _ => format!("value-{bits}"),
        }),
        HiveType::Binary => {
            Tree::Binary(if bits.is_multiple_of(11) { vec![0xFF; 70] } else { bits.to_be_bytes().to_vec() })
        }
        HiveType::Array(element) => {
            Tree::List((0..random.below(4)).map(|_| random_value(random, element, nulls)).collect())
        }
        HiveType::Map(_, value) => Tree::Map(
            (0..random.below(4))
                .map(|i| (Tree::Text(format!("k{i}")), random_value(random, value, nulls)))
                .collect(),
        ),
        HiveType::Struct(members) => {
            Tree::Struct(members.iter().map(|m| random_value(random, &m.ty, nulls)).collect())
        }
    }
}
