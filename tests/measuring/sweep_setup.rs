//! Set-up on real servers: what is there already is left, whatever the server calls that, and nothing is made that the
//! workload does not need. Invariant: the server's own catalog says what was made.

use crate::cockroachdb::{StandIn, Version};
use crate::postgres::Postgres;
use crate::sweeps::*;
use std::path::PathBuf;

const LOOK: &str = "select 1 from information_schema.tables where table_schema = 'public' and table_name = 't'";

/// A preset whose own query needs a table.
fn preset(place: &Place, keys: &str) -> PathBuf {
    let path = place.path().join("mine.toml");
    let text = format!(
        "inherits = \"generic\"\n[workload]\nquery = \"select * from t\"\n\
         [[setup]]\nstatement = \"create table t (id text)\"\n{keys}\nundo = \"drop table t\"\n\
         [[setup]]\nstatement = \"insert into t values ('x')\"\nonly_with_previous = true\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn sweep(place: &Place, preset: &std::path::Path, url: &str, more: &[&str]) -> Answer {
    let target = ["--preset", preset.to_str().unwrap(), "--url", url, "--levels", "1", "--window", "500ms"];
    place.sweep(&[&target[..], &["--no-sampling", "--no-wire", "--no-metrics"], more].concat())
}

fn tables(server: &Postgres) -> String {
    server.value("select count(*) from information_schema.tables where table_schema = 'public' and table_name = 't'")
}

#[test]
fn set_up_twice_in_a_row_is_done_once_whatever_code_the_server_has_for_what_is_there_already() {
    let Some(server) = Postgres::start("") else { return };
    let other = StandIn::start(&server.url("postgres"), Version::OneCode);
    for url in [server.url("postgres"), other.url()] {
        let place = Place::new();
        let preset = preset(&place, &format!("for_own_query = true\nunless = \"{LOOK}\""));
        let first = sweep(&place, &preset, &url, &[]);
        first.assert_done(&place);
        assert!(first.err.contains("set up: made: create table t"), "{}", first.err);
        let second = sweep(&place, &preset, &url, &[]);
        second.assert_done(&place);
        assert!(!second.err.contains("set up:"), "{}", second.err);
        assert_eq!(server.value("select count(*) from t"), "1", "the row was put in once");
        server.run(&["drop table t"]);
    }
}

#[test]
fn a_table_that_the_query_does_not_read_is_not_made() {
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let preset = preset(&place, &format!("for_own_query = true\nunless = \"{LOOK}\""));
    sweep(&place, &preset, &server.url("postgres"), &["--query", "select 1"]).assert_done(&place);
    assert_eq!(tables(&server), "0");
    // The same query, written otherwise.
    sweep(&place, &preset, &server.url("postgres"), &["--query", "SELECT *  FROM t;", "--restore"]).assert_done(&place);
    assert_eq!(tables(&server), "0", "it was made for the sweep, and put back");
    let changes = wireprof::run::Store::new(place.runs()).load("latest").unwrap().manifest.changes;
    assert_eq!(changes.len(), 2, "{changes:?}");
}

#[test]
fn what_came_to_be_there_meanwhile_is_seen_by_a_second_look_and_codes_of_older_presets_still_count() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table t (id text)", "create sequence looks"]);
    let other = StandIn::start(&server.url("postgres"), Version::OneCode);
    // The first look finds nothing, the second one does.
    let place = Place::new();
    let late = preset(&place, "unless = \"select 1 where nextval('looks') > 1\"");
    sweep(&place, &late, &other.url(), &[]).assert_done(&place);
    let place = Place::new();
    let by_code = preset(&place, "tolerate = [\"42P07\"]");
    sweep(&place, &by_code, &server.url("postgres"), &[]).assert_done(&place);
    let place = Place::new();
    let by_code = preset(&place, "tolerate = [\"42P07\"]");
    sweep(&place, &by_code, &other.url(), &[]).assert(3, &["set-up statement `create table t", "already exists"]);
    place.assert_no_run();
    // A look that the server refuses decides nothing, and neither does a code that is not named.
    let place = Place::new();
    let blind = preset(&place, "unless = \"select 1 from nowhere\"");
    sweep(&place, &blind, &other.url(), &[]).assert(3, &["already exists"]);
}
