//! The functions of the subset, and those of them that DataFusion lacks.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// Functions that answer the same on both engines; a test runs each on nulls and borders.
pub(super) const SCALAR: [&str; 16] = [
    "abs",
    "coalesce",
    "date_trunc",
    "greatest",
    "least",
    "length",
    "lower",
    "nullif",
    "replace",
    "split_part",
    "substring",
    "substr",
    "timestamp_micros",
    "trim",
    "unix_micros",
    "upper",
];

/// Aggregates; with OVER, windows.
pub(super) const AGGREGATE: [&str; 9] =
    ["avg", "bool_and", "bool_or", "count", "max", "min", "stddev_pop", "stddev_samp", "sum"];

/// Functions that need OVER.
pub(super) const WINDOW: [&str; 7] =
    ["dense_rank", "first_value", "lag", "last_value", "lead", "rank", "row_number"];

/// What people write instead, and what to write here.
pub(super) const WAYS_OUT: [(&str, &str); 24] = [
    ("concat", "one engine skips nulls and the other does not: write `a || b`"),
    ("concat_ws", "write `a || ',' || b`"),
    ("round", "the engines round doubles differently: keep the digits, or cast a decimal to fewer"),
    ("floor", "write integer arithmetic: `a - a % 10`"),
    ("ceil", "write integer arithmetic"),
    ("now", "a run must be repeatable: take times from the rows"),
    ("current_timestamp", "a run must be repeatable: take times from the rows"),
    ("current_date", "a run must be repeatable: take times from the rows"),
    ("random", "a run must be repeatable"),
    ("rand", "a run must be repeatable"),
    ("uuid", "a run must be repeatable"),
    ("ifnull", "write `coalesce(a, b)`"),
    ("nvl", "write `coalesce(a, b)`"),
    ("isnull", "write `a is null`"),
    ("explode", "open the array by the header: `-- unnest: items as item`"),
    ("unnest", "open the array by the header: `-- unnest: items as item`"),
    ("date_bin", "write `timestamp_micros(unix_micros(t) - unix_micros(t) % 300000000)`"),
    ("window", "write `timestamp_micros(unix_micros(t) - unix_micros(t) % 300000000)`"),
    ("to_timestamp", "declare the column as timestamp in schemas/, with its weir.time_format"),
    ("stddev", "say which: `stddev_samp` or `stddev_pop`"),
    ("char_length", "write `length(a)`"),
    ("approx_distinct", "the engines estimate differently: write `count(distinct a)`"),
    ("median", "the engines estimate differently; keep counts by bucket instead"),
    ("array_agg", "the order of elements differs; keep one row for each"),
];

/// `unix_micros` and `timestamp_micros`, which Spark has and DataFusion has not.
pub(super) fn missing() -> [ScalarUDF; 2] {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let to_micros = |values: &[ColumnarValue]| {
        let times = ColumnarValue::values_to_arrays(values)?.remove(0);
        let micros: &TimestampMicrosecondArray = times.as_primitive::<TimestampMicrosecondType>();
        let micros = Int64Array::new(micros.values().clone(), micros.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(micros)))
    };
    let from_micros = |values: &[ColumnarValue]| -> Result<ColumnarValue> {
        let micros = ColumnarValue::values_to_arrays(values)?.remove(0);
        let micros: &Int64Array = micros.as_primitive::<Int64Type>();
        let times = TimestampMicrosecondArray::new(micros.values().clone(), micros.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(times.with_timezone("UTC"))))
    };
    let immutable = Volatility::Immutable;
    [
        create_udf("unix_micros", vec![utc.clone()], DataType::Int64, immutable, Arc::new(to_micros)),
        create_udf("timestamp_micros", vec![DataType::Int64], utc, immutable, Arc::new(from_micros)),
    ]
}
