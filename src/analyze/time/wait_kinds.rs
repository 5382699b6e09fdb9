//! Which kind of wait a stack is, by the preset's patterns. Invariant: every stack is of exactly one kind; of the
//! entries that fit the first one tells it, and where none does the kind is [`WaitKind::Other`].

use crate::preset::{Pattern, Preset, Wait, WaitKind};
use crate::profile::{Frame, Profile, Space, short_name};
use regex::RegexSet;

/// What a thread with a stack waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of the wait.
    pub kind: WaitKind,
    /// Index of the preset's entry that tells it; `None`: none fits.
    pub entry: Option<usize>,
}

/// The preset's patterns, all at once; without any every wait is of another kind.
#[derive(Clone, Debug, Default)]
pub struct WaitKinds {
    entries: Vec<Entry>,
    user: Patterns,
    kernel: Patterns,
    /// What matches tells of CPU nothing of these lists.
    passed: Patterns,
}

/// Lists are bits of a mask: which are there tells what a stack's frames have matched.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    kind: WaitKind,
    /// All of these must have matched, and `unless` must not.
    wanted: u128,
    unless: u128,
}

/// Patterns and the lists that they belong to.
#[derive(Clone, Debug, Default)]
struct Patterns {
    set: RegexSet,
    lists: Vec<u128>,
}

/// Set where a stack has a frame that is code.
const CODE: u128 = 1;

impl WaitKinds {
    /// The kinds of this preset. Lists beyond the first 127 are left out; no preset has a tenth of that.
    pub fn of(preset: &Preset) -> Self {
        WaitKinds::from(&preset.wait)
    }

    fn from(waits: &[Wait]) -> Self {
        let (mut user, mut kernel, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = CODE;
        let mut list = |into: &mut [&mut Vec<(String, u128)>], patterns: &[Pattern]| {
            if patterns.is_empty() || next == 1 << 127 {
                return 0;
            }
            next <<= 1;
            let named = || patterns.iter().map(|pattern| (pattern.0.as_str().to_string(), next));
            into.iter_mut().for_each(|lists| lists.extend(named()));
            next
        };
        let entry = |wait: &Wait| Entry {
            name: wait.name.clone(),
            kind: wait.kind,
            wanted: list(&mut [&mut user, &mut kernel], &wait.any)
                | list(&mut [&mut user], &wait.user)
                | list(&mut [&mut kernel], &wait.kernel),
            unless: list(&mut [&mut user], &wait.unless),
        };
        let entries: Vec<Entry> = waits.iter().map(entry).collect();
        for (wait, entry) in waits.iter().zip(&entries) {
            passed.extend(wait.passed.iter().map(|pattern| (pattern.0.as_str().to_string(), entry.wanted)));
        }
        WaitKinds { entries, user: Patterns::of(user), kernel: Patterns::of(kernel), passed: Patterns::of(passed) }
    }

    /// What the preset calls a wait that this entry tells.
    pub fn name(&self, entry: usize) -> &str {
        &self.entries[entry].name
    }

    /// The kind of an entry.
    pub fn kind(&self, entry: usize) -> WaitKind {
        self.entries[entry].kind
    }

    /// Of each node of a profile of waits, what a thread with that stack waits for.
    pub fn of_stacks(&self, profile: &Profile) -> Vec<Waiting> {
        self.along_stacks(profile, |frame| self.matched(frame))
    }

    /// Of each node of a profile of CPU, which wait that is spent on: going to wait, spinning, waking others, and what
    /// the kernel does meanwhile.
    pub fn of_cpu(&self, profile: &Profile) -> Vec<Waiting> {
        self.along_stacks(profile, |frame| match self.matched(frame) {
            matched if matched & !CODE == 0 => matched,
            matched => matched & (CODE | !self.passed.matched(&frame.name)),
        })
    }

    fn along_stacks(&self, profile: &Profile, matched: impl Fn(&Frame) -> u128) -> Vec<Waiting> {
        let frames: Vec<u128> = profile.frames.iter().map(matched).collect();
        let mut paths: Vec<u128> = Vec::with_capacity(profile.nodes.len());
        for node in &profile.nodes {
            // A parent comes before its children.
            let above = node.parent.map_or(0, |parent| paths[parent.index()]);
            paths.push(above | frames[node.frame.index()]);
        }
        paths.into_iter().map(|matched| self.waiting(matched)).collect()
    }

    fn matched(&self, frame: &Frame) -> u128 {
        match frame.space {
            Space::User | Space::Vdso => CODE | self.user.matched(&frame.name),
            Space::Kernel => CODE | self.kernel.matched(&frame.name),
            Space::Marker => 0,
        }
    }

    fn waiting(&self, matched: u128) -> Waiting {
        // No frame at all but a marker: not seen leaving its CPU in the whole window, or newly born.
        if matched == 0 {
            return Waiting { kind: WaitKind::Work, entry: None };
        }
        let fits = |entry: &&Entry| entry.wanted != 0 && matched & entry.wanted == entry.wanted;
        let found = self.entries.iter().position(|entry| fits(&entry) && matched & entry.unless == 0);
        Waiting { kind: found.map_or(WaitKind::Other, |entry| self.entries[entry].kind), entry: found }
    }
}

impl Patterns {
    fn of(patterns: Vec<(String, u128)>) -> Self {
        let (texts, lists): (Vec<String>, Vec<u128>) = patterns.into_iter().unzip();
        // Each was compiled when the preset was read; together they are within the crate's bound of size by far.
        Patterns { set: RegexSet::new(texts).expect("patterns of a preset that loads"), lists }
    }

