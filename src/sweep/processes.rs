//! The processes of a measurement: which is the target, which are sampled and accounted to besides it. Invariant: what
//! the user names and is not there is refused or noted.

use super::server_profiles::is_address;
use super::sources::{Processes, TargetProcess};
use super::{ObserveRequest, Request};
use crate::load::{self, Address, LoadError};
use crate::sample::Sampled;
use crate::target::{
    Forbidden, Role, Watched, WatchedProcess, comm, holders, listener, listens_at, listens_on, named, related,
    socket_listener, start_ticks,
};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::Write;

/// The target's process; `None`, with a note, where it is not on this host.
///
/// # Errors
/// A process that is not there or does not own the server's port, or a port of this host that nobody listens on.
pub fn find_target(request: &Request, address: &Address, notes: &mut Vec<String>) -> Result<Option<u32>> {
    if let Some(pid) = request.target.pid {
        let cause = || Forbidden {
            what: format!("measuring process {pid}"),
            cause: "there is no such process on this host".into(),
            remedy: "give the server's process id with --pid, or leave it out to find the one that listens on the port"
                .into(),
        };
        start_ticks(pid).with_context(cause).map_err(|_| cause())?;
        notes.extend(another_listens(request, pid, address)?);
        return Ok(Some(pid));
    }
    let Some((place, found)) = listens(address) else {
        notes.push(
            "the server is not on this host by its URL: no samples and no scheduler statistics of it; where it is, \
             give --pid"
                .into(),
        );
        return Ok(None);
    };
    let pid = match found {
        Ok(pid) => pid,
        // Whether anything answers there is for the connection to say: it knows more of the cause.
        Err(error) if request.observe.sampling.is_none() => {
            notes.push(error.to_string());
            return Ok(None);
        }
        Err(error) => {
            if !request.load.driver.is_foreign() {
                load::check(address)?;
            }
            return Err(error.into());
        }
    };
    let (name, expected) = (comm(pid, pid).unwrap_or_default(), &request.preset.process.names);
    if !expected.is_empty() && !expected.contains(&name) {
        let expected = expected.join(" or ");
        notes.push(format!(
            "process {pid} on {place} is called {name}; preset {} expects {expected}",
            request.preset.name
        ));
    }
    Ok(Some(pid))
}

/// What is said of a process that was given although another one answers there: a proxy in front of it, where the user
/// says so.
///
/// # Errors
/// The user does not say so: figures of the wrong process are worth nothing.
fn another_listens(request: &Request, pid: u32, address: &Address) -> Result<Option<String>> {
    let owned = address.local_port().is_some_and(|port| listens_on(pid, &address.local_addresses(), port))
        || address.socket().is_some_and(|path| listens_at(pid, &path));
    let Some((place, Ok(owner))) = listens(address).filter(|_| !owned) else { return Ok(None) };
    if related(owner, pid) {
        return Ok(None);
    }
    let name = |pid| comm(pid, pid).unwrap_or_default();
    let (given, owns) = (name(pid), name(owner));
    if !request.target.pid_anyway {
        bail!(LoadError::Usage(format!(
            "--pid {pid} ({given}) does not own {place}: process {owner} ({owns}) does; leave --pid out to measure \
             that one, or give --pid-anyway where it is a proxy in front of process {pid}"
        )));
    }
    Ok(Some(format!(
        "process {pid} ({given}) is measured as the server, and {place} belongs to process {owner} ({owns}): asked for \
         with --pid-anyway"
    )))
}

/// Who listens at an address of this host, and what to call the place; `None` for other hosts.
pub fn listens(address: &Address) -> Option<(String, Result<u32, Forbidden>)> {
    if let Some(port) = address.local_port() {
        return Some((format!("port {port}"), listener(&address.local_addresses(), port)));
    }
    let path = address.socket()?;
    Some((format!("socket {}", path.display()), socket_listener(&path)))
}

/// The processes to measure, by the request's target and the companions that were found. Whether children of the
/// target count with it is the preset's to say; where it does not, they do if they hold the connections that are open
/// now.
pub fn processes(
    request: &Request,
    target: Option<u32>,
    companions: Vec<(String, u32)>,
    notes: &mut Vec<String>,
) -> Processes {
    let children = target.is_some_and(|pid| follows(request, pid, notes));
    Processes {
        watched: Watched { processes: watched(request, target, children, &companions), ..Watched::default() },
        target: target.map(|pid| TargetProcess { sampled: Sampled { pid, children }, started: start_ticks(pid) }),
        // A database may have a process per connection, whatever the target has.
        companions: companions.into_iter().map(|(name, pid)| (name, Sampled::family(pid))).collect(),
    }
}

