"""Loads rows into ClickHouse and asks it questions; prints one line of JSON.

Arguments: a folder for the data, a file of RowBinary rows, and what to ask: "fleet" or "day".
"""

import json
import resource
import sys
import time

from chdb import session

FOLDER, ROWS, KIND = sys.argv[1:4]
VALUES = ["voltage", "current", "power", "energy", "temperature", "soc"]
START_MS = 1_732_147_200_000


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def schema(codec):
    columns = [("cp", "UInt64"), ("ts", "DateTime64(3)")] + [(name, "Int32") for name in VALUES]
    return ", ".join(f"{name} {kind} {codec}".rstrip() for name, kind in columns)


chdb = session.Session(FOLDER)
chdb.query("create database if not exists bench")


def load(table, codec):
    """CPU seconds and wall seconds of loading and merging, bytes on disk of all active parts."""
    chdb.query(
        f"create table bench.{table} ({schema(codec)}) engine MergeTree order by (cp, ts) "
        "settings min_bytes_for_wide_part = 0"
    )
    cpu, wall = cpu_s(), time.monotonic()
    chdb.query(
        f"insert into bench.{table} select * from file('{ROWS}', 'RowBinary', '{schema('')}') "
        "settings max_insert_threads = 1, max_threads = 1"
    )
    chdb.query(f"optimize table bench.{table} final")
    cpu, wall = cpu_s() - cpu, time.monotonic() - wall
    told = chdb.query(
        "select sum(bytes_on_disk), sum(rows) from system.parts "
        f"where database = 'bench' and table = '{table}' and active",
        "CSV",
    )
    size, rows = str(told).strip().split(",")
    return cpu, wall, int(size), int(rows)


def cost_us(times, ask):
    ask(0)
    cpu = cpu_s()
    for n in range(times):
        ask(n)
    return (cpu_s() - cpu) * 1e6 / times


def one_thread(sql):
    answer = str(chdb.query(sql + " settings max_threads = 1", "CSV"))
    assert answer, "an answer"
    return answer


told = {}
cpu, wall, size, rows = load("meters", "codec(Delta, ZSTD(1))")
told.update(load_cpu_s=cpu, load_wall_s=wall, bytes=size, rows=rows)
series = [int(word) for word in str(chdb.query("select distinct cp from bench.meters", "CSV")).split()]
if KIND == "fleet":
    _, _, dense, _ = load("dense", "codec(Delta, ZSTD(9))")
    told["dense_bytes"] = dense

    def scan(n):
        name = VALUES[n % len(VALUES)]
        one_thread(f"select min({name}), max({name}), sum({name}), count({name}) from bench.meters")

    times = 3 * len(VALUES)
    told["scan_us"] = cost_us(times, scan)
    told["sum_of_power"] = int(one_thread("select sum(power) from bench.meters"))

    def last(n):
        cp = series[n * 7919 % len(series)]
        one_thread(f"select * from bench.meters where cp = {cp} order by ts desc limit 1")

    told["last_us"] = cost_us(100, last)
else:

    def day(n):
        cp = series[n * 7919 % len(series)]
        one_thread(f"select ts, power from bench.meters where cp = {cp}")

    told["day_us"] = cost_us(100, day)
told["rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps(told))
