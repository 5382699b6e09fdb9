//! What threads wait for, per query and by stack: on CPU, runnable, blocked. Invariant: every blocked nanosecond is
//! of exactly one kind; waits are shown next to the places and never added to them, since idle threads wait too.

use crate::analyze::Identity;
use crate::analyze::cost::view::{Source, ViewOptions, WindowView, window_view};
use crate::profile::{ColumnKind, Frame, Profile, Space, frame_matches, short_name};
use crate::run::{Run, Window};
use regex::Regex;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Why a thread is blocked, as far as its stack tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A futex that is no condition variable and no parking place: mutexes and other locks.
    Lock,
    /// For work, a notification or data: event loops, receiving, parked and idle threads, condition variables. A
    /// server that waits for the database behind it with a blocking call waits here too.
    Work,
    /// Everything else: disks, pipes, sleeping.
    Other,
}

/// Waits under some frames at one level; ns a query, all threads together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// CPU; `None`: no samples on CPU.
    pub on_cpu: Option<f64>,
    /// Woken or preempted, and waiting for a CPU.
    pub runnable: f64,
    /// Blocked for [`Kind::Lock`].
    pub lock: f64,
    /// Blocked for [`Kind::Work`].
    pub work: f64,
    /// Blocked for [`Kind::Other`].
    pub other: f64,
    /// Waits that ended, a query.
    pub switches: f64,
}

impl Waits {
    /// Blocked for whatever reason.
    pub fn blocked(&self) -> f64 {
        self.lock + self.work + self.other
    }
}

/// A stack at which threads were blocked, not for work; user frames, leaf first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockedStack {
    /// Why the threads were blocked.
    pub kind: Kind,
    /// User frames, leaf first.
    pub frames: Vec<Identity>,
    /// ns a query that threads were blocked there.
    pub blocked: f64,
    /// ns a query that they waited for a CPU afterwards.
    pub runnable: f64,
    /// Waits that ended, a query.
    pub switches: f64,
    /// Number of threads that were seen there.
    pub threads: usize,
}

/// Waits of a level whose stack has a frame that matches any of `within` (empty: all) and none that matches any of
/// `except`; `None` where waits were not followed at this level.
pub fn waits(run: &Run, level: usize, within: &[Regex], except: &[Regex]) -> Option<Waits> {
    let windows = run.levels().remove(&level)?;
    let off_cpu = views(&windows, Source::Blocked);
    let queries: f64 = off_cpu.iter().map(|view| view.queries).sum();
    (queries > 0.0).then_some(())?;
    let mut found = Waits { on_cpu: on_cpu(&windows, within, except), ..Waits::default() };
    for view in &off_cpu {
        let Some(columns) = Columns::of(&view.profile) else { continue };
        let (wanted, kinds) = (wanted(&view.profile, within, except), kinds(&view.profile));
        for sample in &view.profile.samples {
            let node = sample.stack.map(|stack| stack.index());
            if !node.map_or(within.is_empty(), |node| wanted[node]) {
                continue;
            }
            let value = |column: usize| sample.values[column] as f64 / queries;
            *match node.map_or(Kind::Work, |node| kinds[node].kind()) {
                Kind::Lock => &mut found.lock,
                Kind::Work => &mut found.work,
                Kind::Other => &mut found.other,
            } += value(columns.blocked);
            found.runnable += value(columns.runnable);
            found.switches += value(columns.switches);
        }
    }
    Some(found)
}

/// What a thread waits for, and its user frames, leaf first.
type Key = (Kind, Vec<Identity>);
/// ns blocked, ns runnable and switches; the threads that waited there.
type Sums = ([i64; 3], BTreeSet<u32>);

