//! What a job's SQL may look like: forms that DataFusion and Spark read alike. Reads the text alone;
//! what needs types is in [`super::types`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Distinct, Expr, Function, FunctionArguments,
    GroupByExpr, JoinConstraint, JoinOperator, NamedWindowExpr, OrderByExpr, Query, Select, SelectItem,
    SetExpr, SetOperator, SetQuantifier, Spanned, Statement, TableFactor, UnaryOperator, Value,
    ValueWithSpan, Visit, Visitor, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

use super::functions::{AGGREGATE, SCALAR, WAYS_OUT, WINDOW};
use super::{Finding, Job};

/// What is outside of the subset, in the order of the text.
pub(super) fn check(job: &Job) -> Vec<Finding> {
    let mut reader = Reader { file: job.file(), line: 1, wrapped: Vec::new(), findings: Vec::new() };
    reader.tokens(&job.sql);
    if !reader.findings.is_empty() {
        return reader.findings;
    }
    match Parser::parse_sql(&GenericDialect {}, &job.sql) {
        Err(problem) => {
            // The parser says where at its end: `… at Line: 3, Column: 5`.
            let text = problem.to_string();
            let line = text.rsplit_once("Line: ").and_then(|(_, at)| at.split(',').next()?.parse().ok());
            reader.line = line.unwrap_or(1);
            reader.refuse(&text, "write one SELECT");
        }
        Ok(statements) => match statements.as_slice() {
            [Statement::Query(query)] => {
                if query.order_by.is_some() {
                    reader.at(query.order_by.as_ref().map_or_else(Span::empty, Spanned::span));
                    reader.refuse(
                        "the result has an order",
                        "leave it out: rows are sorted by the header's keys",
                    );
                }
                // The visitor never breaks off.
                let _: ControlFlow<()> = statements.visit(&mut reader);
            }
            _ => reader.refuse("this is not one query", "write one SELECT, with WITH before it if need be"),
        },
    }
    reader.findings.sort_by_key(|finding| finding.line);
    reader.findings
}

struct Reader {
    file: String,
    /// Of what was visited last: some nodes don't know where they stand.
    line: u64,
    /// Numbers that stand directly in a cast.
    wrapped: Vec<Span>,
    findings: Vec<Finding>,
}

impl Reader {
    fn at(&mut self, span: Span) {
        if span.start.line > 0 {
            self.line = span.start.line;
        }
    }

