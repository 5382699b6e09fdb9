//! Why a load cannot be driven. Invariant: each error names the thing, the cause and the remedy; none holds a password.

use crate::connection::SettingError;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can go wrong before and while a load runs. All but [`LoadError::Usage`], [`LoadError::Setting`] and
/// [`LoadError::Statement`] mean that the environment does not permit it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command or the workload asks for what cannot be sent; the text says what and how to mend it.
    #[error("{0}")]
    Usage(String),
    /// A connection setting cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A statement of the workload fails before the load, when it is prepared or run once.
    #[error("statement `{sql}` fails: {message} (SQLSTATE {sqlstate}); {}", remedy(sqlstate))]
    Statement {
        /// The statement, cut after 200 characters, or the job that it is of.
        sql: String,
        /// Five characters (PostgreSQL documentation, appendix "Error Codes").
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// Nothing listens at the server's address: connection refused, or no such socket.
    #[error("nothing listens at {at}: {cause}; start the server, or correct host and port in the URL")]
    Closed {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The host name cannot be resolved.
    #[error("host {host:?} has no address: {cause}; correct the host in the URL")]
    NoAddress {
        /// As the URL names it.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// The connection cannot be made for another cause, such as a network without a route.
    #[error("cannot connect to {at}: {cause}; check host, port and firewall")]
    Unreachable {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// No connection or no answer came within the time limit.
    #[error(
        "{at} did not answer within {limit:?} ({during}); is it a PostgreSQL-protocol port, and has the server free \
            connections?"
    )]
    Silent {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What was under way, as the message says it: `connecting`, `at start-up`.
        during: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The answer is no message of the PostgreSQL protocol.
    #[error("{at} does not speak the PostgreSQL protocol: it answered {got}; give the SQL port, not the HTTP one")]
    NotPostgres {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What it answered instead, in words.
        got: String,
    },
    /// The server ended the connection.
    #[error("{at} closed the connection {during}; look into the server's log")]
    Hangup {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What was under way, as the message says it: `connecting`, `at start-up`.
        during: &'static str,
    },
    /// The server refuses the password (SQLSTATE 28P01), or does not prove that it knows it (SCRAM).
    #[error("{at} does not accept the password of user {user:?} ({message}; password from {from}); correct it there")]
    WrongPassword {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Whose password it is.
        user: String,
        /// The server's message, or why SCRAM failed.
        message: String,
        /// Where the password was found.
        from: String,
    },
    /// The server asks for a password and none was found.
    #[error(
        "{at} wants a password of user {user:?} and there is none; put it into the URL, PGPASSWORD or {}{}",
        if passfile.as_os_str().is_empty() { Path::new("the file that PGPASSFILE names") } else { passfile }.display(),
        ignored.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    NoPassword {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Whose password is wanted.
        user: String,
        /// The password file that was looked into, or would have been; empty where `PGPASSFILE` names none.
        passfile: PathBuf,
        /// Why that file was left alone; `None` where it was read or does not exist.
        ignored: Option<String>,
    },
    /// The server has no database of this name (SQLSTATE 3D000).
    #[error("{at} has no database {database:?}: {message}; create it, or name another one at the end of the URL")]
    NoDatabase {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Its name.
        database: String,
        /// The server's message.
        message: String,
    },
    /// The server admits no more connections (SQLSTATE 53300).
    #[error(
        "{at} admits no more connections after {opened} of {wanted}: {message}; raise max_connections, or lower the \
            level"
    )]
    TooMany {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Connections that were open by then.
        opened: usize,
        /// Connections that the level needs.
        wanted: usize,
        /// The server's message.
        message: String,
    },
    /// The server starts or ends, and admits nobody now (class 57 of SQLSTATE, operator intervention).
    #[error("{at} admits no session now: {message} (SQLSTATE {sqlstate}); begin again once the server runs")]
    NotNow {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Five characters (PostgreSQL documentation, appendix "Error Codes").
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// The server refuses the session for another cause.
    #[error("{at} refuses the session: {message} (SQLSTATE {sqlstate}); correct user, database and options in the URL")]
    Refused {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Five characters (PostgreSQL documentation, appendix "Error Codes").
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// The server asks for a kind of authentication that is not supported.
    #[error(
        "{at} asks for authentication by {method}, which is not supported; configure trust, password, md5 or \
            scram-sha-256"
    )]
    Method {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// Its name or, of an unknown one, its number; of SASL the mechanisms on offer.
        method: String,
    },
    /// The URL requires TLS and the server does not offer it.
    #[error("{at} does not offer TLS; add `sslmode=disable` to the URL, or switch TLS on in the server")]
    NoTls {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
    },
    /// The TLS handshake or its settings fail.
    #[error("TLS with {at} fails: {cause}; {remedy}")]
    Tls {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What the TLS library said, or which file cannot be used.
        cause: String,
        /// What the user can do about it.
        remedy: &'static str,
    },
    /// The connection fails in the middle of the conversation.
    #[error("connection to {at} failed {during}: {cause}; look into the server's log")]
    Broken {
        /// The server: `host:port`, or the path of its Unix socket.
        at: String,
        /// What was under way, as the message says it: `connecting`, `at start-up`.
        during: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The operating system refuses something that the load needs.
    #[error("the machine does not permit it: {what}: {cause}; {remedy}")]
    System {
        /// What was to be made or set.
        what: &'static str,
        /// What the system said.
        cause: std::io::Error,
        /// What the user can do about it.
        remedy: &'static str,
    },
    /// The user's dbbench cannot be used, or ended before its time.
    #[error("{program}: {problem}; {remedy}")]
    Dbbench {
        /// Its path.
        program: String,
        /// What is wrong.
        problem: String,
        /// What the user can do about it.
        remedy: String,
    },
}

impl LoadError {
    /// The environment is at fault, not the user's command or statement.
    pub fn is_environment(&self) -> bool {
        let stated = matches!(self, LoadError::Statement { .. }) && !self.is_servers_state();
        !stated && !matches!(self, LoadError::Usage(_) | LoadError::Setting(_))
    }

    /// A statement fails for what the server is in, such as its shutdown, whatever the statement.
    pub fn is_servers_state(&self) -> bool {
        matches!(self, LoadError::Statement { sqlstate, .. } if OF_THE_SERVER.contains(&class(sqlstate)))
    }
}

/// Classes of SQLSTATE that tell of the server and not of the statement: connections, rollbacks for concurrency,
/// resources, states of objects, operators' interventions, the system, its own faults (PostgreSQL documentation,
/// appendix "Error Codes").
const OF_THE_SERVER: [&str; 7] = ["08", "40", "53", "55", "57", "58", "XX"];

fn class(sqlstate: &str) -> &str {
    sqlstate.get(..2).unwrap_or_default()
}

fn remedy(sqlstate: &str) -> &'static str {
    match OF_THE_SERVER.contains(&class(sqlstate)) {
        true => "look into the server's log",
        false => "correct it, or create what it needs (the workload's [setup] section runs statements first)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_shuts_down_is_no_fault_of_the_statement() {
        let fails = |sqlstate: &str| LoadError::Statement {
            sql: "select 1".into(),
            sqlstate: sqlstate.into(),
            message: "no".into(),
        };
        for (sqlstate, environment, remedy) in
            [("57P01", true, "log"), ("XX000", true, "log"), ("42P01", false, "[setup]"), ("2", false, "[setup]")]
        {
            let error = fails(sqlstate);
            assert_eq!(error.is_environment(), environment, "{sqlstate}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