/// The stacks at which threads were blocked longest at a level, those that wait for work left out; `within` as for
/// [`waits`].
pub fn blocked_stacks(run: &Run, level: usize, within: &[Regex], top: usize) -> Vec<BlockedStack> {
    let windows = run.levels().remove(&level).unwrap_or_default();
    let off_cpu = views(&windows, Source::Blocked);
    let queries: f64 = off_cpu.iter().map(|view| view.queries).sum();
    let mut found: BTreeMap<Key, Sums> = BTreeMap::new();
    for view in &off_cpu {
        let (profile, Some(columns)) = (&view.profile, Columns::of(&view.profile)) else { continue };
        let (wanted, kinds) = (wanted(profile, within, &[]), kinds(profile));
        for sample in &profile.samples {
            let Some(node) = sample.stack.map(|stack| stack.index()).filter(|node| wanted[*node]) else { continue };
            let kind = kinds[node].kind();
            if kind == Kind::Work || sample.values[columns.blocked] == 0 {
                continue;
            }
            let frames = profile.walk(sample.stack).map(|frame| &profile.frames[frame.index()]);
            let frames = frames.filter(|frame| frame.space == Space::User).map(Identity::of).collect();
            let (sums, threads) = found.entry((kind, frames)).or_default();
            for (sum, column) in sums.iter_mut().zip([columns.blocked, columns.runnable, columns.switches]) {
                *sum += sample.values[column];
            }
            threads.insert(profile.labels[sample.labels.index()].tid);
        }
    }
    let stack = |((kind, frames), (sums, threads)): (Key, Sums)| {
        let [blocked, runnable, switches] = sums.map(|sum| sum as f64 / queries);
        BlockedStack { kind, frames, blocked, runnable, switches, threads: threads.len() }
    };
    let mut stacks: Vec<BlockedStack> = found.into_iter().map(stack).collect();
    stacks.sort_by(|a, b| b.blocked.total_cmp(&a.blocked));
    stacks.truncate(top);
    stacks
}

/// CPU a query under the same frames.
fn on_cpu(windows: &[&Window], within: &[Regex], except: &[Regex]) -> Option<f64> {
    let views = views(windows, Source::OnCpu);
    let queries: f64 = views.iter().map(|view| view.queries).sum();
    let mut sum = 0;
    for view in &views {
        let cpu = view.profile.column(&ColumnKind::Cpu)?;
        let wanted = wanted(&view.profile, within, except);
        let inside = |sample: &&crate::profile::Sample| match sample.stack {
            Some(stack) => wanted[stack.index()],
            None => within.is_empty(),
        };
        sum += view.profile.samples.iter().filter(inside).map(|sample| sample.values[cpu]).sum::<i64>();
    }
    (queries > 0.0).then(|| sum as f64 / queries)
}

fn views<'w>(windows: &[&'w Window], source: Source) -> Vec<WindowView<'w>> {
    let options = ViewOptions { source, ..ViewOptions::default() };
    windows.iter().filter_map(|window| window_view(window, &options)).collect()
}

struct Columns {
    switches: usize,
    blocked: usize,
    runnable: usize,
}

impl Columns {
    fn of(profile: &Profile) -> Option<Self> {
        let column = |kind| profile.column(&kind);
        Some(Columns {
            switches: column(ColumnKind::Switches)?,
            blocked: column(ColumnKind::Blocked)?,
            runnable: column(ColumnKind::Runnable)?,
        })
    }
}

/// Of each node whether its stack is asked for. A parent comes before its children.
fn wanted(profile: &Profile, within: &[Regex], except: &[Regex]) -> Vec<bool> {
    let any = |patterns: &[Regex]| along(profile, |frame| frame_matches(frame, patterns), |parent, own| parent || own);
    let (inside, excepted) = (any(within), any(except));
    inside.iter().zip(excepted).map(|(inside, excepted)| (within.is_empty() || *inside) && !excepted).collect()
}

/// Something of each frame, joined along each node's stack.
fn along<T: Copy>(profile: &Profile, of: impl Fn(&Frame) -> T, join: impl Fn(T, T) -> T) -> Vec<T> {
    let frames: Vec<T> = profile.frames.iter().map(of).collect();
    let mut found: Vec<T> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let own = frames[node.frame.index()];
        found.push(node.parent.map_or(own, |parent| join(found[parent.index()], own)));
    }
    found
}

/// What a stack's frames tell of its wait.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    futex: bool,
    data: bool,
    parked: bool,
    locking: bool,
    /// No frame at all but a marker: not seen leaving its CPU in the whole window, or newly born.
    residual: bool,
}

impl Signs {
    fn of(frame: &Frame) -> Self {
        let name = short_name(&frame.name);
        let (kernel, user) = (frame.space == Space::Kernel, frame.space == Space::User);
        Signs {
            futex: kernel && name.contains("futex"),
            data: kernel && DATA.is_match(&name),
            parked: user && PARKED.is_match(&name),
            locking: user && LOCKING.is_match(&name),
            residual: frame.space == Space::Marker,
        }
    }

