//! The relations of `pg_catalog` and `information_schema`, filled once when the server starts: our
//! tables are fixed.

use super::{FIRST_OID, FIRST_SYSTEM_OID, OWNER, TYPES, format_type};
use crate::cells::{Builder, Cell, Kind};
use crate::database::DATABASE;
use crate::error::Error;
use crate::tables::{ColumnInfo, Table};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use std::sync::Arc;

const PUBLIC: i64 = 2_200;
const PG_CATALOG: i64 = 11;
const INFORMATION: i64 = 13_000;
const SCHEMAS: [(i64, &str); 3] =
    [(PG_CATALOG, "pg_catalog"), (INFORMATION, "information_schema"), (PUBLIC, "public")];
const OWNER_OID: i64 = 10;
const DATABASE_OID: i64 = 5;

/// A relation as the catalog describes it.
struct Relation {
    oid: i64,
    schema: i64,
    name: &'static str,
    comment: Option<&'static str>,
    columns: Vec<ColumnInfo>,
}

/// A system relation: its columns as `name:type`, blank-separated.
struct System {
    schema: i64,
    name: &'static str,
    columns: &'static str,
}

const fn pg(name: &'static str, columns: &'static str) -> System {
    System { schema: PG_CATALOG, name, columns }
}

const fn info(name: &'static str, columns: &'static str) -> System {
    System { schema: INFORMATION, name, columns }
}

/// Types: b bool, i integer, l bigint (oids too), t text.
const SYSTEM: [System; 25] = [
    pg("pg_namespace", "oid:l nspname:t nspowner:l nspacl:t"),
    pg(
        "pg_class",
        "oid:l relname:t relnamespace:l reltype:l reloftype:l relowner:l relam:l relfilenode:l \
         reltablespace:l relpages:i reltuples:l reltoastrelid:l relhasindex:b relisshared:b \
         relpersistence:t relkind:t relnatts:i relchecks:i relhasrules:b relhastriggers:b \
         relhassubclass:b relrowsecurity:b relforcerowsecurity:b relispopulated:b relreplident:t \
         relispartition:b relacl:t reloptions:t relpartbound:t",
    ),
    pg(
        "pg_attribute",
        "attrelid:l attname:t atttypid:l attstattarget:i attlen:l attnum:i attndims:i \
         atttypmod:l attstorage:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b \
         attidentity:t attgenerated:t attisdropped:b attislocal:b attinhcount:i attcollation:l \
         attacl:t attoptions:t attfdwoptions:t",
    ),
    pg(
        "pg_type",
        "oid:l typname:t typnamespace:l typowner:l typlen:l typbyval:b typtype:t typcategory:t \
         typispreferred:b typisdefined:b typdelim:t typrelid:l typelem:l typarray:l typnotnull:b \
         typbasetype:l typtypmod:l typcollation:l",
    ),
    pg(
        "pg_database",
        "oid:l datname:t datdba:l encoding:i datlocprovider:t datistemplate:b datallowconn:b \
         datconnlimit:i dattablespace:l datcollate:t datctype:t daticulocale:t datcollversion:t \
         datacl:t",
    ),
    pg(
        "pg_roles",
        "oid:l rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b \
         rolreplication:b rolconnlimit:i rolpassword:t rolvaliduntil:t rolbypassrls:b rolconfig:t",
    ),
    pg("pg_user", "usename:t usesysid:l usecreatedb:b usesuper:b"),
    pg(
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b hastriggers:b",
    ),
    pg("pg_am", "oid:l amname:t amhandler:t amtype:t"),
    pg("pg_tablespace", "oid:l spcname:t spcowner:l"),
    pg("pg_description", "objoid:l classoid:l objsubid:i description:t"),
    pg("pg_attrdef", "oid:l adrelid:l adnum:i adbin:t"),
    pg("pg_collation", "oid:l collname:t collnamespace:l"),
    pg(
        "pg_index",
        "indexrelid:l indrelid:l indnatts:i indisunique:b indisprimary:b indisvalid:b indkey:t",
    ),
    pg(
        "pg_constraint",
        "oid:l conname:t connamespace:l contype:t conrelid:l confrelid:l conkey:t confkey:t",
    ),
    pg("pg_inherits", "inhrelid:l inhparent:l inhseqno:i"),
    pg("pg_proc", "oid:l proname:t pronamespace:l proowner:l prokind:t prorettype:l proargtypes:t"),
    pg("pg_enum", "oid:l enumtypid:l enumsortorder:l enumlabel:t"),
    pg("pg_range", "rngtypid:l rngsubtype:l"),
    pg("pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
    pg("pg_matviews", "schemaname:t matviewname:t matviewowner:t definition:t"),
    info("schemata", "catalog_name:t schema_name:t schema_owner:t"),
    info("tables", "table_catalog:t table_schema:t table_name:t table_type:t is_insertable_into:t"),
    info(
        "columns",
        "table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i \
         column_default:t is_nullable:t data_type:t character_maximum_length:i \
         numeric_precision:i numeric_precision_radix:i numeric_scale:i datetime_precision:i \
         udt_catalog:t udt_schema:t udt_name:t is_identity:t is_generated:t is_updatable:t",
    ),
    info(
        "table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t \
         table_schema:t table_name:t constraint_type:t",
    ),
];

impl System {
    fn columns(&self) -> Vec<ColumnInfo> {
        let column = |spec: &'static str| {
            let (name, kind) = spec.split_once(':').expect("name:type");
            let kind = match kind {
                "b" => Kind::Bool,
                "i" => Kind::Int4,
                "l" => Kind::Int8,
                "t" => Kind::Text,
                other => unreachable!("no such type: {other}"),
            };
            ColumnInfo { name, kind, nullable: true }
        };
        self.columns.split_whitespace().map(column).collect()
    }
}

