//! What the manifest of a run says before its first window.

use super::{Request, order};
use crate::connection::without_sql_secrets;
use crate::load::Address;
use crate::run::{Manifest, SCHEMA, Target, WorkloadSummary, run_id};
use crate::target::{Host, built, host, identify, started};

/// Characters of a statement that the manifest keeps.
const STATEMENT_LENGTH: usize = 2_000;

/// What was found out while the sources were opened.
pub struct Found {
    pub pid: Option<u32>,
    /// Revision as the server tells it.
    pub version: Option<String>,
    /// The driver's name.
    pub driver: String,
    /// What was changed on the server.
    pub changes: Vec<String>,
    pub notes: Vec<String>,
}

/// The manifest of a run that begins now.
pub fn manifest(request: &Request, address: &Address, found: Found) -> Manifest {
    let created = std::time::SystemTime::now();
    let plan = &request.plan;
    let mut levels = plan.levels.clone();
    levels.sort_unstable();
    levels.dedup();
    Manifest {
        load_host: None,
        load_hosts: Vec::new(),
        schema: SCHEMA,
        id: run_id(created, &request.preset.name),
        name: request.name.clone(),
        created: humantime::format_rfc3339_seconds(created).to_string(),
        tool: concat!("wireprof ", env!("CARGO_PKG_VERSION")).into(),
        arguments: request.arguments.clone(),
        preset: request.preset.name.clone(),
        target: target(request, address, found.pid, found.version),
        host: Host { awake: request.observe.awake, ..host() },
        workload: workload(request, found.driver),
        order: order(&levels, plan.replicates, plan.seed),
        levels,
        replicates: plan.replicates,
        seed: plan.seed,
        window_seconds: plan.timing.window.as_secs_f64(),
        warmup_seconds: plan.timing.warmup.as_secs_f64(),
        changes: found.changes,
        notes: found.notes,
        ended: crate::run::RUNNING.into(),
        restarted: false,
        precision: plan.precision,
        side: None,
    }
}

fn target(request: &Request, address: &Address, pid: Option<u32>, version: Option<String>) -> Target {
    let identity = pid.map(identify);
    Target {
        url: address.shown(),
        pid,
        executable: identity.as_ref().and_then(|i| i.executable.clone()),
        build_id: identity.as_ref().and_then(|i| i.build_id.clone()),
        argv: identity.as_ref().map(|i| i.argv.clone()).unwrap_or_default(),
        started: pid.and_then(started),
        version,
        deleted: identity.as_ref().is_some_and(|i| i.deleted),
        symbols: identity.as_ref().and_then(|i| i.symbols),
        built: pid.and_then(built),
        source: request.target.source.clone(),
    }
}

fn workload(request: &Request, driver: String) -> WorkloadSummary {
    let load = &request.load;
    // Masked first: the cut could go through a password's quotes.
    let short = |statement: &str| without_sql_secrets(statement).chars().take(STATEMENT_LENGTH).collect();
    WorkloadSummary {
        statements: load.workload.distinct_statements().into_iter().map(short).collect(),
        protocol: if load.driver.is_foreign() { "not known".into() } else { load.protocol.to_string() },
        source: load.workload.source.as_ref().map(|path| path.display().to_string()),
        driver,
    }
}
