//! Table → tree of fields over numbered leaves, as the Parquet file will hold them.

use crate::schema::{HiveType, Provenance, TableSchema, UnknownFields};

/// Parquet physical type of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Physical {
    /// BOOLEAN
    Bool,
    /// INT32
    Int32,
    /// INT64
    Int64,
    /// FLOAT
    Float,
    /// DOUBLE
    Double,
    /// BYTE_ARRAY
    Bytes,
    /// FIXED_LEN_BYTE_ARRAY of so many bytes
    Fixed(usize),
}

/// Parquet logical type of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    /// None: the physical type says it all
    Plain,
    /// INT(8, signed)
    Int8,
    /// INT(16, signed)
    Int16,
    /// UTF8
    Text,
    /// DATE: days since the epoch
    Date,
    /// TIMESTAMP(MICROS, isAdjustedToUTC=true) with converted type TIMESTAMP_MICROS
    Timestamp,
    /// DECIMAL
    Decimal {
        /// All digits
        precision: u8,
        /// Digits after the point
        scale: u8,
    },
}

/// A leaf column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// Path in the Parquet schema (`items`, `list`, `element`, `sku`).
    pub path: Vec<String>,
    /// Physical type.
    pub physical: Physical,
    /// Logical type.
    pub logical: Logical,
    /// Definition level of a value that is there.
    pub max_def: u8,
    /// Deepest repetition level.
    pub max_rep: u8,
}

/// A field of the tree.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Definition level when this field is there (not null).
    pub def: u8,
    /// Repetition level of the innermost list around it.
    pub rep: u8,
    /// Whether it is REQUIRED (only map keys are).
    pub required: bool,
    /// Its leaves, as a range of [`Layout::leaves`].
    pub leaves: std::ops::Range<usize>,
    /// Leaf or group.
    pub kind: FieldKind,
}

/// What a field is.
#[derive(Debug, Clone)]
pub enum FieldKind {
    /// A leaf, `leaves.start`
    Leaf,
    /// A group with one field per member
    Struct(Vec<Field>),
    /// LIST: the element is there at `def + 2`, repeats at `rep + 1`; an empty list ends at `def`
    List(Box<Field>),
    /// MAP: key (required) and value
    Map(Box<Field>, Box<Field>),
}

/// Shape of a table's file: columns of the record first, then `_rescued`, then provenance.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Top-level fields.
    pub fields: Vec<Field>,
    /// All leaves, depth first.
    pub leaves: Vec<LeafSpec>,
    /// How many of `fields` come from the record.
    pub record_fields: usize,
    /// First leaf of `_rescued`, `_rescued_truncated`, if the table rescues.
    pub rescued: Option<usize>,
    /// First leaf of the five provenance columns, if they are in the file.
    pub provenance: Option<usize>,
    /// Leaves of columns that only feed a partition key. Their buffers stand behind those of
    /// `leaves` in a [`super::ColumnSet`] and are never written.
    pub scratch: Vec<LeafSpec>,
    /// Fields over `scratch`, numbered from `leaves.len()` on.
    pub scratch_fields: Vec<Field>,
}

impl Layout {
    /// The layout of a table.
    pub fn of(table: &TableSchema) -> Self {
        let mut leaves = Vec::new();
        let mut fields = Vec::new();
        for (column, _) in table.columns.iter().zip(&table.in_file).filter(|(_, in_file)| **in_file) {
            fields.push(build(&column.name, &column.ty, 0, 0, false, &mut Vec::new(), &mut leaves));
        }
        let record_fields = fields.len();
        let mut extra = |columns: &[(&str, HiveType)], leaves: &mut Vec<LeafSpec>| {
            let first = leaves.len();
            for (name, ty) in columns {
                fields.push(build(name, ty, 0, 0, false, &mut Vec::new(), leaves));
            }
            first
        };
        let rescued = (table.unknown_fields == UnknownFields::Rescue).then(|| {
            extra(&[("_rescued", HiveType::String), ("_rescued_truncated", HiveType::Boolean)], &mut leaves)
        });
        let provenance = (table.provenance == Provenance::Columns).then(|| {
            extra(
                &[
                    ("_stream", HiveType::String),
                    ("_shard", HiveType::String),
                    ("_sequence", HiveType::String),
                    ("_subsequence", HiveType::Int),
                    ("_arrived_at", HiveType::Timestamp),
                ],
                &mut leaves,
            )
        });
        let mut all = leaves.clone();
        let key_only = table.columns.iter().zip(&table.in_file).filter(|(_, in_file)| !**in_file);
        let scratch_fields =
            key_only.map(|(c, _)| build(&c.name, &c.ty, 0, 0, false, &mut Vec::new(), &mut all)).collect();
        let scratch = all.split_off(leaves.len());
        Self { fields, leaves, record_fields, rescued, provenance, scratch, scratch_fields }
    }
}