    fn refuse(&mut self, reason: &str, way_out: &str) {
        let (reason, way_out) = (reason.to_owned(), way_out.to_owned());
        let finding = Finding { file: self.file.clone(), line: self.line, reason, way_out };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn tokens(&mut self, sql: &str) {
        let tokens =
            match Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize_with_location() {
                Ok(tokens) => tokens,
                Err(problem) => {
                    self.line = problem.location.line;
                    return self.refuse(&problem.message, "close what is open");
                }
            };
        for token in tokens {
            self.at(token.span);
            match &token.token {
                Token::Word(word) if word.quote_style.is_some() => self.refuse(
                    &format!("{word} is quoted: one engine takes it for a name, the other for a text"),
                    "name columns in [a-z_][a-z0-9_]* and write texts in single quotes",
                ),
                Token::SingleQuotedString(text) if text.contains(['\\', '\'']) => self.refuse(
                    "a text with a backslash or a quote in it is read in two ways",
                    "compare without it, or clean the column when it is loaded",
                ),
                Token::DoubleQuotedString(_)
                | Token::TripleSingleQuotedString(_)
                | Token::DollarQuotedString(_)
                | Token::NationalStringLiteral(_)
                | Token::EscapedStringLiteral(_)
                | Token::UnicodeStringLiteral(_)
                | Token::HexStringLiteral(_)
                | Token::SingleQuotedRawStringLiteral(_)
                | Token::SingleQuotedByteStringLiteral(_) => {
                    self.refuse("this kind of text is read in two ways", "write texts in single quotes");
                }
                Token::LBracket => self.refuse(
                    "no array syntax is common to the engines",
                    "open arrays by the header: `-- unnest: items as item`",
                ),
                Token::DoubleColon => {
                    self.refuse("`::` is not common to the engines", "write `cast(a as double)`")
                }
                Token::Placeholder(_) => self.refuse("a job has no parameters", "take values from the rows"),
                _ => {}
            }
        }
    }

    fn function(&mut self, function: &Function) {
        let name = function.name.to_string().to_ascii_lowercase();
        let (name, windowed) = (name.as_str(), function.over.is_some());
        let known = (SCALAR.contains(&name) && !windowed)
            || AGGREGATE.contains(&name)
            || (WINDOW.contains(&name) && windowed);
        if !known {
            let way_out = WAYS_OUT.iter().find(|(wrong, _)| *wrong == name).map(|(_, way_out)| *way_out);
            let all = || [&SCALAR[..], &AGGREGATE, &WINDOW].concat().join(", ");
            let way_out =
                way_out.map_or_else(|| format!("the functions of jobs are {}", all()), str::to_owned);
            let kind = if WINDOW.contains(&name) { "needs OVER" } else { "is not a function of jobs" };
            self.refuse(&format!("`{name}` {kind}"), &way_out);
        }
        if function.null_treatment.is_some() || !function.within_group.is_empty() {
            self.refuse("IGNORE NULLS and WITHIN GROUP differ", "filter in a step before");
        }
        if let FunctionArguments::List(list) = &function.args
            && !list.clauses.is_empty()
        {
            self.refuse(
                "arguments have no order of their own",
                "number rows with row_number() in a step before",
            );
        }
        match &function.over {
            Some(WindowType::WindowSpec(spec)) => self.window(spec),
            Some(WindowType::NamedWindow(_)) | None => {}
        }
    }

    fn window(&mut self, spec: &WindowSpec) {
        self.orders(&spec.order_by);
    }

    fn orders(&mut self, orders: &[OrderByExpr]) {
        for order in orders {
            self.at(order.expr.span());
            if order.options.nulls_first.is_none() {
                self.refuse(
                    "the engines put nulls at different ends",
                    &format!("write `{} nulls last`", order.expr),
                );
            }
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) {
        use BinaryOperator as Op;
        match op {
            Op::Divide if !is_cast_to_double(left) => self.refuse(
                "`/` of whole numbers or decimals differs (7/2 is 3 on one engine, 3.5 on the other)",
                &format!("write `cast({left} as double) / …`"),
            ),
            Op::Divide | Op::Modulo if !cannot_be_zero(right) => self.refuse(
                "a divisor of zero is an error on one engine and a number on the other",
                &format!("write `nullif({right}, 0)`"),
            ),
            Op::Divide
            | Op::Modulo
            | Op::Plus
            | Op::Minus
            | Op::Multiply
            | Op::StringConcat
            | Op::And
            | Op::Or => {}
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {}
            other => {
                self.refuse(&format!("operator `{other}` is not common to the engines"), "see docs/JOBS.md")
            }
        }
    }

    fn joins(&mut self, select: &Select) {
        for join in select.from.iter().flat_map(|table| &table.joins) {
            self.at(join.relation.span());
            match &join.join_operator {
                JoinOperator::Join(JoinConstraint::On(_))
                | JoinOperator::Inner(JoinConstraint::On(_))
                | JoinOperator::Left(JoinConstraint::On(_))
                | JoinOperator::LeftOuter(JoinConstraint::On(_))
                | JoinOperator::CrossJoin(JoinConstraint::None) => {}
                _ => self.refuse(
                    "this join is not in the subset",
                    "write JOIN … ON, LEFT JOIN … ON or CROSS JOIN",
                ),
            }
        }
    }
}

impl Visitor for Reader {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.at(query.span());
        if query.limit_clause.is_some() || query.fetch.is_some() {
            self.refuse(
                "LIMIT keeps whichever rows come first",
                "number rows with row_number() over (order by … nulls last) and filter",
            );
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            self.refuse("WITH RECURSIVE is not common to the engines", "write the steps out");
        }
        if query.for_clause.is_some() || query.settings.is_some() || !query.pipe_operators.is_empty() {
            self.refuse("this clause is not common to the engines", "see docs/JOBS.md");
        }
        match query.body.as_ref() {
            SetExpr::Select(_) | SetExpr::Query(_) => {}
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, .. } => {}
            _ => self.refuse("of the set operations only UNION ALL is in the subset", "write a SELECT"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.at(select.span());
        if matches!(select.distinct, Some(Distinct::On(_)))
            || select.top.is_some()
            || select.qualify.is_some()
        {
            self.refuse(
                "DISTINCT ON, TOP and QUALIFY are not common",
                "filter on row_number() in a step after",
            );
        }
        if !select.lateral_views.is_empty() || select.into.is_some() || !select.sort_by.is_empty() {
            self.refuse("this clause is not common to the engines", "see docs/JOBS.md");
        }
        match &select.group_by {
            GroupByExpr::Expressions(_, modifiers) if modifiers.is_empty() => {}
            _ => self.refuse("GROUP BY ALL, ROLLUP and CUBE are not in the subset", "name the columns"),
        }
        for item in &select.projection {
            self.at(item.span());
            match item {
                SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {}
                SelectItem::ExprWithAlias { .. } => {}
                SelectItem::UnnamedExpr(expr) => {
                    self.refuse("the engines name this column differently", &format!("write `{expr} as …`"));
                }
                _ => self.refuse("`*` changes with the table", "name the columns"),
            }
        }
        self.joins(select);
        for window in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
                self.window(spec);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { args: None, sample: None, version: None, .. } => {}
            TableFactor::Derived { lateral: false, sample: None, .. } => {}
            TableFactor::UNNEST { .. } => {
                self.refuse(
                    "no array syntax is common",
                    "open arrays by the header: `-- unnest: items as item`",
                );
            }
            _ => self.refuse("this kind of table is not in the subset", "read the source, or a step before"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.at(expr.span());
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Nested(_) | Expr::Value(_) => {}
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => {}
            Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::InList { .. } | Expr::Between { .. } => {}
            Expr::Case { .. } => {}
            Expr::Like { any: false, escape_char: None, .. } => {}
            Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Minus, .. } => {}
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::Cast { kind: CastKind::Cast, expr, format: None, .. } => {
                let inner = match expr.as_ref() {
                    Expr::UnaryOp { op: UnaryOperator::Minus, expr } => expr,
                    other => other,
                };
                if let Expr::Value(value) = inner {
                    self.wrapped.push(value.span);
                }
            }
            Expr::Extract { field, .. } => match field {
                DateTimeField::Year | DateTimeField::Month | DateTimeField::Day => {}
                DateTimeField::Hour | DateTimeField::Minute => {}
                _ => self.refuse(
                    &format!("extract({field} …) differs"),
                    "take year, month, day, hour or minute; for the rest write unix_micros(t)",
                ),
            },
            Expr::Substring { special: _, substring_from: Some(_), .. } => {}
            Expr::Trim { trim_where: None, trim_what: None, trim_characters: None, .. } => {}
            Expr::Function(function) => self.function(function),
            Expr::Ceil { field: CeilFloorKind::DateTimeField(_) | CeilFloorKind::Scale(_), .. }
            | Expr::Floor { .. } => self.refuse("`floor` is not a function of jobs", "write `a - a % 10`"),
            Expr::Interval(_) => self.refuse(
                "intervals differ",
                "count in microseconds: `unix_micros(b) - unix_micros(a) > 1800000000`",
            ),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                self.refuse(
                    "a subquery in an expression is not in the subset",
                    "write a JOIN with a step before",
                );
            }
            other => self.refuse(&format!("`{other}` is not in the subset"), "see docs/JOBS.md"),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.at(value.span);
        if let Value::Number(text, _) = &value.value
            && !text.bytes().all(|b| b.is_ascii_digit())
            && !self.wrapped.contains(&value.span)
        {
            self.refuse(
                &format!("{text} is a double on one engine and a decimal on the other"),
                &format!("write `cast({text} as double)` or `cast({text} as decimal(10,2))`"),
            );
        }
        ControlFlow::Continue(())
    }
}

fn is_cast_to_double(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_cast_to_double(inner),
        Expr::Cast { kind: CastKind::Cast, data_type, .. } => {
            data_type.to_string().eq_ignore_ascii_case("double")
        }
        _ => false,
    }
}

/// A number other than zero, or `nullif(…, 0)`.
fn cannot_be_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => cannot_be_zero(inner),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.bytes().any(|b| (b'1'..=b'9').contains(&b)),
            _ => false,
        },
        Expr::Function(function) => {
            let text = function.to_string().to_ascii_lowercase();
            text.starts_with("nullif(") && text.ends_with(", 0)")
        }
        _ => false,
    }
}
