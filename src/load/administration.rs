//! Connections for set-up and administration, by tokio-postgres; the load has a loop of its own.

use super::address::Endpoint;
use super::connect::Connector;
use super::{Address, LoadError, tls};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connects as the address says. The connection's task ends with the client.
pub async fn connect(address: &Address) -> Result<Client> {
    let shown = address.shown();
    let hint = || format!("cannot connect to {shown}; correct the URL, or start the server");
    // As libpq does: a Unix socket has no TLS, and no host name that a certificate could hold.
    if matches!(address.endpoint, Endpoint::Unix(_)) {
        let mut server = address.config().clone();
        server.ssl_mode(SslMode::Disable);
        let (client, connection) = server.connect(NoTls).await.with_context(hint)?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let tls: Result<_, LoadError> = tls::configure(&address.verify, &shown);
    let connected = address.config().connect(MakeRustlsConnect::new((*tls?).clone())).await;
    let (client, connection) = connected.with_context(hint)?;
    tokio::spawn(connection);
    Ok(client)
}

/// Connects, authenticates and closes again, on the load's own terms, whose errors tell cause and remedy.
pub fn check(address: &Address) -> Result<(), LoadError> {
    Connector::new(address, Duration::from_secs(10))?.open()?.close();
    Ok(())
}
