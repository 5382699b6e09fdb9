//! What `/metrics` shows. Names, labels, types, help texts and buckets are those of a real environmentd (recorded from
//! v26.13-dev), so that a preset reads both alike. Invariant: a metric is here only if the testbed really measures it;
//! runtime metrics that need tokio's unstable interface are left out instead of being made up.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tokio::runtime::RuntimeMetrics;

pub struct Metrics {
    registry: Registry,
    runtime: RuntimeGauges,
    process: ProcessGauges,
    pub peek: PeekMetrics,
    pub oracle: OracleMetrics,
    pub pool: PoolMetrics,
    pub coordinator: CoordinatorMetrics,
    pub protocol: ProtocolMetrics,
    pub plants: PlantMetrics,
}

pub struct PeekMetrics {
    pub try_frontend_peek: Histogram,
    pub try_frontend_peek_cached: Histogram,
    pub try_frontend_peek_inner: Histogram,
    pub read_ts_seconds: Histogram,
}

/// Labelled by `op`, except the phases of a database read.
pub struct OracleMetrics {
    pub started: IntCounterVec,
    pub succeeded: IntCounterVec,
    pub failed: IntCounterVec,
    pub seconds: CounterVec,
    pub batched_ops: IntCounter,
    pub batches: IntCounter,
    pub batch_wait: Histogram,
    pub batch_inner_read: Histogram,
    pub phase_get_connection: Histogram,
    pub phase_prepare_cached: Histogram,
    pub phase_query_one: Histogram,
}

pub struct PoolMetrics {
    pub acquires: IntCounter,
    pub acquire_seconds: Counter,
    pub size: IntGauge,
    pub available: IntGauge,
    pub created: IntCounter,
    pub errors: IntCounter,
}

pub struct CoordinatorMetrics {
    /// `mz_slow_message_handling{message_kind}`.
    pub messages: HistogramVec,
    pub append_table: Histogram,
    pub sessions: IntGaugeVec,
}

pub struct ProtocolMetrics {
    pub connections: IntCounterVec,
    pub queries: IntCounterVec,
    pub messages: HistogramVec,
    pub parse: Histogram,
}

pub struct PlantMetrics {
    pub calls: IntCounterVec,
    pub cpu_seconds: CounterVec,
    pub wait_seconds: CounterVec,
    /// What lies on the stack because of a plant, as of its last call.
    pub stack_bytes: IntGaugeVec,
}

impl Metrics {
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let made = Maker { registry: &registry };
        let metrics = Metrics {
            runtime: RuntimeGauges::new(&made)?,
            process: ProcessGauges::new(&made)?,
            peek: PeekMetrics::new(&made)?,
            oracle: OracleMetrics::new(&made)?,
            pool: PoolMetrics::new(&made)?,
            coordinator: CoordinatorMetrics::new(&made)?,
            protocol: ProtocolMetrics::new(&made)?,
            plants: PlantMetrics::new(&made)?,
            registry: registry.clone(),
        };
        Ok(metrics)
    }

    /// The Prometheus text format, with gauges of the runtime and of the process as of now.
    pub fn render(&self, runtime: &RuntimeMetrics) -> prometheus::Result<Vec<u8>> {
        self.runtime.update(runtime);
        self.process.update();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Registers what it makes.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn histograms(&self, name: &str, help: &str, label: &str, range: (f64, f64)) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets(range.0, range.1));
        self.register(HistogramVec::new(options, &[label])?)
    }

    fn histogram(&self, name: &str, help: &str, range: (f64, f64)) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets(range.0, range.1)))?)
    }

    fn int_counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn int_counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<CounterVec> {
        self.register(CounterVec::new(Opts::new(name, help), &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }
}

/// The part from `from` to `to` seconds of the one list of buckets: 8 to 512 us, 1 to 512 ms, 1 to 8,192 s, doubling.
fn buckets(from: f64, to: f64) -> Vec<f64> {
    let micros = (0..7).map(|power| f64::from(8 << power) / 1e6);
    let millis = (0..10).map(|power| f64::from(1 << power) / 1e3);
    let seconds = (0..14).map(|power| f64::from(1 << power));
    micros.chain(millis).chain(seconds).filter(|bound| (from..=to).contains(bound)).collect()
}

impl PeekMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let range = (0.000128, 16.0);
        let methods = made.histograms(
            "mz_frontend_peek_seconds",
            "Wall-clock duration of frontend peek methods.",
            "method",
            range,
        )?;
        Ok(PeekMetrics {
            try_frontend_peek: methods.with_label_values(&["try_frontend_peek"]),
            try_frontend_peek_cached: methods.with_label_values(&["try_frontend_peek_cached"]),
            try_frontend_peek_inner: methods.with_label_values(&["try_frontend_peek_inner"]),
            read_ts_seconds: made.histogram(
                "mz_frontend_peek_read_ts_seconds",
                "Wall-clock duration of frontend peek read_ts oracle calls.",
                range,
            )?,
        })
    }
}

