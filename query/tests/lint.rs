#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! What the linter refuses, and that the jobs of the project are in the subset.

use weir::schema::{TableInput, TableSchema};

use weir_query::jobs::{Job, JobError, check_job};

const HEADER: &str = "-- source: s\n-- target: t\n-- keys: k\n-- unnest: items as item\n";

fn schema(name: &str, columns: &[(&str, &str)], keys: &str, parameters: &str) -> TableSchema {
    let columns: Vec<_> =
        columns.iter().map(|(name, ty)| format!("{{\"Name\":\"{name}\",\"Type\":\"{ty}\"}}")).collect();
    let columns = columns.join(",");
    let text = format!(
        "{{\"Name\":\"{name}\",\"StorageDescriptor\":{{\"Columns\":[{columns}]}},\
         \"PartitionKeys\":[{keys}],\"Parameters\":{{\"weir.provenance\":\"footer\",{parameters}}}}}"
    );
    TableSchema::parse(&text).unwrap()
}

fn source() -> TableSchema {
    let columns = [
        ("k", "bigint"),
        ("i", "int"),
        ("d", "double"),
        ("m", "decimal(10,2)"),
        ("w", "decimal(38,2)"),
        ("s1", "string"),
        ("t", "timestamp"),
        ("b", "boolean"),
        ("items", "array<struct<sku:string,qty:int>>"),
    ];
    let dt = "{\"Name\":\"dt\",\"Type\":\"string\"}";
    schema("s", &columns, dt, "\"weir.partition.dt\":\"identity(dt)\"")
}

fn target(ty: &str) -> TableSchema {
    let dt = "{\"Name\":\"dt\",\"Type\":\"string\"}";
    let parameters = "\"weir.partition.dt\":\"identity(dt)\",\"weir.job\":\"j\"";
    schema("t", &[("k", "bigint"), ("x", ty)], dt, parameters)
}

