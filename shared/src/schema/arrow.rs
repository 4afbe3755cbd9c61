//! Hive types → Arrow types, one to one. `docs/TYPES.md` is the table; each of its rows is a test.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};

use super::table_input::added_columns;
use super::types::{HiveType, TableSchema};

/// The Arrow type in which values of `ty` are held and written.
pub fn arrow_type(ty: &HiveType) -> DataType {
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
        HiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        HiveType::Date => DataType::Date32,
        HiveType::Binary => DataType::Binary,
        HiveType::Array(item) => DataType::List(Arc::new(Field::new("element", arrow_type(item), true))),
        HiveType::Map(key, value) => {
            let key = Field::new("key", arrow_type(key), false);
            let value = Field::new("value", arrow_type(value), true);
            let entries = DataType::Struct(Fields::from(vec![key, value]));
            DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
        }
        HiveType::Struct(fields) => {
            let fields = fields.iter().map(|f| Field::new(&f.name, arrow_type(&f.ty), true));
            DataType::Struct(fields.collect())
        }
    }
}

impl TableSchema {
    /// The columns of a data file: the table's own that are stored, those of
    /// `weir.unknown_fields=rescue`, the provenance columns. All may be null, also required ones:
    /// a rule may be dropped later, and a table's files have to agree.
    pub fn file_schema(&self) -> Schema {
        let field = |name: &str, ty: &HiveType| Field::new(name, arrow_type(ty), true);
        let own = self.columns.iter().zip(&self.in_file).filter(|(_, in_file)| **in_file);
        let own = own.map(|(column, _)| field(&column.name, &column.ty));
        let added = added_columns(self.unknown_fields, self.provenance).map(|(name, ty)| field(name, ty));
        Schema::new(own.chain(added).collect::<Fields>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the table in `docs/TYPES.md`: Hive type, Arrow type.
    fn documented() -> Vec<(String, String)> {
        let rows = include_str!("../../../docs/TYPES.md").lines().filter(|line| line.starts_with("| `"));
        let cell = |cells: &[&str], i: usize| cells[i].trim().trim_matches('`').to_owned();
        rows.map(|row| row.split('|').collect::<Vec<_>>())
            .map(|cells| (cell(&cells, 1), cell(&cells, 2)))
            .collect()
    }

    #[test]
    fn every_documented_row_is_what_the_mapping_does() {
        let rows = documented();
        assert_eq!(rows.len(), 17);
        for (hive, arrow) in rows {
            let ty: HiveType = hive.parse().unwrap();
            assert_eq!(arrow_type(&ty).to_string(), arrow, "{hive}");
        }
    }
}
