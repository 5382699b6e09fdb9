//! The PostgreSQL wire protocol: listeners, connections, messages. Invariant: responses leave when the connection next
//! waits for input, so that one request costs one write.

mod authentication;
mod connection;
mod deep_stack;
mod deferred;
mod encode;
mod handler;

use std::sync::Arc;

use tokio::net::TcpListener;

use super::adapter::Adapter;
use super::options::Authentication;

/// What a port is for.
#[derive(Clone)]
pub struct Port {
    pub internal: bool,
    pub authentication: Authentication,
    pub password: Option<Arc<str>>,
}

impl Port {
    /// The value of the label `source` of `mz_connection_status`.
    fn source(&self) -> &'static str {
        if self.internal { "internal" } else { "external" }
    }
}

/// Accepts connections until the runtime ends.
pub async fn listen(listener: TcpListener, port: Port, adapter: Arc<Adapter>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: wait for some to be closed.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection::handle(socket, port.clone(), Arc::clone(&adapter)));
    }
}
