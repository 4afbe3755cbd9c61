//! Definitions in a folder → changes of a catalog. Only what keeps every file readable is applied;
//! the rest is refused with the way out. Planning changes nothing.

use std::fmt;
use std::path::Path;

use super::Catalog;
use super::view::view_of;
use crate::error::{Error, Result};
use crate::schema::{ColumnInput, HiveType, TableInput};

/// What applying one definition does.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The catalog has no such table.
    Create,
    /// The catalog says the same.
    Unchanged,
    /// Files stay readable: lines of a diff.
    Update(Vec<String>),
    /// Files would no longer fit, or the definition is wrong.
    Refused {
        /// What is wrong.
        reason: String,
        /// What to do instead.
        way_out: String,
    },
}

/// A table and its change; printed as a diff.
#[derive(Debug, Clone, PartialEq)]
pub struct TableChange {
    /// Table name.
    pub table: String,
    /// What happens.
    pub change: Change,
    /// What the catalog will hold; the definition as given when refused.
    pub definition: TableInput,
}

impl fmt::Display for TableChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match &self.change {
            Change::Create => {
                write!(f, "+ {table}: create")?;
                for column in &self.definition.storage_descriptor.columns {
                    write!(f, "\n  + column {} {}", column.name, column.ty)?;
                }
                for key in &self.definition.partition_keys {
                    write!(f, "\n  + partition key {} {}", key.name, key.ty)?;
                }
                Ok(())
            }
            Change::Unchanged => write!(f, "= {table}: unchanged"),
            Change::Update(lines) => {
                write!(f, "~ {table}: update")?;
                lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
            }
            Change::Refused { reason, way_out } => {
                write!(f, "! {table}: refused: {reason}\n  way out: {way_out}")
            }
        }
    }
}