/// Whether a relation of `pg_catalog` exists, to find it without its schema.
pub(super) fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|system| system.schema == PG_CATALOG && system.name == name)
}

/// Object ids and names of the tables people see, in the order of [`crate::tables::all`].
pub(super) fn user_tables() -> Vec<(i64, Arc<dyn Table>)> {
    (FIRST_OID..).zip(crate::tables::all()).collect()
}

/// Builds the schemas besides `public`.
pub(crate) fn schemas(
    tables: &[Arc<dyn Table>],
) -> Result<Vec<(&'static str, MemorySchemaProvider)>, Error> {
    let relations = relations(tables);
    let mut schemas = Vec::new();
    for (oid, name) in SCHEMAS.into_iter().filter(|(oid, _)| *oid != PUBLIC) {
        let schema = MemorySchemaProvider::new();
        for system in SYSTEM.iter().filter(|system| system.schema == oid) {
            let table = fill(system, &rows(system.name, &relations))?;
            schema.register_table(system.name.to_owned(), Arc::new(table))?;
        }
        schemas.push((name, schema));
    }
    Ok(schemas)
}

fn relations(tables: &[Arc<dyn Table>]) -> Vec<Relation> {
    let ours = (FIRST_OID..).zip(tables).map(|(oid, table)| Relation {
        oid,
        schema: PUBLIC,
        name: table.name(),
        comment: Some(table.comment()),
        columns: table.columns(),
    });
    let system = (FIRST_SYSTEM_OID..).zip(&SYSTEM).map(|(oid, system)| Relation {
        oid,
        schema: system.schema,
        name: system.name,
        comment: None,
        columns: system.columns(),
    });
    ours.chain(system).collect()
}

