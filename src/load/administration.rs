//! Connections for set-up and administration, by tokio-postgres; the load has a loop of its own.

use super::connect::Connector;
use super::{Address, LoadError, tls};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connects as the address says. The connection's task ends with the client.
pub async fn connect(address: &Address) -> Result<Client> {
    let shown = address.shown();
    let config: Result<_, LoadError> = tls::configure(&address.verify, &shown);
    let connected = address.config().connect(MakeRustlsConnect::new((*config?).clone())).await;
    let (client, connection) =
        connected.with_context(|| format!("cannot connect to {shown}; correct the URL, or start the server"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Connects, authenticates and closes again, on the load's own terms, whose errors tell cause and remedy.
pub fn check(address: &Address) -> Result<(), LoadError> {
    Connector::new(address, Duration::from_secs(10))?.open()?.close();
    Ok(())
}
