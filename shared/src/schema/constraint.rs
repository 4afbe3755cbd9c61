//! The constraints of a column: each checked against the column's type while the definition is
//! read, so that a rule that can never hold (or never fail) is an error of the definition.

use std::cmp::Ordering;

use super::fits;
use super::parameters::{self, Parameters};
use super::pattern::Pattern;
use super::types::{Column, HiveType, TimeFormat, Transform};

/// Reads the constraints among `given` into `column`, whose type and time format are set.
pub(super) fn read(given: &Parameters, column: &mut Column) -> Result<(), String> {
    for (name, text) in given {
        let done = match name.as_str() {
            "weir.min" => bound(text, column).map(|text| column.min = Some(text)),
            "weir.max" => bound(text, column).map(|text| column.max = Some(text)),
            "weir.pattern" => pattern(text, column),
            "weir.enum" => allowed(text, column),
            "weir.max_length" => max_length(text, column),
            "weir.transform" => transforms(text, column),
            _ => Ok(()),
        };
        done.map_err(|problem| format!("`{name}`: {problem}"))?;
    }
    if let (Some(min), Some(max)) = (&column.min, &column.max)
        && compare(min, max, &column.ty) == Some(Ordering::Greater)
    {
        return Err(format!("`weir.min` {min} is above `weir.max` {max}"));
    }
    // Last, because the default has to keep the other rules.
    if let Some(text) = given.get("weir.default") {
        default(text, column).map_err(|problem| format!("`weir.default`: {problem}"))?;
        column.default = Some(text.trim().to_owned());
    }
    Ok(())
}

fn bound(text: &str, column: &Column) -> Result<String, String> {
    let ty = &column.ty;
    let text = text.trim();
    match ty {
        _ if ty.is_integer() => fits::integer_fits(text, ty)?,
        HiveType::Float | HiveType::Double => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {}
            _ => return Err(format!("`{text}` is not a number")),
        },
        HiveType::Decimal { precision, scale } => fits::decimal_fits(text, *precision, *scale)?,
        // Bounds are written one way, whatever the format of the records.
        HiveType::Timestamp | HiveType::Date => fits::time_fits(text, ty, &TimeFormat::Rfc3339)?,
        _ => return Err(format!("only numbers and times have bounds, the column is {ty}")),
    }
    Ok(text.to_owned())
}

/// Orders two bounds that [`bound`] took.
fn compare(min: &str, max: &str, ty: &HiveType) -> Option<Ordering> {
    match ty {
        HiveType::Timestamp => Some(min.parse::<jiff::Timestamp>().ok()?.cmp(&max.parse().ok()?)),
        HiveType::Date => Some(min.cmp(max)),
        _ if ty.is_integer() => Some(min.parse::<i64>().ok()?.cmp(&max.parse().ok()?)),
        // Bounds that differ only behind an f64's digits are let through.
        _ => min.parse::<f64>().ok()?.partial_cmp(&max.parse().ok()?),
    }
}

fn text_only(column: &Column) -> Result<(), String> {
    match column {
        Column { json: true, .. } => Err("not for a column that holds JSON text (`weir.json`)".to_owned()),
        Column { ty, .. } if !ty.is_text() => Err(format!("only for text, the column is {ty}")),
        _ => Ok(()),
    }
}

fn pattern(text: &str, column: &mut Column) -> Result<(), String> {
    text_only(column)?;
    column.pattern = Some(Pattern::new(text)?);
    Ok(())
}

fn allowed(text: &str, column: &mut Column) -> Result<(), String> {
    text_only(column)?;
    column.allowed = Some(parameters::parse_list(text)?);
    Ok(())
}

fn max_length(text: &str, column: &mut Column) -> Result<(), String> {
    text_only(column)?;
    match text.trim().parse() {
        Ok(length) => column.max_length = Some(length),
        Err(_) => return Err(format!("expected a number of characters, found `{text}`")),
    }
    Ok(())
}

fn transforms(text: &str, column: &mut Column) -> Result<(), String> {
    text_only(column)?;
    for name in parameters::parse_list(text)? {
        column.transforms.push(match name.as_str() {
            "trim" => Transform::Trim,
            "lower" => Transform::Lower,
            "upper" => Transform::Upper,
            "sha256" => Transform::Sha256,
            _ => return Err(format!("expected trim, lower, upper or sha256, found `{name}`")),
        });
    }
    Ok(())
}

fn default(text: &str, column: &Column) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| {
        let quoted = serde_json::Value::from(text).to_string();
        match column.ty.is_text() || column.ty.is_time() {
            true => format!("`{text}` is not JSON; write the text with its quotes: `{quoted}`"),
            false => format!("`{text}` is not JSON: {e}"),
        }
    })?;
    if value.is_null() && column.required {
        return Err("null in a required column".to_owned());
    }
    if column.json {
        return Ok(());
    }
    match &column.ty {
        // From the text: a number's own digits, not those of a double.
        HiveType::Decimal { precision, scale } if value.is_number() => {
            fits::decimal_fits(text.trim(), *precision, *scale)?;
        }
        ty => fits::json_fits(&value, ty, &column.time_format)?,
    }
    let Some(text) = value.as_str() else { return Ok(()) };
    if column.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|a| a == text)) {
        return Err(format!("{value} is not in `weir.enum`"));
    }
    if column.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
        return Err(format!("{value} does not match `weir.pattern`"));
    }
    if column.max_length.is_some_and(|max| text.chars().count() > max) {
        return Err(format!("{value} is longer than `weir.max_length`"));
    }
    Ok(())
}
