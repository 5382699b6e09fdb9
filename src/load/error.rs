//! Why a load cannot be driven. Invariant: each error names the thing, the cause and the remedy; none holds a password.

use crate::connection::SettingError;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can go wrong before and while a load runs. All but [`LoadError::Usage`], [`LoadError::Setting`] and
/// [`LoadError::Statement`] mean that the environment does not permit it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(
        "statement `{sql}` fails: {message} (SQLSTATE {sqlstate}); correct it, or create what it needs (the workload's \
         [setup] section runs statements first)"
    )]
    Statement { sql: String, sqlstate: String, message: String },
    #[error("nothing listens at {at}: {cause}; start the server, or correct host and port in the URL")]
    Closed { at: String, cause: std::io::Error },
    #[error("host {host:?} has no address: {cause}; correct the host in the URL")]
    NoAddress { host: String, cause: String },
    #[error("cannot connect to {at}: {cause}; check host, port and firewall")]
    Unreachable { at: String, cause: std::io::Error },
    #[error(
        "{at} did not answer within {limit:?} ({during}); is it a PostgreSQL-protocol port, and has the server free \
            connections?"
    )]
    Silent { at: String, during: &'static str, limit: Duration },
    #[error("{at} does not speak the PostgreSQL protocol: it answered {got}; give the SQL port, not the HTTP one")]
    NotPostgres { at: String, got: String },
    #[error("{at} closed the connection {during}; look into the server's log")]
    Hangup { at: String, during: &'static str },
    #[error("{at} does not accept the password of user {user:?} ({message}; password from {from}); correct it there")]
    WrongPassword { at: String, user: String, message: String, from: String },
    #[error(
        "{at} wants a password of user {user:?} and there is none; put it into the URL, PGPASSWORD or {}{}",
        if passfile.as_os_str().is_empty() { Path::new("the file that PGPASSFILE names") } else { passfile }.display(),
        ignored.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    NoPassword { at: String, user: String, passfile: PathBuf, ignored: Option<String> },
    #[error("{at} has no database {database:?}: {message}; create it, or name another one at the end of the URL")]
    NoDatabase { at: String, database: String, message: String },
    #[error(
        "{at} admits no more connections after {opened} of {wanted}: {message}; raise max_connections, or lower the \
            level"
    )]
    TooMany { at: String, opened: usize, wanted: usize, message: String },
    #[error("{at} refuses the session: {message} (SQLSTATE {sqlstate}); correct user, database and options in the URL")]
    Refused { at: String, sqlstate: String, message: String },
    #[error(
        "{at} asks for authentication by {method}, which is not supported; configure trust, password, md5 or \
            scram-sha-256"
    )]
    Method { at: String, method: String },
    #[error("{at} does not offer TLS; add `sslmode=disable` to the URL, or switch TLS on in the server")]
    NoTls { at: String },
    #[error("TLS with {at} fails: {cause}; {remedy}")]
    Tls { at: String, cause: String, remedy: &'static str },
    #[error("connection to {at} failed {during}: {cause}; look into the server's log")]
    Broken { at: String, during: &'static str, cause: std::io::Error },
    #[error("the machine does not permit it: {what}: {cause}; {remedy}")]
    System { what: &'static str, cause: std::io::Error, remedy: &'static str },
    #[error("{program}: {problem}; {remedy}")]
    Dbbench { program: String, problem: String, remedy: String },
}

impl LoadError {
    /// The environment is at fault, not the user's command or statement.
    pub fn is_environment(&self) -> bool {
        !matches!(self, LoadError::Usage(_) | LoadError::Setting(_) | LoadError::Statement { .. })
    }
}
