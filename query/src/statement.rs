//! From text to what is to be done. Only reading passes; everything else is a setting, a transaction
//! command without effect, or refused.

use crate::config::{STATEMENT_BYTES_MAX, STATEMENT_DEPTH_MAX};
use crate::error::{Error, syntax};
use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, Function, Ident, ObjectName, Query, Reset, SelectItem, Set, SetExpr, Statement,
    TransactionMode, Value, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// What a statement asks for.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Rows.
    Query(Box<Query>),
    /// The plan of a query, or how it went.
    Explain { query: Box<Query>, analyze: bool, verbose: bool },
    /// `SET`.
    Set { setting: String, value: Option<String> },
    /// `SHOW`; `None` is `SHOW ALL`.
    Show(Option<String>),
    /// `RESET`; `None` is all.
    Reset(Option<String>),
    /// `BEGIN`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `DEALLOCATE`; `None` is all.
    Deallocate(Option<String>),
    /// Accepted, means nothing here: `DISCARD`, `SET TRANSACTION`. Holds the command's tag.
    Nothing(&'static str),
}

impl Action {
    /// Whether it is allowed in a transaction that failed.
    pub(crate) fn ends_transaction(&self) -> bool {
        matches!(self, Action::Commit | Action::Rollback)
    }
}

/// Parses statements separated by semicolons.
///
/// Recurses as deep as the text nests: call on a thread with a large stack.
pub(crate) fn parse(sql: &str) -> Result<Vec<Action>, Error> {
    if sql.len() > STATEMENT_BYTES_MAX {
        let message = format!("a statement has at most {STATEMENT_BYTES_MAX} bytes");
        return Err(Error::TooComplex(message));
    }
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(128);
    let statements = parser
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax(&error))?;
    statements.into_iter().map(classify).collect()
}

fn classify(statement: Statement) -> Result<Action, Error> {
    check_depth(&statement)?;
    match statement {
        Statement::Query(query) => {
            check_reads(&query)?;
            Ok(Action::Query(query))
        }
        Statement::Explain { analyze, verbose, statement, format, options, .. } => {
            if format.is_some() || options.is_some() {
                return Err(Error::NotSupported("EXPLAIN has no options here".into()));
            }
            let Statement::Query(query) = *statement else {
                return Err(Error::NotSupported("only queries can be explained".into()));
            };
            check_reads(&query)?;
            Ok(Action::Explain { query, analyze, verbose })
        }
        Statement::Set(set) => classify_set(set),
        Statement::ShowVariable { variable } => Ok(classify_show(&variable)),
        Statement::Reset(reset) => Ok(Action::Reset(match reset.reset {
            Reset::ALL => None,
            Reset::ConfigurationParameter(name) => Some(plain_name(&name)),
        })),
        Statement::StartTransaction { modes, .. } => {
            check_modes(&modes)?;
            Ok(Action::Begin)
        }
        Statement::Commit { .. } => Ok(Action::Commit),
        Statement::Rollback { savepoint: None, .. } => Ok(Action::Rollback),
        Statement::Discard { .. } => Ok(Action::Nothing("DISCARD ALL")),
        Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Ok(Action::Deallocate((!all).then(|| folded(&name))))
        }
        other => Err(refuse(&other)),
    }
}

/// What changes rows or tables is refused as such; the rest is just not there.
fn refuse(statement: &Statement) -> Error {
    let text = statement.to_string();
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    match first.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "CREATE" | "ALTER" | "DROP"
        | "GRANT" | "REVOKE" | "COMMENT" | "VACUUM" | "REINDEX" => {
            let two = matches!(first.as_str(), "CREATE" | "ALTER" | "DROP" | "TRUNCATE");
            let second = words.next().filter(|_| two);
            Error::ReadOnly(second.map_or(first.clone(), |second| format!("{first} {second}")))
        }
        _ => Error::NotSupported(format!("{first} is not supported")),
    }
}

fn classify_set(set: Set) -> Result<Action, Error> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let value = match values.as_slice() {
                [Expr::Identifier(word)]
                    if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") =>
                {
                    None
                }
                values => Some(values.iter().map(setting_text).collect::<Vec<_>>().join(", ")),
            };
            Ok(Action::Set { setting: plain_name(&variable), value })
        }
        Set::SetTimeZone { value, .. } => {
            Ok(Action::Set { setting: "timezone".into(), value: Some(setting_text(&value)) })
        }
        Set::SetNames { charset_name, .. } => {
            let value = Some(charset_name.value);
            Ok(Action::Set { setting: "client_encoding".into(), value })
        }
        Set::SetNamesDefault {} => {
            Ok(Action::Set { setting: "client_encoding".into(), value: None })
        }
        Set::SetTransaction { modes, .. } => {
            check_modes(&modes)?;
            Ok(Action::Nothing("SET"))
        }
        other => Err(Error::NotSupported(format!("{other} is not supported"))),
    }
}

