//! Columns of a file → leaves of the table as it is now: by name, nulls where a file has none, wider
//! where the table became wider. Columns that the table no longer has are left out.

use parquet::basic::{ConvertedType, Repetition, Type as PhysicalType};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type};

use super::block::{BlockLeaf, Data};
use crate::columns::{Layout, LeafSpec, Logical, Physical};

/// Where the entries of a leaf come from.
#[derive(Debug, Clone)]
pub(super) enum Mapped {
    /// The column of that number, as it is.
    Same(usize),
    /// That column, of a narrower type.
    Widened(usize, LeafSpec),
    /// Null wherever an ancestor of it is there, as this column of the same ancestor tells.
    Like {
        /// Number of the column.
        column: usize,
        /// Its type.
        spec: LeafSpec,
        /// Levels of the ancestor.
        def: u8,
        rep: u8,
    },
    /// Null in every row.
    Absent,
}

/// For each leaf of the table where it is in a file; or what does not fit.
pub(super) fn map(layout: &Layout, file: &SchemaDescriptor) -> Result<Vec<Mapped>, String> {
    layout.leaves.iter().map(|leaf| map_leaf(leaf, file)).collect()
}

fn map_leaf(leaf: &LeafSpec, file: &SchemaDescriptor) -> Result<Mapped, String> {
    let shared = |column: &ColumnDescPtr| {
        column.path().parts().iter().zip(&leaf.path).take_while(|(a, b)| a == b).count()
    };
    let best = file.columns().iter().enumerate().max_by_key(|(i, column)| (shared(column), usize::MAX - i));
    let Some((column, found)) = best.filter(|(_, column)| shared(column) > 0) else {
        return Ok(Mapped::Absent);
    };
    let depth = shared(found);
    let spec = spec_of(found)?;
    if depth == leaf.path.len() && depth == found.path().parts().len() {
        if (spec.max_def, spec.max_rep) != (leaf.max_def, leaf.max_rep) {
            return Err(mismatch(leaf, &spec));
        }
        if spec.physical == leaf.physical && alike(spec.logical, leaf.logical) {
            return Ok(Mapped::Same(column));
        }
        return match widens(&spec, leaf) {
            true => Ok(Mapped::Widened(column, spec)),
            false => Err(mismatch(leaf, &spec)),
        };
    }
    if depth == leaf.path.len() || depth == found.path().parts().len() {
        return Err(format!(
            "column {}: expected a value, found a group, or the reverse",
            leaf.path.join(".")
        ));
    }
    let (def, rep) = levels_at(file.root_schema(), &leaf.path[..depth]);
    Ok(Mapped::Like { column, spec, def, rep })
}

fn mismatch(leaf: &LeafSpec, found: &LeafSpec) -> String {
    let text = |spec: &LeafSpec| match spec.logical {
        Logical::Plain => format!("{:?}", spec.physical),
        logical => format!("{:?} ({logical:?})", spec.physical),
    };
    format!("column {}: expected {}, found {}", leaf.path.join("."), text(leaf), text(found))
}

fn alike(file: Logical, table: Logical) -> bool {
    match (file, table) {
        (Logical::Decimal { precision: p, scale: s }, Logical::Decimal { precision, scale }) => {
            s == scale && p <= precision
        }
        // Narrow integers grow within INT32; text and binary are the same bytes to a reader of either.
        (Logical::Int8, Logical::Int16 | Logical::Plain) | (Logical::Int16, Logical::Plain) => true,
        (file, table) => file == table,
    }
}

fn widens(file: &LeafSpec, table: &LeafSpec) -> bool {
    let whole = |logical| matches!(logical, Logical::Plain | Logical::Int8 | Logical::Int16);
    match (file.physical, table.physical) {
        (Physical::Int32, Physical::Int64) if table.logical == Logical::Plain => whole(file.logical),
        (Physical::Float, Physical::Double) => true,
        (Physical::Int32, Physical::Int64 | Physical::Fixed(_)) | (Physical::Int64, Physical::Fixed(_)) => {
            matches!(file.logical, Logical::Decimal { .. }) && alike(file.logical, table.logical)
        }
        (Physical::Fixed(a), Physical::Fixed(b)) => a < b && alike(file.logical, table.logical),
        _ => false,
    }
}

