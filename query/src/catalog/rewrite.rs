//! Brings a query from PostgreSQL's dialect to the planner's.
//!
//! * `pg_catalog.` goes from functions, types and operators, and comes to catalog tables without it;
//!   COLLATE goes.
//! * Casts to `regclass` and its kin become names or object ids.
//! * Times without seconds get them: `at >= '2026-11-22 12:00'`.
//! * A query over a relation that never has rows here becomes one without: what else it says (array
//!   functions, set-returning functions) need not be understood.

use super::functions::RELATION_NAME;
use super::tables;
use crate::error::Error;
use crate::statement::folded;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Ident, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Relations of `pg_catalog` that never have rows here. Some are also tables, to be joined.
const EMPTY: [&str; 41] = [
    "pg_aggregate",
    "pg_attrdef",
    "pg_auth_members",
    "pg_cast",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_language",
    "pg_largeobject_metadata",
    "pg_matviews",
    "pg_opclass",
    "pg_operator",
    "pg_partitioned_table",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_range",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_sequences",
    "pg_shdescription",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_user_mapping",
];

/// Rewrites a query in place.
///
/// # Errors
/// [`Error::UnknownTable`] for a `regclass` that names none.
pub(crate) fn rewrite(query: &mut Query) -> Result<(), Error> {
    if is_empty(query) {
        *query = empty_like(query)?;
        return Ok(());
    }
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Puts facts of the session where the query asks for them.
pub(crate) fn put_session(query: &mut Query, user: &str, pid: i32) {
    struct Facts<'a>(&'a str, i32);
    impl VisitorMut for Facts<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let name = match &*expr {
                Expr::Function(function) => last_name(&function.name),
                // The one of these that needs no parentheses and is no keyword of the parser.
                Expr::Identifier(word) if word.quote_style.is_none() => {
                    Some(folded(word)).filter(|name| name == "current_schema")
                }
                _ => None,
            };
            match name.as_deref() {
                Some("current_schema") => {
                    *expr = literal(Value::SingleQuotedString("public".into()));
                }
                Some("current_user" | "session_user" | "user" | "current_role") => {
                    *expr = literal(Value::SingleQuotedString(self.0.to_owned()));
                }
                Some("pg_backend_pid") => *expr = number(i64::from(self.1)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Facts(user, pid));
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Error> {
        if let [ObjectNamePart::Identifier(name)] = relation.0.as_slice()
            && tables::is_system(&folded(name))
        {
            relation.0.insert(0, ObjectNamePart::Identifier(Ident::new("pg_catalog")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        // Before their insides are looked at: those need not be understood.
        match &*expr {
            Expr::Subquery(query) if is_empty(query) => *expr = null_text(),
            Expr::Exists { subquery, negated } if is_empty(subquery) => {
                *expr = literal(Value::Boolean(*negated));
            }
            Expr::InSubquery { subquery, negated, .. } if is_empty(subquery) => {
                *expr = literal(Value::Boolean(*negated));
            }
            // Catalog columns that are arrays in PostgreSQL hold none here.
            Expr::Function(function)
                if last_name(&function.name).as_deref() == Some("array_to_string")
                    && first_argument(&function.args).is_none_or(is_catalog_array) =>
            {
                *expr = null_text();
            }
            Expr::Function(function)
                if last_name(&function.name).as_deref() == Some("array")
                    && matches!(&function.args, FunctionArguments::Subquery(query) if is_empty(query)) =>
            {
                *expr = null_text();
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Function(function) => strip_schema(&mut function.name),
            Expr::Collate { expr: inner, .. } => {
                *expr = std::mem::replace(&mut **inner, null_text());
            }
            Expr::BinaryOp { left, op, right } => {
                if let Some(plain) = plain_operator(op) {
                    *op = plain;
                }
                if is_time_column(left) {
                    add_seconds(right);
                } else if is_time_column(right) {
                    add_seconds(left);
                }
            }
            Expr::Between { expr, low, high, .. } if is_time_column(expr) => {
                add_seconds(low);
                add_seconds(high);
            }
            Expr::Cast { expr: inner, data_type: DataType::Timestamp(..), .. } => {
                add_seconds(inner);
            }
            Expr::TypedString(typed) if matches!(typed.data_type, DataType::Timestamp(..)) => {
                if let Value::SingleQuotedString(text) = &mut typed.value.value {
                    *text = with_seconds(text);
                }
            }
            Expr::Cast { .. } => return rewrite_cast(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Our time columns are `at` and those whose names end in `_at`.
fn is_time_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    let name = folded(name);
    name == "at" || name.ends_with("_at")
}

fn add_seconds(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::SingleQuotedString(text) = &mut value.value
    {
        *text = with_seconds(text);
    }
}

/// `2026-11-22 12:00` and `2026-11-22 12:00+01` with `:00` for the seconds; other text as it is.
fn with_seconds(text: &str) -> String {
    let shape: Vec<u8> = text.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect();
    let to_minute = shape
        .get(..16)
        .is_some_and(|head| head == b"0000-00-00 00:00" || head == b"0000-00-00T00:00");
    let ends = shape.get(16).is_none_or(|next| matches!(next, b'Z' | b'z' | b'+' | b'-'));
    if to_minute && ends {
        return format!("{}:00{}", &text[..16], &text[16..]);
    }
    text.to_owned()
}

fn rewrite_cast(expr: &mut Expr) -> ControlFlow<Error> {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return ControlFlow::Continue(()) };
    let written = data_type.to_string().to_lowercase().replace('"', "");
    let name = written.strip_prefix("pg_catalog.").unwrap_or(&written);
    let value = || (**inner).clone();
    match name {
        "regclass" => match relation_number(inner) {
            Ok(Some(oid)) => *expr = number(oid),
            Ok(None) => *expr = call(RELATION_NAME, vec![value()]),
            Err(error) => return ControlFlow::Break(error),
        },
        "regtype" => *expr = call("format_type", vec![value(), literal(Value::Null)]),
        "oid" | "xid" => *data_type = DataType::BigInt(None),
        "regproc" | "regnamespace" | "regrole" | "name" | "char" | "text" | "cstring" => {
            *data_type = DataType::Text;
        }
        "int2" => *data_type = DataType::SmallInt(None),
        "int4" => *data_type = DataType::Integer(None),
        "int8" => *data_type = DataType::BigInt(None),
        _ => {}
    }
    ControlFlow::Continue(())
}

/// The object id of a relation named by a literal; `None` when it is no literal.
fn relation_number(expr: &Expr) -> Result<Option<i64>, Error> {
    let Expr::Value(value) = expr else { return Ok(None) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(None) };
    if let Ok(oid) = text.parse() {
        return Ok(Some(oid));
    }
    let name = text.strip_prefix("public.").unwrap_or(text).trim_matches('"');
    let found = tables::user_tables().into_iter().find(|(_, table)| table.name() == name);
    found.map(|(oid, _)| Some(oid)).ok_or_else(|| Error::UnknownTable(text.clone()))
}

fn plain_operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    Some(match parts.last()?.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        _ => return None,
    })
}

fn strip_schema(name: &mut ObjectName) {
    let prefixed = matches!(
        name.0.as_slice(),
        [ObjectNamePart::Identifier(schema), _] if schema.value.eq_ignore_ascii_case("pg_catalog")
    );
    if prefixed {
        name.0.remove(0);
    }
}

/// The last part of a name, when it is not of a schema of the user's.
fn last_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(folded(name)),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)]
            if schema.value.eq_ignore_ascii_case("pg_catalog") =>
        {
            Some(folded(name))
        }
        _ => None,
    }
}

fn first_argument(arguments: &FunctionArguments) -> Option<&Expr> {
    let FunctionArguments::List(list) = arguments else { return None };
    match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Whether an expression is of the catalog's array columns: access lists, options, or what
/// `array(select ..)` makes of them.
fn is_catalog_array(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(name) => is_array_column(name),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(is_array_column),
        Expr::Function(function) => {
            last_name(&function.name).as_deref() == Some("array")
                && matches!(function.args, FunctionArguments::Subquery(_))
        }
        Expr::BinaryOp { left, right, .. } => is_catalog_array(left) || is_catalog_array(right),
        Expr::Nested(inner) => is_catalog_array(inner),
        _ => false,
    }
}

fn is_array_column(name: &Ident) -> bool {
    ["datacl", "nspacl", "relacl", "attacl", "reloptions", "rolconfig", "attoptions"]
        .contains(&folded(name).as_str())
}

/// Whether a query has no rows because a relation it cannot do without has none.
fn is_empty(query: &Query) -> bool {
    query.with.is_none() && body_is_empty(&query.body)
}

fn body_is_empty(body: &SetExpr) -> bool {
    match body {
        SetExpr::Query(query) => is_empty(query),
        SetExpr::SetOperation { left, right, .. } => body_is_empty(left) && body_is_empty(right),
        SetExpr::Select(select) => select_is_empty(select),
        _ => false,
    }
}

fn select_is_empty(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    // An aggregate without groups has a row even over nothing; a wildcard needs the real columns.
    let simple = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            grouped || !is_aggregate(expr)
        }
        _ => false,
    });
    let needs_empty = select.from.iter().any(|from| {
        let inner = |join: &JoinOperator| {
            matches!(
                join,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        };
        let left_kept = from.joins.iter().all(|join| {
            inner(&join.join_operator)
                || matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
        });
        (left_kept && factor_is_empty(&from.relation))
            || from
                .joins
                .iter()
                .any(|join| inner(&join.join_operator) && factor_is_empty(&join.relation))
    });
    simple && needs_empty
}

