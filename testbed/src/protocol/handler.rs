//! One connection's messages, from the protocol library's traits to the session. Invariant: nothing is executed before
//! the client is authenticated and its session announced.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::Port;
use super::authentication::{self, Challenge};
use super::encode;
use crate::adapter::client::{Outcome, SYSTEM_USER, SessionClient};
use crate::adapter::statement::{self, Statement};
use crate::adapter::{Adapter, SqlError};

pub struct Handler {
    port: Port,
    adapter: Arc<Adapter>,
    challenge: Mutex<Option<Challenge>>,
    session: Arc<OnceLock<SessionClient>>,
}

impl From<SqlError> for PgWireError {
    fn from(error: SqlError) -> Self {
        PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), error.code.to_owned(), error.message)))
    }
}

/// An error that ends the connection, as every error does before its session has begun.
fn fatal(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), error.code.to_owned(), error.message)))
}

impl Handler {
    pub fn new(port: Port, adapter: Arc<Adapter>) -> Self {
        Handler { port, adapter, challenge: Mutex::default(), session: Arc::default() }
    }

    fn session(&self) -> PgWireResult<&SessionClient> {
        session_of(&self.session)
    }

    /// The client is who it says: announce its session and apply its parameters.
    async fn begin_session<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let user = authentication::user(client);
        if self.port.internal != (user == SYSTEM_USER) {
            let message = match self.port.internal {
                true => format!("unauthorized login to user '{user}': the internal port is for {SYSTEM_USER}"),
                false => format!("unauthorized login to user '{user}': use the internal port"),
            };
            return Err(fatal(SqlError::new("28000", message)));
        }
        let session = SessionClient::start(Arc::clone(&self.adapter), self.port.internal).await.map_err(fatal)?;
        for (name, value) in startup_settings(client.metadata()) {
            session.set(&name, &value).map_err(fatal)?;
        }
        let again = self.session.set(session).is_err();
        if again {
            return Err(PgWireError::InvalidStartupMessage);
        }
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = "15.0 (wireprof-testbed)".to_owned();
        finish_authentication(client, &parameters).await
    }
}

/// The statements of a text; observed in `mz_parse_seconds`.
fn parse(session: &SessionClient, sql: &str) -> PgWireResult<Vec<Statement>> {
    let start = Instant::now();
    let statements = statement::parse(sql);
    session.adapter().metrics.protocol.parse.observe(start.elapsed().as_secs_f64());
    Ok(statements?)
}

fn session_of(session: &OnceLock<SessionClient>) -> PgWireResult<&SessionClient> {
    session.get().ok_or(PgWireError::NotReadyForQuery)
}

/// Settings given when connecting: as parameters, and in `options` as `-c name=value` or `--name=value`.
fn startup_settings(parameters: &std::collections::HashMap<String, String>) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => settings.extend(options(value)),
            name if name.starts_with("_pq_.") => {}
            _ => settings.push((name.clone(), value.clone())),
        }
    }
    settings
}

/// A backslash makes the next character ordinary, as PostgreSQL has it.
fn options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(characters.next())),
            ' ' => words.push(String::new()),
            _ => words.last_mut().into_iter().for_each(|word| word.push(character)),
        }
    }
    let assignments = words.iter().map(|word| word.trim_start_matches("--").trim_start_matches("-c"));
    assignments
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[async_trait]
impl StartupHandler for Handler {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let Some(challenge) = Challenge::send(client, &self.port).await? else {
                    return self.begin_session(client).await;
                };
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                *self.challenge.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(challenge);
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let challenge = self.challenge.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
                let challenge = challenge.ok_or(PgWireError::InvalidStartupMessage)?;
                challenge.check(client, &message.into_password()?.password)?;
                self.begin_session(client).await
            }
            _ => Err(PgWireError::InvalidStartupMessage),
        }
    }
}

#[async_trait]
impl SimpleQueryHandler for Handler {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = parse(self.session()?, query)?;
        let mut responses = Vec::with_capacity(statements.len().max(1));
        for statement in &statements {
            match self.respond(statement, None).await {
                Ok(response) => responses.push(response),
                // What was done before the error has been done; PostgreSQL too answers the statements before it.
                Err(PgWireError::UserError(error)) => {
                    responses.push(Response::Error(error));
                    break;
                }
                Err(other) => return Err(other),
            }
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

impl Handler {
    /// Answers here, or in a task of its own if that was asked for.
    async fn respond(&self, statement: &Statement, format: Option<&Format>) -> PgWireResult<Response> {
        match self.adapter.task_per_query {
            true => self.join_query_task(statement, format).await,
            false => respond(self.session()?, statement, format).await,
        }
    }

    async fn join_query_task(&self, statement: &Statement, format: Option<&Format>) -> PgWireResult<Response> {
        let task = tokio::spawn(query_task(Arc::clone(&self.session), statement.clone(), format.cloned()));
        let ended = |error| SqlError::new("XX000", format!("the query's task ended without an answer: {error}"));
        task.await.map_err(ended)?
    }
}

/// The task of one query.
async fn query_task(
    session: Arc<OnceLock<SessionClient>>,
    statement: Statement,
    format: Option<Format>,
) -> PgWireResult<Response> {
    respond(session_of(&session)?, &statement, format.as_ref()).await
}

async fn respond(session: &SessionClient, statement: &Statement, format: Option<&Format>) -> PgWireResult<Response> {
    match session.execute(statement).await? {
        Outcome::Rows(rows) => {
            let mut response = encode::encode_response(&rows, format, &session.adapter().planted)?;
            if matches!(statement, Statement::Show { .. }) {
                response.set_command_tag("SHOW");
            }
            Ok(Response::Query(response))
        }
        Outcome::Done(tag, None) => Ok(Response::Execution(Tag::new(tag))),
        Outcome::Done(tag, Some(count)) => Ok(Response::Execution(Tag::new(tag).with_rows(count))),
        Outcome::TransactionStart => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
        Outcome::TransactionEnd(tag) => Ok(Response::TransactionEnd(Tag::new(tag))),
    }
}

/// Parses for the extended protocol; knows the session, because descriptions need its settings.
pub struct Parser {
    session: Arc<OnceLock<SessionClient>>,
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Arc<Statement>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Arc<Statement>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = parse(session_of(&self.session)?, sql)?;
        if statements.len() > 1 {
            return Err(SqlError::syntax("cannot insert multiple commands into a prepared statement").into());
        }
        let Some(statement) = statements.pop() else { return Ok(None) };
        // A table that does not exist is an error now, not at the first execution.
        session_of(&self.session)?.columns(&statement)?;
        Ok(Some(Arc::new(statement)))
    }

    fn get_parameter_types(&self, _statement: &Arc<Statement>) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, statement: &Arc<Statement>, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let columns = session_of(&self.session)?.columns(statement)?;
        Ok(columns.map(|columns| encode::describe(&columns, format)).unwrap_or_default())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handler {
    type Statement = Arc<Statement>;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser { session: Arc::clone(&self.session) })
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Arc<Statement>>,
        _rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Statement>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.respond(&portal.statement.statement, Some(&portal.result_column_format)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_spellings_with_escaped_blanks() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("transaction_isolation", "strict serializable"), pair("cluster", "x")];
        assert_eq!(options(r"-c transaction_isolation=strict\ serializable --cluster=x"), expected);
        assert_eq!(options("-ccluster=x"), [pair("cluster", "x")]);
    }
}
