//! A partition's path → when the last of its events can have happened.

use jiff::civil::{Date, DateTime, date};
use jiff::{Span, tz};

use crate::clock::EpochMicros;
use crate::partition::PartitionPath;
use crate::schema::{Granularity, TableSchema};

/// The period that the time keys of a partition leave, as start and end; none if no key is one of
/// time, or a value is none (the null partition).
pub(super) fn period_of(
    table: &TableSchema,
    partition: &PartitionPath,
) -> Option<(EpochMicros, EpochMicros)> {
    let values = partition.values();
    let keys = table.partition_keys.iter().filter(|key| key.granularity != Granularity::Identity);
    let mut whole: Option<(EpochMicros, EpochMicros)> = None;
    for key in keys {
        let value = values.iter().find(|(name, _)| *name == key.name)?.1.as_deref()?;
        let (start, end) = period(key.granularity, value)?;
        whole = Some(whole.map_or((start, end), |(from, to)| (from.max(start), to.min(end))));
    }
    whole
}

fn period(granularity: Granularity, value: &str) -> Option<(EpochMicros, EpochMicros)> {
    let mut numbers = value.split('-').map(|part| part.parse::<i16>().ok());
    let mut next = |default: i16| numbers.next().map_or(Some(default), |number| number);
    let (year, month, day, hour) = (next(-1)?, next(1)?, next(1)?, next(0)?);
    let parts = value.split('-').count();
    let (expected, span) = match granularity {
        Granularity::Year => (1, Span::new().years(1)),
        Granularity::Month => (2, Span::new().months(1)),
        Granularity::Day => (3, Span::new().days(1)),
        Granularity::Hour => (4, Span::new().hours(1)),
        Granularity::Identity => return None,
    };
    let valid = parts == expected
        && Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).is_ok()
        && (0..24).contains(&hour);
    if !valid {
        return None;
    }
    let start = date(year, month as i8, day as i8).at(hour as i8, 0, 0, 0);
    Some((micros(start)?, micros(start.checked_add(span).ok()?)?))
}

fn micros(time: DateTime) -> Option<EpochMicros> {
    let zoned = time.to_zoned(tz::TimeZone::UTC).ok()?;
    Some(EpochMicros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_where_the_next_begins() {
        let hour = 3_600_000_000;
        for (granularity, value, expected) in [
            (Granularity::Hour, "1970-01-02-05", Some((29 * hour, 30 * hour))),
            (Granularity::Hour, "1970-01-01-23", Some((23 * hour, 24 * hour))),
            (Granularity::Day, "1970-01-02", Some((24 * hour, 48 * hour))),
            (Granularity::Month, "1970-02", Some((31 * 24 * hour, 59 * 24 * hour))),
            (Granularity::Year, "1970", Some((0, 365 * 24 * hour))),
            (Granularity::Day, "1970-02-30", None),
            (Granularity::Day, "1970-02", None),
            (Granularity::Hour, "1970-01-01-24", None),
            (Granularity::Day, "yesterday", None),
        ] {
            let found = period(granularity, value).map(|(from, to)| (from.0, to.0));
            assert_eq!(found, expected, "{value}");
        }
    }
}
