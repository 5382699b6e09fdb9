//! The kernel's program: loaded, given its maps' sizes, attached for a recording and detached after it. Invariant:
//! nothing is pinned; programs and maps live by this process's descriptors alone and go with it, however it ends.

use super::follow::Following;
use super::form::Form;
use super::memory::{Memory, Room};
use super::off_cpu::{Id, Known, Sum, Thread, Wait};
use super::shapes::{Clock, CpuCounts, KernelSpace, Target};
use super::threads::Threads;
use super::window::WindowEnds;
use crate::bpf::{functions_of, map_array, note_loaded, refusal, tracepoint_types};
use crate::sample::start::Started;
use anyhow::{Context, Result, anyhow};
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope};
use aya::programs::{BtfTracePoint, PerfEvent, Program, UProbe};
use aya::{Btf, Ebpf, EbpfLoader};
use memmap2::MmapRaw;
use perf_event::Counter;
use rustc_hash::FxHashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Compiled from `bpf/sampler.bpf.c` by `scripts/bpf`, which also compares them.
static OBJECT: &[u8] = aya::include_bytes_aligned!("sampler.bpf.o");

/// The functions of the kernel's program.
pub fn own_functions() -> Vec<String> {
    functions_of(OBJECT)
}

/// `CLAIMS` of `bpf/follow.h`.
const CLAIMS: u32 = 4;

/// The program's tracepoints.
const TRACEPOINTS: [(&str, &str); 4] = [
    ("on_switch", "sched_switch"),
    ("on_fork", "sched_process_fork"),
    ("on_exec", "sched_process_exec"),
    ("on_end", "sched_process_free"),
];

/// Those that only waits need.
const WAITING: [(&str, &str); 2] = [("on_wakeup", "sched_wakeup"), ("on_birth", "sched_wakeup_new")];

/// Those that follow the carriers of queries.
const CARRYING: [(&str, &str); 3] =
    [("follow_switch", "sched_switch"), ("follow_waking", "sched_waking"), ("follow_receive", "sock_recv_length")];

/// Of what is sent: over a Unix socket, before it can be read (Linux 6.16), after it.
const SENDS_UNIX: &str = "sk_data_ready";
const SENDS: &str = "tcp_sendmsg_locked";
const SENT: &str = "sock_send_length";

/// The kernel has probes at functions of programs.
fn probes_known() -> bool {
    Path::new("/sys/bus/event_source/devices/uprobe").exists()
}

/// The program in the kernel.
pub struct KernelProgram {
    ebpf: Ebpf,
    pub memory: Memory,
    pub ring: RingBuf<MapData>,
    targets: HashMap<MapData, u32, Target>,
    threads: Threads,
    waits: HashMap<MapData, Wait, Sum>,
    stacks: HashMap<MapData, Id, Known>,
    pub window: Arc<WindowEnds>,
    /// Why waits cannot be followed.
    pub waits_refused: Option<String>,
    cpus: Array<MapData, CpuCounts>,
    clocks: MmapRaw,
    count: usize,
    pub form: Form,
    /// What carries the queries: its switches and counts, and its events.
    pub following: Following,
    pub events: RingBuf<MapData>,
    places: HashMap<MapData, [u64; 3], [u32; 2]>,
    /// Programs that are loaded later name them by their descriptors.
    _maps: Vec<Map>,
}

