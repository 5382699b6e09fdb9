//! Drives one statement or a script and prints what the generator itself cost: for `scripts/bench driver`, and for
//! looking at the driver alone. Usage:
//! drive URL CLIENTS SECONDS SQL|SCRIPT.ini [simple|extended [THREADS [epoll|io_uring]]]

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use wireprof::clock::{Span, now};
use wireprof::load::{Address, Driver, LoopKind, Options, PgwireDriver, Protocol};
use wireprof::workload::Workload;

pub fn main(arguments: &[String]) -> Result<()> {
    let [url, clients, seconds, sql, options @ ..] = arguments else {
        anyhow::bail!("usage: drive URL CLIENTS SECONDS SQL|SCRIPT.ini [simple|extended [THREADS [epoll|io_uring]]]");
    };
    let extended = options.first().is_some_and(|name| name == "extended");
    let protocol = if extended { Protocol::Extended } else { Protocol::Simple };
    let (clients, seconds): (usize, f64) = (clients.parse().context("CLIENTS")?, seconds.parse().context("SECONDS")?);
    let threads = options.get(1).map_or(Ok(1), |threads| threads.parse()).context("THREADS")?;
    let through = match options.get(2).map(String::as_str) {
        None => None,
        Some("epoll") => Some(LoopKind::Epoll),
        Some("io_uring") => Some(LoopKind::IoUring),
        Some(other) => anyhow::bail!("{other} is neither epoll nor io_uring"),
    };
    let options = Options { protocol, threads, through, ..Options::default() };
    let workload = if sql.ends_with(".ini") { Workload::load(Path::new(sql))? } else { Workload::from_query(sql) };
    let mut load = PgwireDriver::new(Address::parse(url)?, workload, options).open(clients)?;
    load.start()?;
    std::thread::sleep(Duration::from_millis(200));
    let start = now();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let end = now();
    std::thread::sleep(Duration::from_millis(20));
    let trace = load.stop(Span::new(start, end))?;
    ensure!(trace.error_count() == 0 && trace.completed > 0, "{} errors: {:?}", trace.error_count(), trace.errors);
    let cpu = trace.generator.cpu.context("the generator's CPU was not measured")?;
    let each = |total: u64| total as f64 / trace.completed as f64;
    println!(
        "queries {} seconds {:.3} qps {:.0} cpu_us_per_query {:.3} mean_us {:.1} p50_us {:.1} p99_us {:.1} \
            wakes_per_query {:.3} delay_us {:.2} {}",
        trace.completed,
        trace.span.seconds(),
        trace.throughput(),
        each(cpu) / 1e3,
        trace.mean_latency().unwrap_or(f64::NAN) / 1e3,
        trace.latency.value_at_quantile(0.5) as f64 / 1e3,
        trace.latency.value_at_quantile(0.99) as f64 / 1e3,
        trace.generator.wakes.map_or(f64::NAN, each),
        trace.generator.dispatch_delay.map_or(f64::NAN, each) / 1e3,
        trace.generator.through.map_or_else(String::new, |through| through.told()),
    );
    Ok(())
}
