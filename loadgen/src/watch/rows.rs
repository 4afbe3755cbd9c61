//! The rows of a Parquet file as the `parquet` and `arrow` crates read them: which event each is.
//! None of Weir's own reading code is used: what Weir writes wrongly must not be read as right.

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::generate::{Carrier, RunTag};

/// A row of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which event.
    pub number: u64,
    /// Values of the columns that were asked for, microseconds since 1970.
    pub times: [Option<i64>; 2],
}

/// What is read of a file.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The run.
    pub tag: RunTag,
    /// The stamp's column.
    pub carrier: &'a Carrier,
    /// Time columns, by name; those that a file has not are none.
    pub times: [Option<&'a str>; 2],
}

/// Call `visit` for each row of the run.
pub fn read(bytes: Bytes, wanted: &Wanted<'_>, mut visit: impl FnMut(Row)) -> Result<()> {
    let names = [Some(wanted.carrier.column()), wanted.times[0], wanted.times[1]];
    each_batch(bytes, &names, |batch| {
        let times = wanted.times.map(|name| name.and_then(|name| batch.column_by_name(name)).map(micros));
        let Some(column) = batch.column_by_name(wanted.carrier.column()) else {
            bail!("no column {}", wanted.carrier.column());
        };
        let numbers = numbers(column, wanted.tag)?;
        for (row, number) in numbers.into_iter().enumerate() {
            let Some(number) = number else { continue };
            let times =
                [0, 1].map(|i| times[i].as_ref().and_then(|values| values.get(row).copied().flatten()));
            visit(Row { number, times });
        }
        Ok(())
    })
}

/// Call `visit` with the number of each dead letter of the run.
pub fn read_letters(bytes: Bytes, tag: RunTag, carrier: &Carrier, mut visit: impl FnMut(u64)) -> Result<()> {
    each_batch(bytes, &[Some("raw")], |batch| {
        let Some(column) = batch.column_by_name("raw") else { bail!("no column raw") };
        let raw = column.as_binary_opt::<i32>().context("raw is no binary column")?;
        for raw in raw.iter().flatten() {
            let number = match carrier.is_numeric() {
                false => tag.find(raw).map(|stamp| stamp.number),
                true => number_in(raw, tag, carrier.field()),
            };
            number.into_iter().for_each(&mut visit);
        }
        Ok(())
    })
}

fn each_batch(
    bytes: Bytes,
    columns: &[Option<&str>],
    mut visit: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let names: Vec<&str> = columns.iter().flatten().copied().collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    for batch in builder.with_projection(mask).with_batch_size(8_192).build()? {
        visit(&batch?)?;
    }
    Ok(())
}

fn numbers(column: &arrow::array::ArrayRef, tag: RunTag) -> Result<Vec<Option<u64>>> {
    Ok(match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            texts.iter().map(|text| Some(tag.find(text?.as_bytes())?.number)).collect()
        }
        DataType::Int64 => {
            column.as_primitive::<Int64Type>().iter().map(|v| Some(tag.of_number(v?)?.number)).collect()
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            values.iter().map(|v| Some(tag.of_number(v? as i64)?.number)).collect()
        }
        other => bail!("the column that carries the event's number is {other}"),
    })
}

/// Microseconds since 1970 of a column of times or dates.
fn micros(column: &arrow::array::ArrayRef) -> Vec<Option<i64>> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().iter().collect()
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            days.iter().map(|day| day.map(|day| i64::from(day) * 86_400_000_000)).collect()
        }
        _ => vec![None; column.len()],
    }
}

/// The stamp's number behind `"field":` in a record, or behind `"field": {"N": "` in a change of an item.
fn number_in(raw: &[u8], tag: RunTag, field: &str) -> Option<u64> {
    let key = format!("\"{field}\":");
    let at = memchr::memmem::find(raw, key.as_bytes())? + key.len();
    let value = raw[at..].iter().skip_while(|b| b" {\"N:".contains(b));
    let digits: String = value.take_while(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
    Some(tag.of_number(digits.parse().ok()?)?.number)
}