/// Whether the children of the target are followed; where they serve and are not, that is said loudly.
fn follows(request: &Request, pid: u32, notes: &mut Vec<String>) -> bool {
    let preset = &request.preset;
    if preset.process.children == Some(true) {
        return true;
    }
    // Of a server that serves some connections itself and hands others on, both are wanted.
    let by_children = holders(pid).iter().any(|holder| *holder != pid);
    match (preset.process.children, by_children) {
        (None, true) => {
            notes.push(format!("children of process {pid} count with it: they hold its connections"));
            true
        }
        (Some(false), true) => {
            let warning = format!(
                "the connections of process {pid} are held by its children, and preset {} does not follow those: \
                 what they do is not measured; name the server's own preset with --preset",
                preset.name
            );
            // Before the load, and not after it: figures of the wrong process are worth nothing.
            let _ = writeln!(std::io::stderr(), "wireprof: warning: {warning}");
            notes.push(warning);
            false
        }
        _ => false,
    }
}

/// The companions' names and numbers. One that was started for this run stands for all of its name.
///
/// # Errors
/// A name or number of which there is no process: most likely a typing error, so the processes that may be meant are
/// named.
pub fn companions(observe: &ObserveRequest, target: Option<u32>) -> Result<Vec<(String, u32)>> {
    let mut companions: Vec<u32> = Vec::new();
    for name in observe.companions.iter().filter(|name| !is_address(name)) {
        let mut found = match name.parse::<u32>() {
            Ok(pid) => start_ticks(pid).map(|_| pid).into_iter().collect(),
            Err(_) => named(name),
        };
        if found.iter().any(|pid| observe.accounted.contains(pid)) {
            found.retain(|pid| observe.accounted.contains(pid));
        }
        if found.is_empty() {
            bail!(LoadError::Usage(format!("--also {name}: there is no such process on this host{}", alike(name))));
        }
        companions.extend(found.into_iter().filter(|pid| Some(*pid) != target));
    }
    companions.sort_unstable();
    companions.dedup();
    Ok(companions.into_iter().filter_map(|pid| Some((comm(pid, pid)?, pid))).collect())
}

/// Names of processes that may be meant.
fn alike(name: &str) -> String {
    let wanted = name.to_lowercase();
    let near = |known: &String| {
        let known = known.to_lowercase();
        wanted.contains(&known) || known.contains(&wanted) || known.starts_with(wanted.get(..3).unwrap_or(&wanted))
    };
    let running = crate::target::processes().into_iter();
    let names: BTreeSet<String> = running.filter_map(|pid| comm(pid, pid)).filter(near).collect();
    match names.len() {
        0 => "; `ps -e -o pid,comm` lists them".into(),
        _ => format!("; there are {}", names.into_iter().take(8).collect::<Vec<_>>().join(", ")),
    }
}

/// The target and the other processes that CPU is accounted to.
fn watched(request: &Request, pid: Option<u32>, children: bool, companions: &[(String, u32)]) -> Vec<WatchedProcess> {
    let mut others: Vec<u32> =
        companions.iter().map(|(_, pid)| *pid).chain(request.observe.accounted.iter().copied()).collect();
    // A process that the user points at stands for those that the preset knows by the same name only: another database
    // on this host is not the one behind this server.
    let given: Vec<String> = others.iter().filter_map(|pid| comm(*pid, *pid)).collect();
    let names = request.preset.process.companions.iter().filter(|name| !given.contains(*name));
    others.extend(names.flat_map(|name| named(name)));
    others.sort_unstable();
    others.dedup();
    let target = pid.map(|pid| WatchedProcess { pid, role: Role::Target, children });
    let others = others.into_iter().filter(|other| Some(*other) != pid);
    // The database behind may have a process per connection, whatever the target has.
    let others = others.map(|pid| WatchedProcess { pid, role: Role::Other, children: true });
    target.into_iter().chain(others).collect()
}