impl KernelProgram {
    /// Loads it with this much room.
    pub fn load(room: Room, form: Form) -> Result<KernelProgram> {
        let known: Vec<&str> = TRACEPOINTS.iter().chain(&WAITING).map(|(_, tracepoint)| *tracepoint).collect();
        let btf = tracepoint_types(&known)?;
        let count = form.cpus.map_or_else(possible_cpus, Ok)?;
        let (copies, id_mask) = (u32::from(form.copies), form.id_mask.unwrap_or(u64::MAX));
        let ring_bytes = form.ring_bytes();
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("mappings", room.mappings as u32)
            .map_max_entries("pages", room.pages as u32)
            .map_max_entries("rows", (room.rows / 2) as u32)
            .map_max_entries("rules", room.rules as u32)
            .map_max_entries("targets", form.processes())
            .map_max_entries("waits", form.sums_of_waits(room.waits))
            .map_max_entries("scratches", (2 + CLAIMS) * count as u32)
            .map_max_entries("claims", CLAIMS * count as u32)
            .map_max_entries("stacks", form.stacks())
            .map_max_entries("words", form.words())
            .map_max_entries("followed_places", form.followed_places())
            .map_max_entries("events", form.event_bytes())
            .map_max_entries("clocks", count as u32)
            .map_max_entries("cpus", count as u32)
            .map_max_entries("ring", ring_bytes)
            .override_global("with_copies", &copies, true)
            .override_global("half_ring", &u64::from(ring_bytes / 2), true)
            .override_global("with_waits", &u32::from(form.waits), true)
            .override_global("id_mask", &id_mask, true)
            .override_global("cpu_count", &(count as u32), true)
            .override_global("with_probes", &u32::from(probes_known()), true)
            .load(OBJECT)
            .context("the kernel refuses the sampling program's maps")?;
        for (name, tracepoint) in TRACEPOINTS {
            tracing(&mut ebpf, name)?
                .load(tracepoint, &btf)
                .map_err(refusal)
                .with_context(|| format!("the kernel refuses the program at {tracepoint}"))?;
        }
        let waits_refused = match form.waits {
            true => WAITING.iter().find_map(|(name, tracepoint)| {
                let loaded =
                    tracing(&mut ebpf, name).and_then(|program| program.load(tracepoint, &btf).map_err(refusal));
                loaded.err().map(|error| format!("the kernel refuses the program at {tracepoint}: {error:#}"))
            }),
            false => Some("nobody asked for them when the program was loaded".into()),
        };
        ticking(&mut ebpf)?.load().map_err(refusal).context("the kernel refuses the sampling program")?;
        note_loaded();
        let mut take = |name: &str| ebpf.take_map(name).ok_or_else(|| anyhow!("the program has no map {name}"));
        let arrays = [take("mappings")?, take("pages")?, take("rows")?, take("rules")?];
        let [mappings, pages, rows, rules] = arrays.each_ref().map(array);
        let fds = [mappings?.fd().as_fd(), pages?.fd().as_fd(), rows?.fd().as_fd(), rules?.fd().as_fd()];
        let ticks = take("clocks")?;
        let clocks = map_array(array(&ticks)?.fd().as_fd(), count * size_of::<Clock>(), "clocks")?;
        let ends = take("window")?;
        let window = Arc::new(WindowEnds::map(array(&ends)?.fd().as_fd())?);
        let room_of_threads = take("threads")?;
        let threads = Threads::map(array(&room_of_threads)?.fd().as_fd())?;
        let switches = take("following")?;
        Ok(KernelProgram {
            memory: Memory::new(room, fds)?,
            ring: RingBuf::try_from(take("ring")?)?,
            targets: HashMap::try_from(take("targets")?)?,
            threads,
            waits: HashMap::try_from(take("waits")?)?,
            stacks: HashMap::try_from(take("stacks")?)?,
            window,
            waits_refused,
            cpus: Array::try_from(take("cpus")?)?,
            following: Following::map(array(&switches)?.fd().as_fd())?,
            events: RingBuf::try_from(take("events")?)?,
            places: HashMap::try_from(take("followed_places")?)?,
            clocks,
            count,
            form,
            _maps: arrays.into_iter().chain([ends, room_of_threads, switches, ticks]).collect(),
            ebpf,
        })
    }

    /// Forgets the recording before. `waits`: they are followed in this one.
    pub fn clear(&mut self, waits: bool) -> Result<()> {
        empty(&mut self.targets)?;
        self.threads.clear();
        empty(&mut self.waits)?;
        empty(&mut self.stacks)?;
        empty(&mut self.places)?;
        self.following.reset();
        self.window.reset(waits);
        self.memory.forget_spaces();
        for cpu in 0..self.count {
            self.set_clock(cpu, None);
            self.cpus.set(cpu as u32, CpuCounts::default(), 0)?;
        }
        while self.ring.next().is_some() {}
        while self.events.next().is_some() {}
        Ok(())
    }

