//! The coordinator: one thread through which pass the start and end of every session and, unless it is sequenced in the
//! frontend, every peek. Invariant: messages are handled one at a time, and each is observed by
//! `mz_slow_message_handling` under its kind.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};

use super::catalog::Table;
use super::frontend_peek::PeekResponse;
use super::{Adapter, SqlError};
use crate::timestamp_oracle::Timestamp;

type PeekAnswer = oneshot::Sender<Result<PeekResponse, SqlError>>;

enum Message {
    Startup { session_type: &'static str, done: oneshot::Sender<()> },
    Terminate { session_type: &'static str },
    Execute { table: String, serializable: bool, answer: PeekAnswer },
    PeekStageReady { table: Arc<Table>, as_of: Timestamp, answer: PeekAnswer },
    RegisterFrontendPeek { sent: Instant, done: oneshot::Sender<()> },
}

impl Message {
    fn kind(&self) -> &'static str {
        match self {
            Message::Startup { .. } => "command-startup",
            Message::Terminate { .. } => "command-terminate",
            Message::Execute { .. } => "command-execute",
            Message::PeekStageReady { .. } => "peek_stage_ready",
            Message::RegisterFrontendPeek { .. } => "register-frontend-peek",
        }
    }
}

/// Sends to the coordinator; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    /// Told whenever a session began or ended, since that is written to a table.
    pub session_changes: Arc<Notify>,
}

/// The receiving end, until the coordinator runs.
pub struct Inbox(mpsc::UnboundedReceiver<Message>);

pub fn channel() -> (Handle, Inbox) {
    let (messages, receiver) = mpsc::unbounded_channel();
    (Handle { messages, session_changes: Arc::default() }, Inbox(receiver))
}

impl Handle {
    fn send(&self, message: Message) -> Result<(), SqlError> {
        self.messages.send(message).map_err(|_| shutting_down())
    }

    pub async fn startup(&self, session_type: &'static str) -> Result<(), SqlError> {
        let (done, started) = oneshot::channel();
        self.send(Message::Startup { session_type, done })?;
        started.await.map_err(|_| shutting_down())
    }

    pub fn terminate(&self, session_type: &'static str) {
        // A coordinator that is gone counts no sessions.
        let _ = self.send(Message::Terminate { session_type });
    }

    pub async fn execute_peek(&self, table: &str, serializable: bool) -> Result<PeekResponse, SqlError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Execute { table: table.to_owned(), serializable, answer })?;
        answered.await.map_err(|_| shutting_down())?
    }

    pub async fn register_frontend_peek(&self) -> Result<(), SqlError> {
        let (done, registered) = oneshot::channel();
        self.send(Message::RegisterFrontendPeek { sent: Instant::now(), done })?;
        registered.await.map_err(|_| shutting_down())
    }
}

fn shutting_down() -> SqlError {
    SqlError::new("57P01", "the testbed is shutting down")
}

/// Runs the coordinator on a thread of its own, as long as the process lives.
pub fn start(inbox: Inbox, adapter: Arc<Adapter>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Handle::current();
    let coordinator = Coordinator { adapter };
    std::thread::Builder::new()
        .name("coordinator".to_owned())
        .spawn(move || runtime.block_on(coordinator.run(inbox.0)))
        .map(drop)
}

struct Coordinator {
    adapter: Arc<Adapter>,
}

impl Coordinator {
    async fn run(self, mut messages: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = messages.recv().await {
            let start = Instant::now();
            let kind = message.kind();
            self.handle_message(message);
            let handled = &self.adapter.metrics.coordinator.messages;
            handled.with_label_values(&[kind]).observe(start.elapsed().as_secs_f64());
        }
    }

    #[inline(never)]
    fn handle_message(&self, message: Message) {
        match message {
            Message::Startup { session_type, done } => {
                self.adapter.metrics.coordinator.sessions.with_label_values(&[session_type]).inc();
                self.adapter.coordinator.session_changes.notify_one();
                answer(done, ());
            }
            Message::Terminate { session_type } => {
                self.adapter.metrics.coordinator.sessions.with_label_values(&[session_type]).dec();
                self.adapter.coordinator.session_changes.notify_one();
            }
            Message::Execute { table, serializable, answer: to } => self.sequence_peek(&table, serializable, to),
            Message::PeekStageReady { table, as_of, answer: to } => answer(to, self.finish_peek(&table, Some(as_of))),
            Message::RegisterFrontendPeek { sent, done } => {
                self.adapter.planted.coordinator(sent.elapsed());
                answer(done, ());
            }
        }
    }

    /// Plans the peek; what must wait for the oracle comes back as `PeekStageReady`.
    #[inline(never)]
    fn sequence_peek(&self, table: &str, serializable: bool, to: PeekAnswer) {
        let table = match self.adapter.catalog.table(table) {
            Ok(table) => table,
            Err(error) => return answer(to, Err(error)),
        };
        if serializable {
            return answer(to, self.finish_peek(&table, None));
        }
        let adapter = Arc::clone(&self.adapter);
        tokio::spawn(async move {
            match adapter.oracle.read_ts().await {
                // Sending fails only when the coordinator has ended: then nobody waits.
                Ok(as_of) => drop(adapter.coordinator.send(Message::PeekStageReady { table, as_of, answer: to })),
                Err(error) => answer(to, Err(SqlError::new("XX000", error.to_string()))),
            }
        });
    }

    #[inline(never)]
    fn finish_peek(&self, table: &Table, as_of: Option<Timestamp>) -> Result<PeekResponse, SqlError> {
        let rows = self.adapter.faults.spoil(table.peek(as_of))?;
        Ok(PeekResponse { columns: Arc::clone(&table.columns), rows })
    }
}

/// Answers, unless the asker went away.
fn answer<T>(to: oneshot::Sender<T>, value: T) {
    let _ = to.send(value);
}
