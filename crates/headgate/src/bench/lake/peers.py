import json
import os
import sys
import time

import deltalake
import duckdb
import pyarrow

COLUMNS = """{'id': 'BIGINT', 'ts': 'BIGINT', 'tenant': 'VARCHAR', 'device': 'VARCHAR', 'site': 'VARCHAR',
              'metric': 'VARCHAR', 'value': 'DOUBLE', 'note': 'VARCHAR'}"""


def parquet(file, to):
    db = duckdb.connect(config={"threads": 1})
    db.execute("SELECT 1")
    before = time.process_time()
    db.execute(
        f"""COPY (SELECT * REPLACE ((value - 32) * 5 / 9 AS value)
                  FROM read_json('{file}', format = 'newline_delimited', columns = {COLUMNS}))
            TO '{to}' (FORMAT parquet, COMPRESSION zstd)"""
    )
    return {"cpu": time.process_time() - before, "bytes": os.path.getsize(to)}


def table(first, rows):
    ids = range(first, first + rows)
    text = lambda prefix, modulus: pyarrow.array([f"{prefix}-{id % modulus}" for id in ids])
    return pyarrow.table({
        "id": pyarrow.array(ids, pyarrow.int64()),
        "ts": pyarrow.array([id * 1000 for id in ids], pyarrow.int64()),
        "tenant": text("tenant", 100), "device": text("device", 10_000), "site": text("site", 40),
        "metric": text("metric", 7), "value": pyarrow.array([id / 4 for id in ids]),
        "note": pyarrow.array([f"{id:0>130}" for id in ids]),
    })


def commits(rows, commits, to):
    properties = deltalake.WriterProperties(compression="ZSTD", compression_level=1)
    deltalake.write_deltalake(to, table(0, 1), writer_properties=properties)
    handle = deltalake.DeltaTable(to)
    times, cpu = [], 0
    for commit in range(commits):
        batch = table(commit * rows, rows)
        begun, before = time.perf_counter(), time.process_time()
        deltalake.write_deltalake(handle, batch, mode="append", writer_properties=properties)
        times.append(time.perf_counter() - begun)
        cpu += time.process_time() - before
    return {"p50": sorted(times)[len(times) // 2], "cpu": cpu}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"parquet": parquet, "commits": commits}[asked.pop("do")](**asked)), flush=True)
