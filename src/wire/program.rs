//! The kernel's program at the sockets, loaded once a sweep and attached for each window.

use super::WireSource;
use super::object::{Scope, load, mapped, program};
use super::sample::{QueryTimeline, Sample, every};
use super::shapes::{BUCKETS, Connection, HOPS, PLACES, PORTS, SOCKETS, Sampling, Side, Timeline};
use super::shapes::{USES, Use, UseTime};
use super::timeline::{Hop, HopSnapshot, Listens, WireSnapshot};
use super::uses::{FIRST_NUMBER, Met, UseSoFar, met, specials};
use crate::bpf::{note_loaded, refusal, tracepoint_types};
use crate::clock::{self, Nanos};
use anyhow::{Context, Result, anyhow, ensure};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use memmap2::MmapRaw;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const TRACEPOINTS: [(&str, &str); 2] = [("on_readable", "sk_data_ready"), ("on_receive", "sock_recv_length")];
/// Kernel 6.16 and later.
const SENDS: (&str, &str) = ("on_send", "tcp_sendmsg_locked");

/// Follows connections of this host, over TCP and Unix sockets, at the kernel's tracepoints.
pub struct SocketProgram {
    hops: Vec<Hop>,
    ebpf: Ebpf,
    connections: MmapRaw,
    stays: PerCpuArray<MapData, u64>,
    uses: MmapRaw,
    use_times: PerCpuArray<MapData, UseTime>,
    /// Uses and names of statements by their hashes.
    numbers_of_uses: HashMap<MapData, u64, u32>,
    sampling: MmapRaw,
    timelines: RingBuf<MapData>,
    /// Where among `connections` one over a Unix socket is, by the inode of the client's end.
    numbers: HashMap<MapData, u32, u32>,
    sends_seen: bool,
    started: Nanos,
    attached: Vec<BtfTracePointLink>,
}

/// Uses of a hop, by where their times are.
type Uses = BTreeMap<u16, UseSoFar>;

/// What `SocketProgram::instant` reads.
struct Instant {
    at: Nanos,
    /// ns from the first reading to the last.
    took: u64,
    hops: Vec<(BTreeMap<u32, Connection>, Option<Uses>)>,
}

impl SocketProgram {
    /// Loads it for these hops, one to four.
    ///
    /// # Errors
    /// Another number of hops, or what the host does not permit: a kernel without BTF or without the
    /// tracepoints, no right to load programs.
    pub fn open(hops: Vec<Hop>) -> Result<SocketProgram> {
        Self::following(hops, Scope::default())
    }

    /// As [`SocketProgram::open`], for a load whose other end is on another host: of the first hop only events of one
    /// end are followed.
    ///
    /// # Errors
    /// As [`SocketProgram::open`].
    pub fn of_one_end(hops: Vec<Hop>, end: Side) -> Result<SocketProgram> {
        Self::following(hops, Scope { end: Some(end), server: None })
    }

    /// As [`SocketProgram::open`], or of one `end`, for a server whose process is known: one of another network
    /// namespace that has the same port, or the same name of a socket, is another server.
    ///
    /// # Errors
    /// As [`SocketProgram::open`].
    pub fn of_server(hops: Vec<Hop>, pid: Option<u32>, end: Option<Side>) -> Result<SocketProgram> {
        Self::following(hops, Scope { end, server: pid })
    }

