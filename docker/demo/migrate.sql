-- The demo's migration. It may run any number of times, but never two at once: each run notes when it began and ended.
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS migration_runs (id serial PRIMARY KEY, replica text, began timestamptz, ended timestamptz);
INSERT INTO migration_runs (replica, began) VALUES (current_setting('application_name'), clock_timestamp());
CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, item text NOT NULL);
INSERT INTO orders (item) SELECT 'a portcullis, second hand' WHERE NOT EXISTS (SELECT FROM orders);
SELECT pg_sleep(1) \g /dev/null
UPDATE migration_runs SET ended = clock_timestamp() WHERE replica = current_setting('application_name') AND ended IS NULL;