fn factor_is_empty(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            last_name(name).is_some_and(|name| EMPTY.contains(&name.as_str()))
        }
        TableFactor::Derived { subquery, .. } => is_empty(subquery),
        _ => false,
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => last_name(&function.name).is_some_and(|name| {
            let known = [
                "count",
                "sum",
                "min",
                "max",
                "avg",
                "array_agg",
                "string_agg",
                "bool_or",
                "bool_and",
            ];
            known.contains(&name.as_str())
        }),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_aggregate(expr),
        Expr::BinaryOp { left, right, .. } => is_aggregate(left) || is_aggregate(right),
        _ => false,
    }
}

/// A query without rows that has as many columns as `query`.
fn empty_like(query: &Query) -> Result<Query, Error> {
    let mut body = &*query.body;
    let select = loop {
        match body {
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::Select(select) => break select,
            _ => return Err(Error::Internal("only selects are empty".into())),
        }
    };
    let mut seen = BTreeSet::new();
    let mut columns = Vec::new();
    for (at, item) in select.projection.iter().enumerate() {
        let named = match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
            _ => None,
        };
        let name = named.filter(|name| !seen.contains(name)).unwrap_or_else(|| format!("c{at}"));
        columns.push(format!("cast(null as text) as \"{}\"", name.replace('"', "\"\"")));
        seen.insert(name);
    }
    let sql = format!("select {} where false", columns.join(", "));
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &sql);
    match parsed.map(|mut statements| statements.pop()) {
        Ok(Some(Statement::Query(query))) => Ok(*query),
        other => Err(Error::Internal(format!("{sql}: {other:?}"))),
    }
}

