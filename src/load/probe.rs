//! What is learnt of each statement before the load: that the server takes it, and how many rows it answers.
//! Invariant: nothing that may change data is executed; such a statement is only parsed.

use super::LoadError;
use super::connect::{Connection, Connector};
use super::plan::{self, JobPlan, Plan};
use super::results::results;
use crate::connection::{message_without_secrets, without_sql_secrets};
use crate::workload::{Work, Workload};
use std::collections::HashMap;
use std::time::Duration;

/// Runs each distinct statement once where it only reads, parses it elsewhere, and tells the plan the row counts.
/// Statements of a log are not touched: they are replayed once, as they are.
pub fn learn(
    connection: &mut Connection,
    workload: &Workload,
    plan: &mut Plan,
    limit: Duration,
) -> Result<(), LoadError> {
    let mut known: HashMap<&str, Option<u32>> = HashMap::new();
    for (job, job_plan) in workload.jobs.iter().zip(&mut plan.jobs) {
        let Work::Statements { statements, arguments } = &job.work else { continue };
        for (step, sql) in statements.iter().enumerate() {
            if arguments.is_some() {
                with_arguments(connection, job_plan, sql, step, limit)?;
                continue;
            }
            let rows = match known.get(sql.as_str()) {
                Some(rows) => *rows,
                None => run_or_parse(connection, sql, limit)?,
            };
            known.insert(sql, rows);
            if let Some(rows) = rows {
                job_plan.expect(step, rows);
            }
        }
    }
    Ok(())
}

fn run_or_parse(connection: &mut Connection, sql: &str, limit: Duration) -> Result<Option<u32>, LoadError> {
    if only_reads(sql) {
        return execute(connection, &plan::simple(sql)?.bytes, sql, limit).map(Some);
    }
    // The extended protocol takes one statement at a time; several are for the server to judge under load.
    if !sql.contains(';') {
        execute(connection, &plan::parse("", sql)?, sql, limit)?;
    }
    Ok(None)
}

/// Prepares a statement and binds the first row, which reveals a wrong number or type of arguments; only a statement
/// that reads is executed.
fn with_arguments(
    connection: &mut Connection,
    job: &JobPlan,
    sql: &str,
    step: usize,
    limit: Duration,
) -> Result<(), LoadError> {
    execute(connection, &plan::parse("", sql)?, sql, limit)?;
    if only_reads(sql) {
        execute(connection, &job.preparations[step], sql, limit)?;
        execute(connection, &job.request(0, step as u32).bytes, sql, limit)?;
        // The name is the load's own on this connection too, and is prepared again.
        execute(connection, &plan::close(step)?, sql, limit)?;
    }
    Ok(())
}

fn execute(connection: &mut Connection, message: &[u8], sql: &str, limit: Duration) -> Result<u32, LoadError> {
    connection.round_trip(message, limit)?.map_err(|(sqlstate, message)| statement_error(sql, sqlstate, message))
}

fn statement_error(sql: &str, sqlstate: String, message: String) -> LoadError {
    // Masked first: the cut could go through a password's quotes.
    let (message, sql) = (message_without_secrets(&message, sql), without_sql_secrets(sql));
    let shown: String = sql.chars().take(200).collect();
    let sql = if shown.len() < sql.len() { format!("{shown}...") } else { shown };
    LoadError::Statement { sql, sqlstate, message }
}

/// The statement begins like one that reads and has no word of one that writes.
fn only_reads(sql: &str) -> bool {
    const READS: [&str; 6] = ["select", "show", "values", "table", "with", "explain"];
    const WRITES: [&str; 9] = ["insert", "update", "delete", "merge", "into", "create", "drop", "nextval", "setval"];
    let lower = sql.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    match words.next() {
        None => true,
        Some(first) => READS.contains(&first) && !words.any(|word| WRITES.contains(&word)),
    }
}

/// The scale of pgbench's tables: the number of branches, as pgbench counts it.
pub fn scale(connection: &mut Connection, limit: Duration) -> Result<u64, LoadError> {
    let sql = "select count(*) from pgbench_branches";
    let remedy = "a script uses :scale, which is counted there: make pgbench's tables (pgbench -i), or give -D scale=N";
    let answer = connection.ask(&plan::simple(sql)?.bytes, limit)?;
    let answer = answer.map_err(|(sqlstate, message)| {
        let sql = sql.to_string();
        LoadError::Statement { sql, sqlstate, message: format!("{message} ({remedy})") }
    })?;
    let count = results(&answer).first().and_then(|result| result.last.first()?.parse().ok());
    count.filter(|count| *count > 0).ok_or_else(|| LoadError::Usage(format!("`{sql}` counts nothing; {remedy}")))
}

/// Runs one statement, whatever it does.
pub fn run(connection: &mut Connection, sql: &str, limit: Duration) -> Result<(), LoadError> {
    execute(connection, &plan::simple(sql)?.bytes, sql, limit).map(drop)
}

/// Runs statements one after the other on one connection (a workload's set-up or teardown). Stops at the first error.
///
/// # Errors
/// [`LoadError::Statement`] of the first statement that fails, or what keeps the connection from being opened.
pub fn run_script(address: &super::Address, statements: &[String], limit: Duration) -> Result<(), LoadError> {
    if statements.is_empty() {
        return Ok(());
    }
    let mut connection = Connector::new(address, limit)?.open()?;
    for sql in statements {
        run(&mut connection, sql, limit)?;
    }
    connection.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn only_statements_without_a_word_of_writing_are_run_before_the_load() {
        for sql in
            ["", "select 1", " SELECT * from t", "(select 1)", "with a as (select 1) table a", "show x", "values (1)"]
        {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in [
            "insert into t values (1)",
            "with a as (delete from t returning *) select * from a",
            "select 1 into b",
            "select nextval('s')",
            "explain analyze update t set a = 1",
            "call p()",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }
}