impl OracleMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let range = (0.000008, 8.0);
        let phases = made.histograms(
            "mz_ts_oracle_postgres_read_ts_phase_seconds",
            "time spent in each phase of postgres-backed read_ts calls",
            "phase",
            range,
        )?;
        let read_ts = &["read_ts"];
        let batch = |name, help| made.histograms(name, help, "op", range).map(|op| op.with_label_values(read_ts));
        let count = |name, help| made.int_counters(name, help, &["op"]);
        let metrics = OracleMetrics {
            started: count("mz_ts_oracle_started_count", "count of oracle operations started")?,
            succeeded: count("mz_ts_oracle_succeeded_count", "count of oracle operations succeeded")?,
            failed: count("mz_ts_oracle_failed_count", "count of oracle operations failed")?,
            seconds: made.counters("mz_ts_oracle_seconds", "time spent in oracle operations", "op")?,
            batched_ops: count("mz_ts_oracle_batched_op_count", "count of batched operations")?
                .with_label_values(read_ts),
            batches: count("mz_ts_oracle_batches_count", "count of batches of operations")?.with_label_values(read_ts),
            batch_wait: batch(
                "mz_ts_oracle_batch_wait_seconds",
                "time callers wait from ticket acquisition until their batch result is available",
            )?,
            batch_inner_read: batch(
                "mz_ts_oracle_batch_inner_read_seconds",
                "time spent in each backing oracle call for a batch",
            )?,
            phase_get_connection: phases.with_label_values(&["get_connection"]),
            phase_prepare_cached: phases.with_label_values(&["prepare_cached"]),
            phase_query_one: phases.with_label_values(&["query_one"]),
        };
        for op in ["apply_write", "read_ts", "write_ts"] {
            metrics.started.with_label_values(&[op]);
            metrics.succeeded.with_label_values(&[op]);
            metrics.failed.with_label_values(&[op]);
            metrics.seconds.with_label_values(&[op]);
        }
        Ok(metrics)
    }
}

impl PoolMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let acquire_seconds = made.register(Counter::new(
            "mz_ts_oracle_postgres_connpool_acquire_seconds",
            "time spent acquiring connections from pool",
        )?)?;
        Ok(PoolMetrics {
            acquire_seconds,
            acquires: made.int_counter(
                "mz_ts_oracle_postgres_connpool_acquires",
                "times a connection has been acquired from pool",
            )?,
            size: made.int_gauge("mz_ts_oracle_postgres_connpool_size", "number of connections currently in pool")?,
            available: made
                .int_gauge("mz_ts_oracle_postgres_connpool_available", "available connections in the pool")?,
            created: made
                .int_counter("mz_ts_oracle_postgres_connpool_connections_created", "times a connection was created")?,
            errors: made.int_counter(
                "mz_ts_oracle_postgres_connpool_connection_errors",
                "number of errors when establishing a new connection",
            )?,
        })
    }
}

impl CoordinatorMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let sessions = made.register(IntGaugeVec::new(
            Opts::new("mz_active_sessions", "The number of active coordinator sessions."),
            &["session_type"],
        )?)?;
        for kind in ["system", "user"] {
            sessions.with_label_values(&[kind]);
        }
        Ok(CoordinatorMetrics {
            messages: made.histograms(
                "mz_slow_message_handling",
                "Latency for ALL coordinator messages. 'slow' is in the name for legacy reasons, but is not accurate.",
                "message_kind",
                (0.000128, 512.0),
            )?,
            append_table: made.histogram(
                "mz_append_table_duration_seconds",
                "Latency for appending to any (user or system) table.",
                (0.128, 32.0),
            )?,
            sessions,
        })
    }
}

impl ProtocolMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let connections = made.int_counters(
            "mz_connection_status",
            "Count of completed network connections, by status",
            &["source", "status"],
        )?;
        for source in ["external", "internal"] {
            for status in ["success", "error"] {
                connections.with_label_values(&[source, status]);
            }
        }
        Ok(ProtocolMetrics {
            connections,
            queries: made.int_counters(
                "mz_query_total",
                "The total number of queries issued of the given type since process start.",
                &["session_type", "statement_type"],
            )?,
            messages: made.histograms(
                "mz_pgwire_message_processing_seconds",
                "The time it takes to process each of the pgwire message types, measured in the Adapter frontend",
                "message_type",
                (0.001, 512.0),
            )?,
            parse: made.histogram(
                "mz_parse_seconds",
                "The time it takes to parse a SQL statement. (Works for both Simple Queries and the Extended Query \
                 protocol.)",
                (0.001, 8.0),
            )?,
        })
    }
}