fn literal(value: Value) -> Expr {
    Expr::Value(value.into())
}

fn number(value: i64) -> Expr {
    literal(Value::Number(value.to_string(), false))
}

fn null_text() -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(literal(Value::Null)),
        data_type: DataType::Text,
        array: false,
        format: None,
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    use datafusion::sql::sqlparser::ast::{Function, FunctionArgumentList};
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_without_seconds_get_them() {
        for (text, expected) in [
            ("2026-11-22 12:00", "2026-11-22 12:00:00"),
            ("2026-11-22T12:00Z", "2026-11-22T12:00:00Z"),
            ("2026-11-22 12:00+01:00", "2026-11-22 12:00:00+01:00"),
            ("2026-11-22 12:00:30", "2026-11-22 12:00:30"),
            ("2026-11-22", "2026-11-22"),
            ("CP-0001 12:00 or so", "CP-0001 12:00 or so"),
            ("", ""),
        ] {
            assert_eq!(with_seconds(text), expected);
        }
    }

    /// The query as it is after rewriting.
    fn rewritten(sql: &str) -> String {
        let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let Some(Statement::Query(mut query)) = parsed.pop() else { panic!("{sql}") };
        rewrite(&mut query).unwrap();
        query.to_string()
    }

    #[test]
    fn dialects_are_translated() {
        for (sql, expected) in [
            (
                "SELECT pg_catalog.quote_ident('a') FROM pg_class WHERE relname OPERATOR(pg_catalog.~) '^x$' COLLATE pg_catalog.default",
                "SELECT quote_ident('a') FROM pg_catalog.pg_class WHERE relname ~ '^x$'",
            ),
            ("SELECT '16384'::pg_catalog.regclass", "SELECT 16384"),
            ("SELECT c.oid::regclass FROM x c", "SELECT novax_relation_name(c.oid) FROM x c"),
            (
                "SELECT a FROM x WHERE EXISTS (SELECT 1 FROM pg_index)",
                "SELECT a FROM x WHERE false",
            ),
            (
                "SELECT (SELECT adbin FROM pg_catalog.pg_attrdef) FROM x",
                "SELECT CAST(NULL AS TEXT) FROM x",
            ),
            (
                "SELECT conname, contype AS t FROM pg_constraint",
                "SELECT CAST(NULL AS TEXT) AS \"c0\", CAST(NULL AS TEXT) AS \"t\" WHERE false",
            ),
            // An outer join keeps the other side's rows, an aggregate its one row.
            (
                "SELECT a FROM x LEFT JOIN pg_index i ON i.indrelid = x.a",
                "SELECT a FROM x LEFT JOIN pg_catalog.pg_index i ON i.indrelid = x.a",
            ),
            ("SELECT count(*) FROM pg_index", "SELECT count(*) FROM pg_catalog.pg_index"),
        ] {
            assert_eq!(rewritten(sql).to_lowercase(), expected.to_lowercase());
        }
    }
}
