//! Connections for set-up and administration, by tokio-postgres; the load has a loop of its own. Invariant: they use
//! TLS where the load's do.

use super::connect::Connector;
use super::{LoadError, tls};
use crate::connection::{Address, TlsMode};
use anyhow::{Context, Result};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// For the connection until it is ready; a `connect_timeout` in the URL goes before.
const LIMIT: Duration = Duration::from_secs(10);

/// Connects as the address says. The connection's task ends with the client.
///
/// # Errors
/// Where the TLS files cannot be used, or no way of connecting that the `sslmode` permits succeeds: then the
/// first one's cause.
pub async fn connect(address: &Address) -> Result<Client> {
    Ok(connect_told(address, &[]).await?.0)
}

/// As [`connect`], with those of the named parameters that the server told the session when it began (ParameterStatus
/// of the protocol).
///
/// # Errors
/// As [`connect`].
pub async fn connect_told(address: &Address, names: &[String]) -> Result<(Client, BTreeMap<String, String>)> {
    let limit = address.timeout.unwrap_or(LIMIT);
    let silent = || LoadError::Silent { at: address.at(), during: "at start-up", limit };
    tokio::time::timeout(limit, connect_in_time(address, names)).await.unwrap_or_else(|_| Err(silent().into()))
}

/// As [`connect_told`], for as long as it takes.
async fn connect_in_time(address: &Address, names: &[String]) -> Result<(Client, BTreeMap<String, String>)> {
    let shown = address.shown();
    let hint = || format!("cannot connect to {shown}; correct the URL, or start the server");
    let tls = tls::configure(&address.encryption, &shown)?;
    let modes: &[SslMode] = match address.encryption.mode {
        TlsMode::Disable => &[SslMode::Disable],
        TlsMode::Allow => &[SslMode::Disable, SslMode::Require],
        TlsMode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        TlsMode::Require => &[SslMode::Require],
    };
    let mut first = None;
    for mode in modes {
        match attempt(address, *mode, &tls, names).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                // A server that refuses the user or the password will not think better of it.
                let other_way = error.code().is_none_or(|code| *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
                first = first.or(Some(error));
                if !other_way {
                    break;
                }
            }
        }
    }
    Err(first.expect("there is a first mode")).with_context(hint)
}

/// A client, and what the server told it.
type Told = (Client, BTreeMap<String, String>);

async fn attempt(
    address: &Address,
    mode: SslMode,
    tls: &ClientConfig,
    names: &[String],
) -> Result<Told, tokio_postgres::Error> {
    let mut config = address.config();
    config.ssl_mode(mode);
    // A Unix socket has no host name that the connector of TLS would take.
    if mode == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await?;
        let told = told(names, |name| connection.parameter(name));
        tokio::spawn(connection);
        return Ok((client, told));
    }
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls.clone())).await?;
    let told = told(names, |name| connection.parameter(name));
    tokio::spawn(connection);
    Ok((client, told))
}

fn told<'a>(names: &[String], value: impl Fn(&str) -> Option<&'a str>) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), value(name)?.to_string()))).collect()
}

/// Connects, authenticates and closes again, on the load's own terms, whose errors tell cause and remedy.
pub fn check(address: &Address) -> Result<(), LoadError> {
    Connector::new(address, LIMIT)?.open()?.close();
    Ok(())
}

/// Looks up the server's host, and asks nobody else.
///
/// # Errors
/// [`LoadError::NoAddress`].
pub fn look_up(address: &Address) -> Result<(), LoadError> {
    Connector::look_up(address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_given_up_in_time() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://me@127.0.0.1:{port}/db?sslmode=disable&connect_timeout=2");
        let error = connect(&Address::parse(&url).unwrap()).await.err().unwrap();
        assert!(matches!(error.downcast_ref(), Some(LoadError::Silent { .. })), "{error:#}");
    }
}
