//! What a job's SQL may do with values: conversions and comparisons that give the same on both
//! engines. Looks at the plan before the engine has put conversions of its own into it.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, Case, InList, Like};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::{Finding, Job};

/// Digits of a decimal at most.
const DIGITS: u8 = 38;

/// What differs between the engines by the types of its operands.
pub(super) fn check(job: &Job, plan: &LogicalPlan) -> Result<Vec<Finding>> {
    let mut checker = Checker { job, findings: Vec::new() };
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        for expr in node.expressions() {
            expr.apply(|part| {
                checker.expr(part, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if let LogicalPlan::Union(union) = node {
            for input in &union.inputs {
                let pairs = union.schema.fields().iter().zip(input.schema().fields());
                for (all, one) in pairs.filter(|(a, b)| kind(a.data_type()) != kind(b.data_type())) {
                    let reason = format!(
                        "UNION ALL of {} and {} in column {}",
                        all.data_type(),
                        one.data_type(),
                        one.name()
                    );
                    checker.refuse(1, reason, "cast one of them".to_owned());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(checker.findings)
}

/// Sorts of values; only values of one sort are compared or stand in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Integer,
    Decimal,
    Double,
    Text,
    Time,
    Date,
    Boolean,
    Other,
}

fn kind(ty: &DataType) -> Kind {
    match ty {
        DataType::Null => Kind::Null,
        ty if ty.is_integer() => Kind::Integer,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::Decimal,
        DataType::Float32 | DataType::Float64 => Kind::Double,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Kind::Text,
        DataType::Timestamp(..) => Kind::Time,
        DataType::Date32 => Kind::Date,
        DataType::Boolean => Kind::Boolean,
        _ => Kind::Other,
    }
}

fn alike(a: Kind, b: Kind) -> bool {
    use Kind::{Decimal, Integer, Null};
    a == b || a == Null || b == Null || matches!((a, b), (Integer, Decimal) | (Decimal, Integer))
}

/// Whether `cast` of one to the other gives the same on both engines.
fn casts(from: Kind, to: Kind) -> bool {
    use Kind::{Date, Decimal, Double, Integer, Null, Text, Time};
    from == to
        || from == Null
        || matches!(
            (from, to),
            (Integer, Double | Decimal | Text) | (Decimal, Double) | (Date, Time) | (Time, Date)
        )
}

struct Checker<'a> {
    job: &'a Job,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn refuse(&mut self, line: u64, reason: String, way_out: String) {
        let finding = Finding { file: self.job.file(), line, reason, way_out };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn expr(&mut self, expr: &Expr, schema: &DFSchema) -> Result<()> {
        let ty = |expr: &Expr| expr.get_type(schema);
        match expr {
            Expr::Cast(cast) => {
                let (from, to) = (ty(&cast.expr)?, cast.field.data_type().clone());
                let number = matches!(cast.expr.as_ref(), Expr::Literal(..));
                if !number && !casts(kind(&from), kind(&to)) {
                    self.refuse(
                        line(expr),
                        format!("`{}` of {from} to {to} differs", human(expr)),
                        way_out_of_cast(kind(&from), kind(&to)),
                    );
                }
            }
            Expr::BinaryExpr(binary) => {
                let (left, right) = (ty(&binary.left)?, ty(&binary.right)?);
                self.binary(expr, binary.op, (&left, &right), (&binary.left, &binary.right));
            }
            Expr::Between(Between { expr: value, low, high, .. }) => {
                self.same(expr, &[ty(value)?, ty(low)?, ty(high)?]);
            }
            Expr::InList(InList { expr: value, list, .. }) => {
                let mut types = vec![ty(value)?];
                types.extend(list.iter().map(ty).collect::<Result<Vec<_>>>()?);
                self.same(expr, &types);
            }
            Expr::Like(Like { expr: value, pattern, .. }) => {
                self.same(expr, &[ty(value)?, ty(pattern)?, DataType::Utf8]);
            }
            Expr::Case(case) => self.case(expr, case, schema)?,
            Expr::ScalarFunction(call)
                if matches!(call.name(), "coalesce" | "nullif" | "greatest" | "least") =>
            {
                let types = call.args.iter().map(ty).collect::<Result<Vec<_>>>()?;
                self.same(expr, &types);
            }
            Expr::ScalarFunction(call) if takes_text(call.name()) => {
                if let Some(first) = call.args.first() {
                    self.same(expr, &[ty(first)?, DataType::Utf8]);
                }
            }
            Expr::AggregateFunction(call) if call.func.name() == "avg" => {
                let decimal = call.params.args.iter().any(|a| ty(a).is_ok_and(|t| kind(&t) == Kind::Decimal));
                let way_out = "write `avg(cast(a as double))`, or keep sum and count";
                decimal.then(|| {
                    let reason = "the mean of decimals is rounded differently".to_owned();
                    self.refuse(line(expr), reason, way_out.to_owned());
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn case(&mut self, expr: &Expr, case: &Case, schema: &DFSchema) -> Result<()> {
        let ty = |expr: &Expr| expr.get_type(schema);
        let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let results = results.map(|e| ty(e)).collect::<Result<Vec<_>>>()?;
        self.same(expr, &results);
        if let Some(operand) = &case.expr {
            let mut compared = vec![ty(operand)?];
            for (when, _) in &case.when_then_expr {
                compared.push(ty(when)?);
            }
            self.same(expr, &compared);
        }
        Ok(())
    }

    fn binary(&mut self, expr: &Expr, op: Operator, types: (&DataType, &DataType), sides: (&Expr, &Expr)) {
        let kinds = (kind(types.0), kind(types.1));
        let numeric = |k| matches!(k, Kind::Integer | Kind::Decimal | Kind::Double | Kind::Null);
        match op {
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                if !numeric(kinds.0) || !numeric(kinds.1) {
                    let reason = format!("`{}`: {} and {} are not numbers", human(expr), types.0, types.1);
                    let way_out = "count times in microseconds: `unix_micros(t)`".to_owned();
                    return self.refuse(line(expr), reason, way_out);
                }
                if kinds == (Kind::Integer, Kind::Integer) {
                    let short = |ty: &DataType, side: &Expr| {
                        *ty != DataType::Int64
                            && *ty != DataType::UInt64
                            && !matches!(side, Expr::Literal(..))
                    };
                    if short(types.0, sides.0) || short(types.1, sides.1) {
                        let reason =
                            format!("`{}`: int overflows on one engine and wraps on the other", human(expr));
                        self.refuse(line(expr), reason, "write `cast(a as bigint)`".to_owned());
                    }
                }
                if op == Operator::Multiply
                    && let (DataType::Decimal128(p, _), DataType::Decimal128(q, _)) = types
                    && p + q + 1 > DIGITS
                {
                    let reason = format!("`{}`: more than {DIGITS} digits are cut differently", human(expr));
                    self.refuse(line(expr), reason, "cast to fewer digits before".to_owned());
                }
            }
            _ if is_comparison(op) || op == Operator::StringConcat => {
                self.same(expr, &[types.0.clone(), types.1.clone()]);
                if op == Operator::StringConcat && kinds.0 != Kind::Text && kinds.0 != Kind::Null {
                    self.refuse(
                        line(expr),
                        format!("`{}`: not a text", human(expr)),
                        "cast it to string".to_owned(),
                    );
                }
            }
            _ => {}
        }
    }

    fn same(&mut self, expr: &Expr, types: &[DataType]) {
        for (i, a) in types.iter().enumerate() {
            if let Some(b) = types[..i].iter().find(|b| !alike(kind(a), kind(b))) {
                let reason = format!("`{}`: {b} and {a} are converted differently", human(expr));
                return self.refuse(line(expr), reason, "cast one of them".to_owned());
            }
        }
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn takes_text(function: &str) -> bool {
    matches!(
        function,
        "lower"
            | "upper"
            | "btrim"
            | "trim"
            | "length"
            | "character_length"
            | "replace"
            | "split_part"
            | "substr"
    )
}

fn way_out_of_cast(from: Kind, to: Kind) -> String {
    match (from, to) {
        (Kind::Text, _) => {
            "declare the column with that type in schemas/: texts are checked when they are loaded"
        }
        (_, Kind::Text) => "keep the value as it is: the engines print it differently",
        (Kind::Double, _) => "keep it a double, or declare the column as decimal in schemas/",
        (Kind::Boolean, _) => "write `case when a then 1 else 0 end`",
        _ => "see docs/JOBS.md",
    }
    .to_owned()
}

/// The expression, not longer than a line.
fn human(expr: &Expr) -> String {
    let text = expr.human_display().to_string();
    if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text }
}

/// Where it stands, by the first column in it.
fn line(expr: &Expr) -> u64 {
    let mut found = 1;
    let visited = expr.apply(|part| {
        if let Expr::Column(column) = part
            && let Some(span) = column.spans.first()
            && span.start.line > 0
        {
            found = span.start.line;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // The closure does not fail.
    _ = visited;
    found
}