    /// Loads what follows the carriers of queries, where that is not done yet, and attaches it.
    pub fn attach_following(&mut self, over_unix: bool) -> Result<Attached> {
        let known = CARRYING.iter().chain(&TRACEPOINTS).map(|(_, tracepoint)| *tracepoint);
        let btf = tracepoint_types(&known.chain([SENDS_UNIX, SENDS, SENT]).collect::<Vec<_>>())?;
        let mut links = Vec::new();
        for (name, tracepoint) in CARRYING.into_iter().chain(TRACEPOINTS.into_iter().skip(1)) {
            links.push(self.attach_one(name, tracepoint, &btf)?);
        }
        if over_unix {
            links.push(self.attach_one("follow_send_unix", SENDS_UNIX, &btf)?);
        }
        // Before Linux 6.16 what is sent is seen after the call.
        let sending = self.attach_one("follow_send", SENDS, &btf);
        links.push(match sending {
            Ok(link) => link,
            Err(_) => self.attach_one("follow_sent", SENT, &btf)?,
        });
        Ok(Attached { _links: links })
    }

    fn attach_one(&mut self, name: &str, tracepoint: &str, btf: &Btf) -> Result<BtfTracePointLink> {
        let program = tracing(&mut self.ebpf, name)?;
        if program.fd().is_err() {
            program
                .load(tracepoint, btf)
                .map_err(refusal)
                .with_context(|| format!("the kernel refuses the program at {tracepoint}"))?;
            note_loaded();
        }
        let link = program.attach().with_context(|| format!("the program cannot be attached to {tracepoint}"))?;
        Ok(program.take_link(link)?)
    }

    /// Attaches a program to a function of a file: at this offset of it, for one process and those that it gives birth
    /// to with the same file.
    pub fn probe(&mut self, name: &str, file: &Path, offset: u64, scope: UProbeScope) -> Result<UProbeLink> {
        let program: &mut UProbe = program(&mut self.ebpf, name)?.try_into()?;
        if program.fd().is_err() {
            program.load().map_err(refusal).with_context(|| format!("the kernel refuses the program {name}"))?;
            note_loaded();
        }
        let location = UProbeAttachLocation::AbsoluteOffset(offset);
        let link = program
            .attach(location, file, scope)
            .with_context(|| format!("the kernel refuses a probe at offset {offset:#x} of {}", file.display()))?;
        Ok(program.take_link(link)?)
    }

    /// Follows context switches, births, ends and new programs from now on; with `waits`, wake-ups too.
    pub fn attach(&mut self, waits: bool) -> Result<Attached> {
        let mut links = Vec::new();
        for (name, tracepoint) in TRACEPOINTS.into_iter().chain(WAITING.into_iter().filter(|_| waits)) {
            let program = tracing(&mut self.ebpf, name)?;
            let link = program.attach().with_context(|| format!("the program cannot be attached to {tracepoint}"))?;
            links.push(program.take_link(link)?);
        }
        Ok(Attached { _links: links })
    }