    /// The lists of which a pattern matches the full or the short name.
    fn matched(&self, name: &str) -> u128 {
        let lists = |name: &str| self.set.matches(name).iter().fold(0, |lists, at| lists | self.lists[at]);
        let short = short_name(name);
        lists(name) | if short == name { 0 } else { lists(&short) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, off_cpu_columns};

    /// Name and kind of a stack given leaf first; `k:` marks the kernel's frames.
    fn told(preset: &str, frames: &[&str]) -> (String, WaitKind) {
        told_by(preset, frames, WaitKinds::of_stacks)
    }

    fn told_by(preset: &str, frames: &[&str], by: fn(&WaitKinds, &Profile) -> Vec<Waiting>) -> (String, WaitKind) {
        let kinds = WaitKinds::of(&Preset::built_in(preset).unwrap());
        let frame = |name: &&str| {
            let (space, name) = match name.strip_prefix("k:") {
                Some(name) => (Space::Kernel, name),
                None if name.starts_with('[') => (Space::Marker, *name),
                None => (Space::User, *name),
            };
            Frame { name: name.into(), module: String::new(), space, inlined: false, file: String::new(), miss: None }
        };
        let mut builder = Builder::new(off_cpu_columns());
        let path: Vec<_> = frames.iter().rev().map(|name| builder.frame(frame(name))).collect();
        let stack = builder.stack(path).unwrap();
        let found = by(&kinds, &builder.finish())[stack.index()];
        (found.entry.map_or(String::new(), |entry| kinds.name(entry).to_string()), found.kind)
    }

    fn kind(frames: &[&str]) -> WaitKind {
        told("generic", frames).1
    }

    #[test]
    fn a_futex_is_a_lock_unless_the_thread_is_parked_there_and_a_parking_mutex_is_one_too() {
        let futex = ["k:__schedule", "k:futex_wait_queue", "k:do_futex", "syscall"];
        let with = |user: &[&str]| kind(&[&futex[..], user].concat());
        for lock in [
            "std::sys::sync::mutex::futex::Mutex::lock_contended",
            "app::work",
            "pthread_mutex_lock",
            "___pthread_mutex_lock",
            "pthread_rwlock_wrlock",
            "absl::lts_20220623::Mutex::LockSlow",
            "runtime.lock2",
        ] {
            assert_eq!(with(&[lock, "serve"]), WaitKind::Lock, "{lock}");
        }
        assert_eq!(
            with(&["parking_lot_core::parking_lot::park", "parking_lot::raw_mutex::RawMutex::lock_slow"]),
            WaitKind::Lock
        );
        for idle in [
            "tokio::runtime::scheduler::multi_thread::park::Parker::park",
            "std::sync::poison::condvar::Condvar::wait<std::sync::Mutex<()>>",
            "pthread_cond_wait@@GLIBC_2.3.2",
            "___pthread_cond_timedwait64",
            "g_cond_wait",
            "sem_wait",
            "__new_sem_wait_slow",
            "runtime.notesleep",
            "absl::lts_20220623::CondVar::WaitCommon",
            "std::thread::park",
            "crossbeam_channel::flavors::array::Channel<T>::recv",
        ] {
            assert_eq!(with(&[idle, "pool::run"]), WaitKind::Work, "{idle}");
        }
    }

    #[test]
    fn event_loops_wait_for_work_sleepers_sleep_and_disks_and_flushes_are_told_apart() {
        let kernel = |frames: &[&str]| kind(&[&["k:__schedule", "k:schedule"], frames].concat());
        assert_eq!(kernel(&["k:schedule_hrtimeout_range", "k:ep_poll", "epoll_wait", "run"]), WaitKind::Work);
        assert_eq!(kernel(&["k:wait_woken", "k:sk_wait_data", "recv"]), WaitKind::Work);
        assert_eq!(kernel(&["k:do_nanosleep", "clock_nanosleep", "planted_blocking_wait"]), WaitKind::Sleep);
        // Without the kernel's names.
        assert_eq!(kind(&["[kernel]", "clock_nanosleep@@GLIBC_2.17", "usleep", "f"]), WaitKind::Sleep);
        assert_eq!(
            kernel(&["k:io_schedule", "k:folio_wait_bit_common", "k:filemap_read", "pread64", "f"]),
            WaitKind::Disk
        );
        assert_eq!(
            kernel(&["k:io_schedule", "k:file_write_and_wait_range", "k:ext4_sync_file", "fdatasync", "f"]),
            WaitKind::Flush
        );
        assert_eq!(kernel(&["k:do_wait", "wait4", "f"]), WaitKind::Other);
        assert_eq!(kind(&["[not seen switching out]"]), WaitKind::Work);
    }

    #[test]
    fn postgresql_waits_by_the_names_that_a_stripped_package_has() {
        let told = |frames: &[&str]| told("postgres", frames);
        let named = |name: &str, kind| (name.to_string(), kind);
        let latch = ["k:ep_poll", "epoll_wait", "WaitEventSetWait"];
        let after = |frames: &[&str]| told(&[&latch, frames].concat());
        let semaphore = ["k:futex_wait", "k:do_futex", "sem_wait", "PGSemaphoreLock"];
        let under = |frames: &[&str]| told(&[&semaphore, frames].concat());
        assert_eq!(
            after(&["secure_read", "postgres+0x123", "pq_getbyte", "PostgresMain"]),
            named("the client", WaitKind::Client)
        );
        assert_eq!(
            after(&["WaitLatch", "ProcSleep", "postgres+0x1", "LockAcquireExtended", "XactLockTableWait"]),
            named("row or table lock", WaitKind::RowLock)
        );
        assert_eq!(
            under(&["LWLockAcquire", "LockAcquireExtended", "heap_update"]),
            named("LWLock", WaitKind::LightweightLock)
        );
        assert_eq!(
            under(&["postgres+0x5", "ProcArrayEndTransaction", "CommitTransactionCommand"]),
            named("LWLock", WaitKind::LightweightLock)
        );
        assert_eq!(under(&["LWLockAcquireOrWait", "XLogFlush"]), named("WAL flush", WaitKind::Flush));
        assert_eq!(
            told(&["k:io_schedule", "k:do_fsync", "fdatasync", "pg_fdatasync", "issue_xlog_fsync", "XLogFlush"]),
            named("WAL flush", WaitKind::Flush)
        );
        assert_eq!(
            told(&["k:io_schedule", "k:filemap_read", "pread64", "FileRead", "mdread"]),
            named("data files", WaitKind::Disk)
        );
        assert_eq!(after(&["WaitLatch", "pg_sleep", "ExecutorRun"]), named("sleep in SQL", WaitKind::Sleep));
        assert_eq!(
            told(&["k:do_nanosleep", "pg_usleep", "perform_spin_delay", "s_lock"]),
            named("spinlock", WaitKind::LightweightLock)
        );
        assert_eq!(after(&["WaitLatch", "WalWriterMain"]).1, WaitKind::Work);
    }

    #[test]
    fn cpu_tells_a_wait_unless_its_functions_are_passed_without_waiting_too() {
        let told = |frames: &[&str]| told_by("postgres", frames, WaitKinds::of_cpu).0;
        assert_eq!(told(&["k:ext4_sync_file", "fdatasync", "issue_xlog_fsync", "XLogFlush"]), "WAL flush");
        assert_eq!(told(&["hash_search", "LockAcquireExtended", "LockRelationOid"]), "");
        assert_eq!(told(&["ProcSleep", "postgres+0x1", "LockAcquireExtended"]), "row or table lock");
        assert_eq!(told(&["LWLockAcquire", "heap_update"]), "");
        assert_eq!(told(&["k:do_futex", "sem_wait", "PGSemaphoreLock", "LWLockAcquire"]), "LWLock");
        assert_eq!(told(&["s_lock", "LWLockAcquire"]), "spinlock");
    }
}
