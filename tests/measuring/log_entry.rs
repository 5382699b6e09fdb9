//! The log of a tuning session, by the real binaries: one sweep and one `log new` write down all that a hand-off
//! between sessions asks for, and `log check` finds it sound.

use crate::sweeps::*;

/// What the bullets of a hand-off prompt name, and what the entry calls it.
const WANTED: [(&str, &[&str]); 9] = [
    ("sessions come and go", &["sessions started (sessions)", "sessions ended (sessions)", "of those opened"]),
    ("table appends", &["apply_write (calls/s)", "table appends (appends/s)"]),
    (
        "metrics of the sweep",
        &[
            "mz_frontend_peek_seconds{",
            "try_frontend_peek_cached",
            "mz_frontend_peek_read_ts_seconds",
            "mz_ts_oracle_batch_wait_seconds{op=\"read_ts\"}",
            "mz_ts_oracle_batch_inner_read_seconds{op=\"read_ts\"}",
            "mz_ts_oracle_batched_op_count{op=\"read_ts\"}",
            "mz_ts_oracle_batches_count{op=\"read_ts\"}",
        ],
    ),
    ("phases", &["get_connection", "prepare_cached", "query_one", "mz_ts_oracle_postgres_read_ts_phase_seconds"]),
    ("statements", &["Statements of the database", "read_ts FROM timestamp_oracle", "execution time"]),
    ("beside the phases", &["compare: statement, by the database's statistics"]),
    (
        "runtime",
        &[
            "mz_tokio_worker_total_busy_duration{runtime=\"main\"}",
            "mz_tokio_budget_forced_yield_count{runtime=\"main\"}",
            "mz_tokio_worker_poll_count{runtime=\"main\"}",
        ],
    ),
    ("the decision", &["The answer:", "Looked for at 16 clients", "are in its hands"]),
    ("growth", &["| 16 - 1 | 16 / 1 |", "From level 1 to 16 the mean latency grew by"]),
];

#[test]
fn an_entry_of_a_sweep_has_all_that_a_session_hands_on_and_passes_its_check() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let sweep = ["--testbed", "--levels", "1,4,16", "--window", "1500ms", "--reset-statements"];
    let answer = place.sweep(&sweep);
    assert!(answer.code <= 1, "{}{}", answer.out, answer.err);
    let new =
        ["log", "new", "latest", "--title", "First", "--problem", "slow", "--change", "none", "--conclusion", "b"];
    let answer = place.run(&new);
    assert_eq!(answer.code, 0, "{}", answer.err);
    let log = std::fs::read_to_string(place.path().join("pgwire-server-perf-log.md")).unwrap();
    for (what, wanted) in WANTED {
        for wanted in wanted {
            assert!(log.contains(wanted), "{what}: no {wanted} in\n{log}");
        }
    }
    assert!(log.contains("**Date:** 20"), "{log}");
    let checked = place.run(&["log", "check"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    assert!(checked.out.contains("0 wrong, 0 could not be checked"), "{}", checked.out);

    // A second session: against the first, in one line, also for the change's description.
    let first = place.the_run().manifest.id;
    let answer = place.sweep(&["--testbed", "--levels", "1,16", "--window", "1s"]);
    assert!(answer.code <= 1, "{}{}", answer.out, answer.err);
    let answer = place.run(&["log", "new", "latest", "--before", &first, "--title", "Second"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    let line =
        answer.out.lines().find(|line| line.starts_with("16 clients: ")).unwrap_or_else(|| panic!("{}", answer.out));
    assert!(line.contains(" -> ") && line.contains(" q/s (") && line.contains("in the server's hands"), "{line}");
    let log = std::fs::read_to_string(place.path().join("pgwire-server-perf-log.md")).unwrap();
    assert!(log.contains(&format!("**In one line.** {line}")), "{log}");
    let checked = place.run(&["log", "check"]);
    assert_eq!(checked.code, 0, "{}", checked.out);

    // Few pictures unless more are asked for.
    let attached = |arguments: &[&str]| {
        let answer = place.run(&[&["--json", "log", "attach", &first], arguments].concat());
        assert_eq!(answer.code, 0, "{}", answer.err);
        serde_json::from_str::<serde_json::Value>(&answer.out).unwrap()["log"]["attached"].as_u64().unwrap()
    };
    let few = attached(&[]);
    assert!((2..=6).contains(&few), "{few}");
    assert!((1..=3).contains(&attached(&["--level", "16", "--focus", "peek"])));
    assert!(attached(&["--all"]) > 10);
}
