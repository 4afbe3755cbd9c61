//! Layout → Parquet schema.
//!
//! | Hive | physical | logical (converted) |
//! |---|---|---|
//! | boolean | BOOLEAN | |
//! | tinyint, smallint | INT32 | INT(8), INT(16), signed (INT_8, INT_16) |
//! | int, bigint | INT32, INT64 | |
//! | float, double | FLOAT, DOUBLE | |
//! | decimal(p,s) | p ≤ 9: INT32; p ≤ 18: INT64; else FIXED of the least width | DECIMAL |
//! | string, varchar, char | BYTE_ARRAY | STRING (UTF8) |
//! | binary | BYTE_ARRAY | |
//! | date | INT32 | DATE |
//! | timestamp | INT64 | TIMESTAMP(MICROS, UTC) (TIMESTAMP_MICROS) |
//! | `array<e>` | group, `repeated group list`, `element` | LIST |
//! | `map<k,v>` | group, `repeated group key_value`, `key` (required), `value` | MAP |
//! | `struct<…>` | group | |

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use crate::columns::{Field, FieldKind, Layout, LeafSpec, Logical, Physical};

/// The schema of a table's files.
pub(super) fn describe(layout: &Layout) -> Result<SchemaDescPtr> {
    let fields = layout.fields.iter().map(|f| field_type(layout, f)).collect::<Result<_>>()?;
    let root = Type::group_type_builder("schema").with_fields(fields).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
}

fn field_type(layout: &Layout, field: &Field) -> Result<TypePtr> {
    let repetition = if field.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let group = |fields: Vec<TypePtr>, logical: Option<LogicalType>| {
        let group = Type::group_type_builder(&field.name).with_repetition(repetition);
        group.with_fields(fields).with_logical_type(logical).build().map(Arc::new)
    };
    match &field.kind {
        FieldKind::Leaf => {
            leaf_type(&field.name, &layout.leaves[field.leaves.start], repetition).map(Arc::new)
        }
        FieldKind::Struct(members) => {
            group(members.iter().map(|m| field_type(layout, m)).collect::<Result<_>>()?, None)
        }
        FieldKind::List(element) => {
            let list = repeated("list", vec![field_type(layout, element)?])?;
            group(vec![list], Some(LogicalType::List))
        }
        FieldKind::Map(key, value) => {
            let pairs = repeated("key_value", vec![field_type(layout, key)?, field_type(layout, value)?])?;
            group(vec![pairs], Some(LogicalType::Map))
        }
    }
}

fn repeated(name: &str, fields: Vec<TypePtr>) -> Result<TypePtr> {
    let group = Type::group_type_builder(name).with_repetition(Repetition::REPEATED);
    group.with_fields(fields).build().map(Arc::new)
}

fn leaf_type(name: &str, leaf: &LeafSpec, repetition: Repetition) -> Result<Type> {
    let mut ty = Type::primitive_type_builder(name, physical_type(leaf.physical)).with_repetition(repetition);
    if let Physical::Fixed(width) = leaf.physical {
        ty = ty.with_length(width as i32);
    }
    if let Logical::Decimal { precision, scale } = leaf.logical {
        ty = ty.with_precision(i32::from(precision)).with_scale(i32::from(scale));
    }
    ty.with_logical_type(logical_type(leaf.logical)).build()
}

/// The physical type in the format's terms.
pub(super) fn physical_type(physical: Physical) -> PhysicalType {
    match physical {
        Physical::Bool => PhysicalType::BOOLEAN,
        Physical::Int32 => PhysicalType::INT32,
        Physical::Int64 => PhysicalType::INT64,
        Physical::Float => PhysicalType::FLOAT,
        Physical::Double => PhysicalType::DOUBLE,
        Physical::Bytes => PhysicalType::BYTE_ARRAY,
        Physical::Fixed(_) => PhysicalType::FIXED_LEN_BYTE_ARRAY,
    }
}

fn logical_type(logical: Logical) -> Option<LogicalType> {
    match logical {
        Logical::Plain => None,
        Logical::Int8 => Some(LogicalType::integer(8, true)),
        Logical::Int16 => Some(LogicalType::integer(16, true)),
        Logical::Text => Some(LogicalType::String),
        Logical::Date => Some(LogicalType::Date),
        Logical::Timestamp => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        Logical::Decimal { precision, scale } => {
            Some(LogicalType::decimal(i32::from(scale), i32::from(precision)))
        }
    }
}
