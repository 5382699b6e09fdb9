//! The object of the programs at the sockets, with what is to be followed written into it. Invariant: what was loaded
//! is attached to nothing yet.

use super::Hop;
use super::shapes::{HOPS, NAME_WORDS, SOCKETS, Side};
use super::timeline::Listens;
use crate::bpf::{functions_of, map_array};
use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::Map;
use aya::programs::BtfTracePoint;
use aya::{Ebpf, EbpfLoader};
use memmap2::MmapRaw;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Compiled from `bpf/wire.bpf.c` by `scripts/bpf`, which also compares them.
static OBJECT: &[u8] = aya::include_bytes_aligned!("wire.bpf.o");

/// The functions of the kernel's program.
pub fn own_functions() -> Vec<String> {
    functions_of(OBJECT)
}

/// What of the hops is followed.
#[derive(Clone, Copy, Default)]
pub(super) struct Scope {
    /// Of the first hop only events of this end; `None`: of both.
    pub end: Option<Side>,
    /// The process whose network namespace the first hop's server's sockets are in; `None`: ours for TCP.
    pub server: Option<u32>,
}

/// The object with these hops, and what of them is followed, in it. Its programs, loaded later, lose what is for other
/// kinds of hops to the kernel's verifier.
pub(super) fn load(hops: &[Hop], scope: Scope) -> Result<Ebpf> {
    let at = |hop: usize| hops.get(hop).map(|hop| &hop.at);
    let ports: Vec<u16> =
        (0..HOPS).map(|hop| if let Some(Listens::Port(port)) = at(hop) { *port } else { 0 }).collect();
    let words =
        |hop: usize| if let Some(Listens::Socket(path)) = at(hop) { name_words(path) } else { Ok([0; NAME_WORDS]) };
    let names = (0..HOPS).map(words).collect::<Result<Vec<_>>>()?;
    let mut loader = EbpfLoader::new();
    let port_of = ["server_port_0", "server_port_1", "server_port_2", "server_port_3"];
    let name_of = ["server_name_0", "server_name_1", "server_name_2", "server_name_3"];
    let namespace_of = ["server_namespace_0", "server_namespace_1", "server_namespace_2", "server_namespace_3"];
    let namespaces: Vec<u32> = (0..HOPS).map(|hop| namespace(hop, at(hop), scope.server)).collect();
    for hop in 0..HOPS {
        loader.override_global(port_of[hop], &ports[hop], true).override_global(name_of[hop], &names[hop], true);
        loader.override_global(namespace_of[hop], &namespaces[hop], true);
    }
    let ends = scope.end.map_or(Side::Client as u32 | Side::Server as u32, |end| end as u32);
    loader.override_global("ends_of_load", &ends, true);
    if hops.iter().any(|hop| !hop.at.over_network()) {
        loader.map_max_entries("numbers", SOCKETS as u32);
    }
    loader.load(OBJECT).context("the kernel refuses the maps of the program at the sockets")
}

/// The network namespace of a hop's server, as the kernel's programs know it; 0 where it is not known, for any. A
/// connection to an address of this host arrives in our own. A Unix socket may be another namespace's: its file can be
/// reached from ours.
fn namespace(hop: usize, at: Option<&Listens>, server: Option<u32>) -> u32 {
    let of = |process: &str| std::fs::metadata(format!("/proc/{process}/ns/net")).ok().map(|file| file.ino() as u32);
    let told = server.filter(|_| hop == 0).and_then(|pid| of(&pid.to_string()));
    let own = || matches!(at, Some(Listens::Port(_))).then(|| of("self")).flatten();
    told.or_else(own).unwrap_or(0)
}

/// The name of a Unix socket as the kernel's programs compare it.
///
/// # Errors
/// A name that is longer than one can be.
pub fn name_words(path: &Path) -> Result<[u64; NAME_WORDS]> {
    let name = path.as_os_str().as_bytes();
    ensure!((1..=108).contains(&name.len()), "{} is longer than a socket's name can be", path.display());
    let mut bytes = [0; NAME_WORDS * 8];
    bytes[..name.len()].copy_from_slice(name);
    // An abstract name, which `/proc/net/unix` and libpq write with `@` for the zero that it begins with.
    if bytes[0] == b'@' {
        bytes[0] = 0;
    }
    Ok(std::array::from_fn(|at| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at * 8 + byte]))))
}

/// An array that the kernel lets us map.
pub(super) fn mapped(map: Map, bytes: usize, name: &str) -> Result<MmapRaw> {
    let Map::Array(array) = map else { return Err(anyhow!("the program's map {name} is no array")) };
    map_array(array.fd().as_fd(), bytes, name)
}

pub(super) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut BtfTracePoint> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("there is no program {name}"))?;
    Ok(program.try_into()?)
}
