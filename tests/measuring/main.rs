//! Tests that put load on servers, sample processes, or must run alone for another reason: with `--test-threads=1`,
//! as two loads at once would disturb each other's figures.

// The longest: tests are taken in the order of their names, and this one would go on alone after all others.
mod absent;
#[path = "../support/binaries.rs"]
mod binaries;
mod cockroachdb;
mod compare;
mod copies;
mod documents;
mod ending;
mod follow;
mod follow_hostile;
mod freshness;
#[path = "../support/hosts.rs"]
mod hosts;
mod json_lines;
mod ladder;
mod libpq_parity;
mod load;
mod load_connect;
mod load_hosts;
mod load_scripts;
mod load_threads;
mod load_wire;
mod log_entry;
mod off_cpu;
mod options;
mod postgres;
mod postgres_users;
mod postgres_wait_events;
mod postgres_waits;
mod precision;
mod privileges;
mod record;
#[path = "../support/recordings.rs"]
mod recordings;
#[path = "../support/rows.rs"]
mod rows;
mod sample;
mod sample_hostile;
#[path = "../support/schema.rs"]
mod schema;
mod secrets;
#[path = "../support/skip.rs"]
mod skip;
mod statements_cockroachdb;
mod statements_postgres;
mod sweep_endings;
mod sweep_faults;
mod sweep_presets;
mod sweep_setup;
#[path = "../support/sweeps.rs"]
mod sweeps;
#[path = "../support/tmux.rs"]
mod terminal;
mod testbed;
mod testbed_waits;
mod three_hosts;
mod two_hosts;
mod unlike;
mod verifier;
mod wire;
mod wire_uses;