/// Nothing here can write, so a promise to is refused at once and not at the first write.
fn check_modes(modes: &[TransactionMode]) -> Result<(), Error> {
    use datafusion::sql::sqlparser::ast::TransactionAccessMode::ReadWrite;
    if modes.iter().any(|mode| matches!(mode, TransactionMode::AccessMode(ReadWrite))) {
        return Err(Error::ReadOnly("BEGIN READ WRITE".into()));
    }
    Ok(())
}

fn setting_text(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(word) => word.value.clone(),
        other => other.to_string(),
    }
}

fn classify_show(words: &[Ident]) -> Action {
    let words: Vec<String> = words.iter().map(folded).collect();
    let joined = words.iter().map(String::as_str).collect::<Vec<_>>();
    match joined.as_slice() {
        ["all"] => Action::Show(None),
        ["time", "zone"] => Action::Show(Some("timezone".into())),
        ["transaction", "isolation", "level"] => Action::Show(Some("transaction_isolation".into())),
        ["session", "authorization"] => Action::Show(Some("session_authorization".into())),
        words => Action::Show(Some(words.join("."))),
    }
}

fn plain_name(name: &ObjectName) -> String {
    name.0.iter().map(|part| part.to_string().to_lowercase()).collect::<Vec<_>>().join(".")
}

/// An identifier as PostgreSQL reads it: lower case unless quoted.
pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Counts how deep expressions and queries nest.
#[derive(Default)]
struct Depth(usize);

impl Depth {
    fn enter(&mut self) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > STATEMENT_DEPTH_MAX {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.enter()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.enter()
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.leave()
    }
}

fn check_depth(statement: &Statement) -> Result<(), Error> {
    if statement.visit(&mut Depth::default()).is_break() || set_depth(statement) {
        return Err(Error::TooComplex("the statement is nested too deep".into()));
    }
    Ok(())
}

