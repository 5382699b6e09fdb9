//! pgbench's built-in scripts (PostgreSQL documentation, "pgbench": What Is the "Transaction" Actually Performed in
//! pgbench?), on the tables that `pgbench -i` makes. Invariant: each sends what pgbench's script of its name sends.

const SETS: &str = "\\set aid random(1, 100000 * :scale)\n\\set bid random(1, 1 * :scale)\n\
                    \\set tid random(1, 10 * :scale)\n\\set delta random(-5000, 5000)\n";
const ACCOUNT: &str = "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n\
                       SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";
const TOTALS: &str = "UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n\
                      UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n";
const HISTORY: &str = "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, \
                       CURRENT_TIMESTAMP);\n";
const SELECT: &str = "\\set aid random(1, 100000 * :scale)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";

/// The names of all of them.
pub const NAMES: [&str; 3] = ["tpcb-like", "simple-update", "select-only"];

/// The script whose name begins so, as with `pgbench -b`; `None`: not one of them alone does.
pub fn script(name: &str) -> Option<(&'static str, String)> {
    let mut found = NAMES.into_iter().filter(|known| !name.is_empty() && known.starts_with(name));
    let known = found.next().filter(|_| found.next().is_none())?;
    let text = match known {
        "tpcb-like" => format!("{SETS}BEGIN;\n{ACCOUNT}{TOTALS}{HISTORY}END;\n"),
        "simple-update" => format!("{SETS}BEGIN;\n{ACCOUNT}{HISTORY}END;\n"),
        _ => SELECT.to_string(),
    };
    Some((known, text))
}
