//! Layout → Parquet schema.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{GroupTypeBuilder, Type, TypePtr};

use crate::columns::{Field, FieldKind, Layout, LeafSpec, Logical, Physical};

pub(crate) fn physical_type(physical: Physical) -> PhysicalType {
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

/// The schema of a table's files.
pub(crate) fn message(layout: &Layout) -> Result<TypePtr> {
    let fields = layout.fields.iter().map(|f| node(f, layout)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

fn repetition(field: &Field) -> Repetition {
    if field.required { Repetition::REQUIRED } else { Repetition::OPTIONAL }
}

fn group(name: &str, fields: Vec<TypePtr>, repetition: Repetition) -> GroupTypeBuilder<'_> {
    Type::group_type_builder(name).with_repetition(repetition).with_fields(fields)
}

fn node(field: &Field, layout: &Layout) -> Result<TypePtr> {
    let built = match &field.kind {
        FieldKind::Leaf => return leaf(field, &layout.leaves[field.leaves.start]),
        FieldKind::Struct(members) => {
            let members = members.iter().map(|m| node(m, layout)).collect::<Result<_>>()?;
            group(&field.name, members, repetition(field)).build()?
        }
        FieldKind::List(element) => {
            let list = group("list", vec![node(element, layout)?], Repetition::REPEATED).build()?;
            group(&field.name, vec![Arc::new(list)], repetition(field))
                .with_logical_type(Some(LogicalType::List))
                .with_converted_type(ConvertedType::LIST)
                .build()?
        }
        FieldKind::Map(key, value) => {
            let entry = vec![node(key, layout)?, node(value, layout)?];
            let entries = group("key_value", entry, Repetition::REPEATED).build()?;
            group(&field.name, vec![Arc::new(entries)], repetition(field))
                .with_logical_type(Some(LogicalType::Map))
                .with_converted_type(ConvertedType::MAP)
                .build()?
        }
    };
    Ok(Arc::new(built))
}

fn leaf(field: &Field, spec: &LeafSpec) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(&field.name, physical_type(spec.physical))
        .with_repetition(repetition(field));
    let builder = match spec.physical {
        Physical::Fixed(width) => builder.with_length(width as i32),
        _ => builder,
    };
    let integer = |bits| LogicalType::integer(bits, true);
    let builder = match spec.logical {
        Logical::Plain => builder,
        Logical::Int8 => {
            builder.with_logical_type(Some(integer(8))).with_converted_type(ConvertedType::INT_8)
        }
        Logical::Int16 => {
            builder.with_logical_type(Some(integer(16))).with_converted_type(ConvertedType::INT_16)
        }
        Logical::Text => {
            builder.with_logical_type(Some(LogicalType::String)).with_converted_type(ConvertedType::UTF8)
        }
        Logical::Date => {
            builder.with_logical_type(Some(LogicalType::Date)).with_converted_type(ConvertedType::DATE)
        }
        Logical::Timestamp => builder
            .with_logical_type(Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
            .with_converted_type(ConvertedType::TIMESTAMP_MICROS),
        Logical::Decimal { precision, scale } => builder
            .with_logical_type(Some(LogicalType::decimal(scale.into(), precision.into())))
            .with_converted_type(ConvertedType::DECIMAL)
            .with_precision(precision.into())
            .with_scale(scale.into()),
    };
    Ok(Arc::new(builder.build()?))
}
