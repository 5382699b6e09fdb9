//! Puts the testbed together and takes it down again. Invariant: PostgreSQL is started by the main thread, which then
//! waits for the end, because its death signal is tied to the thread that started it; whatever way `run` ends, the
//! server and its directory are gone.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::adapter::catalog::Catalog;
use super::adapter::settings::{FRONTEND_PEEK, SystemSettings};
use super::adapter::{Adapter, Faults, coordinator, group_commit};
use super::metrics::Metrics;
use super::options::{Authentication, Options, RuntimeKind};
use super::plant::Planted;
use super::postgres::PostgresServer;
use super::protocol::{self, Port};
use super::ready::{Ready, ReadyPostgres};
use super::timestamp_oracle::batching_oracle::BatchingTimestampOracle;
use super::timestamp_oracle::postgres_oracle::PostgresTimestampOracle;
use super::{http, precise};

/// Runs the testbed until SIGINT, SIGTERM or SIGHUP. Must be called from the main thread.
pub fn run(options: &Options) -> Result<()> {
    let runtime = build_runtime(options)?;
    // Signals are caught from here on, so that one that arrives while PostgreSQL starts still ends in order.
    let signals = {
        let _context = runtime.enter();
        Signals::catch()?
    };
    let mut postgres = PostgresServer::start(options.postgres_bin.as_deref())?;
    if options.runtime == RuntimeKind::CurrentThread && Planted::needs_sharp_timers(&options.plants) {
        // Only now: PostgreSQL would have inherited it.
        precise::sharpen_timers();
    }
    let result = runtime.block_on(serve(options, &mut postgres, signals));
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Threads are named as environmentd's are. A runtime without threads runs on the main thread, whose stack of usually
/// 8 MiB holds all that can be planted.
fn build_runtime(options: &Options) -> Result<Runtime> {
    let started = AtomicUsize::new(0);
    let mut builder = match options.runtime {
        RuntimeKind::MultiThread => tokio::runtime::Builder::new_multi_thread(),
        RuntimeKind::CurrentThread => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().thread_name_fn(move || format!("tokio:work-{}", started.fetch_add(1, Ordering::Relaxed)));
    if let Some(threads) = options.worker_threads {
        builder.worker_threads(threads as usize);
    }
    // tokio's own default, and what is planted.
    builder.thread_stack_size((2 << 20) + Planted::stack_bytes(&options.plants));
    if Planted::needs_sharp_timers(&options.plants) {
        builder.on_thread_start(precise::sharpen_timers);
    }
    builder.build().context("cannot start the runtime")
}

/// Where all but the external SQL port listens, whatever is asked for.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Listeners {
    sql: TcpListener,
    internal: TcpListener,
    http: TcpListener,
}

impl Listeners {
    async fn bind(options: &Options) -> Result<Self> {
        Ok(Listeners {
            sql: bind(options.sql_address, options.sql_port, "--sql-port").await?,
            internal: bind(LOOPBACK, options.internal_port, "--internal-port").await?,
            http: bind(LOOPBACK, options.http_port, "--http-port").await?,
        })
    }
}

async fn bind(address: IpAddr, port: u16, option: &str) -> Result<TcpListener> {
    TcpListener::bind((address, port)).await.with_context(|| {
        format!("cannot listen on {address}:{port}; choose another port with {option}, or 0 for a free one")
    })
}

/// Those that end the testbed in order.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Signals {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

async fn serve(options: &Options, postgres: &mut PostgresServer, mut signals: Signals) -> Result<()> {
    let listeners = Listeners::bind(options).await?;
    let ready = describe(&listeners, postgres)?;
    let adapter = start_adapter(options, postgres).await?;
    start_listeners(options, listeners, &adapter);
    if let Some(per_second) = adapter.planted.churn_per_second() {
        tokio::spawn(churn(ready.sql.clone(), per_second, Arc::clone(&adapter)));
    }
    announce(&ready)?;
    let mut watch = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            () = signals.any() => return Ok(()),
            _ = watch.tick() => if let Some(end) = postgres.ended() {
                bail!("{end}; start the testbed again");
            },
        }
    }
}

