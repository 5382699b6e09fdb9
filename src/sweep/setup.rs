//! The preset's set-up on the server, and its undoing. Invariant: what was changed is known from the server's own
//! answers (the former value of a parameter, whether a statement made something), so that it can be printed and put
//! back.

use crate::connection::{message_without_secrets, shown_argument, without_sql_secrets};
use crate::load::{self, Address, LoadError};
use crate::preset::{Connection, Step, set_parameter, show_parameter};
use crate::sql;
use anyhow::{Context, Error, Result, bail};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A connection that takes longer to answer nothing is as good as lost.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a server that takes no connections yet is waited for where something is to be put back: PostgreSQL starts
/// anew where one of its processes crashed.
const RECOVERY: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);

/// Does something as soon as the server takes connections (SQLSTATE 57P03: not yet), for [`RECOVERY`] at most.
///
/// # Errors
/// That of the last attempt.
pub async fn once_it_is_up<T>(attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    within(RECOVERY, attempt).await
}

async fn within<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Err(error) if is_starting(&error) && Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
            done => return done,
        }
    }
}

fn is_starting(error: &Error) -> bool {
    let not_yet = |state: &SqlState| *state == SqlState::CANNOT_CONNECT_NOW;
    error.chain().any(|cause| {
        let driver = cause.downcast_ref::<tokio_postgres::Error>();
        let own = cause.downcast_ref::<LoadError>();
        driver.and_then(tokio_postgres::Error::code).is_some_and(not_yet)
            || matches!(own, Some(LoadError::NotNow { sqlstate, .. }) if not_yet(&SqlState::from_code(sqlstate)))
    })
}

/// The two connections that set-up may use.
pub struct Connections {
    pub sql: Session,
    /// The administrator's; the same server's other port.
    pub internal: Option<Session>,
}

