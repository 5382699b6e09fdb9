//! The table of the probe of reads after writes, on a real PostgreSQL: it is gone at the end, and a table that was
//! there before is nobody's to drop.

use crate::postgres::Postgres;
use wireprof::preset::Freshness;
use wireprof::sweep::FreshnessProbe;

/// Makes the probe's table and drops it; the error of making it.
fn opened_and_closed(server: &Postgres, create: &[&str], drop: &str) -> Option<String> {
    let create = create.iter().map(|sql| sql.to_string()).collect();
    let preset = Freshness { create, drop: drop.into(), ..Freshness::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        match FreshnessProbe::open(&server.address("postgres"), &[], &preset).await {
            Ok(probe) => probe.close().await.map(|()| None).unwrap(),
            Err(error) => Some(format!("{error:#}")),
        }
    })
}

#[test]
fn only_a_table_that_the_probe_made_is_dropped() {
    let Some(server) = Postgres::start("") else { return };
    let tables = || server.value("select coalesce(string_agg(relname, ' '), '') from pg_stat_user_tables");
    let own = "DROP TABLE IF EXISTS {table}";
    assert_eq!(opened_and_closed(&server, &["CREATE TABLE {table} (n int8)"], own), None);
    assert_eq!(tables(), "");
    let index = ["CREATE TABLE {table} (n int8)", "CREATE INDEX ON {table} (m)"];
    let error = opened_and_closed(&server, &index, own).unwrap();
    assert!(error.contains("--probe needs a table of its own"), "{error}");
    assert_eq!(tables(), "", "it was made, and its index was not");
    server.run(&["create table theirs (n int8)"]);
    let error = opened_and_closed(&server, &["CREATE TABLE theirs (n int8)"], "DROP TABLE theirs").unwrap();
    assert!(error.contains("already exists"), "{error}");
    assert_eq!(tables(), "theirs");
}
