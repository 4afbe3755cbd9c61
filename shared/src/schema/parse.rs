//! [`TableInput`] → [`TableSchema`]: settings, columns, partition keys, schema hash.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::parameters::{self, Level, PARTITION_PREFIX, Parameters, SCHEMA_HASH};
use super::table_input::{APPLIED, ColumnInput, INPUT_FORMAT, TableInput, added_columns};
use super::types::*;
use super::{PROVENANCE_COLUMNS, RESCUED_COLUMNS, column, names};
use crate::error::{Error, Result};

/// How long a partition waits after its end when the table does not say.
const DEFAULT_LATENESS: Duration = Duration::from_secs(600);

/// Size of compacted files when the table does not say: large enough to be read in a row, small
/// enough that a query of one partition has some to share.
const DEFAULT_COMPACT_BYTES: u64 = 256 << 20;

impl TableSchema {
    /// Reads a definition, bare as in `schemas/` or completed as in a catalog.
    pub fn parse(table_input_json: &str) -> Result<TableSchema> {
        Self::from_input(&TableInput::from_json(table_input_json)?)
    }

    /// The same for a definition that is read already.
    pub fn from_input(input: &TableInput) -> Result<TableSchema> {
        read(input).map_err(|problem| Error::Schema { table: input.name.clone(), problem })
    }

    /// The same for what stands in a catalog. A table that Weir applied must carry its schema hash:
    /// one that lost it lost its settings. One that others made (a crawler, `aws glue create-table`)
    /// is taken as it stands; its partition keys without a derivation are columns by that name.
    pub fn from_catalog(input: &TableInput) -> Result<TableSchema> {
        if input.parameters.contains_key(SCHEMA_HASH) {
            return Self::from_input(input);
        }
        if Self::is_applied(input) {
            let problem = format!(
                "no parameter `{SCHEMA_HASH}`: the table was made by Weir and lost its settings (to a crawler or a \
                 DDL statement); restore it with `weir tables apply`"
            );
            return Err(Error::Schema { table: input.name.clone(), problem });
        }
        let mut input = input.clone();
        for key in &input.partition_keys {
            let setting = format!("{PARTITION_PREFIX}{}", key.name);
            input.parameters.entry(setting).or_insert_with(|| format!("identity({})", key.name));
        }
        Self::from_input(&input)
    }

    /// Whether `weir tables apply` made the table as it stands in a catalog: it has the schema hash,
    /// or still has the storage parameter or one of the columns that come with it.
    pub fn is_applied(input: &TableInput) -> bool {
        let added = |name: &str| PROVENANCE_COLUMNS.iter().chain(&RESCUED_COLUMNS).any(|(n, _)| *n == name);
        let storage = &input.storage_descriptor;
        input.parameters.contains_key(SCHEMA_HASH)
            || storage.other.get("Parameters").is_some_and(|p| p.get(APPLIED).is_some())
            || storage.columns.iter().any(|column| added(&column.name))
    }

    /// Refuses a table that an aggregation job or close fills: its partitions are replaced whole, so
    /// records of a stream would be lost in it.
    pub fn check_loadable(&self) -> Result<()> {
        let problem = match (&self.job, &self.current_of) {
            (None, None) => return Ok(()),
            (Some(job), _) => format!(
                "job {job} fills it (`weir.job`), records cannot be loaded into it; load them into the job's source"
            ),
            (None, Some(table)) => format!(
                "close keeps the current state of {table} in it (`weir.current_of`), records cannot be loaded \
                 into it; load them into {table}"
            ),
        };
        Err(Error::Schema { table: self.name.clone(), problem })
    }
}

