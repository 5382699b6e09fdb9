//! Connections for set-up and administration, by tokio-postgres; the load has a loop of its own. Invariant: they use
//! TLS where the load's do.

use super::connect::Connector;
use super::{LoadError, tls};
use crate::connection::{Address, TlsMode};
use anyhow::{Context, Result};
use rustls::ClientConfig;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connects as the address says. The connection's task ends with the client.
///
/// # Errors
/// Where the TLS files cannot be used, or no way of connecting that the `sslmode` permits succeeds: then the
/// first one's cause.
pub async fn connect(address: &Address) -> Result<Client> {
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
        match attempt(address, *mode, &tls).await {
            Ok(client) => return Ok(client),
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

async fn attempt(address: &Address, mode: SslMode, tls: &ClientConfig) -> Result<Client, tokio_postgres::Error> {
    let mut config = address.config();
    config.ssl_mode(mode);
    // A Unix socket has no host name that the connector of TLS would take.
    if mode == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls.clone())).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Connects, authenticates and closes again, on the load's own terms, whose errors tell cause and remedy.
pub fn check(address: &Address) -> Result<(), LoadError> {
    Connector::new(address, Duration::from_secs(10))?.open()?.close();
    Ok(())
}
