//! The load of a measurement: who drives it, and what counts its queries. Invariant: a load that is somebody else's is
//! counted by something, or refused.

use super::{DriverChoice, LoadThreads, QueryCounter, Request};
use crate::load::{self, Address, ClientCount, Driver, LoadError};
use crate::target::{Forbidden, clients};
use anyhow::Result;
use std::sync::Arc;

/// The driver of the load, not yet started.
pub fn driver(request: &Request, address: &Address, pid: Option<u32>) -> Result<Box<dyn Driver>> {
    Ok(match &request.load.driver {
        DriverChoice::Own { threads, client_work } => {
            let given = match threads {
                LoadThreads::Auto => None,
                LoadThreads::Given(threads) => Some(*threads),
            };
            let options = load::Options {
                threads: given.unwrap_or(1),
                adjusts: given.is_none(),
                protocol: request.load.protocol,
                repeat_arguments: true,
                session: request.load.session.clone(),
                client_work: *client_work,
                ..load::Options::default()
            };
            Box::new(load::PgwireDriver::new(address.clone(), request.load.workload.clone(), options))
        }
        DriverChoice::Dbbench(program) => {
            Box::new(load::DbbenchDriver::new(program, address.clone(), request.load.workload.clone())?)
        }
        // Each window has its own; see `across`.
        DriverChoice::Elsewhere => Box::new(load::ForeignDriver::new(Arc::new(|| None))),
        DriverChoice::Foreign { clients: Some(clients) } => {
            let clients = *clients;
            Box::new(load::ForeignDriver::new(Arc::new(move || Some(clients))))
        }
        DriverChoice::Foreign { clients: None } => Box::new(load::ForeignDriver::new(counting(address, pid))),
    })
}

/// Counts the connections to the server's port, where it is a port of this host.
fn counting(address: &Address, pid: Option<u32>) -> ClientCount {
    let given = pid.map(|_| address.port());
    let port = address.local_port().or(given);
    Arc::new(move || clients(pid, port?))
}

/// The clients that a server under somebody else's load has now.
pub fn present(driver: &dyn Driver, address: &Address) -> Result<usize> {
    driver.level().ok_or_else(|| {
        if let Err(error) = load::look_up(address) {
            return error.into();
        }
        let forbidden = Forbidden {
            what: "counting the clients".into(),
            cause: format!("no connection to a TCP port of this host is seen for {}", address.shown()),
            remedy: "start the load first, or give the number of its clients with --clients N".into(),
        };
        forbidden.into()
    })
}

/// Who counts queries where no driver of ours does: whom the user names, the preset's metrics, the sockets. A dbbench's
/// own window is not ours either.
pub fn counter(request: &Request, metrics: bool, wire: bool) -> Result<Option<QueryCounter>> {
    let usage = |why: &str| LoadError::Usage(why.into()).into();
    let preset = || request.preset.workload.query_count.clone().map(QueryCounter::Metrics);
    let chosen = match &request.load.driver {
        DriverChoice::Own { .. } | DriverChoice::Elsewhere => return Ok(None),
        DriverChoice::Dbbench(_) => request.load.counter.clone().or_else(preset),
        DriverChoice::Foreign { .. } => {
            let sockets = || wire.then_some(QueryCounter::Sockets);
            request.load.counter.clone().or_else(|| preset().filter(|_| metrics)).or_else(sockets)
        }
    };
    match chosen {
        Some(QueryCounter::Metrics(_)) if !metrics => Err(usage(
            "this driver's window is not wireprof's, so queries are counted by the server, and its metrics are not \
             read: give --metrics-url",
        )),
        Some(QueryCounter::Statements(_)) if request.observe.no_statements => {
            Err(usage("--divisor statements(): whose? give --statements-url"))
        }
        Some(QueryCounter::Sockets) if !wire => {
            Err(usage("--divisor sockets: the sockets cannot be followed here; `wireprof doctor` says why"))
        }
        Some(chosen) => Ok(Some(chosen)),
        None => Err(usage(
            "what counts the queries? give --divisor 'delta(some_counter)' over the server's metrics, \
             'statements(REGEX)', or 'sockets'",
        )),
    }
}