fn spec_of(column: &ColumnDescPtr) -> Result<LeafSpec, String> {
    let path = column.path().parts().to_vec();
    let physical = match column.physical_type() {
        PhysicalType::BOOLEAN => Physical::Bool,
        PhysicalType::INT32 => Physical::Int32,
        PhysicalType::INT64 => Physical::Int64,
        PhysicalType::FLOAT => Physical::Float,
        PhysicalType::DOUBLE => Physical::Double,
        PhysicalType::BYTE_ARRAY => Physical::Bytes,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => Physical::Fixed(column.type_length().max(1) as usize),
        PhysicalType::INT96 => {
            return Err(format!("column {}: INT96 is not of Weir's files", path.join(".")));
        }
    };
    let logical = match column.converted_type() {
        ConvertedType::UTF8 => Logical::Text,
        ConvertedType::DATE => Logical::Date,
        ConvertedType::TIMESTAMP_MICROS => Logical::Timestamp,
        ConvertedType::INT_8 => Logical::Int8,
        ConvertedType::INT_16 => Logical::Int16,
        ConvertedType::DECIMAL => Logical::Decimal {
            precision: column.type_precision().clamp(0, 38) as u8,
            scale: column.type_scale().clamp(0, 38) as u8,
        },
        ConvertedType::NONE | ConvertedType::INT_32 | ConvertedType::INT_64 => Logical::Plain,
        other => return Err(format!("column {}: {other} is not of Weir's files", path.join("."))),
    };
    let (max_def, max_rep) = (column.max_def_level() as u8, column.max_rep_level() as u8);
    Ok(LeafSpec { path, physical, logical, max_def, max_rep })
}

/// Definition and repetition level of the group at `path`.
fn levels_at(root: &Type, path: &[String]) -> (u8, u8) {
    let (mut at, mut def, mut rep) = (root, 0, 0);
    for name in path {
        let Some(field) = at.get_fields().iter().find(|field| field.name() == name) else { break };
        match field.get_basic_info().repetition() {
            Repetition::REQUIRED => {}
            Repetition::OPTIONAL => def += 1,
            Repetition::REPEATED => (def, rep) = (def + 1, rep + 1),
        }
        at = field;
        if at.is_primitive() {
            break;
        }
    }
    (def, rep)
}

/// Append nulls that end where the ancestor ends, entry by entry of a column below it.
pub(super) fn absent(like: &BlockLeaf, def: u8, rep: u8, leaf: &mut BlockLeaf) {
    for entry in 0..like.defs.len() {
        let here = if like.max_rep > 0 { like.reps.get(entry) } else { 0 };
        if here > rep {
            continue;
        }
        leaf.defs.push(like.defs.get(entry).min(def));
        if leaf.max_rep > 0 {
            leaf.reps.push(here);
        }
    }
}

/// Append the entries of a narrower leaf.
pub(super) fn widen(narrow: &BlockLeaf, leaf: &mut BlockLeaf) {
    leaf.append_levels(narrow);
    match (&narrow.data, &mut leaf.data) {
        (Data::Int32(from), Data::Int64(to)) => to.extend(from.iter().map(|&v| i64::from(v))),
        (Data::Float(from), Data::Double(to)) => to.extend(from.iter().map(|&v| f64::from(v))),
        (Data::Int32(from), Data::Fixed { width, data }) => {
            from.iter().for_each(|&v| data.extend_from_slice(&i128::from(v).to_be_bytes()[16 - *width..]));
        }
        (Data::Int64(from), Data::Fixed { width, data }) => {
            from.iter().for_each(|&v| data.extend_from_slice(&i128::from(v).to_be_bytes()[16 - *width..]));
        }
        (Data::Fixed { width: narrow, data: from }, Data::Fixed { width, data }) => {
            for value in from.chunks_exact(*narrow) {
                let sign = if value[0] >= 0x80 { 0xFF } else { 0 };
                data.resize(data.len() + (*width - narrow), sign);
                data.extend_from_slice(value);
            }
        }
        _ => unreachable!("the mapping allows no other pair"),
    }
}