    fn following(hops: Vec<Hop>, scope: Scope) -> Result<SocketProgram> {
        ensure!((1..=HOPS).contains(&hops.len()), "between one and {HOPS} hops can be followed");
        let known = TRACEPOINTS.iter().chain([&SENDS]).map(|(_, tracepoint)| *tracepoint);
        let btf = tracepoint_types(&known.collect::<Vec<_>>())?;
        let mut ebpf = load(&hops, scope)?;
        for (name, tracepoint) in TRACEPOINTS {
            let refused = || format!("the kernel refuses the program at {tracepoint} (kernel 6.3 and later have it)");
            program(&mut ebpf, name)?.load(tracepoint, &btf).map_err(refusal).with_context(refused)?;
        }
        let sends_seen = program(&mut ebpf, SENDS.0)?.load(SENDS.1, &btf).is_ok();
        note_loaded();
        let mut take = |name: &str| ebpf.take_map(name).ok_or_else(|| anyhow!("the program has no map {name}"));
        let connections = mapped(take("connections")?, HOPS * PORTS * size_of::<Connection>(), "connections")?;
        let sampling = mapped(take("sampling")?, size_of::<Sampling>(), "sampling")?;
        let stays = PerCpuArray::try_from(take("stays")?)?;
        let uses = mapped(take("uses")?, USES * size_of::<Use>(), "uses")?;
        let use_times = PerCpuArray::try_from(take("use_times")?)?;
        let numbers_of_uses = HashMap::try_from(take("numbers_of_uses")?)?;
        let timelines = RingBuf::try_from(take("timelines")?)?;
        let numbers = HashMap::try_from(take("numbers")?)?;
        let (started, attached) = (0, Vec::new());
        Ok(SocketProgram {
            hops,
            ebpf,
            connections,
            stays,
            uses,
            use_times,
            numbers_of_uses,
            sampling,
            timelines,
            numbers,
            sends_seen,
            started,
            attached,
        })
    }

    /// Bytes of the kernel's arrays that are mapped: those of all hops, however many are followed.
    pub fn mapped_bytes(&self) -> usize {
        self.connections.len() + self.uses.len() + self.sampling.len()
    }

    fn connection_at(&self, hop: usize, port: usize) -> *mut Connection {
        assert!(hop < HOPS && port < PORTS);
        // SAFETY: the mapping holds HOPS * PORTS connections, so that this one lies within it (asserted).
        unsafe { self.connections.as_mut_ptr().cast::<Connection>().add(hop * PORTS + port) }
    }

    /// When a connection came into its place; 0: it was never seen.
    fn since(&self, hop: usize, port: usize) -> Nanos {
        let at = self.connection_at(hop, port);
        // SAFETY: the mapping lives as long as `self`, and this word of it is aligned; the kernel's programs write it
        // whole.
        unsafe { AtomicU64::from_ptr(&raw mut (*at).since) }.load(Ordering::Relaxed)
    }

    /// A connection as it is now. The kernel's program may be in the midst of an event, some ten stores in no order
    /// that C promises, and then this would see the instant of one event with the place of another. So it is read until
    /// two readings agree. They can still agree on half an event where an interrupt holds up the program between its
    /// stores for as long as both take (some 100 ns): then one stay of one connection is given to the wrong place in
    /// this snapshot.
    fn connection(&self, hop: usize, port: usize) -> Connection {
        /// Events of one connection are microseconds apart: the second reading nearly always agrees.
        const READINGS: usize = 16;
        let at = self.connection_at(hop, port);
        // SAFETY: the mapping lives as long as `self`, and is aligned. A volatile read takes what is there word by
        // word, whoever writes meanwhile; every bit pattern of every word is a valid value, and which words belong
        // together is seen to below.
        let read = || unsafe { at.read_volatile() };
        let mut last = read();
        for _ in 1..READINGS {
            let again = read();
            if again == last {
                break;
            }
            last = again;
        }
        last
    }

    fn forget(&mut self) -> Result<()> {
        // SAFETY: the mapping is writable over its whole length, and no program is attached that would write to it.
        unsafe { std::ptr::write_bytes(self.connections.as_mut_ptr(), 0, self.connections.len()) };
        self.forget_uses()?;
        // SAFETY: the mapping holds one, page-aligned; nobody else writes to it, as above.
        unsafe { self.sampling.as_mut_ptr().cast::<Sampling>().write_volatile(Sampling::default()) };
        while self.timelines.next().is_some() {}
        let known: Vec<u32> = self.numbers.keys().flatten().collect();
        // One that cannot be removed keeps its number, and so does its connection: nothing is mixed up.
        known.iter().for_each(|client| drop(self.numbers.remove(client)));
        Ok(())
    }

    fn forget_uses(&mut self) -> Result<()> {
        for at in self.counted_uses() {
            let cpus = self.use_times.get(&at, 0)?.len();
            self.use_times.set(at, PerCpuValues::try_from(vec![UseTime::default(); cpus])?, 0)?;
        }
        // SAFETY: the mapping is writable over its whole length, and no program is attached that would write to it.
        unsafe { std::ptr::write_bytes(self.uses.as_mut_ptr(), 0, self.uses.len()) };
        let known: Vec<u64> = self.numbers_of_uses.keys().flatten().collect();
        // One that cannot be removed would give its number to another statement: it is better to fail.
        known.iter().try_for_each(|key| self.numbers_of_uses.remove(key))?;
        Ok(())
    }