fn read(input: &TableInput) -> Result<TableSchema, String> {
    check_table(input)?;
    let given = &input.parameters;
    let unknown_fields = choice(
        given,
        "weir.unknown_fields",
        &[
            ("ignore", UnknownFields::Ignore),
            ("rescue", UnknownFields::Rescue),
            ("reject", UnknownFields::Reject),
        ],
    )?;
    let provenance = choice(
        given,
        "weir.provenance",
        &[("columns", Provenance::Columns), ("footer", Provenance::Footer)],
    )?;
    let compression =
        choice(given, "weir.compression", &[("zstd", Compression::Zstd), ("snappy", Compression::Snappy)])?;
    let added: Vec<_> = added_columns(unknown_fields, provenance).collect();
    let own = without_added(&input.storage_descriptor.columns, &added);
    check_names(own, &input.partition_keys)?;

    let mut columns = own.iter().map(read_column).collect::<Result<Vec<_>, _>>()?;
    let mut in_file = vec![true; columns.len()];
    let partition_keys = read_keys(input, &mut columns)?;
    in_file.resize(columns.len(), false);
    check_places(&columns)?;

    let event_time = read_event_time(given, &columns)?;
    let bloom = read_bloom(given, &columns[..own.len()])?;
    let version = schema_hash(own, input);
    check_hash(given, &version)?;
    Ok(TableSchema {
        name: input.name.clone(),
        in_file,
        partition_keys,
        event_time,
        allowed_lateness: duration(given, "weir.allowed_lateness")?.unwrap_or(DEFAULT_LATENESS),
        max_future: event_time_bound(given, "weir.max_future", event_time)?,
        max_age: event_time_bound(given, "weir.max_age", event_time)?,
        unknown_fields,
        route: read_route(given)?,
        compression,
        provenance,
        bloom,
        sort: read_column_list(given, "weir.sort", &columns[..own.len()])?,
        dedupe_key: read_column_list(given, "weir.dedupe_key", &columns[..own.len()])?,
        on_close: read_on_close(given)?,
        compact_bytes: read_compact_size(given)?,
        keys: read_column_list(given, "weir.keys", &columns[..own.len()])?,
        current: read_current(given, &input.name, provenance, &columns)?,
        current_of: given.get("weir.current_of").cloned(),
        job: given.get("weir.job").cloned(),
        columns,
        version,
    })
}

fn check_table(input: &TableInput) -> Result<(), String> {
    if let Some(problem) = names::problem(&input.name) {
        return Err(format!("the table's name {problem}; name it `{}`", names::renamed(&input.name)));
    }
    if input.name.starts_with('_') {
        return Err("the table's name starts with `_`: Athena takes its folder for hidden; name it without"
            .to_owned());
    }
    if input.parameters.get("projection.enabled").is_some_and(|value| value != "false") {
        return Err("`projection.enabled`: Athena would then ignore the partitions that Weir registers; \
                    remove the `projection.*` parameters"
            .to_owned());
    }
    match &input.storage_descriptor.input_format {
        Some(format) if format != INPUT_FORMAT => {
            return Err(format!(
                "InputFormat {format}: Weir writes Parquet; leave InputFormat, OutputFormat and SerdeInfo out, \
                 `weir tables apply` completes them (`weir tables show {}` prints a definition to begin with; a table \
                 of text files keeps its name)",
                input.name
            ));
        }
        _ => {}
    }
    parameters::check_names(&input.parameters, Level::Table)
}

/// The table's own columns: without the ones Weir adds, if exactly those stand at the end.
fn without_added<'a>(declared: &'a [ColumnInput], added: &[(&str, &HiveType)]) -> &'a [ColumnInput] {
    let own = declared.len().saturating_sub(added.len());
    let same = |(column, (name, ty)): (&ColumnInput, &(&str, &HiveType))| {
        column.name == *name && column.ty.eq_ignore_ascii_case(&ty.to_string())
    };
    let all_there = declared.len() >= added.len() && declared[own..].iter().zip(added).all(same);
    if all_there { &declared[..own] } else { declared }
}

