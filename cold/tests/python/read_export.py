"""Reads an export with DuckDB and prints, as JSON, what it holds.

Sums are exact: decimals are added as decimals and told in the smallest unit of their column.
"""

import json
import sys

import duckdb

SCALES = {
    "voltage_v": 1,
    "current_a": 2,
    "power_w": 0,
    "energy_wh": 0,
    "temperature_c": 1,
    "soc_percent": 1,
}


def main() -> None:
    parts = sys.argv[1] + "/**/*.parquet"
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.execute(
        "CREATE VIEW export AS SELECT * FROM read_parquet(?, hive_partitioning = true)"
        .replace("?", "'" + parts.replace("'", "''") + "'")
    )
    types = [(name, kind) for name, kind, *_ in db.execute("DESCRIBE export").fetchall()]
    columns = [name for name, _ in types if name in SCALES]
    sums = ", ".join(f"count({name}), sum({name}::DECIMAL(38, 2))" for name in columns)
    groups = []
    for station, evse, connector, date, rows, *rest in db.execute(
        f"SELECT station, evse, connector, date::VARCHAR, count(*), {sums} FROM export "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        told = {}
        for name, count, total in zip(columns, rest[::2], rest[1::2]):
            total = 0 if total is None else total.scaleb(SCALES[name])
            assert total == int(total), (name, total)
            told[name] = {"count": count, "sum": str(int(total))}
        groups.append(
            {
                "station": station,
                "evse": evse,
                "connector": connector,
                "date": date,
                "rows": rows,
                "columns": told,
            }
        )
    one = lambda query: db.execute(query).fetchone()[0]
    has_flags = any(name == "flags" for name, _ in types)
    metadata = f"FROM parquet_metadata('{parts}')"
    print(
        json.dumps(
            {
                "types": [f"{name} {kind}" for name, kind in types],
                "groups": groups,
                "rows": one("SELECT count(*) FROM export"),
                "flagged": one("SELECT count(*) FROM export WHERE flags <> 0") if has_flags else None,
                "first": one('SELECT epoch_us(min("at")) FROM export'),
                "last": one('SELECT epoch_us(max("at")) FROM export'),
                "row_groups": one(
                    f"SELECT count(DISTINCT (file_name, row_group_id)) {metadata}"
                ),
                "row_groups_without_statistics": one(
                    f"SELECT count(*) {metadata} WHERE path_in_schema IN ('at', 'station') "
                    "AND (stats_min_value IS NULL OR stats_max_value IS NULL)"
                ),
            }
        )
    )


main()