/// All findings, one a line; empty if it is in the subset.
async fn lint(sql: &str, ty: &str) -> String {
    let job = Job::parse("j", &format!("{HEADER}{sql}")).unwrap();
    match check_job(&job, &source(), &target(ty)).await {
        Ok(()) => String::new(),
        Err(error @ JobError::Refused(_)) => error.to_string(),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[tokio::test]
async fn what_differs_between_the_engines_is_refused_with_line_reason_and_way_out() {
    let mut wrong = Vec::new();
    // An expression, the type of its column, and what is said about it.
    for (expr, ty, expected) in [
        ("k / 2", "double", "`/` of whole numbers"),
        ("cast(k as double) / i", "double", "write `nullif(i, 0)`"),
        ("k % i", "bigint", "write `nullif(i, 0)`"),
        ("k % 0", "bigint", "write `nullif(0, 0)`"),
        ("row_number() over (order by d)", "bigint", "write `d nulls last`"),
        ("row_number() over (order by d desc)", "bigint", "write `d nulls last`"),
        ("1.5", "double", "write `cast(1.5 as double)`"),
        ("d * 1e3", "double", "write `cast(1e3 as double)`"),
        ("s1 || 'it''s'", "string", "is read in two ways"),
        ("s1 || 'a\\n'", "string", "is read in two ways"),
        ("\"s1\"", "string", "is quoted"),
        ("items[1]", "string", "no array syntax"),
        ("k::double", "double", "write `cast(a as double)`"),
        ("try_cast(s1 as double)", "double", "not in the subset"),
        ("concat(s1, s1)", "string", "write `a || b`"),
        ("round(d)", "double", "the engines round doubles differently"),
        ("floor(d)", "double", "write `a - a % 10`"),
        ("now()", "timestamp", "a run must be repeatable"),
        ("current_date", "date", "current_date"),
        ("regexp_like(s1, 'a')", "boolean", "the functions of jobs are abs, coalesce"),
        ("lag(k)", "bigint", "`lag` needs OVER"),
        ("lower(s1) over ()", "string", "`lower` is not a function of jobs"),
        ("lag(k) ignore nulls over (order by k nulls last)", "bigint", "IGNORE NULLS"),
        ("t - interval '1' hour", "timestamp", "intervals differ"),
        ("extract(second from t)", "int", "extract(SECOND"),
        ("t at time zone 'UTC'", "timestamp", "not in the subset"),
        ("(select max(k) from s)", "bigint", "a subquery in an expression"),
        ("k in (select k from s)", "boolean", "a subquery in an expression"),
        ("s1 similar to 'a'", "boolean", "not in the subset"),
        ("s1 ilike 'a'", "boolean", "not in the subset"),
        ("k ^ 2", "bigint", "operator `^` is not common"),
        // By types.
        ("i + 1", "bigint", "write `cast(a as bigint)`"),
        ("i * i", "bigint", "write `cast(a as bigint)`"),
        ("t - t", "bigint", "count times in microseconds"),
        ("s1 = 200", "boolean", "are converted differently; cast one of them"),
        ("m = d", "boolean", "are converted differently"),
        ("k in ('1', '2')", "boolean", "are converted differently"),
        ("t > '2026-11-20'", "boolean", "are converted differently"),
        ("case when b then 'a' else 1 end", "string", "are converted differently"),
        ("coalesce(k, 'none')", "string", "are converted differently"),
        ("split_part(s1, 'a', 1) = k", "boolean", "are converted differently"),
        ("k || 'a'", "string", "are converted differently"),
        ("cast(s1 as bigint)", "bigint", "declare the column with that type in schemas/"),
        ("cast(d as decimal(10,2))", "decimal(10,2)", "keep it a double"),
        ("cast(d as string)", "string", "the engines print it differently"),
        ("cast(b as bigint)", "bigint", "write `case when a then 1 else 0 end`"),
        ("w * w", "decimal(38,4)", "more than 38 digits"),
        // Of the result.
        ("d", "bigint", "column x is Float64, the table has Int64"),
        ("m", "decimal(10,1)", "column x is Decimal128(10, 2), the table has Decimal128(10, 1)"),
        ("nothing", "bigint", "nothing"),
    ] {
        let found = lint(&format!("SELECT k,\n  {expr} AS x\nFROM s"), ty).await;
        // What is wrong with the result's columns is said of the file, the rest of its line.
        let place = if expected.starts_with("column x") { "jobs/j.sql:1: " } else { "jobs/j.sql:6: " };
        if !found.contains(expected) || !found.starts_with(place) {
            wrong.push(format!("{expr}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn clauses_outside_of_the_subset_are_refused() {
    for (sql, expected) in [
        ("SELECT k, k AS x FROM s LIMIT 3", ":5: LIMIT keeps whichever rows come first"),
        ("SELECT k, k AS x FROM s\nORDER BY k", ":6: the result has an order"),
        ("SELECT * FROM s", ":5: `*` changes with the table"),
        ("SELECT k, count(*) FROM s GROUP BY k", ":5: the engines name this column differently"),
        ("SELECT k, sum(d) AS x FROM s GROUP BY ALL", "GROUP BY ALL"),
        ("SELECT k, sum(d) AS x FROM s GROUP BY ROLLUP(k)", "`ROLLUP (k)` is not in the subset"),
        ("SELECT DISTINCT ON (k) k, d AS x FROM s", "DISTINCT ON"),
        ("SELECT a.k, a.d AS x FROM s a\nFULL JOIN s b ON a.k = b.k", ":6: this join is not in the subset"),
        ("SELECT k, d AS x FROM s\nNATURAL JOIN item", ":6: this join is not in the subset"),
        ("SELECT k, k AS x FROM s\nUNION SELECT k, k AS x FROM s", "only UNION ALL"),
        ("SELECT k, k AS x FROM s UNION ALL SELECT k, s1 AS x FROM s", "UNION ALL of"),
        ("SELECT k, k AS x FROM s, unnest(items) AS u", "`-- unnest: items as item`"),
        ("SELECT k, avg(m) AS x FROM s GROUP BY k", "the mean of decimals"),
        ("SELECT k, sum(d ORDER BY d) AS x FROM s GROUP BY k", "arguments have no order"),
        ("WITH RECURSIVE r AS (SELECT k FROM s) SELECT k, k AS x FROM r", "WITH RECURSIVE"),
        ("DELETE FROM s", "this is not one query"),
        ("SELECT k, k AS x FROM s; SELECT k, k AS x FROM s", "this is not one query"),
        ("SELECT k, FROM FROM", "jobs/j.sql:5"),
        ("SELECT k AS x, k FROM s", "the result has the columns (x, k), table t has (k, x)"),
        ("SELECT k, k AS x FROM elsewhere", "elsewhere"),
        ("SELECT k, upper(k) AS x FROM s", "Function 'upper' requires String, but received Int64"),
    ] {
        let found = lint(sql, "bigint").await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[tokio::test]
async fn what_is_in_the_subset_is_taken() {
    for (sql, ty) in [
        ("SELECT k, cast(k as double) / nullif(i, 0) AS x FROM s", "double"),
        ("SELECT k, cast(sum(m) as double) / 7 AS x FROM s GROUP BY k", "double"),
        ("SELECT k, sum(item_qty) AS x FROM item GROUP BY k", "bigint"),
        ("SELECT k, cast(-1.5 as double) AS x FROM s", "double"),
        ("SELECT k, i * m AS x FROM s", "decimal(38,2)"),
        ("SELECT k, t AS x FROM s WHERE dt = '2026-11-20'", "timestamp"),
        ("SELECT DISTINCT k, s1 AS x FROM (SELECT k, s1 FROM s WHERE b) e", "string"),
        ("SELECT a.k, b.d AS x FROM s a LEFT JOIN s b ON a.k = b.k", "double"),
        ("SELECT k, count(*) AS x FROM s GROUP BY k", "int"),
        ("SELECT k, null AS x FROM s", "string"),
    ] {
        let found = lint(sql, ty).await;
        // A null of no type is the one thing here that needs a cast.
        let expected = if sql.contains("null AS x") { "column x is Null" } else { "" };
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{sql}: {found}");
    }
}

#[tokio::test]
async fn the_jobs_of_the_project_are_in_the_subset_and_fit_their_tables() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let schema = |name: &str| {
        let input = TableInput::from_json(&read(&root.join(format!("schemas/{name}.json")))).unwrap();
        TableSchema::from_input(&input.complete().unwrap()).unwrap()
    };
    let mut jobs = 0;
    for entry in std::fs::read_dir(root.join("jobs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let job = Job::parse(path.file_stem().unwrap().to_str().unwrap(), &read(&path)).unwrap();
        let (source, target) = (schema(&job.source), schema(&job.target));
        check_job(&job, &source, &target).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(target.check_loadable().is_err() && source.check_loadable().is_ok());
        jobs += 1;
    }
    assert_eq!(jobs, 5);
}
