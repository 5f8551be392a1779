import sys
import time

import duckdb

rows, filters = sys.argv[1:3]
db = duckdb.connect(config={"threads": 1})
db.execute(f"CREATE TABLE rows AS FROM read_csv('{rows}', header = true)")
db.execute(
    f"""CREATE TABLE filters AS FROM read_csv('{filters}', header = true, columns = {{
        'subscription': 'BIGINT', 'tenant': 'VARCHAR', 'device': 'VARCHAR', 'site': 'VARCHAR',
        'metric': 'VARCHAR', 'low': 'DOUBLE', 'high': 'DOUBLE'}})"""
)


def select(on):
    return f"""SELECT f.subscription, r.id, r.ts, r.value FROM rows r JOIN filters f
        ON {on} WHERE f.low IS NULL OR (r.value >= f.low AND r.value <= f.high)"""


keys = ["r.tenant = f.tenant", "r.device = f.device", "r.site = f.site AND r.metric = f.metric"]
join = "CREATE OR REPLACE TEMP TABLE selected AS " + " UNION ALL ".join(map(select, keys))
for _ in sys.stdin:
    before = time.process_time()
    db.execute(join)
    cpu = time.process_time() - before
    print(db.sql("SELECT count(*) FROM selected").fetchone()[0], cpu, flush=True)
