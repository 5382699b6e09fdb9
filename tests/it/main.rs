//! Quiet tests: they put no load on a server and sample no process, so they run at once, in one process.
//! What measures, or must run alone for another reason, is in `tests/measuring`.

mod accounted;
mod answer;
mod architecture;
mod benchmarks;
#[path = "../support/binaries.rs"]
mod binaries;
#[path = "../support/browser.rs"]
mod browser;
mod build;
mod checks;
mod cli;
mod cli_import;
mod cli_runs;
mod cli_sections;
mod cli_terminal;
mod completions;
mod correlation;
mod descriptors;
mod diagnose;
mod diagnose_cpus;
mod diagnose_hands;
mod diagnose_hosts;
mod diagnose_waits;
mod documents;
mod explain;
mod export;
mod export_run;
mod export_viewers;
mod golden;
mod handoff;
mod hands;
mod hostile;
mod hot;
mod import_profiles;
mod import_recorded;
mod import_testbed;
mod json;
mod json_lines;
mod last_lines;
mod load_dbbench;
mod metrics_exposition;
mod metrics_http;
mod metrics_https;
mod nodes;
mod off_cpu;
mod package;
mod perflog;
mod perflog_check;
mod pictures;
mod precision;
mod preset;
mod push;
#[path = "../support/recordings.rs"]
mod recordings;
mod render;
mod report;
mod report_browser;
mod report_media;
mod report_pace;
mod report_pictures;
#[path = "../support/rows.rs"]
mod rows;
#[path = "../support/schema.rs"]
mod schema;
mod server_profiles;
mod shared_runs;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/sweeps.rs"]
mod sweeps;
mod symbol;
mod symbol_c;
mod symbol_cache;
mod symbol_damage;
mod symbol_debuginfod;
mod symbol_inline;
#[path = "../support/tmux.rs"]
mod terminal;
mod tmux;
mod vcs;
mod workload;
