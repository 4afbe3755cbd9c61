//! Which column of a table carries the stamp, and how it is read back from a file.

use anyhow::{Result, bail};
use weir::schema::{Column, Granularity, HiveType, TableSchema, Transform};

use super::stamp::STAMP_BYTES;

/// The column that says which event a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// The stamp's text stands in this column.
    Text {
        /// Name in the table.
        column: String,
        /// Key in the record.
        field: String,
    },
    /// The stamp's number is the value of this column.
    Number {
        /// Name in the table.
        column: String,
        /// Key in the record.
        field: String,
    },
}

impl Carrier {
    /// The column `wanted`, or the one that suits best: the dedupe key, a name that ends in `id`, any
    /// text without rules, any whole number or double without rules.
    pub fn choose(table: &TableSchema, wanted: Option<&str>) -> Result<Self> {
        let fits = |c: &&Column| takes_text(table, c) || takes_number(table, c);
        if let Some(wanted) = wanted {
            let Some(column) = table.columns.iter().find(|c| c.name == wanted) else {
                bail!("--id-column {wanted}: table {} has no such column", table.name);
            };
            return match fits(&column) {
                true => Ok(Self::of(column)),
                false => bail!(
                    "--id-column {wanted}: the column of table {} must be a string, bigint or double without \
                     constraints, is {} with some",
                    table.name,
                    column.ty
                ),
            };
        }
        let is_key = |c: &&Column| table.dedupe_key.len() == 1 && table.dedupe_key[0] == c.name;
        let text = |c: &&Column| takes_text(table, c);
        let named = |c: &&Column| text(c) && (c.name == "id" || c.name.ends_with("_id") || c.name == "uid");
        let all = || table.columns.iter();
        // A path of a web log is where a trace id stands in life.
        let request = |c: &&Column| text(c) && c.name == "request";
        let found = all()
            .find(|c| is_key(c) && text(c))
            .or_else(|| all().find(named))
            .or_else(|| all().find(request))
            .or_else(|| all().find(text))
            .or_else(|| all().find(|c| takes_number(table, c)));
        match found {
            Some(column) => Ok(Self::of(column)),
            None => bail!(
                "table {}: no column can carry an event's number: that takes a string, bigint or double at the top \
                 of the record, without constraints",
                table.name
            ),
        }
    }

    fn of(column: &Column) -> Self {
        let (name, field) = (column.name.clone(), column.from.last().cloned().unwrap_or_default());
        match column.ty.is_text() {
            true => Self::Text { column: name, field },
            false => Self::Number { column: name, field },
        }
    }

    /// Its name in the table.
    pub fn column(&self) -> &str {
        match self {
            Self::Text { column, .. } | Self::Number { column, .. } => column,
        }
    }

    /// Its key in the record.
    pub fn field(&self) -> &str {
        match self {
            Self::Text { field, .. } | Self::Number { field, .. } => field,
        }
    }

    /// Whether the stamp is a number.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Number { .. })
    }
}

/// Whether the column is in the file and free of rules.
fn is_free(table: &TableSchema, column: &Column) -> bool {
    let at = table.columns.iter().position(|c| c.name == column.name).unwrap_or(usize::MAX);
    let is_identity =
        table.partition_keys.iter().any(|k| k.column == at && k.granularity == Granularity::Identity);
    let routed = table.route.as_ref().is_some_and(|route| route.path == column.from);
    !is_identity
        && !routed
        && table.in_file.get(at) == Some(&true)
        && column.pattern.is_none()
        && column.allowed.is_none()
        && column.min.is_none()
        && column.max.is_none()
        && !column.json
}

fn takes_text(table: &TableSchema, column: &Column) -> bool {
    let long_enough = match column.ty {
        HiveType::String => true,
        HiveType::Varchar(n) => n as usize >= STAMP_BYTES,
        _ => false,
    };
    let kept = !column.transforms.iter().any(|t| matches!(t, Transform::Sha256 | Transform::Upper));
    long_enough && kept && column.max_length.is_none_or(|max| max >= STAMP_BYTES) && is_free(table, column)
}

fn takes_number(table: &TableSchema, column: &Column) -> bool {
    matches!(column.ty, HiveType::BigInt | HiveType::Double) && is_free(table, column)
}
