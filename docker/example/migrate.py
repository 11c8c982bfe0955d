"""The first version of the schema. Run a second time it would fail: portcullis runs it once, however many replicas start."""
import psycopg2

with psycopg2.connect("") as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE orders (id serial PRIMARY KEY, state text NOT NULL)")
    cursor.execute("CREATE TABLE schema_version AS SELECT 1 AS version")