/// Reads all `*.json` definitions of a folder, sorted by file name.
pub fn read_definitions(folder: &Path) -> Result<Vec<TableInput>> {
    let failed = |operation, object: &Path, source: std::io::Error| Error::Store {
        operation,
        object: object.display().to_string(),
        retryable: false,
        source: Box::new(source),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed("list", folder, e))? {
        let path = entry.map_err(|e| failed("list", folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| failed("read", path, e))?;
        TableInput::from_json(&text).map_err(|error| match error {
            Error::Schema { table, problem } => {
                Error::Schema { table, problem: format!("{}: {problem}", path.display()) }
            }
            other => other,
        })
    };
    files.iter().map(read).collect()
}

/// Compares definitions, and those of the current states that they ask for, with a catalog. `lake` is
/// the lake's URL; tables stand in `<lake>/<table>/`.
pub async fn plan_apply(
    definitions: &[TableInput],
    catalog: &dyn Catalog,
    lake: &str,
) -> Result<Vec<TableChange>> {
    let mut changes = Vec::new();
    let views: Vec<TableInput> = definitions.iter().filter_map(view_of).collect();
    for (at, definition) in definitions.iter().chain(&views).enumerate() {
        let table = definition.name.clone();
        if let Some(change) = taken(at.checked_sub(definitions.len()), definitions, &views) {
            changes.push(TableChange { table, change, definition: definition.clone() });
            continue;
        }
        let (change, definition) = match complete(definition, lake) {
            Ok(wanted) => match catalog.definition(&table).await? {
                None => (Change::Create, wanted),
                Some(present) => compare(&present, wanted),
            },
            Err(refused) => (refused, definition.clone()),
        };
        changes.push(TableChange { table, change, definition });
    }
    Ok(changes)
}

/// Puts what is to be created or updated; the refused are left to the caller. Returns how many
/// definitions were put.
pub async fn apply(changes: &[TableChange], catalog: &dyn Catalog) -> Result<usize> {
    let mut put = 0;
    for change in changes {
        if matches!(change.change, Change::Create | Change::Update(_)) {
            catalog.put_table(change.definition.clone()).await?;
            put += 1;
        }
    }
    Ok(put)
}

/// A view whose name is another table's too.
fn taken(view: Option<usize>, definitions: &[TableInput], views: &[TableInput]) -> Option<Change> {
    let view = &views[..=view?];
    let (view, before) = view.split_last()?;
    definitions.iter().chain(before).find(|other| other.name == view.name)?;
    let of = view.parameters.get("weir.current_of").map_or("", String::as_str);
    Some(Change::Refused {
        reason: format!("`weir.current` of {of} makes this table, and another definition has its name"),
        way_out: format!("give `weir.current` of {of} a name of its own, or take the other definition away"),
    })
}

fn complete(definition: &TableInput, lake: &str) -> Result<TableInput, Change> {
    let mut wanted = definition.complete().map_err(|e| {
        let reason = match e {
            Error::Schema { problem, .. } => problem,
            other => other.to_string(),
        };
        Change::Refused { reason, way_out: format!("change the definition of {}", definition.name) }
    })?;
    let location = format!("{}/{}/", lake.trim_end_matches('/'), definition.name);
    match &definition.storage_descriptor.location {
        Some(given) if given.trim_end_matches('/') != location.trim_end_matches('/') => {
            Err(Change::Refused {
                reason: format!("Location is {given}, but the lake keeps the table in {location}"),
                way_out: "leave Location out, or name another lake".to_owned(),
            })
        }
        _ => {
            wanted.storage_descriptor.location = Some(location);
            Ok(wanted)
        }
    }
}

fn compare(present: &TableInput, mut wanted: TableInput) -> (Change, TableInput) {
    // The catalog's own additions (crawler statistics, owners) stay; ours win where both speak.
    for (name, value) in &present.parameters {
        if !name.starts_with("weir.") {
            wanted.parameters.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    let (storage, wanted_storage) = (&present.storage_descriptor.other, &mut wanted.storage_descriptor.other);
    for (theirs, ours) in [(&present.other, &mut wanted.other), (storage, wanted_storage)] {
        for (name, value) in theirs {
            ours.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if *present == wanted {
        return (Change::Unchanged, wanted);
    }
    if let Some(refused) = refusal(present, &wanted) {
        return (refused, wanted);
    }
    (Change::Update(diff(present, &wanted)), wanted)
}

/// The columns that are the table's own, not added by Weir.
pub(super) fn own(columns: &[ColumnInput]) -> Vec<&ColumnInput> {
    use crate::schema::{PROVENANCE_COLUMNS, RESCUED_COLUMNS};
    let added = |name: &str| PROVENANCE_COLUMNS.iter().chain(&RESCUED_COLUMNS).any(|(n, _)| *n == name);
    columns.iter().filter(|c| !added(&c.name)).collect()
}

fn same_type(a: &str, b: &str) -> bool {
    a.parse::<HiveType>().is_ok_and(|a| b.parse::<HiveType>().is_ok_and(|b| a.to_string() == b.to_string()))
}

fn refusal(present: &TableInput, wanted: &TableInput) -> Option<Change> {
    let refuse = |reason: String, way_out: String| Some(Change::Refused { reason, way_out });
    let place = |table: &TableInput| {
        table.storage_descriptor.location.as_deref().map(|l| l.trim_end_matches('/').to_owned())
    };
    // A table made by hand may have no place yet.
    if let Some(from) = place(present).filter(|from| place(wanted).as_ref() != Some(from)) {
        return refuse(
            format!("the catalog has the table in {from}"),
            "use the lake that holds it".to_owned(),
        );
    }
    if let Some(reason) = key_change(present, wanted) {
        let table = &wanted.name;
        return refuse(
            reason,
            format!("define a new table, as {table}_v2, and load it again with `weir ingest`"),
        );
    }
    let (before, after) = (own(&present.storage_descriptor.columns), own(&wanted.storage_descriptor.columns));
    for (at, old) in before.iter().enumerate() {
        let name = &old.name;
        let Some(new_at) = after.iter().position(|c| c.name == *name) else {
            return refuse(
                format!("column `{name}` was removed, but files hold it"),
                format!("put {{\"Name\": \"{name}\", \"Type\": \"{}\"}} back; it may stay empty", old.ty),
            );
        };
        let new = after[new_at];
        if !same_type(&old.ty, &new.ty) {
            return refuse(
                format!(
                    "column `{name}` was {} and would be {}, but files hold it as it was",
                    old.ty, new.ty
                ),
                format!(
                    "keep it and add a column at the end, as {{\"Name\": \"{name}_v2\", \"Type\": \"{}\"}}",
                    new.ty
                ),
            );
        }
        if new_at != at {
            return refuse(
                format!("column `{name}` was at place {} and would be at {}", at + 1, new_at + 1),
                "keep the order; new columns come at the end".to_owned(),
            );
        }
    }
    None
}

fn key_change(present: &TableInput, wanted: &TableInput) -> Option<String> {
    let keys = |t: &TableInput| -> Vec<String> {
        t.partition_keys.iter().map(|k| format!("{} {}", k.name, k.ty.to_ascii_lowercase())).collect()
    };
    let (before, after) = (keys(present), keys(wanted));
    if before != after {
        let (before, after) = (before.join(", "), after.join(", "));
        return Some(format!("the partition keys were ({before}) and would be ({after})"));
    }
    for key in &wanted.partition_keys {
        let setting = format!("weir.partition.{}", key.name);
        let (before, after) = (present.parameters.get(&setting), wanted.parameters.get(&setting));
        // A table that lost the setting gets it back; what it was then is known by nobody.
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            return Some(format!("`{setting}` was {before} and would be {after}"));
        }
    }
    None
}

fn diff(present: &TableInput, wanted: &TableInput) -> Vec<String> {
    let mut lines = Vec::new();
    let (before, after) = (&present.storage_descriptor.columns, &wanted.storage_descriptor.columns);
    for new in after.iter().chain(&wanted.partition_keys) {
        let old = before.iter().chain(&present.partition_keys).find(|c| c.name == new.name);
        let Some(old) = old else {
            lines.push(format!("+ column {} {}", new.name, new.ty));
            continue;
        };
        let name = format!("column {}: ", new.name);
        line(&mut lines, &format!("{name}comment"), old.comment.as_deref(), new.comment.as_deref());
        parameters(&mut lines, &name, &old.parameters, &new.parameters);
    }
    for old in before.iter().filter(|old| !after.iter().any(|new| new.name == old.name)) {
        lines.push(format!("- column {} {} (files keep it, readers no longer see it)", old.name, old.ty));
    }
    line(&mut lines, "description", present.description.as_deref(), wanted.description.as_deref());
    parameters(&mut lines, "", &present.parameters, &wanted.parameters);
    if lines.is_empty() {
        lines.push("~ storage descriptor".to_owned());
    }
    lines
}

type Parameters = std::collections::BTreeMap<String, String>;

fn parameters(lines: &mut Vec<String>, of: &str, before: &Parameters, after: &Parameters) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        line(lines, &format!("{of}{name}"), old.map(String::as_str), new.map(String::as_str));
    }
}

fn line(lines: &mut Vec<String>, what: &str, before: Option<&str>, after: Option<&str>) {
    match (before, after) {
        (None, Some(new)) => lines.push(format!("+ {what} = {new}")),
        (Some(old), None) => lines.push(format!("- {what} = {old}")),
        (Some(old), Some(new)) if old != new => lines.push(format!("~ {what} = {old} → {new}")),
        _ => {}
    }
}