/// Bytes of the two's complement of any number of `precision` digits.
pub(crate) fn decimal_width(precision: u8) -> usize {
    let mut width = 1;
    while width < 16 && (1i128 << (8 * width - 1)) < 10i128.pow(u32::from(precision)) {
        width += 1;
    }
    width
}

fn leaf_types(ty: &HiveType) -> Option<(Physical, Logical)> {
    Some(match ty {
        HiveType::Boolean => (Physical::Bool, Logical::Plain),
        HiveType::TinyInt => (Physical::Int32, Logical::Int8),
        HiveType::SmallInt => (Physical::Int32, Logical::Int16),
        HiveType::Int => (Physical::Int32, Logical::Plain),
        HiveType::BigInt => (Physical::Int64, Logical::Plain),
        HiveType::Float => (Physical::Float, Logical::Plain),
        HiveType::Double => (Physical::Double, Logical::Plain),
        &HiveType::Decimal { precision, scale } => {
            let physical = match precision {
                0..=9 => Physical::Int32,
                10..=18 => Physical::Int64,
                _ => Physical::Fixed(decimal_width(precision)),
            };
            (physical, Logical::Decimal { precision, scale })
        }
        HiveType::String | HiveType::Varchar(_) | HiveType::Char(_) => (Physical::Bytes, Logical::Text),
        HiveType::Timestamp => (Physical::Int64, Logical::Timestamp),
        HiveType::Date => (Physical::Int32, Logical::Date),
        HiveType::Binary => (Physical::Bytes, Logical::Plain),
        HiveType::Array(_) | HiveType::Map(..) | HiveType::Struct(_) => return None,
    })
}

fn build(
    name: &str,
    ty: &HiveType,
    parent_def: u8,
    rep: u8,
    required: bool,
    path: &mut Vec<String>,
    leaves: &mut Vec<LeafSpec>,
) -> Field {
    let def = if required { parent_def } else { parent_def + 1 };
    let first = leaves.len();
    path.push(name.to_owned());
    let mut child = |name: &str, ty: &HiveType, def: u8, rep: u8, required: bool, between: Option<&str>| {
        path.extend(between.map(str::to_owned));
        let field = build(name, ty, def, rep, required, path, leaves);
        if between.is_some() {
            path.pop();
        }
        field
    };
    let kind = match ty {
        HiveType::Struct(members) => {
            FieldKind::Struct(members.iter().map(|m| child(&m.name, &m.ty, def, rep, false, None)).collect())
        }
        HiveType::Array(element) => {
            FieldKind::List(Box::new(child("element", element, def + 1, rep + 1, false, Some("list"))))
        }
        HiveType::Map(key, value) => {
            let key = child("key", key, def + 1, rep + 1, true, Some("key_value"));
            FieldKind::Map(
                Box::new(key),
                Box::new(child("value", value, def + 1, rep + 1, false, Some("key_value"))),
            )
        }
        _ => {
            if let Some((physical, logical)) = leaf_types(ty) {
                leaves.push(LeafSpec { path: path.clone(), physical, logical, max_def: def, max_rep: rep });
            }
            FieldKind::Leaf
        }
    };
    path.pop();
    Field { name: name.to_owned(), def, rep, required, leaves: first..leaves.len(), kind }
}
