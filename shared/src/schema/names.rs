//! Names that Athena, Hive and Spark all take without quoting: `[a-z_][a-z0-9_]*`, at most 255
//! bytes, no reserved word. Others fail at query time, so they are refused here, with the renamed
//! column as the way out.

use super::types::HiveType;

/// Words that Athena reserves in DDL (Hive) or in SELECT (Trino) statements, sorted.
/// <https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html>
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "alter", "and", "array", "as", "authorization", "between", "bigint", "binary", "boolean", "both",
    "by", "case", "cashe", "cast", "char", "column", "commit", "conf", "constraint", "create", "cross", "cube",
    "current", "current_catalog", "current_date", "current_path", "current_schema", "current_time",
    "current_timestamp", "current_user", "cursor", "database", "date", "dayofweek", "deallocate", "decimal",
    "delete", "describe", "distinct", "div", "double", "drop", "else", "end", "escape", "except", "exchange",
    "execute", "exists", "extended", "external", "extract", "false", "fetch", "first", "float", "floor",
    "following", "for", "foreign", "from", "full", "function", "grant", "group", "grouping", "having", "if",
    "import", "in", "inner", "insert", "int", "integer", "intersect", "interval", "into", "is", "join",
    "json_array", "json_exists", "json_object", "json_query", "json_table", "json_value", "last", "lateral",
    "left", "less", "like", "listagg", "local", "localtime", "localtimestamp", "macro", "map", "more", "natural",
    "none", "normalize", "not", "null", "numeric", "of", "on", "only", "or", "order", "out", "outer", "over",
    "partialscan", "partition", "percent", "preceding", "precision", "prepare", "preserve", "primary",
    "procedure", "range", "reads", "recursive", "reduce", "references", "regexp", "revoke", "right", "rlike",
    "rollback", "rollup", "row", "rows", "select", "set", "skip", "smallint", "start", "table", "tablesample",
    "then", "time", "timestamp", "to", "transform", "trigger", "trim", "true", "truncate", "uescape",
    "unbounded", "union", "uniquejoin", "unnest", "update", "user", "using", "utc_timestamp", "values",
    "varchar", "views", "when", "where", "window", "with",
];

/// Glue's bound on names.
const MAX_NAME_BYTES: usize = 255;

/// Why `name` cannot stand in a table, or `None`.
pub(super) fn problem(name: &str) -> Option<String> {
    let good_start = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let good_rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !good_start || !good_rest {
        return Some("does not match [a-z_][a-z0-9_]*".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Some(format!("is longer than {MAX_NAME_BYTES} bytes"));
    }
    RESERVED.binary_search(&name).is_ok().then(|| "is a reserved word in Athena".to_owned())
}

/// A good name near `name`: `id.orig_h` → `id_orig_h`, `userId` → `user_id`, `order` → `order_`.
pub(super) fn renamed(name: &str) -> String {
    let mut good = String::new();
    let mut previous = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_ascii_digit()) {
            good.push('_');
        }
        match c.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() => good.push(letter),
            _ if good.ends_with('_') => {}
            _ => good.push('_'),
        }
        previous = c;
    }
    if name.ends_with(|c: char| !c.is_ascii_alphanumeric()) && good.len() > 1 {
        good = good.trim_end_matches('_').to_owned();
    }
    if !good.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
        good.insert(0, '_');
    }
    good.truncate(MAX_NAME_BYTES);
    if RESERVED.binary_search(&good.as_str()).is_ok() {
        good.push('_');
    }
    good
}

/// One line for each bad name in a column: the column's own and those of nested struct fields.
/// `read_from` is the column's `weir.from`, which a renamed column keeps.
pub(super) fn column_problems(name: &str, ty: &HiveType, read_from: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(problem) = problem(name) {
        let from = read_from.unwrap_or(name);
        let good = renamed(name);
        problems.push(format!(
            "column `{name}` {problem}; write {{\"Name\": \"{good}\", \"Type\": \"{ty}\", \
             \"Parameters\": {{\"weir.from\": \"{from}\"}}}}"
        ));
    }
    field_problems(name, ty, "", &mut problems);
    problems
}

fn field_problems(column: &str, ty: &HiveType, path: &str, problems: &mut Vec<String>) {
    match ty {
        HiveType::Array(item) => field_problems(column, item, path, problems),
        HiveType::Map(_, value) => field_problems(column, value, path, problems),
        HiveType::Struct(fields) => {
            for field in fields {
                let name = &field.name;
                let good = if problem(name).is_some() { renamed(name) } else { name.clone() };
                let path = if path.is_empty() { good.clone() } else { format!("{path}.{good}") };
                if let Some(problem) = problem(name) {
                    problems.push(format!(
                        "field `{name}` of column `{column}` {problem}; write `{good}:{}` in its struct and \
                         \"weir.from.{path}\": \"{name}\" in the column's parameters",
                        field.ty
                    ));
                }
                field_problems(column, &field.ty, &path, problems);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn bad_names_get_a_good_one() {
        for (name, good) in [
            ("id.orig_h", "id_orig_h"),
            ("userId", "user_id"),
            ("AA", "aa"),
            ("TTLs", "ttls"),
            ("CO(GT)", "co_gt"),
            ("PT08.S1(CO)", "pt08_s1_co"),
            ("order", "order_"),
            ("Date", "date_"),
            ("1st", "_1st"),
            ("été", "_t"),
            ("_path", "_path"),
            ("a-b c", "a_b_c"),
            ("", "_"),
        ] {
            assert_eq!(renamed(name), good, "{name}");
            assert_eq!(problem(good), None, "{good}");
        }
    }

    #[test]
    fn every_level_of_a_column_is_checked() {
        let ty: HiveType = "array<struct<ok:int,user:struct<Id:string>>>".parse().unwrap();
        assert_eq!(
            column_problems("Items", &ty, None),
            [
                "column `Items` does not match [a-z_][a-z0-9_]*; write {\"Name\": \"items\", \"Type\": \
                 \"array<struct<ok:int,user:struct<Id:string>>>\", \"Parameters\": {\"weir.from\": \"Items\"}}",
                "field `user` of column `Items` is a reserved word in Athena; write \
                 `user_:struct<Id:string>` in its struct and \"weir.from.user_\": \"user\" in the column's \
                 parameters",
                "field `Id` of column `Items` does not match [a-z_][a-z0-9_]*; write `id:string` in its \
                 struct and \"weir.from.user_.id\": \"Id\" in the column's parameters",
            ]
        );
    }
}
