//! One connection from accept to close. Invariant: each connection is counted once in `mz_connection_status`, when it
//! ends; each message of a session once in `mz_pgwire_message_processing_seconds`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::tokio::server::{PgWireMessageServerCodec, negotiate_tls, process_error, process_message};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, FramedParts};

use super::Port;
use super::deep_stack;
use super::deferred::DeferredWrites;
use super::handler::Handler;
use crate::adapter::Adapter;
use crate::adapter::statement::Statement;

type Codec = PgWireMessageServerCodec<Arc<Statement>>;
type Socket = Framed<DeferredWrites<pgwire::tokio::server::MaybeTls>, Codec>;

/// A client that has not authenticated by then is dropped.
const STARTUP_PATIENCE: Duration = Duration::from_secs(60);

pub async fn handle(socket: TcpStream, port: Port, adapter: Arc<Adapter>) {
    let result = match negotiate_tls(socket, None).await {
        Ok(Some(framed)) => {
            let handler = Arc::new(Handler::new(port.clone(), Arc::clone(&adapter)));
            let session = serve(defer_writes(framed), handler, &adapter);
            match adapter.planted.deep_stack() {
                Some(size) => deep_stack::beneath(&adapter.planted, size, session).await,
                None => session.await,
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let status = if result.is_ok() { "success" } else { "error" };
    adapter.metrics.protocol.connections.with_label_values(&[port.source(), status]).inc();
}

fn defer_writes(framed: Framed<pgwire::tokio::server::MaybeTls, Codec>) -> Socket {
    let old = framed.into_parts();
    let mut parts = FramedParts::new(DeferredWrites::new(old.io), old.codec);
    parts.read_buf = old.read_buf;
    parts.write_buf = old.write_buf;
    Framed::from_parts(parts)
}

async fn serve(mut socket: Socket, handler: Arc<Handler>, adapter: &Adapter) -> io::Result<()> {
    let startup_ends = tokio::time::Instant::now() + STARTUP_PATIENCE;
    let noop = Arc::new(NoopHandler);
    loop {
        let starting = matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        let received = match starting {
            true => tokio::time::timeout_at(startup_ends, socket.next()).await.unwrap_or(None),
            false => socket.next().await,
        };
        let message = match received {
            None => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(message)) => message,
        };
        let start = Instant::now();
        let (kind, extended) = (message_kind(&message), message.is_extended_query());
        let cancels = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let (startup, simple, query) = (Arc::clone(&handler), Arc::clone(&handler), Arc::clone(&handler));
        let (copy, cancel) = (Arc::clone(&noop), Arc::clone(&noop));
        let processed = process_message(message, &mut socket, startup, simple, query, copy, cancel).await;
        if let Some(kind) = kind {
            adapter.metrics.protocol.messages.with_label_values(&[kind]).observe(start.elapsed().as_secs_f64());
        }
        if let Err(error) = processed {
            let fatal = error.is_fatal();
            process_error(&mut socket, error, extended).await?;
            if fatal {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        if cancels {
            return Ok(());
        }
    }
}

/// The value of the label `message_type`; `None` for what comes before a session.
fn message_kind(message: &PgWireFrontendMessage) -> Option<&'static str> {
    let kind = match message {
        PgWireFrontendMessage::Query(_) => "query",
        PgWireFrontendMessage::Parse(_) => "parse",
        PgWireFrontendMessage::Bind(_) => "bind",
        PgWireFrontendMessage::Describe(_) => "describe_statement",
        PgWireFrontendMessage::Execute(_) => "execute",
        PgWireFrontendMessage::Sync(_) => "sync",
        PgWireFrontendMessage::Flush(_) => "flush",
        PgWireFrontendMessage::Close(_) => "close_statement",
        PgWireFrontendMessage::PasswordMessageFamily(_) => "password",
        _ => return None,
    };
    Some(kind)
}