impl PlantMetrics {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        Ok(PlantMetrics {
            calls: made.int_counters("wireprof_plant_calls_total", "times that a plant was passed", &["plant"])?,
            cpu_seconds: made.counters(
                "wireprof_plant_cpu_seconds_total",
                "CPU that a plant used itself, without what interrupted it",
                "plant",
            )?,
            wait_seconds: made.counters(
                "wireprof_plant_wait_seconds_total",
                "time that a plant made its callers wait",
                "plant",
            )?,
            stack_bytes: made.register(IntGaugeVec::new(
                Opts::new("wireprof_plant_stack_bytes", "stack that a plant holds while its caller's work runs"),
                &["plant"],
            )?)?,
        })
    }
}

/// What tokio's stable interface gives, summed over workers, as gauges with the one label `runtime`.
struct RuntimeGauges {
    num_workers: Gauge,
    num_alive_tasks: Gauge,
    global_queue_depth: Gauge,
    worker_park_count: Gauge,
    worker_park_unpark_count: Gauge,
    worker_total_busy_duration: Gauge,
}

impl RuntimeGauges {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| -> prometheus::Result<Gauge> {
            let labelled = GaugeVec::new(Opts::new(format!("mz_tokio_{name}"), help), &["runtime"])?;
            Ok(made.register(labelled)?.with_label_values(&["main"]))
        };
        Ok(RuntimeGauges {
            num_workers: gauge("num_workers", "The number of worker threads used by the runtime.")?,
            num_alive_tasks: gauge("num_alive_tasks", "The current number of alive tasks in the runtime.")?,
            global_queue_depth: gauge(
                "global_queue_depth",
                "The number of tasks currently scheduled in the runtime's global queue.",
            )?,
            worker_park_count: gauge("worker_park_count", "The total number of times the worker threads have parked.")?,
            worker_park_unpark_count: gauge(
                "worker_park_unpark_count",
                "The total number of times the worker threads have parked and unparked.",
            )?,
            worker_total_busy_duration: gauge(
                "worker_total_busy_duration",
                "The amount of time the worker threads have been busy, in seconds.",
            )?,
        })
    }

    fn update(&self, runtime: &RuntimeMetrics) {
        let workers = 0..runtime.num_workers();
        self.num_workers.set(runtime.num_workers() as f64);
        self.num_alive_tasks.set(runtime.num_alive_tasks() as f64);
        self.global_queue_depth.set(runtime.global_queue_depth() as f64);
        self.worker_park_count.set(workers.clone().map(|n| runtime.worker_park_count(n)).sum::<u64>() as f64);
        self.worker_park_unpark_count
            .set(workers.clone().map(|n| runtime.worker_park_unpark_count(n)).sum::<u64>() as f64);
        let busy = workers.map(|n| runtime.worker_total_busy_duration(n).as_secs_f64()).sum();
        self.worker_total_busy_duration.set(busy);
    }
}

/// The usual `process_*` metrics and the build.
struct ProcessGauges {
    cpu_seconds: Gauge,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    threads: Gauge,
}

impl ProcessGauges {
    fn new(made: &Maker) -> prometheus::Result<Self> {
        let started =
            made.gauge("process_start_time_seconds", "Start time of the process since the epoch in seconds.")?;
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        started.set(since_epoch.as_secs_f64());
        let build = GaugeVec::new(
            Opts::new("wireprof_testbed_build_info", "always 1; labels are build metadata"),
            &["version", "profile"],
        )?;
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        made.register(build)?.with_label_values(&[env!("CARGO_PKG_VERSION"), profile]).set(1.0);
        Ok(ProcessGauges {
            cpu_seconds: made.gauge("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?,
            resident_bytes: made.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            virtual_bytes: made.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            open_files: made.gauge("process_open_fds", "Number of open file descriptors.")?,
            threads: made.gauge("process_threads", "Number of OS threads in the process.")?,
        })
    }

    fn update(&self) {
        let Ok(process) = procfs::process::Process::myself() else { return };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            self.cpu_seconds.set((stat.utime + stat.stime) as f64 / ticks);
            self.resident_bytes.set((stat.rss * procfs::page_size()) as f64);
            self.virtual_bytes.set(stat.vsize as f64);
            self.threads.set(stat.num_threads as f64);
        }
        if let Ok(count) = process.fd_count() {
            self.open_files.set(count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_recorded_server() {
        let peek = buckets(0.000128, 16.0);
        assert_eq!(peek.len(), 18);
        assert_eq!(&peek[..4], &[0.000128, 0.000256, 0.000512, 0.001]);
        assert_eq!(peek.last(), Some(&16.0));
        assert_eq!(buckets(0.000008, 8.0).len(), 21);
        assert_eq!(buckets(0.128, 32.0), [0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
    }
}