fn fill(system: &System, rows: &[Vec<Cell<'static>>]) -> Result<MemTable, Error> {
    let columns = system.columns();
    let fields: Vec<Field> =
        columns.iter().map(|c| Field::new(c.name, c.kind.data_type(), c.nullable)).collect();
    let mut builders: Vec<Builder> = columns.iter().map(|c| Builder::new(c.kind)).collect();
    for row in rows {
        assert_eq!(row.len(), columns.len(), "{}", system.name);
        for (builder, cell) in builders.iter_mut().zip(row) {
            builder.push(system.name, cell.clone())?;
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let arrays = builders.iter_mut().map(Builder::finish).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

fn text(text: &str) -> Cell<'static> {
    Cell::Text(text.to_owned().into())
}

fn int(value: i64) -> Cell<'static> {
    Cell::Int(value)
}

fn yes_no(yes: bool) -> Cell<'static> {
    text(if yes { "YES" } else { "NO" })
}

const NO: Cell<'static> = Cell::Bool(false);
const YES: Cell<'static> = Cell::Bool(true);
const NULL: Cell<'static> = Cell::Null;

fn schema_name(oid: i64) -> Cell<'static> {
    let found = SCHEMAS.iter().find(|(schema, _)| *schema == oid);
    text(found.expect("relations are of a schema").1)
}

fn rows(name: &str, relations: &[Relation]) -> Vec<Vec<Cell<'static>>> {
    match name {
        "pg_namespace" => SCHEMAS
            .iter()
            .map(|(oid, name)| vec![int(*oid), text(name), int(OWNER_OID), NULL])
            .collect(),
        "pg_class" => relations.iter().map(class_row).collect(),
        "pg_attribute" => attributes(relations, attribute_row),
        "pg_type" => TYPES.iter().map(type_row).collect(),
        "pg_database" => vec![database_row()],
        "pg_roles" => vec![role_row()],
        "pg_user" => vec![vec![text(OWNER), int(OWNER_OID), NO, YES]],
        "pg_tables" => {
            let row = |r: &Relation| {
                vec![schema_name(r.schema), text(r.name), text(OWNER), NULL, NO, NO, NO]
            };
            relations.iter().map(row).collect()
        }
        "pg_am" => vec![vec![int(2), text("snapshot"), NULL, text("t")]],
        "pg_tablespace" => vec![vec![int(1_663), text("pg_default"), int(OWNER_OID)]],
        "pg_description" => {
            let row = |r: &Relation| Some(vec![int(r.oid), int(1_259), int(0), text(r.comment?)]);
            relations.iter().filter_map(row).collect()
        }
        "schemata" => {
            SCHEMAS.iter().map(|(_, name)| vec![text(DATABASE), text(name), text(OWNER)]).collect()
        }
        "tables" => {
            let kind = |r: &Relation| if r.schema == PUBLIC { "BASE TABLE" } else { "VIEW" };
            let row = |r: &Relation| {
                let schema = schema_name(r.schema);
                vec![text(DATABASE), schema, text(r.name), text(kind(r)), text("NO")]
            };
            relations.iter().map(row).collect()
        }
        "columns" => attributes(relations, column_row),
        // What has no counterpart here has no rows.
        _ => Vec::new(),
    }
}

fn class_row(relation: &Relation) -> Vec<Cell<'static>> {
    let kind = if relation.schema == PUBLIC { "r" } else { "v" };
    let am = if relation.schema == PUBLIC { 2 } else { 0 };
    let natts = i64::try_from(relation.columns.len()).expect("few columns");
    vec![
        int(relation.oid),
        text(relation.name),
        int(relation.schema),
        int(0),
        int(0),
        int(OWNER_OID),
        int(am),
        int(0),
        int(0),
        int(0),
        // How many rows is not known without reading them.
        int(-1),
        int(0),
        NO,
        NO,
        text("p"),
        text(kind),
        int(natts),
        int(0),
        NO,
        NO,
        NO,
        NO,
        NO,
        YES,
        text("d"),
        NO,
        NULL,
        NULL,
        NULL,
    ]
}

fn attributes(
    relations: &[Relation],
    row: impl Fn(&Relation, &ColumnInfo, i64) -> Vec<Cell<'static>>,
) -> Vec<Vec<Cell<'static>>> {
    let columns = |relation: &Relation| {
        let numbered = (1..).zip(&relation.columns);
        numbered.map(|(number, column)| row(relation, column, number)).collect::<Vec<_>>()
    };
    relations.iter().flat_map(columns).collect()
}

