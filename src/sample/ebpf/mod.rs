//! On-CPU samples by a program in the kernel that follows user stacks along call-frame tables, however deep they are.
//! Invariant: every tick of a CPU's clock is a sample, a stranger's, or counted as lost; a walk that the kernel could
//! not finish is finished from a copy of the stack, or says why not.

mod follow;
mod form;
mod memory;
mod off_cpu;
mod program;
mod reader;
mod shapes;
mod stacks;
mod threads;
mod window;

use super::Options;
use super::perf::events;
use super::processes::Processes;
use super::thread::SamplingThread;
use super::unwind::{Cache, Modules, Space, read_mappings};
use super::{Carrying, ChosenRate, FollowOptions, RawSamples, Recording, Sampled, Sampler, SamplingReport};
use crate::target::{family, numbers_are_the_kernels, online_cpus, tasks};
use anyhow::{Context, Result, ensure};
pub use follow::EventRoom;
use follow::Followed;
pub use follow::{NoTasks, types_of_tasks};
use form::Form;
use memory::{Room, Tables};
use parking_lot::Mutex;
use program::KernelProgram;
pub use program::own_functions;
use reader::Reader;
use std::sync::{Arc, mpsc};
use window::WindowEnds;

/// Samples processes by a program in the kernel.
pub struct EbpfSampler {
    options: Options,
    form: Form,
    /// Survives from window to window: files are read, and tables made, once.
    state: Arc<Mutex<State>>,
}

struct State {
    modules: Modules,
    tables: Tables,
    kernel: KernelProgram,
}

impl EbpfSampler {
    /// Loads the program.
    ///
    /// # Errors
    /// What the host does not permit: a kernel without BTF, no CAP_BPF or CAP_PERFMON, or a program that the
    /// kernel refuses.
    pub fn open(options: Options, cache: Cache) -> Result<EbpfSampler> {
        Self::open_form(options, cache, Form::default())
    }

    /// As [`EbpfSampler::open`], but of the ids of waits' stacks only these bits are used, so that they collide: a
    /// test of what happens then.
    pub fn open_with_few_ids(options: Options, cache: Cache, id_mask: u64) -> Result<EbpfSampler> {
        Self::open_form(options, cache, Form { id_mask: Some(id_mask), ..Form::default() })
    }

    /// As [`EbpfSampler::open`], but with this much room for events of what carries the queries: a test of what happens
    /// where they find none.
    pub fn open_with_event_room(options: Options, cache: Cache, events: EventRoom) -> Result<EbpfSampler> {
        Self::open_form(options, cache, Form { events, ..Form::default() })
    }

    /// As [`EbpfSampler::open`], but with next to no room for samples, stacks, waits and processes: a test of what
    /// happens where they find none.
    pub fn open_with_little_room(options: Options, cache: Cache) -> Result<EbpfSampler> {
        Self::open_form(options, cache, Form { scarce: true, ..Form::default() })
    }

    /// As [`EbpfSampler::open`], but with the kernel's memory that a machine of so many CPUs, no fewer than this one's,
    /// needs: what it would take there.
    pub fn open_for_cpus(options: Options, cache: Cache, cpus: usize) -> Result<EbpfSampler> {
        Self::open_form(options, cache, Form { cpus: Some(cpus), ..Form::default() })
    }

    /// Why waits cannot be followed on this host, where the options ask for them; `None`: they can.
    pub fn waits_refused(&self) -> Option<String> {
        self.state.lock().kernel.waits_refused.clone()
    }

    /// Tries whether threads that carry queries can be followed on this host.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn try_following(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.prepare(&[], self.form.with_following(), &|_| {})?;
        state.kernel.attach_following(false).map(drop)
    }

    /// Tries whether async tasks can be followed, too, by probes: ns that a hit of one takes.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn try_probe(&self) -> Result<u64> {
        let mut state = self.state.lock();
        state.prepare(&[], self.form.with_following(), &|_| {})?;
        follow::try_probe(&mut state.kernel)
    }

    fn open_form(options: Options, cache: Cache, form: Form) -> Result<EbpfSampler> {
        ensure!(
            numbers_are_the_kernels(),
            "wireprof is in a namespace of process numbers of its own (a container's), and the kernel's programs know \
             the host's numbers only"
        );
        let form = Form { copies: options.cross_checks, waits: options.off_cpu, ..form };
        // The events are opened and closed again: what is not permitted is said before the load, not after it.
        let budget = events::budget(online_cpus().len(), &options);
        let event = events::event_name(options.event, &mut Vec::new());
        events::clock(event, &budget, 0).context("the kernel refuses a sampling event of all processes")?;
        let kernel = KernelProgram::load(Room::default().with_reserve(), form)?;
        let state = State { modules: Modules::default(), tables: Tables::new(cache), kernel };
        Ok(EbpfSampler { options, form, state: Arc::new(Mutex::new(state)) })
    }
}