    /// Lets the program run at every tick of this event.
    pub fn tick_by(&mut self, event: &Counter) -> Result<()> {
        const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
        let program = ticking(&mut self.ebpf)?.fd()?.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open, and this request takes the program's by value, no pointer.
        let result = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program) };
        if result < 0 {
            return Err(std::io::Error::last_os_error())
                .context("the program cannot be attached to the sampling event");
        }
        Ok(())
    }

    /// Tells when a CPU's clock ticks; `None`: it is not known, and each interrupt is taken as it comes.
    pub fn set_clock(&self, cpu: usize, clock: Option<(&Started, u64)>) {
        if cpu >= self.count {
            return;
        }
        let (start, period) = clock.map_or((0, 0), |(start, period)| (start.at, period));
        // The program looks at the period first: while it is 0 nothing else counts.
        let clock = self.clock(cpu);
        clock.period.store(0, Ordering::SeqCst);
        clock.start.store(start, Ordering::SeqCst);
        clock.period.store(period, Ordering::SeqCst);
    }

    fn clock(&self, cpu: usize) -> &Clock {
        assert!(cpu < self.count);
        // SAFETY: the mapping begins at a page, holds a `Clock` for each of `count` CPUs (it was mapped so) and lives
        // as long as `self`; its words are atomic, and the kernel's programs only read them, each whole.
        unsafe { &*self.clocks.as_ptr().cast::<Clock>().add(cpu) }
    }

    /// Enters a process of the target; `children`: processes that it gives birth to belong to the target too.
    pub fn add_target(&mut self, pid: u32, children: bool, space: KernelSpace) -> Result<()> {
        Ok(self.targets.insert(pid, Target { space, children: u32::from(children) }, 0)?)
    }

    /// Whether the children of this process belong to the target; `None`: it does not itself.
    pub fn target(&self, pid: u32) -> Option<bool> {
        self.targets.get(&pid, 0).ok().map(|target| target.children != 0)
    }

    /// Enters a thread that is off CPU since before anybody looked, unless it has been seen since; `false`: there is no
    /// room for it.
    pub fn enter_blocked(&self, pid: u32, tid: u32, since: u64) -> bool {
        self.threads.enter_blocked(pid, tid, since)
    }

    /// The target's threads by number, as they are now.
    pub fn threads(&self) -> FxHashMap<u32, Thread> {
        self.threads.all()
    }

    /// How often a thread was entered.
    pub fn entered(&self) -> u64 {
        (0..self.count as u32).filter_map(|cpu| self.cpus.get(&cpu, 0).ok()).map(|cpu| cpu.threads).sum()
    }

    /// A thread so far.
    pub fn thread(&self, tid: u32) -> Option<Thread> {
        self.threads.get(tid)
    }

    /// Waits that have ended within the window.
    pub fn waits(&self) -> FxHashMap<Wait, Sum> {
        self.waits.iter().filter_map(Result::ok).collect()
    }

    /// Counts of all CPUs, added up.
    pub fn counts(&self) -> CpuCounts {
        let mut sum = CpuCounts::default();
        for cpu in 0..self.count {
            let Ok(one) = self.cpus.get(&(cpu as u32), 0) else { continue };
            sum.foreign += one.foreign;
            sum.lost += one.lost;
            sum.delays += one.delays;
            sum.delay_sum += one.delay_sum;
            sum.spent += one.spent;
            sum.copies += one.copies;
            sum.walked += one.walked;
            sum.walk_spent += one.walk_spent;
            sum.stacks_lost += one.stacks_lost;
            sum.waits_lost += one.waits_lost;
            sum.nanos_lost += one.nanos_lost;
            sum.collisions += one.collisions;
            sum.threads_lost += one.threads_lost;
            sum.processes_lost += one.processes_lost;
        }
        sum
    }
}

/// Detaches when it is dropped.
pub struct Attached {
    _links: Vec<BtfTracePointLink>,
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Program> {
    ebpf.program_mut(name).ok_or_else(|| anyhow!("there is no program {name}"))
}

fn tracing<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut BtfTracePoint> {
    Ok(program(ebpf, name)?.try_into()?)
}

fn ticking(ebpf: &mut Ebpf) -> Result<&mut PerfEvent> {
    Ok(program(ebpf, "on_tick")?.try_into()?)
}

fn array(map: &Map) -> Result<&MapData> {
    match map {
        Map::Array(data) => Ok(data),
        _ => Err(anyhow!("a map of the program is not an array")),
    }
}

fn empty<K: aya::Pod, V: aya::Pod>(map: &mut HashMap<MapData, K, V>) -> Result<()> {
    let keys: Vec<K> = map.keys().filter_map(Result::ok).collect();
    for key in keys {
        match map.remove(&key) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn possible_cpus() -> Result<usize> {
    aya::util::nr_cpus().map_err(|(file, error)| anyhow!("{file}: {error}"))
}
