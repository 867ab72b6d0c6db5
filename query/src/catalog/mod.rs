//! What PostgreSQL clients ask about the tables.
//!
//! One mechanism: `pg_catalog` and `information_schema` are small tables in memory ([`tables`]) with
//! the functions that go with them ([`functions`]), and a statement is brought from PostgreSQL's
//! dialect to the planner's before it is planned ([`rewrite`]). Parts of PostgreSQL that have no
//! counterpart here (indexes, policies, publications ...) are relations without rows.

pub(crate) mod functions;
pub(crate) mod rewrite;
pub(crate) mod tables;

/// Object ids of our tables start here, as those of users' tables do in PostgreSQL.
const FIRST_OID: i64 = 16_384;
/// Object ids of catalog tables start here.
const FIRST_SYSTEM_OID: i64 = 10_000;
/// The one role, owner of all.
pub(crate) const OWNER: &str = "novax";
/// The PostgreSQL version we answer like: clients choose their catalog queries by it.
pub(crate) const SERVER_VERSION: &str = "15.0 (Nova-X)";

/// What `version()` answers.
pub(crate) fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!(
        "PostgreSQL 15.0 compatible, Nova-X {own} on DataFusion {}",
        datafusion::DATAFUSION_VERSION
    )
}

/// A type as the catalog knows it: oid, name, SQL name, size, category, element type.
pub(crate) type TypeRow = (i64, &'static str, &'static str, i64, &'static str, i64);

/// The types we emit, and those clients look for.
pub(crate) const TYPES: [TypeRow; 30] = [
    (16, "bool", "boolean", 1, "B", 0),
    (17, "bytea", "bytea", -1, "U", 0),
    (18, "char", "\"char\"", 1, "Z", 0),
    (19, "name", "name", 64, "S", 18),
    (20, "int8", "bigint", 8, "N", 0),
    (21, "int2", "smallint", 2, "N", 0),
    (23, "int4", "integer", 4, "N", 0),
    (25, "text", "text", -1, "S", 0),
    (26, "oid", "oid", 4, "N", 0),
    (114, "json", "json", -1, "U", 0),
    (700, "float4", "real", 4, "N", 0),
    (701, "float8", "double precision", 8, "N", 0),
    (705, "unknown", "unknown", -2, "X", 0),
    (1000, "_bool", "boolean[]", -1, "A", 16),
    (1005, "_int2", "smallint[]", -1, "A", 21),
    (1007, "_int4", "integer[]", -1, "A", 23),
    (1009, "_text", "text[]", -1, "A", 25),
    (1016, "_int8", "bigint[]", -1, "A", 20),
    (1022, "_float8", "double precision[]", -1, "A", 701),
    (1231, "_numeric", "numeric[]", -1, "A", 1700),
    (1185, "_timestamptz", "timestamp with time zone[]", -1, "A", 1184),
    (1042, "bpchar", "character", -1, "S", 0),
    (1043, "varchar", "character varying", -1, "S", 0),
    (1082, "date", "date", 4, "D", 0),
    (1083, "time", "time without time zone", 8, "D", 0),
    (1114, "timestamp", "timestamp without time zone", 8, "D", 0),
    (1184, "timestamptz", "timestamp with time zone", 8, "D", 0),
    (1186, "interval", "interval", 16, "T", 0),
    (1700, "numeric", "numeric", -1, "N", 0),
    (2950, "uuid", "uuid", 16, "U", 0),
];

/// The SQL name of a type with its modifier: `numeric(38,0)`.
pub(crate) fn format_type(oid: i64, modifier: Option<i64>) -> String {
    let Some(row) = TYPES.iter().find(|row| row.0 == oid) else { return "???".into() };
    match modifier {
        Some(modifier) if oid == 1700 && modifier >= 4 => {
            let packed = modifier - 4;
            format!("numeric({},{})", packed >> 16, packed & 0xffff)
        }
        _ => row.2.to_owned(),
    }
}
