//! One Glue column with its parameters → [`Column`].

use super::constraint;
use super::fits;
use super::parameters::{self, FROM_PREFIX, Level};
use super::table_input::ColumnInput;
use super::types::{Column, HiveType, StructField, TimeFormat};

/// Reads a column; the error says what is wrong with it, not which column it is.
pub(super) fn read(input: &ColumnInput) -> Result<Column, String> {
    let given = &input.parameters;
    parameters::check_names(given, Level::Column)?;
    let mut column = Column::new(&input.name, input.ty.parse::<HiveType>().map_err(|e| e.to_string())?);
    column.comment = input.comment.clone();
    if let Some(text) = given.get("weir.from") {
        column.from = parameters::parse_place(text).map_err(|e| format!("`weir.from`: {e}"))?;
    }
    for (name, key) in given {
        if let Some(path) = name.strip_prefix(FROM_PREFIX) {
            let path: Vec<&str> = path.split('.').collect();
            read_field_from(&mut column.ty, &path, key).map_err(|e| format!("`{name}`: {e}"))?;
        }
    }
    if let Some(text) = given.get("weir.required") {
        column.required = parameters::parse_bool(text).map_err(|e| format!("`weir.required`: {e}"))?;
    }
    if let Some(text) = given.get("weir.json") {
        column.json = parameters::parse_bool(text).map_err(|e| format!("`weir.json`: {e}"))?;
        if column.json && column.ty != HiveType::String {
            return Err(format!(
                "`weir.json`: only a string column holds JSON text, the column is {}",
                column.ty
            ));
        }
    }
    if let Some(text) = given.get("weir.time_format") {
        column.time_format = time_format(text, &column.ty).map_err(|e| format!("`weir.time_format`: {e}"))?;
    }
    constraint::read(given, &mut column)?;
    Ok(column)
}

fn time_format(text: &str, ty: &HiveType) -> Result<TimeFormat, String> {
    if !ty.any(&HiveType::is_time) {
        return Err(format!("only for timestamp and date columns, the column is {ty}"));
    }
    Ok(match text {
        "rfc3339" => TimeFormat::Rfc3339,
        "epoch_s" => TimeFormat::EpochSeconds,
        "epoch_ms" => TimeFormat::EpochMillis,
        "epoch_us" => TimeFormat::EpochMicros,
        pattern => {
            let holds_timestamp = ty.any(&|ty| *ty == HiveType::Timestamp);
            let needs = if holds_timestamp { HiveType::Timestamp } else { HiveType::Date };
            fits::check_pattern(pattern, &needs)?;
            TimeFormat::Strftime(pattern.to_owned())
        }
    })
}

/// Sets the key of the field at `path`; arrays and map values on the way have no name of their own.
fn read_field_from(ty: &mut HiveType, path: &[&str], text: &str) -> Result<(), String> {
    match ty {
        HiveType::Array(item) => read_field_from(item, path, text),
        HiveType::Map(_, value) => read_field_from(value, path, text),
        HiveType::Struct(fields) => {
            let names = fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
            let Some((name, below)) = path.split_first() else { return Err("no field is named".to_owned()) };
            let field = fields.iter_mut().find(|f| f.name == *name);
            let field = field.ok_or_else(|| format!("no field `{name}` in the struct (it has {names})"))?;
            if !below.is_empty() {
                return read_field_from(&mut field.ty, below, text);
            }
            let mut keys = parameters::parse_place(text)?;
            match (keys.pop(), keys.is_empty()) {
                (Some(key), true) => field.key = key,
                _ => {
                    return Err(format!(
                        "a struct field is read from one key beside the others, found `{text}`"
                    ));
                }
            }
            duplicate_key(fields)
        }
        _ => Err(format!("no field `{}` in {ty}", path.join("."))),
    }
}

fn duplicate_key(fields: &[StructField]) -> Result<(), String> {
    for (i, field) in fields.iter().enumerate() {
        if let Some(other) = fields[..i].iter().find(|other| other.key == field.key) {
            let (a, b) = (&other.name, &field.name);
            return Err(format!("fields `{a}` and `{b}` would both be read from `{}`", field.key));
        }
    }
    Ok(())
}