/// The type of a column: oid and modifier.
fn type_of(kind: Kind) -> (i64, i64) {
    match kind {
        Kind::Bool => (16, -1),
        Kind::Int4 => (23, -1),
        Kind::Int8 => (20, -1),
        Kind::Text => (25, -1),
        Kind::Decimal(precision, scale) => {
            (1_700, (i64::from(precision) << 16 | i64::from(scale)) + 4)
        }
        Kind::Time => (1_184, -1),
    }
}

fn attribute_row(relation: &Relation, column: &ColumnInfo, number: i64) -> Vec<Cell<'static>> {
    let (oid, modifier) = type_of(column.kind);
    let size = TYPES.iter().find(|row| row.0 == oid).map_or(-1, |row| row.3);
    vec![
        int(relation.oid),
        text(column.name),
        int(oid),
        int(-1),
        int(size),
        int(number),
        int(0),
        int(modifier),
        text(if size > 0 { "p" } else { "x" }),
        text(""),
        Cell::Bool(!column.nullable),
        NO,
        NO,
        text(""),
        text(""),
        NO,
        YES,
        int(0),
        int(0),
        NULL,
        NULL,
        NULL,
    ]
}

fn column_row(relation: &Relation, column: &ColumnInfo, number: i64) -> Vec<Cell<'static>> {
    let (oid, _) = type_of(column.kind);
    let row = TYPES.iter().find(|row| row.0 == oid).expect("all our types are listed");
    let (precision, scale) = match column.kind {
        Kind::Decimal(precision, scale) => (int(precision.into()), int(scale.into())),
        Kind::Int4 => (int(32), int(0)),
        Kind::Int8 => (int(64), int(0)),
        Kind::Bool | Kind::Text | Kind::Time => (NULL, NULL),
    };
    let radix = match column.kind {
        Kind::Decimal(..) => int(10),
        Kind::Int4 | Kind::Int8 => int(2),
        Kind::Bool | Kind::Text | Kind::Time => NULL,
    };
    vec![
        text(DATABASE),
        schema_name(relation.schema),
        text(relation.name),
        text(column.name),
        int(number),
        NULL,
        yes_no(column.nullable),
        text(&format_type(oid, None)),
        NULL,
        precision,
        radix,
        scale,
        if column.kind == Kind::Time { int(6) } else { NULL },
        text(DATABASE),
        text("pg_catalog"),
        text(row.1),
        text("NO"),
        text("NEVER"),
        text("NO"),
    ]
}

fn type_row(row: &super::TypeRow) -> Vec<Cell<'static>> {
    let (oid, name, _, size, category, element) = *row;
    let array = TYPES.iter().find(|other| other.4 == "A" && other.5 == oid);
    vec![
        int(oid),
        text(name),
        int(PG_CATALOG),
        int(OWNER_OID),
        int(size),
        Cell::Bool((1..=8).contains(&size)),
        text("b"),
        text(category),
        NO,
        YES,
        text(","),
        int(0),
        int(element),
        int(array.map_or(0, |array| array.0)),
        NO,
        int(0),
        int(-1),
        int(0),
    ]
}

fn database_row() -> Vec<Cell<'static>> {
    vec![
        int(DATABASE_OID),
        text(DATABASE),
        int(OWNER_OID),
        int(6),
        text("c"),
        NO,
        YES,
        int(-1),
        int(1_663),
        text("C.UTF-8"),
        text("C.UTF-8"),
        NULL,
        NULL,
        NULL,
    ]
}

fn role_row() -> Vec<Cell<'static>> {
    vec![int(OWNER_OID), text(OWNER), YES, YES, NO, NO, YES, NO, int(-1), NULL, NULL, NO, NULL]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_relation_can_be_filled() {
        // Builders panic on a cell of a wrong type, `fill` on a row of a wrong length.
        let schemas = schemas(&crate::tables::all()).unwrap();
        let names: Vec<&str> = schemas.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["pg_catalog", "information_schema"]);
    }
}