fn describe(listeners: &Listeners, postgres: &PostgresServer) -> Result<Ready> {
    let http = listeners.http.local_addr()?;
    Ok(Ready {
        ready: true,
        pid: std::process::id(),
        sql: format!("postgres://materialize@{}/materialize", listeners.sql.local_addr()?),
        internal: format!("postgres://mz_system@{}/materialize", listeners.internal.local_addr()?),
        metrics: format!("http://{http}/metrics"),
        pprof: format!("http://{http}/debug/pprof/profile"),
        postgres: ReadyPostgres {
            url: postgres.url(),
            pid: postgres.pid(),
            directory: postgres.directory().display().to_string(),
        },
    })
}

async fn start_adapter(options: &Options, postgres: &PostgresServer) -> Result<Arc<Adapter>> {
    let metrics = Arc::new(Metrics::new().context("cannot register metrics")?);
    let planted = Arc::new(Planted::start(&options.plants, &metrics.plants).context("cannot start the plants")?);
    let pool_size = options.effective_pool_size();
    let way = planted.way_to_database(postgres.port()).context("cannot start the plant on the way to PostgreSQL")?;
    let database =
        PostgresTimestampOracle::open(&postgres.url_at(way), pool_size, Arc::clone(&metrics), Arc::clone(&planted))
            .await?;
    planted.slow_database(&postgres.url().parse()?).await.context("cannot make PostgreSQL slow as planted")?;
    planted.second_use(&postgres.url().parse()?).await.context("cannot start the planted writer")?;
    let oracle = BatchingTimestampOracle::new(Arc::new(database), Arc::clone(&metrics), Arc::clone(&planted));
    let settings = SystemSettings::default();
    if options.frontend_peek {
        settings.set(FRONTEND_PEEK, Some("on"))?;
    }
    let (coordinator, inbox) = coordinator::channel();
    let adapter = Arc::new(Adapter {
        catalog: if options.empty_catalog { Catalog::empty() } else { Catalog::with_table_t(options.rows) },
        settings,
        oracle: Arc::new(oracle),
        coordinator,
        metrics,
        planted,
        faults: Faults::new(&options.faults),
        task_per_query: options.task_per_query,
        writing: tokio::sync::Mutex::default(),
    });
    coordinator::start(inbox, Arc::clone(&adapter)).context("cannot start the coordinator")?;
    tokio::spawn(group_commit::run(Arc::clone(&adapter)));
    Ok(adapter)
}

fn start_listeners(options: &Options, listeners: Listeners, adapter: &Arc<Adapter>) {
    let external = Port {
        internal: false,
        authentication: options.authentication,
        password: options.password.as_deref().map(Arc::from),
    };
    let internal = Port { internal: true, authentication: Authentication::Trust, password: None };
    tokio::spawn(protocol::listen(listeners.sql, external, Arc::clone(adapter)));
    tokio::spawn(protocol::listen(listeners.internal, internal, Arc::clone(adapter)));
    let router = http::router(Arc::clone(&adapter.metrics), Arc::clone(&adapter.planted), &options.faults);
    // Ends with the runtime.
    tokio::spawn(async move { axum::serve(listeners.http, router).await });
}

fn announce(ready: &Ready) -> Result<()> {
    let mut line = serde_json::to_string(ready)?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).context("cannot write to standard output")
}

/// The plant that opens and closes sessions.
async fn churn(url: String, per_second: u32, adapter: Arc<Adapter>) {
    let mut due = tokio::time::interval(Duration::from_secs(1) / per_second);
    loop {
        due.tick().await;
        let start = std::time::Instant::now();
        if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            drop(client);
            // The other end is ours: it closes in order.
            let _ = connection.await;
            adapter.planted.churned(start.elapsed());
        }
    }
}