/// A connection and where it goes, so that it can be made anew.
pub struct Session {
    address: Address,
    client: Client,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// As [`load::connect`].
    pub async fn open(address: &Address) -> Result<Session> {
        Ok(Session { address: address.clone(), client: load::connect(address).await? })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a statement; where the connection was lost meanwhile, over a new one.
    async fn run_surely(&mut self, statement: &str) -> Result<()> {
        if !sql::answers(&self.client, ANSWER).await {
            self.client = once_it_is_up(async || load::connect(&self.address).await).await?;
        }
        run(&self.client, statement).await
    }
}

impl Connections {
    fn get(&self, on: Connection) -> Result<&Client> {
        match (on, &self.internal) {
            (Connection::Sql, _) => Ok(self.sql.client()),
            (Connection::Internal, Some(session)) => Ok(session.client()),
            (Connection::Internal, None) => bail!(
                "the set-up needs the administrator's connection: give --internal-url, or --no-setup to leave \
                 the server as it is"
            ),
        }
    }
}

/// What the set-up did, in order.
#[derive(Default)]
pub struct Applied {
    /// As `what: from -> to`.
    pub changes: Vec<String>,
    undo: Vec<(Connection, String)>,
}

/// Brings the server into the state that the steps want, and notes in `applied` what it changed. What is there already
/// is left, and what only the preset's own query needs is made where that is in the workload (`own_query`).
///
/// # Errors
/// A step that fails; `applied` has what was changed up to it, for the caller to put back.
pub async fn apply(steps: &[Step], connections: &Connections, own_query: bool, applied: &mut Applied) -> Result<()> {
    let mut made = false;
    for step in steps {
        if matches!(step, Step::Statement { only_with_previous: true, .. }) && !made {
            continue;
        }
        if matches!(step, Step::Statement { for_own_query: true, .. }) && !own_query {
            made = false;
            continue;
        }
        let before = applied.changes.len();
        apply_step(step, connections, applied).await?;
        made = applied.changes.len() > before;
    }
    Ok(())
}

async fn apply_step(step: &Step, connections: &Connections, applied: &mut Applied) -> Result<()> {
    match step {
        Step::Parameter { on, parameter, value } => {
            let client = connections.get(*on)?;
            let former = first_value(client, &show_parameter(parameter)).await?;
            let former = former.with_context(|| format!("the server shows no value of {parameter}"))?;
            if same(&former, value) {
                return Ok(());
            }
            run(client, &set_parameter(parameter, value)).await?;
            let [from, to] = [&former, value].map(|value| shown_value(parameter, value));
            applied.changes.push(format!("{parameter}: {from} -> {to}"));
            applied.undo.push((*on, set_parameter(parameter, &former)));
        }
        Step::Statement { on, statement, unless, tolerate, only_if_empty, undo, .. } => {
            let client = connections.get(*on)?;
            if let Some(query) = only_if_empty
                && !sql::rows(client, query).await.map_err(|error| explain(&error, query))?.is_empty()
            {
                return Ok(());
            }
            if there(client, unless.as_ref()).await == Some(true) {
                return Ok(());
            }
            match sql::run(client, statement).await {
                Ok(()) => {
                    applied.changes.push(format!("made: {}", without_sql_secrets(statement)));
                    applied.undo.extend(undo.iter().map(|undo| (*on, undo.clone())));
                }
                Err(error) => {
                    let code = error.code().map(|code| code.code().to_string());
                    let by_code = || code.is_some_and(|code| tolerate.contains(&code));
                    // Somebody made it meanwhile, or it is there in a way that the first look did not see.
                    if !there(client, unless.as_ref()).await.unwrap_or_else(by_code) {
                        return Err(explain(&error, statement));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether what a step makes is there; `None`: there is no query that tells, or the server does not answer it.
async fn there(client: &Client, query: Option<&String>) -> Option<bool> {
    Some(!sql::rows(client, query?).await.ok()?.is_empty())
}

/// That the server shows the values that were set: one that takes them only later would be measured as it was.
pub async fn check_parameters(steps: &[Step], connections: &Connections) -> Result<()> {
    for step in steps {
        let Step::Parameter { on, parameter, value } = step else { continue };
        let shown = first_value(connections.get(*on)?, &show_parameter(parameter)).await?.unwrap_or_default();
        if !same(&shown, value) {
            let [value, shown] = [value, &shown].map(|value| shown_value(parameter, value));
            bail!(
                "{parameter} was set to {value}, and the server still shows {shown}: it takes effect at a reload or \
                    restart \
                 only; set it when the server starts"
            );
        }
    }
    Ok(())
}

/// Puts everything back, last change first; gives what was done, and goes on after an error to report the first. A
/// server that ended its sessions, or was started anew, is as much to be put back as any.
pub async fn restore(applied: Applied, connections: &mut Connections) -> Result<Vec<String>> {
    let (mut done, mut first_error) = (Vec::new(), None);
    for (on, statement) in applied.undo.into_iter().rev() {
        let session = match on {
            Connection::Internal => connections.internal.as_mut(),
            Connection::Sql => None,
        };
        match session.unwrap_or(&mut connections.sql).run_surely(&statement).await {
            Ok(()) => done.push(statement),
            Err(error) => {
                let error = error.context(format!("`{}` was not run", without_sql_secrets(&statement)));
                first_error = first_error.or(Some(error));
            }
        }
    }
    match first_error {
        Some(error) => Err(error.context("not everything could be put back")),
        None => Ok(done),
    }
}

/// `on` and `true` are one value; servers differ in how they show it.
fn same(shown: &str, wanted: &str) -> bool {
    let plain = |v: &str| match v.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" => "true".to_string(),
        "off" | "false" | "f" => "false".to_string(),
        other => other.to_string(),
    };
    let (shown, wanted) = (plain(shown), plain(wanted));
    let equal_numbers = || Some(shown.parse::<f64>().ok()? == wanted.parse::<f64>().ok()?);
    shown == wanted || equal_numbers() == Some(true)
}

/// A parameter's value; a secret's is not shown.
fn shown_value(parameter: &str, value: &str) -> String {
    shown_argument(&format!("{parameter}={value}")).split_once('=').map_or_else(String::new, |(_, value)| value.into())
}

async fn run(client: &Client, statement: &str) -> Result<()> {
    sql::run(client, statement).await.map_err(|error| explain(&error, statement))
}

async fn first_value(client: &Client, query: &str) -> Result<Option<String>> {
    sql::first_value(client, query).await.map_err(|error| explain(&error, query))
}

fn explain(error: &sql::Error, statement: &str) -> anyhow::Error {
    let cause = message_without_secrets(&sql::cause(error), statement);
    let statement = without_sql_secrets(statement);
    anyhow::anyhow!("set-up statement `{statement}` failed: {cause}; --no-setup leaves the server as it is")
}

#[cfg(test)]
mod tests {
    use super::{Duration, LoadError, RECOVERY, same, shown_value, within};
    use anyhow::anyhow;

    #[test]
    fn a_parameter_that_is_a_secret_has_its_value_hidden() {
        assert_eq!(shown_value("x.api_token", "S3CR"), "***");
        assert_eq!(shown_value("search_path", "a=b, c"), "a=b, c");
    }

    #[test]
    fn a_value_shown_in_another_form_is_the_same_value() {
        assert!(same("on", "true") && same("0", "0.0") && same("Serializable", "serializable"));
        assert!(!same("off", "true") && !same("0.01", "0") && !same("", "0"));
    }

    #[tokio::test]
    async fn a_server_that_starts_anew_is_waited_for_and_no_other() {
        let refused = |sqlstate: &str| {
            let message = "the database system is in recovery mode".into();
            anyhow!(LoadError::NotNow { at: "db:5432".into(), sqlstate: sqlstate.into(), message })
                .context("a teardown")
        };
        // After so many attempts it is up; how often it was tried.
        let tried = async |limit, error: anyhow::Error, up_after: u64| {
            let (mut error, mut attempts) = (Some(error), 0);
            let done = within(limit, async || {
                attempts += 1;
                if attempts > up_after { Ok(()) } else { Err(error.take().unwrap_or_else(|| refused("57P03"))) }
            });
            (done.await.is_ok(), attempts)
        };
        assert_eq!(tried(RECOVERY, refused("57P03"), 3).await, (true, 4));
        assert_eq!(tried(RECOVERY, refused("57P01"), 3).await, (false, 1), "it is shut down");
        assert_eq!(tried(RECOVERY, anyhow!("no such table"), 3).await, (false, 1));
        assert_eq!(tried(Duration::ZERO, refused("57P03"), 3).await, (false, 1), "the time is over");
    }
}