impl State {
    /// Makes the tables of all files that the processes have mapped, and room for them.
    fn prepare(&mut self, sampled: &[Sampled], form: Form, progress: &dyn Fn(&str)) -> Result<()> {
        let mut threads = 0;
        for Sampled { pid, .. } in members(sampled) {
            threads += tasks(pid).len();
            let space = Space::new(pid, &read_mappings(pid), &mut self.modules);
            for placed in space.placed() {
                self.tables.of(placed.module, &mut self.modules, |path, bytes| {
                    if bytes > 1 << 20 {
                        progress(&format!("reading {:.0} MB of call-frame information of {path}", bytes as f64 / 1e6));
                    }
                });
            }
        }
        let waits = if form.waits { threads * Room::WAITS_A_THREAD } else { 0 };
        let room = Room { waits, ..self.tables.room() };
        // Loaded for more than is asked for it serves too.
        let following = self.kernel.form.following || form.following;
        let form = Form { following, ..form };
        if !self.kernel.memory.holds(&room.with_half_of_the_reserve()) || form.following != self.kernel.form.following {
            self.kernel = KernelProgram::load(room.with_reserve(), form)?;
        }
        Ok(())
    }
}

/// The processes, with their descendants where those are sampled too.
fn members(sampled: &[Sampled]) -> Vec<Sampled> {
    let own = |named: &Sampled| if named.children { family(named.pid) } else { vec![named.pid] };
    sampled.iter().flat_map(|named| own(named).into_iter().map(|pid| Sampled { pid, ..*named })).collect()
}

impl Sampler for EbpfSampler {
    fn prepare(&mut self, sampled: &[Sampled], progress: &dyn Fn(&str)) -> Result<()> {
        let mut state = self.state.lock();
        state.prepare(sampled, self.form, progress)
    }

    fn set_rate(&mut self, chosen: ChosenRate) {
        self.options.set_rate(chosen);
    }

    fn start(&mut self, sampled: &[Sampled]) -> Result<Box<dyn Recording>> {
        let (state, options, form) = (self.state.clone(), self.options.clone(), self.form);
        let sampled = sampled.to_vec();
        let (ready, started) = mpsc::channel();
        let thread = SamplingThread::start(move |stop| {
            let mut state = state.lock();
            let prepared = state.prepare(&sampled, form, &|_| {});
            let State { modules, tables, kernel } = &mut *state;
            let processes = Processes::new(&sampled);
            let reader = prepared.and_then(|()| Reader::start(kernel, tables, modules, processes, &sampled, &options));
            match reader {
                Ok(reader) => {
                    let _ = ready.send(Ok(reader.window()));
                    reader.run(stop)
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Default::default()
                }
            }
        })?;
        let window = started.recv().context("the sampling thread ended")??;
        Ok(Box::new(EbpfRecording { thread: Box::new(thread), window }))
    }

    fn follow(&mut self, sampled: &[Sampled], options: &FollowOptions) -> Result<Box<dyn Carrying>> {
        let (state, options, form) = (self.state.clone(), *options, self.form.with_following());
        let sampled = sampled.to_vec();
        let (ready, started) = mpsc::channel();
        let thread = SamplingThread::start(move |stop| {
            let mut state = state.lock();
            let prepared = state.prepare(&sampled, form, &|_| {});
            let State { modules, tables, kernel } = &mut *state;
            match prepared.and_then(|()| Followed::start(kernel, tables, modules, &sampled, (&options, form.events))) {
                Ok(followed) => {
                    let _ = ready.send(Ok(()));
                    followed.run(stop)
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Default::default()
                }
            }
        })?;
        started.recv().context("the sampling thread ended")??;
        Ok(Box::new(thread))
    }
}

/// A recording, with the window that its waits are cut to.
struct EbpfRecording {
    thread: Box<SamplingThread<SamplingReport>>,
    window: Arc<WindowEnds>,
}

impl Recording for EbpfRecording {
    fn thread_ids(&self) -> Vec<u32> {
        self.thread.thread_ids()
    }

    fn begin_window(&self) {
        self.window.begin();
    }

    fn end_window(&self) {
        self.window.end();
    }

    fn stop(self: Box<Self>) -> Result<(RawSamples, SamplingReport)> {
        self.thread.stop()
    }
}