fn check_names(columns: &[ColumnInput], keys: &[ColumnInput]) -> Result<(), String> {
    let mut problems = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for input in columns.iter().chain(keys) {
        let name = input.name.as_str();
        let ty = input.ty.parse().map_err(|e| format!("column `{name}`: {e}"))?;
        let from = input.parameters.get("weir.from").map(String::as_str);
        problems.extend(names::column_problems(name, &ty, from));
        if PROVENANCE_COLUMNS.iter().chain(&RESCUED_COLUMNS).any(|(added, _)| *added == name) {
            let good = name.trim_start_matches('_');
            problems.push(format!(
                "column `{name}` is one that Weir adds itself; name it `{good}` with \"weir.from\": \"{}\"",
                from.unwrap_or(name)
            ));
        }
        if seen.contains(&name) {
            problems
                .push(format!("column `{name}` is declared twice; a partition key is never also a column"));
        }
        seen.push(name);
    }
    for key in keys.iter().filter(|key| key.name.starts_with('_')) {
        problems.push(format!(
            "partition key `{}` starts with `_`: Athena takes its folders for hidden",
            key.name
        ));
    }
    if columns.is_empty() {
        problems.push("it has no columns".to_owned());
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n  ")) }
}

fn read_column(input: &ColumnInput) -> Result<Column, String> {
    column::read(input).map_err(|problem| format!("column `{}`: {problem}", input.name))
}

/// Reads the partition keys. The source of an `identity` key is declared as the key itself, so its
/// column comes behind those of the file.
fn read_keys(input: &TableInput, columns: &mut Vec<Column>) -> Result<Vec<PartitionKey>, String> {
    let derivations =
        input.parameters.iter().filter_map(|(n, v)| Some((n.strip_prefix(PARTITION_PREFIX)?, v)));
    for (key, derivation) in derivations {
        if !input.partition_keys.iter().any(|k| k.name == key) {
            return Err(format!(
                "`{PARTITION_PREFIX}{key}`: no partition key `{key}`; declare it in PartitionKeys, as \
                 {{\"Name\": \"{key}\", \"Type\": \"string\"}}, or remove `{derivation}`"
            ));
        }
    }
    let mut keys = Vec::new();
    for declared in &input.partition_keys {
        let key = read_key(declared, &input.parameters, columns)
            .map_err(|problem| format!("partition key `{}`: {problem}", declared.name))?;
        keys.push(key);
    }
    Ok(keys)
}

fn read_key(
    declared: &ColumnInput,
    table: &Parameters,
    columns: &mut Vec<Column>,
) -> Result<PartitionKey, String> {
    let name = &declared.name;
    let setting = format!("{PARTITION_PREFIX}{name}");
    let text = table.get(&setting).ok_or_else(|| {
        format!(
            "no parameter `{setting}`; example: \"{setting}\": \"day(event_time)\" or \"identity({name})\""
        )
    })?;
    let (granularity, source) = derivation(text).ok_or_else(|| {
        format!("`{setting}`: expected year(col), month(col), day(col), hour(col) or identity(col), found `{text}`")
    })?;
    if granularity == Granularity::Identity {
        let column = identity_column(declared, source)?;
        columns.push(column);
        let (ty, column) = (columns[columns.len() - 1].ty.clone(), columns.len() - 1);
        return Ok(PartitionKey { name: name.clone(), ty, granularity, column });
    }
    if !declared.ty.trim().eq_ignore_ascii_case("string") {
        return Err(format!(
            "`{text}` is text, so that one key sorts as time: Type is `string`, found `{}`",
            declared.ty
        ));
    }
    if let Some(parameter) = declared.parameters.keys().find(|p| p.starts_with("weir.")) {
        return Err(format!("`{parameter}` belongs to column `{source}`, from which the key is made"));
    }
    let column = columns.iter().position(|c| c.name == source);
    let column = column.ok_or_else(|| format!("`{text}`: no column `{source}`"))?;
    if !columns[column].ty.is_time() {
        return Err(format!(
            "`{text}`: expected a timestamp or date column, `{source}` is {}",
            columns[column].ty
        ));
    }
    if granularity == Granularity::Hour && columns[column].ty == HiveType::Date {
        return Err(format!("`{text}`: a date has no hours; use day({source})"));
    }
    Ok(PartitionKey { name: name.clone(), ty: HiveType::String, granularity, column })
}

fn derivation(text: &str) -> Option<(Granularity, &str)> {
    let (function, rest) = text.trim().split_once('(')?;
    let source = rest.strip_suffix(')')?.trim();
    let granularity = match function.trim() {
        "year" => Granularity::Year,
        "month" => Granularity::Month,
        "day" => Granularity::Day,
        "hour" => Granularity::Hour,
        "identity" => Granularity::Identity,
        _ => return None,
    };
    (!source.is_empty()).then_some((granularity, source))
}

fn identity_column(declared: &ColumnInput, source: &str) -> Result<Column, String> {
    let name = &declared.name;
    if source != name {
        return Err(format!(
            "`identity({source})` takes the column out of the file, so the key is declared under the column's name \
             and nowhere else: write \"{PARTITION_PREFIX}{name}\": \"identity({name})\" and give the key \
             \"weir.from\": \"{source}\""
        ));
    }
    let column = column::read(declared)?;
    let ty = &column.ty;
    if column.json || !(ty.is_text() || ty.is_integer() || matches!(ty, HiveType::Date | HiveType::Boolean)) {
        return Err(format!("identity takes text, whole numbers, dates and booleans, the column is {ty}"));
    }
    Ok(column)
}

/// No two columns read the same place, except that the JSON text of a value may stand beside it.
fn check_places(columns: &[Column]) -> Result<(), String> {
    for (i, a) in columns.iter().enumerate() {
        for b in &columns[..i] {
            let (wide, narrow) = if a.from.len() < b.from.len() { (a, b) } else { (b, a) };
            let overlap = narrow.from.starts_with(&wide.from);
            let beside = wide.json || (narrow.json && wide.from.len() == narrow.from.len());
            if overlap && !beside {
                return Err(format!(
                    "column `{}` would be read from what column `{}` holds already (`{}`); drop one, or keep the whole value as \
                     JSON text: \"weir.json\": \"true\" on a string column",
                    narrow.name,
                    wide.name,
                    wide.from.join("/")
                ));
            }
        }
    }
    Ok(())
}

fn read_event_time(given: &Parameters, columns: &[Column]) -> Result<Option<usize>, String> {
    let Some(name) = given.get("weir.event_time") else { return Ok(None) };
    match columns.iter().position(|c| c.name == *name) {
        Some(column) if columns[column].ty.is_time() => Ok(Some(column)),
        Some(column) => Err(format!(
            "`weir.event_time`: expected a timestamp or date column, `{name}` is {}",
            columns[column].ty
        )),
        None => Err(format!("`weir.event_time`: no column `{name}`")),
    }
}

fn read_bloom(given: &Parameters, in_file: &[Column]) -> Result<Vec<String>, String> {
    let Some(text) = given.get("weir.bloom") else { return Ok(Vec::new()) };
    let names = parameters::parse_list(text).map_err(|e| format!("`weir.bloom`: {e}"))?;
    for name in &names {
        let Some(column) = in_file.iter().find(|c| c.name == *name) else {
            return Err(format!("`weir.bloom`: no column `{name}` in the files"));
        };
        if matches!(
            column.ty,
            HiveType::Array(_) | HiveType::Map(..) | HiveType::Struct(_) | HiveType::Boolean
        ) {
            return Err(format!("`weir.bloom`: a column of type {} has no bloom filter", column.ty));
        }
    }
    Ok(names)
}

/// Columns to sort or to compare by: of the file, not nested.
fn read_column_list(given: &Parameters, name: &str, in_file: &[Column]) -> Result<Vec<String>, String> {
    let Some(text) = given.get(name) else { return Ok(Vec::new()) };
    let names = parameters::parse_list(text).map_err(|e| format!("`{name}`: {e}"))?;
    for column_name in &names {
        let Some(column) = in_file.iter().find(|c| c.name == *column_name) else {
            return Err(format!("`{name}`: no column `{column_name}` in the files"));
        };
        if matches!(column.ty, HiveType::Array(_) | HiveType::Map(..) | HiveType::Struct(_)) {
            return Err(format!("`{name}`: values of type {} have no order", column.ty));
        }
    }
    Ok(names)
}

fn read_on_close(given: &Parameters) -> Result<Vec<CloseAction>, String> {
    let Some(text) = given.get("weir.on_close").filter(|text| !text.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let entries = parameters::parse_list(text).map_err(|e| format!("`weir.on_close`: {e}"))?;
    let actions: Result<Vec<CloseAction>, _> = entries.iter().map(|entry| entry.parse()).collect();
    let actions = actions.map_err(|e| format!("`weir.on_close`: {e}"))?;
    match actions.iter().enumerate().find(|(i, action)| actions[..*i].contains(action)) {
        Some((_, twice)) => Err(format!("`weir.on_close`: `{twice}` stands there twice")),
        None => Ok(actions),
    }
}

fn read_compact_size(given: &Parameters) -> Result<u64, String> {
    let Some(text) = given.get("weir.compact_size") else { return Ok(DEFAULT_COMPACT_BYTES) };
    parameters::parse_compact_size(text).map_err(|e| format!("`weir.compact_size`: {e}"))
}

fn read_current(
    given: &Parameters,
    table: &str,
    provenance: Provenance,
    columns: &[Column],
) -> Result<Option<String>, String> {
    let Some(name) = given.get("weir.current") else { return Ok(None) };
    if let Some(problem) = names::problem(name) {
        return Err(format!(
            "`weir.current`: the table's name {problem}; name it `{}`",
            names::renamed(name)
        ));
    }
    if name == table {
        return Err("`weir.current`: names the table itself; name another, such as `<table>_current`".into());
    }
    let of_changes = columns.iter().any(|column| column.from == ["_op"]);
    if !of_changes || !given.contains_key("weir.keys") || provenance == Provenance::Footer {
        return Err("`weir.current`: wants a column that is read from `_op`, the columns that name an item in \
                    `weir.keys`, and provenance columns (weir.provenance=columns), which tell the order of changes"
            .into());
    }
    Ok(Some(name.clone()))
}

fn read_route(given: &Parameters) -> Result<Option<Route>, String> {
    let Some(text) = given.get("weir.route") else { return Ok(None) };
    let wrong = || format!("`weir.route`: expected `field=value`, found `{text}`");
    let (place, value) = text.split_once('=').ok_or_else(wrong)?;
    let path = parameters::parse_place(place.trim()).map_err(|_| wrong())?;
    Ok(Some(Route { path, value: value.trim().to_owned() }))
}

fn duration(given: &Parameters, name: &str) -> Result<Option<Duration>, String> {
    let parsed = given.get(name).map(|text| parameters::parse_duration(text)).transpose();
    parsed.map_err(|problem| format!("`{name}`: {problem}"))
}

fn event_time_bound(
    given: &Parameters,
    name: &str,
    event_time: Option<usize>,
) -> Result<Option<Duration>, String> {
    match duration(given, name)? {
        Some(_) if event_time.is_none() => Err(format!(
            "`{name}` bounds the event time; name its column, as \"weir.event_time\": \"event_time\""
        )),
        bound => Ok(bound),
    }
}

/// One of `choices`; the first is the default.
fn choice<T: Copy>(given: &Parameters, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let Some(text) = given.get(name) else { return Ok(choices[0].1) };
    choices.iter().find(|(known, _)| known == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
        format!("`{name}`: expected one of {}, found `{text}`", known.join(", "))
    })
}

/// 16 hex digits of SHA-256 over what decides how records become rows: names, types and `weir.*`
/// parameters of the own columns and the keys, and the table's `weir.*` parameters.
fn schema_hash(own: &[ColumnInput], input: &TableInput) -> String {
    fn settings(parameters: &Parameters) -> Vec<(&String, &String)> {
        parameters.iter().filter(|(name, _)| name.starts_with("weir.") && *name != SCHEMA_HASH).collect()
    }
    type Canonical<'a> = (&'a str, String, Vec<(&'a String, &'a String)>);
    fn columns(columns: &[ColumnInput]) -> Vec<Canonical<'_>> {
        let canonical = |c: &ColumnInput| c.ty.parse::<HiveType>().map_or(c.ty.clone(), |ty| ty.to_string());
        columns.iter().map(|c| (c.name.as_str(), canonical(c), settings(&c.parameters))).collect()
    }
    let all = (columns(own), columns(&input.partition_keys), settings(&input.parameters));
    // Text has no value that JSON lacks.
    let canonical = serde_json::to_vec(&all).unwrap_or_default();
    let digest = Sha256::digest(canonical);
    format!("{:016x}", u64::from_be_bytes(digest[..8].try_into().unwrap_or_default()))
}

fn check_hash(given: &Parameters, version: &str) -> Result<(), String> {
    match given.get(SCHEMA_HASH) {
        Some(declared) if declared != version => Err(format!(
            "`{SCHEMA_HASH}` is {declared}, but the columns and settings that stand there give {version}: the table was \
             changed or lost settings outside Weir (to a crawler or a DDL statement); restore it with `weir tables \
             apply`, or remove `{SCHEMA_HASH}` from a definition that you edited"
        )),
        _ => Ok(()),
    }
}
