//! The HTTP port: `/metrics` and a CPU profile of the process. Invariant: at most one profile is taken at a time,
//! because there is one profiling timer a process.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pprof::protos::Message;
use tokio::sync::Mutex;

use super::metrics::Metrics;
use super::options::Fault;
use super::plant::Planted;

struct Pages {
    metrics: Arc<Metrics>,
    planted: Arc<Planted>,
    faults: Vec<Fault>,
    profiling: Mutex<()>,
}

pub fn router(metrics: Arc<Metrics>, planted: Arc<Planted>, faults: &[Fault]) -> axum::Router {
    let pages = Arc::new(Pages { metrics, planted, faults: faults.to_vec(), profiling: Mutex::default() });
    let mut router = axum::Router::new().route("/debug/pprof/profile", get(profile));
    if !faults.contains(&Fault::MetricsAbsent) {
        router = router.route("/metrics", get(metrics_page));
    }
    router.with_state(pages)
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> Response {
    if pages.faults.contains(&Fault::MetricsHang) {
        std::future::pending::<()>().await;
    }
    if pages.faults.contains(&Fault::MetricsGarbled) {
        return "\u{1}not{ a metric\n# TYPE\nmz_frontend_peek_seconds_sum{method=\"try".into_response();
    }
    pages.planted.metrics();
    match pages.metrics.render(&tokio::runtime::Handle::current().metrics()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(serde::Deserialize)]
struct ProfileRequest {
    #[serde(default = "ten")]
    seconds: u32,
    #[serde(default = "ninety_nine")]
    frequency: i32,
}

fn ten() -> u32 {
    10
}

fn ninety_nine() -> i32 {
    99
}

async fn profile(State(pages): State<Arc<Pages>>, Query(request): Query<ProfileRequest>) -> Response {
    let Ok(_alone) = pages.profiling.try_lock() else {
        return (StatusCode::CONFLICT, "another profile is being taken; try again when it is done").into_response();
    };
    if !(1..=600).contains(&request.seconds) || !(1..=1000).contains(&request.frequency) {
        return (StatusCode::BAD_REQUEST, "seconds must be 1 to 600 and frequency 1 to 1000").into_response();
    }
    match take_profile(&request).await {
        Ok(gzip) => ([(header::CONTENT_TYPE, "application/octet-stream")], gzip).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// Runs on ITIMER_PROF, which is biased on many threads: good for the shape of a profile, not for its size.
async fn take_profile(request: &ProfileRequest) -> anyhow::Result<Vec<u8>> {
    let profiler = pprof::ProfilerGuardBuilder::default()
        .frequency(request.frequency)
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()?;
    tokio::time::sleep(Duration::from_secs(u64::from(request.seconds))).await;
    let encode = move || {
        let profile = profiler.report().build()?.pprof()?.encode_to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &profile)?;
        anyhow::Ok(gzip.finish()?)
    };
    // Symbols are looked up now: a thread that may block does it, not a worker.
    tokio::task::spawn_blocking(encode).await?
}