    /// Indices of the times that may have been counted.
    fn counted_uses(&self) -> std::ops::Range<u32> {
        let numbers = self.sampling().uses.saturating_add(FIRST_NUMBER.into()).min(USES as u32);
        0..2 * numbers
    }

    /// What the round trips of a hop behind are for, so far. `inodes`: see [`Self::inodes`].
    fn uses(&self, hop: usize, inodes: &BTreeMap<usize, u32>) -> Result<BTreeMap<u16, UseSoFar>> {
        let client = |at: u32| inodes.get(&(at as usize)).copied().unwrap_or(at % PORTS as u32);
        let mut all = specials(hop);
        for number in usize::from(FIRST_NUMBER)..self.counted_uses().len() / 2 {
            // SAFETY: the mapping holds USES of them, any bytes of which are one; the kernel's program writes each
            // once, `kind` last.
            let found = unsafe { self.uses.as_ptr().cast::<Use>().add(number).read_volatile() };
            let Some(met) = met(&found, client).filter(|_| usize::from(found.hop) == hop) else { continue };
            all.extend(met.into_iter().enumerate().map(|(prepares, met)| ((2 * number + prepares) as u16, met)));
        }
        let so_far = |(at, met): (u16, Met)| Ok((at, UseSoFar { met, time: self.use_time(at)? }));
        all.into_iter().map(so_far).collect()
    }

    /// The connections in use and what their round trips are for, at one instant as nearly as can be: the two are read
    /// one after the other, and whoever reads may lose its CPU in between. The quickest of a few readings counts.
    fn instant(&self, used: &[Vec<(usize, u32)>], inodes: &BTreeMap<usize, u32>) -> Result<Instant> {
        const READINGS: usize = 5;
        const QUICK: u64 = 500_000;
        let read = || -> Result<Instant> {
            let at = clock::now();
            let connections = |(hop, used): (usize, &Vec<(usize, u32)>)| -> BTreeMap<u32, Connection> {
                used.iter().map(|(number, client)| (*client, self.connection(hop, *number))).collect()
            };
            let all: Vec<_> = used.iter().enumerate().map(connections).collect();
            let uses = |hop: usize| (hop > 0).then(|| self.uses(hop, inodes)).transpose();
            let hops = all.into_iter().enumerate().map(|(hop, connections)| Ok((connections, uses(hop)?)));
            let hops = hops.collect::<Result<_>>()?;
            Ok(Instant { at, took: clock::now() - at, hops })
        };
        let mut quickest = read()?;
        for _ in 1..READINGS {
            if quickest.took <= QUICK {
                break;
            }
            let again = read()?;
            if again.took < quickest.took {
                quickest = again;
            }
        }
        Ok(quickest)
    }

    fn use_time(&self, at: u16) -> Result<UseTime> {
        let mut sum = UseTime::default();
        for time in self.use_times.get(&u32::from(at), 0)?.iter() {
            sum.round_trips += time.round_trips;
            sum.nanos.iter_mut().zip(time.nanos).for_each(|(sum, nanos)| *sum += nanos);
        }
        Ok(sum)
    }

    /// The inode of the client's end of each connection over a Unix socket, by where it is among the connections.
    fn inodes(&self) -> BTreeMap<usize, u32> {
        self.numbers.iter().flatten().map(|(inode, index)| (index as usize, inode)).collect()
    }

    /// Of the connections that a hop has in use: which they are, and the client's end of each.
    fn used(&self, hop: usize, inodes: &BTreeMap<usize, u32>) -> Vec<(usize, u32)> {
        let used = (0..PORTS).filter(|number| self.since(hop, *number) > 0);
        match self.hops[hop].at {
            Listens::Port(_) => used.map(|port| (port, port as u32)).collect(),
            Listens::Socket(_) => {
                used.filter_map(|number| Some((number, *inodes.get(&(hop * PORTS + number))?))).collect()
            }
        }
    }

    fn sampling(&self) -> Sampling {
        // SAFETY: the mapping holds one, page-aligned, and any bytes are one. Its words are counts of their own:
        // nothing is concluded from two of them together, so that they may be of different instants.
        unsafe { self.sampling.as_mut_ptr().cast::<Sampling>().read_volatile() }
    }