/// Whether a chain of UNIONs is too long; it nests to the left without being a query each.
fn set_depth(statement: &Statement) -> bool {
    struct Chains;
    impl Visitor for Chains {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let (mut body, mut depth) = (&*query.body, 0);
            while let SetExpr::SetOperation { left, .. } = body {
                depth += 1;
                body = left;
            }
            if depth > STATEMENT_DEPTH_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
    statement.visit(&mut Chains).is_break()
}

/// Refuses what would write inside a query: `WITH x AS (INSERT ..)`, `SELECT .. INTO`, `FOR UPDATE`.
fn check_reads(query: &Query) -> Result<(), Error> {
    struct Reads;
    impl Visitor for Reads {
        type Break = Error;
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
            if !query.locks.is_empty() {
                return ControlFlow::Break(Error::ReadOnly("SELECT FOR UPDATE".into()));
            }
            check_body(&query.body)
        }
    }
    match query.visit(&mut Reads) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn check_body(body: &SetExpr) -> ControlFlow<Error> {
    let writes = |what: &str| ControlFlow::Break(Error::ReadOnly(what.into()));
    match body {
        SetExpr::Insert(_) => writes("INSERT"),
        SetExpr::Update(_) => writes("UPDATE"),
        SetExpr::Delete(_) => writes("DELETE"),
        SetExpr::Merge(_) => writes("MERGE"),
        SetExpr::Select(select) if select.into.is_some() => writes("SELECT INTO"),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

/// Gives the columns of a result names that differ, where the planner would give two the same and
/// refuse them: `select a, a::text`. Clients see the names of [`column_names`].
pub(crate) fn tell_columns_apart(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let mut seen = BTreeSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if !seen.insert(planned_name(expr)) {
            let alias = Ident::new(format!("column_{at}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// By what the planner tells columns apart: casts are not part of it.
fn planned_name(expr: &Expr) -> String {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => planned_name(expr),
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The names PostgreSQL would give the columns of a query's result: one for each of the `count`
/// columns, `None` where the planner's own name is right (wildcards, set operations, VALUES).
pub(crate) fn column_names(query: &Query, count: usize) -> Vec<Option<String>> {
    let none = vec![None; count];
    let SetExpr::Select(select) = leftmost(&query.body) else { return none };
    let wildcards = select
        .projection
        .iter()
        .filter(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)))
        .count();
    let named = select.projection.len() - wildcards;
    if wildcards > 1 || named > count || (wildcards == 0 && named != count) {
        return none;
    }
    let mut names = Vec::with_capacity(count);
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                names.resize(names.len() + count - named, None);
            }
            SelectItem::UnnamedExpr(expr) => {
                names.push(Some(expr_name(expr).unwrap_or_else(|| "?column?".into())));
            }
            _ => names.push(None),
        }
    }
    names
}

fn leftmost(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::SetOperation { left, .. } => leftmost(left),
        SetExpr::Query(query) => leftmost(&query.body),
        other => other,
    }
}

/// PostgreSQL's FigureColname.
fn expr_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => expr_name(inner),
        Expr::AtTimeZone { .. } => Some("timezone".into()),
        Expr::TypedString(typed) => Some(type_name(&typed.data_type.to_string())),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => Some("bool".into()),
        Expr::Function(function) => function_name(function),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            Some(expr_name(expr).unwrap_or_else(|| type_name(&data_type.to_string())))
        }
        Expr::Case { else_result, .. } => {
            let of_else = else_result.as_deref().and_then(|result| match result {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => expr_name(result),
                _ => None,
            });
            Some(of_else.unwrap_or_else(|| "case".into()))
        }
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Array(_) => Some("array".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Substring { .. } => Some("substring".into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Trim { .. } => Some("btrim".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Subquery(query) => match leftmost(&query.body) {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => expr_name(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn function_name(function: &Function) -> Option<String> {
    function.name.0.last().and_then(|part| part.as_ident()).map(folded)
}

fn type_name(written: &str) -> String {
    let lower = written.to_lowercase();
    let base = lower.split('(').next().unwrap_or(&lower);
    let last = base.rsplit('.').next().unwrap_or(base).trim();
    match last {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "decimal" => "numeric",
        "double precision" => "float8",
        "real" => "float4",
        "timestamp with time zone" => "timestamptz",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(sql: &str) -> &'static str {
        parse(sql).map_or_else(|error| error.sqlstate(), |_| "00000")
    }

    #[test]
    fn only_reading_passes() {
        for sql in [
            "select 1",
            "values (1), (2)",
            "with x as (select 1) select * from x union all select 2",
            "explain select 1",
            "explain analyze verbose select 1",
            "begin; select 1; commit",
            "start transaction isolation level serializable read only",
            "set statement_timeout = 5; show all; reset all; discard all; deallocate all",
            "set session characteristics as transaction read only",
        ] {
            assert_eq!(state_of(sql), "00000", "{sql}");
        }
        for sql in [
            "insert into stations values (1)",
            "update stations set a = 1",
            "delete from stations",
            "truncate table stations",
            "create table x (a int)",
            "drop table stations",
            "alter table stations add column a int",
            "select * into x from stations",
            "select * from stations for update",
            "with x as (insert into a values (1) returning *) select * from x",
            "begin read write",
            "select 1 union select * into x from y",
        ] {
            assert_eq!(state_of(sql), "25006", "{sql}");
        }
        for sql in [
            "copy stations to stdout",
            "copy (select 1) to stdout",
            "explain insert into a values (1)",
            "declare c cursor for select 1",
        ] {
            let state = state_of(sql);
            assert!(state == "0A000" || state == "25006", "{sql}: {state}");
        }
    }

    #[test]
    fn syntax_errors_say_where() {
        let Err(Error::Syntax { at, .. }) = parse("select *\nfrm stations") else { panic!() };
        assert_eq!(at, Some((2, 5)));
    }

    #[test]
    fn text_that_nests_too_deep_is_refused_not_a_crash() {
        let stack = 128 << 20;
        let deep = || {
            let most = STATEMENT_BYTES_MAX - 20;
            for sql in [
                format!("select {}1", "1+".repeat(most / 2)),
                format!("select {}1", "(".repeat(most)),
                format!("select {}1", "-".repeat(1) + &" -".repeat(most / 2)),
                format!("select {}true", "not ".repeat(most / 4)),
                format!("select {}1{}", "(select ".repeat(most / 9), ")".repeat(most / 9)),
                format!("select 1{}", " union select 1".repeat(most / 15)),
                format!("select 1{}", "::int".repeat(most / 5)),
                format!("select case when {}", "case when ".repeat(most / 10)),
            ] {
                assert!(matches!(state_of(&sql), "54001" | "42601"), "{}", &sql[..40]);
            }
            assert_eq!(state_of(&" ".repeat(STATEMENT_BYTES_MAX + 1)), "54001");
            assert_eq!(state_of(&format!("select {}1", "1+".repeat(400))), "00000");
        };
        std::thread::Builder::new().stack_size(stack).spawn(deep).unwrap().join().unwrap();
    }

    #[test]
    fn columns_are_named_as_postgresql_names_them() {
        let check = |sql: &str, count: usize, expected: &[Option<&str>]| {
            let Action::Query(query) = parse(sql).unwrap().remove(0) else { panic!("{sql}") };
            let names = column_names(&query, count);
            let names: Vec<Option<&str>> = names.iter().map(Option::as_deref).collect();
            assert_eq!(names, expected, "{sql}");
        };
        check("select 1, 'x'", 2, &[Some("?column?"), Some("?column?")]);
        check("select count(*), max(a) as m", 2, &[Some("count"), None]);
        check(
            "select A, t.\"B\", c::int, '1'::int",
            4,
            &[Some("a"), Some("B"), Some("c"), Some("int4")],
        );
        check("select 1, t.*, sum(x) from t", 4, &[Some("?column?"), None, None, Some("sum")]);
        check("select *, t.* from t", 4, &[None; 4]);
        check("values (1)", 1, &[None]);
        check(
            "select (select max(x) from t), case when a then 1 end",
            2,
            &[Some("max"), Some("case")],
        );
    }
}
