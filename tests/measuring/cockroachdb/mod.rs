//! A stand-in for CockroachDB: a server of the wire protocol before a real PostgreSQL. PostgreSQL answers everything,
//! also the tables of `crdb_internal`, which are views of its pg_stat_statements; the server before it has
//! CockroachDB's name and its session variable, which PostgreSQL refuses. Invariant: no figure is made up: each is
//! PostgreSQL's own at the time it is asked for.

#![allow(dead_code, reason = "each test file uses a part of it")]

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::StartupHandler;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

const TABLES: &str = include_str!("crdb_internal.sql");

/// What CockroachDB's versions do differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Plain,
    /// `reset_sql_stats` answers and clears nothing.
    ResetWithoutEffect,
    /// The internal tables are refused until the session sets its variable (26.1 on).
    Gated,
    /// No CockroachDB at all: a server that has one SQLSTATE for all that is wrong.
    OneCode,
}

/// Serves on a port of 127.0.0.1 for as long as the process lives.
pub struct StandIn {
    pub port: u16,
}

impl StandIn {
    /// Makes the tables in the PostgreSQL at this URL and serves before it.
    pub fn start(postgres: &str, version: Version) -> StandIn {
        let (tell, port) = std::sync::mpsc::channel();
        let postgres = postgres.to_string();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                if version != Version::OneCode {
                    make_tables(&postgres, version).await;
                }
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap().port()).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let handlers = Handlers(Arc::new(Session::open(&postgres, version).await));
                    tokio::spawn(pgwire::tokio::process_socket(socket, None, handlers));
                }
            });
        });
        StandIn { port: port.recv().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("postgres://root@127.0.0.1:{}/defaultdb", self.port)
    }
}

async fn make_tables(postgres: &str, version: Version) {
    let client = connect(postgres).await.unwrap();
    let clears = if version == Version::ResetWithoutEffect { "" } else { "SELECT pg_stat_statements_reset();" };
    let reset = format!(
        "CREATE FUNCTION crdb_internal.reset_sql_stats() RETURNS bool LANGUAGE sql AS '{clears} SELECT true'; \
         CREATE FUNCTION figure(mean float8) RETURNS jsonb LANGUAGE sql AS \
         'SELECT jsonb_build_object(''mean'', mean, ''sqDiff'', 0)'"
    );
    // The function that the views use has to be there first, in a schema that is.
    let (schema, rest) = TABLES.split_once("CREATE VIEW").unwrap();
    client.batch_execute(&format!("{schema} {reset}; CREATE VIEW {rest}")).await.unwrap();
}

async fn connect(postgres: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(postgres, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// One client's session.
struct Session {
    /// `None`: PostgreSQL is gone.
    postgres: Option<Client>,
    version: Version,
    allowed: AtomicBool,
}

impl Session {
    async fn open(postgres: &str, version: Version) -> Session {
        let allowed = AtomicBool::new(version != Version::Gated);
        Session { postgres: connect(postgres).await.ok(), version, allowed }
    }

    async fn answer(&self, query: &str) -> PgWireResult<Vec<Response>> {
        if query == "SET allow_unsafe_internals = true" {
            if self.version != Version::Gated {
                return Err(refusal("42704", "unrecognized configuration parameter \"allow_unsafe_internals\"", None));
            }
            self.allowed.store(true, Ordering::Relaxed);
            return Ok(vec![Response::Execution(Tag::new("SET"))]);
        }
        if query == "SELECT version()" {
            return rows(
                &[vec![Some("CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu, built 2025/06/04)".into())]],
                &["version"],
            );
        }
        if query.contains("crdb_internal") && !self.allowed.load(Ordering::Relaxed) {
            let hint = "These interfaces are unsupported in production. To proceed, set the session variable \
                        allow_unsafe_internals = true (not recommended)";
            return Err(refusal("42501", "Access to crdb_internal and system is restricted.", Some(hint)));
        }
        self.ask_postgres(query).await
    }

    fn code<'c>(&self, code: &'c str) -> &'c str {
        if self.version == Version::OneCode { "XX000" } else { code }
    }

    async fn ask_postgres(&self, query: &str) -> PgWireResult<Vec<Response>> {
        let gone = || refusal("57P01", "terminating connection due to administrator command", None);
        let postgres = self.postgres.as_ref().ok_or_else(gone)?;
        let messages = postgres.simple_query(query).await.map_err(|error| match error.as_db_error() {
            Some(answer) => refusal(self.code(answer.code().code()), answer.message(), answer.hint()),
            None => gone(),
        })?;
        let found: Vec<&SimpleQueryRow> = messages
            .iter()
            .filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None })
            .collect();
        let Some(first) = found.first() else { return Ok(vec![Response::Execution(Tag::new("OK"))]) };
        let names: Vec<&str> = first.columns().iter().map(|column| column.name()).collect();
        let texts = |row: &&SimpleQueryRow| (0..row.len()).map(|at| row.get(at).map(String::from)).collect();
        rows(&found.iter().map(texts).collect::<Vec<_>>(), &names)
    }
}

fn refusal(code: &str, message: &str, hint: Option<&str>) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".into(), code.into(), message.into());
    info.hint = hint.map(String::from);
    PgWireError::UserError(Box::new(info))
}

fn rows(rows: &[Vec<Option<String>>], names: &[&str]) -> PgWireResult<Vec<Response>> {
    let field = |name: &&str| FieldInfo::new(name.to_string(), None, None, Type::TEXT, FieldFormat::Text);
    let fields: Arc<Vec<FieldInfo>> = Arc::new(names.iter().map(field).collect());
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut encode = |row: &Vec<Option<String>>| {
        row.iter().try_for_each(|value| encoder.encode_field(value))?;
        Ok(encoder.take_row())
    };
    let encoded: Vec<PgWireResult<_>> = rows.iter().map(&mut encode).collect();
    Ok(vec![Response::Query(QueryResponse::new(fields, futures::stream::iter(encoded)))])
}

#[async_trait]
impl NoopStartupHandler for Session {}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.answer(query).await
    }
}

#[derive(Clone)]
struct Handlers(Arc<Session>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }
}