    fn stays(&self, hop: usize) -> Result<Vec<[u64; BUCKETS]>> {
        let mut stays = vec![[0; BUCKETS]; PLACES];
        for (place, counts) in stays.iter_mut().enumerate() {
            for (power, count) in counts.iter_mut().enumerate() {
                let index = ((hop * PLACES + place) * BUCKETS + power) as u32;
                *count = self.stays.get(&index, 0)?.iter().sum();
            }
        }
        Ok(stays)
    }
}

impl WireSource for SocketProgram {
    fn hops(&self) -> &[Hop] {
        &self.hops
    }

    fn sends_seen(&self) -> bool {
        self.sends_seen
    }

    fn start(&mut self) -> Result<()> {
        self.stop();
        self.forget()?;
        let sends = self.sends_seen.then_some(SENDS);
        for (name, tracepoint) in TRACEPOINTS.into_iter().chain(sends) {
            let program = program(&mut self.ebpf, name)?;
            let link = program.attach().with_context(|| format!("the program cannot be attached to {tracepoint}"))?;
            self.attached.push(program.take_link(link)?);
        }
        // Attaching waits for all CPUs, some tens of ms a program.
        self.started = clock::now();
        Ok(())
    }

    fn snapshot(&self) -> Result<WireSnapshot> {
        let hops = 0..self.hops.len();
        let mut stays = hops.clone().map(|hop| self.stays(hop)).collect::<Result<Vec<_>>>()?;
        // Going through all ports takes ms, in which queries end: the few that are in use are read after the moment is
        // taken.
        let inodes = self.inodes();
        let used: Vec<Vec<(usize, u32)>> = hops.map(|hop| self.used(hop, &inodes)).collect();
        let Sampling { unnumbered, reversed, unnamed, .. } = self.sampling();
        ensure!(
            unnumbered == 0,
            "more than {SOCKETS} connections over Unix sockets were opened, which are not all followed"
        );
        let Instant { at, hops: found, .. } = self.instant(&used, &inodes)?;
        let hop = |(hop, (connections, uses))| {
            let stays = std::mem::take(&mut stays[hop]);
            HopSnapshot { connections, stays, reversed: reversed[hop], uses, unnamed }
        };
        Ok(WireSnapshot { at, hops: found.into_iter().enumerate().map(hop).collect() })
    }

    fn take_timelines(&self, seconds: f64) -> Result<()> {
        let now = self.snapshot()?;
        let since = now.at.saturating_sub(self.started).max(1) as f64 / 1e9;
        let mut all = [0; HOPS];
        for (every_so_many, hop) in all.iter_mut().zip(&now.hops) {
            let queries: u64 = hop.connections.values().map(|connection| connection.queries).sum();
            *every_so_many = every(queries as f64 / since, seconds);
        }
        // SAFETY: the mapping holds a `Sampling`, whose first field this is (asserted in `shapes`); the program only
        // reads it.
        unsafe { self.sampling.as_mut_ptr().cast::<[u32; HOPS]>().write_volatile(all) };
        Ok(())
    }

    fn timelines(&mut self) -> Vec<Sample> {
        let Sampling { every, lost, .. } = self.sampling();
        let sample = |(at, hop): (usize, &Hop)| Sample {
            hop: hop.name.clone(),
            every: every[at],
            lost: lost[at],
            queries: Vec::new(),
        };
        let mut samples: Vec<Sample> = self.hops.iter().enumerate().map(sample).collect();
        let inodes = self.inodes();
        while let Some(record) = self.timelines.next() {
            if record.len() < size_of::<Timeline>() {
                continue;
            }
            // SAFETY: it is as long as a `Timeline`, any bytes of which are one; it may lie unaligned.
            let timeline = unsafe { record.as_ptr().cast::<Timeline>().read_unaligned() };
            let hop = usize::from(timeline.hop);
            if let Some(sample) = samples.get_mut(hop) {
                let mut query = QueryTimeline::from(&timeline);
                if let Some(inode) = inodes.get(&(hop * PORTS + usize::from(timeline.port))) {
                    query.client = *inode;
                }
                sample.queries.push(query);
            }
        }
        samples
    }

    fn stop(&mut self) {
        self.attached.clear();
    }
}