    fn join(self, other: Signs) -> Signs {
        Signs {
            futex: self.futex || other.futex,
            data: self.data || other.data,
            parked: self.parked || other.parked,
            locking: self.locking || other.locking,
            residual: self.residual && other.residual,
        }
    }

    fn kind(self) -> Kind {
        match self {
            // Mutexes of some libraries park their threads themselves.
            Signs { futex: true, parked, locking, .. } if locking || !parked => Kind::Lock,
            Signs { data: true, .. } | Signs { parked: true, .. } | Signs { residual: true, .. } => Kind::Work,
            _ => Kind::Other,
        }
    }
}

fn kinds(profile: &Profile) -> Vec<Signs> {
    along(profile, Signs::of, Signs::join)
}

/// Of each node of a profile of waits, why a thread with that stack was blocked.
pub(in crate::analyze) fn kinds_of_stacks(profile: &Profile) -> Vec<Kind> {
    kinds(profile).into_iter().map(Signs::kind).collect()
}

/// The kernel's waits for events and for data of sockets.
static DATA: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "^(ep_poll|do_epoll_p?wait|do_sys_poll|do_poll|do_select|core_sys_select|sk_wait_data|wait_woken|tcp_recvmsg|\
         unix_stream_read|unix_stream_data_wait|inet_csk_accept|__skb_wait_for_more_packets|io_cqring_wait)",
    )
});
/// Where threads wait for work or to be told something; none of these calls other people's code.
static PARKED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "(^|::)(park|park_timeout|park_internal|Parker)(::|$)|Condvar|pthread_cond_|::recv(_timeout|_deadline)?$|\
         mpmc::context",
    )
});
/// Where threads wait for a lock.
static LOCKING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "(Mutex|RwLock|Semaphore)::(raw_)?(lock|read|write|acquire)|(lock|read|write)_(contended|slow)|_slow$|\
         pthread_(mutex|rwlock)_|lll_lock_wait",
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a fixed pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(frames: &[&str]) -> Kind {
        let frame = |name: &&str| {
            let (space, name) = match name.strip_prefix("k:") {
                Some(name) => (Space::Kernel, name),
                None if name.starts_with('[') => (Space::Marker, *name),
                None => (Space::User, *name),
            };
            Frame { name: name.into(), module: String::new(), space, inlined: false, file: String::new(), miss: None }
        };
        frames.iter().map(|name| Signs::of(&frame(name))).reduce(Signs::join).unwrap().kind()
    }

    #[test]
    fn a_futex_is_a_lock_unless_the_thread_is_parked_there_and_a_parking_mutex_is_one_too() {
        let futex = ["k:__schedule", "k:futex_wait_queue", "k:do_futex", "syscall"];
        let with = |user: &[&str]| kind(&[&futex[..], user].concat());
        assert_eq!(with(&["std::sys::sync::mutex::futex::Mutex::lock_contended", "app::work"]), Kind::Lock);
        assert_eq!(with(&["app::work"]), Kind::Lock);
        assert_eq!(with(&["tokio::runtime::scheduler::multi_thread::park::Parker::park"]), Kind::Work);
        assert_eq!(with(&["std::sync::poison::condvar::Condvar::wait<std::sync::Mutex<()>>", "pool::run"]), Kind::Work);
        assert_eq!(
            with(&["parking_lot_core::parking_lot::park", "parking_lot::raw_mutex::RawMutex::lock_slow"]),
            Kind::Lock
        );
    }

    #[test]
    fn event_loops_wait_for_work_and_sleepers_for_something_else() {
        assert_eq!(kind(&["k:__schedule", "k:schedule_hrtimeout_range", "k:ep_poll", "epoll_wait", "run"]), Kind::Work);
        assert_eq!(kind(&["k:__schedule", "k:wait_woken", "k:sk_wait_data", "recv"]), Kind::Work);
        assert_eq!(kind(&["k:__schedule", "k:do_nanosleep", "clock_nanosleep", "planted_blocking_wait"]), Kind::Other);
        assert_eq!(kind(&["[not seen switching out]"]), Kind::Work);
    }
}
