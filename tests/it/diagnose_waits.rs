//! What queries wait for in a server without a runtime that tells of it, from constructed runs: the wait is concluded
//! first with its size and its function, and what idle and background threads do is none.

use crate::build::{self, frame, hop};
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, diagnose};
use wireprof::clock::Span;
use wireprof::preset::{Cause, Preset};
use wireprof::profile::{Builder, Labels, Profile, off_cpu_columns, on_cpu_columns};
use wireprof::run::{OffCpu, Run, Window};
use wireprof::sample::OffCpuReport;
use wireprof::target::{MachineDelta, Role, SchedulerDelta};
use wireprof::wire::WireDelta;

const SECOND: u64 = 1_000_000_000;
const RECEIVE: &str = "serve;read;k:tcp_recvmsg;k:wait_woken";

/// One window of one second on two CPUs, a thread for each client; times in us a query.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) preset: &'static str,
    pub(crate) clients: usize,
    /// By stack, on the server's threads.
    pub(crate) cpu: Vec<(&'static str, f64)>,
    /// Waits of the threads with queries in their hands, by stack.
    pub(crate) waits: Vec<(&'static str, f64)>,
    /// Of threads of their own: share of their time, and waits a second.
    pub(crate) others: Vec<(&'static str, f64, f64)>,
    /// CPUs in use, and waited for, by others that take part.
    pub(crate) beside: f64,
    pub(crate) waiting: f64,
}

/// 30 us of CPU a query, 10 us beside, nothing waited for.
pub(crate) fn plain(clients: usize) -> Made {
    let cpu = vec![("serve;a", 10.0), ("serve;b", 10.0), ("serve;read;k:tcp_recvmsg", 10.0)];
    Made { preset: "generic", clients, cpu, waits: vec![], others: vec![], beside: 0.0, waiting: 0.0 }
}

impl Made {
    fn in_hands(&self) -> f64 {
        self.cpu.iter().chain(&self.waits).map(|(_, micros)| micros).sum()
    }

    fn latency(&self) -> f64 {
        self.in_hands() + 10.0
    }

    fn queries(&self) -> u64 {
        (self.clients as f64 / self.latency() * 1e6) as u64
    }

    pub(crate) fn window(&self) -> Window {
        let queries = self.queries();
        let mut window = build::window(self.clients, 1, 1, queries, Some(self.on_cpu()));
        let span = Span::new(0, SECOND);
        (window.facts.span, window.load.span) = (span, span);
        window.load.latency_sum = Some((queries as f64 * self.latency() * 1e3) as u64);
        window.scheduler = Some(self.scheduler());
        let places = [0.0, 1.0, 2.0, self.in_hands(), 1.0, 6.0];
        let hops = vec![hop("target", queries, self.clients as u64, places)];
        window.wire = Some(WireDelta { span, hops, sends_seen: true });
        let report = OffCpuReport { span, ..OffCpuReport::default() };
        window.off_cpu = Some(OffCpu { report, profile: Some(self.off_cpu()) });
        window
    }

    /// The number of a client's thread.
    fn tid(client: usize) -> u32 {
        100 + client as u32
    }

    fn on_cpu(&self) -> Profile {
        let mut builder = Builder::new(on_cpu_columns());
        for (stack, micros) in &self.cpu {
            for client in 0..self.clients {
                for at in 0..20 {
                    let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
                    let stack = builder.stack(frames);
                    let labels = builder.labels(Labels { tid: Self::tid(client), ..Labels::default() });
                    let nanos = micros * 1e3 * self.queries() as f64 / (20 * self.clients) as f64;
                    builder.sample(stack, labels, Some(at * 50_000_000), vec![50, nanos as i64]);
                }
            }
        }
        builder.finish()
    }

    fn off_cpu(&self) -> Profile {
        let mut builder = Builder::new(off_cpu_columns());
        let mut add = |stack: &str, tid: u32, thread: &str, waits: f64, nanos: f64| {
            let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
            let stack = builder.stack(frames);
            let labels = builder.labels(Labels { tid, thread: thread.into(), ..Labels::default() });
            builder.sample(stack, labels, None, vec![waits as i64, nanos as i64, 0]);
        };
        let each = self.queries() as f64 / self.clients as f64;
        for client in 0..self.clients {
            add(RECEIVE, Self::tid(client), "session", each, 10e3 * each);
            for (stack, micros) in &self.waits {
                add(stack, Self::tid(client), "session", each, micros * 1e3 * each);
            }
        }
        for (at, (stack, share, waits)) in self.others.iter().enumerate() {
            add(stack, 900 + at as u32, "background", *waits, share * SECOND as f64);
        }
        builder.finish()
    }

    fn scheduler(&self) -> SchedulerDelta {
        let nanos = |micros: f64| (micros * 1e3 * self.queries() as f64) as u64;
        let cpu: f64 = self.cpu.iter().map(|(_, micros)| micros).sum();
        let each = |client| build::thread(Role::Target, "server", "session", Self::tid(client), 0);
        let mut threads: Vec<_> = (0..self.clients).map(each).collect();
        threads.iter_mut().for_each(|thread| thread.cpu = nanos(cpu) / self.clients as u64);
        threads.push(build::thread(Role::Generator, "load", "load", 21, nanos(5.0)));
        threads.push(build::thread(Role::Other, "beside", "beside", 31, (self.beside * SECOND as f64) as u64));
        threads.last_mut().unwrap().runnable = (self.waiting * SECOND as f64) as u64;
        let busy: u64 = threads.iter().map(|t| t.cpu).sum();
        let idle = (2 * SECOND).saturating_sub(busy);
        let machine = MachineDelta { cpus: 2, busy, idle, ..MachineDelta::default() };
        SchedulerDelta { span: Span::new(0, SECOND), threads, machine: Some(machine) }
    }

    fn run(&self) -> Run {
        let one = Made { clients: 1, waits: vec![], ..self.clone() };
        build::run(vec![one.window(), self.window()])
    }

    fn diagnosed(&self) -> Diagnosis {
        diagnose(&self.run(), &Preset::built_in(self.preset).unwrap(), self.clients).unwrap()
    }
}

/// Sixteen clients whose queries wait so, in a preset.
fn waiting(preset: &'static str, waits: &[(&'static str, f64)]) -> Made {
    Made { preset, waits: waits.to_vec(), ..plain(16) }
}

fn assert_first(made: &Made, cause: Cause, wait: &str, function: &str) {
    let found = made.diagnosed();
    let first = &found.verdicts[0];
    let named = (first.cause, first.confidence, first.wait.as_deref(), first.named[0].name.as_str());
    assert_eq!(named, (cause, Confidence::Confident, Some(wait), function), "{:#?}", found.verdicts);
    let largest = made.waits.iter().map(|(_, micros)| *micros).fold(0.0, f64::max);
    let effect = first.effect.unwrap().latency / 1e3;
    assert!((effect / largest - 1.0).abs() < 0.2, "{effect} of {largest}");
    assert!(!first.refuted_by.is_empty() && !first.next.is_empty());
}

/// None of the causes that are waits.
fn assert_none(made: &Made) {
    let found = made.diagnosed();
    assert!(found.verdicts.iter().all(|verdict| verdict.wait.is_none()), "{:#?}", found.verdicts);
}

#[test]
fn each_kind_of_wait_is_named_by_the_function_that_waits() {
    let lock = "serve;take;pthread_mutex_lock;k:do_futex;k:futex_wait";
    assert_first(&waiting("generic", &[(lock, 2_000.0)]), Cause::Lock, "lock", "take");
    let sleep = "serve;fetch;usleep;clock_nanosleep;k:do_nanosleep";
    assert_first(&waiting("generic", &[(sleep, 2_000.0)]), Cause::Sleep, "sleep", "fetch");
    let flush = "serve;store;fdatasync;k:do_fsync;k:ext4_sync_file";
    assert_first(&waiting("generic", &[(flush, 2_000.0)]), Cause::Flush, "flush to disk", "store");
    let disk = "serve;load;pread64;k:filemap_read;k:folio_wait_bit_common;k:io_schedule";
    assert_first(&waiting("generic", &[(disk, 2_000.0)]), Cause::Disk, "disk", "load");
    // The longest comes first.
    assert_first(&waiting("generic", &[(lock, 2_000.0), (sleep, 600.0)]), Cause::Lock, "lock", "take");
}

#[test]
fn postgresql_s_waits_are_its_own() {
    let row = "main;heap_update;XactLockTableWait;ProcSleep;WaitLatch;WaitEventSetWait;k:ep_poll";
    let latch = "main;heap_update;LWLockAcquire;PGSemaphoreLock;sem_wait;k:futex_wait";
    let flush = "main;CommitTransactionCommand;XLogFlush;LWLockAcquireOrWait;PGSemaphoreLock;sem_wait;k:futex_wait";
    let client = "main;PostgresMain;secure_read;WaitEventSetWait;k:ep_poll";
    let read = "main;heap_getnextslot;ReadBufferExtended;mdread;FileRead;pread64;k:io_schedule";
    let first = |waits: &[(&'static str, f64)], cause, wait, function| {
        assert_first(&waiting("postgres", waits), cause, wait, function);
    };
    first(&[(row, 4_000.0), (latch, 500.0), (flush, 700.0)], Cause::RowLock, "row or table lock", "XactLockTableWait");
    first(&[(latch, 2_000.0)], Cause::LightweightLock, "LWLock", "heap_update");
    first(&[(flush, 2_000.0)], Cause::Flush, "WAL flush", "XLogFlush");
    first(&[(read, 2_000.0)], Cause::Disk, "data files", "ReadBufferExtended");
    assert_none(&waiting("postgres", &[(client, 5_000.0)]));
}

#[test]
fn idle_and_background_threads_are_no_cause() {
    let pool = "worker;pop;pthread_cond_wait;k:do_futex;k:futex_wait";
    let spin = "flusher;usleep;clock_nanosleep;k:do_nanosleep";
    let sync = "checkpoint;fdatasync;k:do_fsync";
    let own = "custom_park;k:do_futex;k:futex_wait";
    let others = vec![(pool, 1.0, 10.0), (spin, 1.0, 20_000.0), (sync, 0.9, 100.0), (own, 1.0, 5.0)];
    for clients in [1, 4, 16] {
        let made = Made { others: others.clone(), ..plain(clients) };
        let run = build::run(vec![made.window()]);
        let found = diagnose(&run, &Preset::built_in("generic").unwrap(), clients).unwrap();
        assert!(found.verdicts.iter().all(|verdict| verdict.wait.is_none()), "{:#?}", found.verdicts);
    }
    assert_none(&plain(16));
}

#[test]
fn a_lock_that_is_waited_for_longer_than_queries_are_in_hand_is_no_lock() {
    // A pool of a kind that nobody knows parks its threads on a futex, and they do carry messages.
    let mut window = plain(1).window();
    let mut builder = Builder::new(off_cpu_columns());
    for (stack, nanos) in [(RECEIVE, 1_000), ("serve;custom_park;k:do_futex;k:futex_wait", 900_000_000)] {
        let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
        let (stack, labels) = (builder.stack(frames), builder.labels(Labels { tid: 100, ..Labels::default() }));
        builder.sample(stack, labels, None, vec![1_000, nanos, 0]);
    }
    window.off_cpu.as_mut().unwrap().profile = Some(builder.finish());
    let found = diagnose(&build::run(vec![window]), &Preset::built_in("generic").unwrap(), 1).unwrap();
    assert!(found.verdicts.iter().all(|verdict| verdict.wait.is_none()), "{:#?}", found.verdicts);
}

#[test]
fn one_thread_that_sleeps_for_each_of_many_clients_makes_all_of_them_wait() {
    let sleep = "loop;fetch;usleep;clock_nanosleep;k:do_nanosleep";
    let mut made = plain(16);
    made.waits = vec![("loop;fetch;wait_for_turn", 31_000.0)];
    let mut window = made.window();
    let each = made.queries() as f64;
    let mut builder = Builder::new(off_cpu_columns());
    let frames: Vec<_> = sleep.split(';').map(|name| builder.frame(frame(name))).collect();
    let (stack, labels) = (builder.stack(frames), builder.labels(Labels { tid: 100, ..Labels::default() }));
    builder.sample(stack, labels, None, vec![each as i64, (each * 1_900e3) as i64, 0]);
    window.off_cpu.as_mut().unwrap().profile = Some(builder.finish());
    window.scheduler.as_mut().unwrap().threads.retain(|t| t.role != Role::Target || t.tid == 100);
    let found = diagnose(&build::run(vec![window]), &Preset::built_in("generic").unwrap(), 16).unwrap();
    assert_eq!(found.verdicts[0].cause, Cause::Sleep, "{:#?}", found.verdicts);
    assert!(found.verdicts[0].effect.unwrap().share > 0.9, "{:#?}", found.verdicts[0]);
}

#[test]
fn nearly_saturated_cpus_that_are_waited_for_are_saturated_and_their_users_are_named_in_order() {
    let saturated = |beside: f64, waiting: f64| {
        // A tenth of a CPU is left by the server's 30 us a query; nothing of it stands out.
        let cpu = vec![("serve;a", 2.0), ("serve;b", 2.0), ("serve;read;k:tcp_recvmsg", 26.0)];
        let made = Made { cpu, beside, waiting, waits: vec![("serve;other;wait4", 250.0)], ..plain(4) };
        let found = made.diagnosed();
        let verdict = found.verdicts.into_iter().find(|verdict| verdict.cause == Cause::CpuSaturated);
        verdict.map(|verdict| (verdict.confidence, verdict.sentence, verdict.named))
    };
    let used = 4.0 / 290.0 * 35.0;
    let (confidence, sentence, named) = saturated(1.88 - used, 3.0).unwrap();
    assert_eq!(confidence, Confidence::Confident, "{sentence}");
    let order = ["beside", "server (the server)", "load (the load generator)"].map(|name| sentence.find(name));
    assert!(order.is_sorted() && order[0].is_some(), "{sentence}");
    assert_eq!(named[0].process.as_deref(), Some("server"));
    // As much in use, and nobody waits; and less in use, and many wait.
    assert_eq!(saturated(1.88 - used, 0.0).unwrap().0, Confidence::Possible);
    assert_eq!(saturated(1.60 - used, 3.0).unwrap().0, Confidence::Possible);
    assert!(saturated(0.0, 0.0).is_none());
}

const WAL: &str = "main;CommitTransactionCommand;XLogFlush;LWLockAcquireOrWait;PGSemaphoreLock;sem_wait;k:futex_wait";

#[test]
fn a_wait_takes_the_cpu_with_it_that_it_uses_and_no_function_has_that_too() {
    let sync = "main;CommitTransactionCommand;XLogFlush;fdatasync;k:do_fsync;k:ext4_sync_file";
    let with = |waits: &[(&'static str, f64)]| {
        let mut made = waiting("postgres", waits);
        made.cpu.push((sync, 60.0));
        made.diagnosed()
    };
    let found = with(&[(WAL, 500.0)]);
    let first = &found.verdicts[0];
    assert_eq!((first.cause, first.confidence), (Cause::Flush, Confidence::Confident), "{:#?}", found.verdicts);
    assert_eq!(first.named[0].name, "XLogFlush");
    assert!((first.named[0].cost / 1e3 - 560.0).abs() < 1.0 && (first.there.unwrap() / 1e3 - 560.0).abs() < 1.0);
    let on_cpu = first.evidence.iter().find(|evidence| evidence.what.contains("on a CPU there")).unwrap();
    assert!((on_cpu.value - 60.0).abs() < 0.5, "{on_cpu:?}");
    let functions = found.verdicts.iter().filter(|verdict| verdict.cause == Cause::CpuFunction);
    assert!(functions.flat_map(|verdict| &verdict.named).all(|named| named.name != "XLogFlush"), "{found:#?}");
    // What does not wait is a function's work: not at all, or for less than a tenth of it.
    for waits in [&[][..], &[(WAL, 3.0)]] {
        let found = with(waits);
        let function = found.verdicts.iter().find(|verdict| verdict.cause == Cause::CpuFunction).unwrap();
        assert_eq!(function.named[0].name, "XLogFlush", "{:#?}", found.verdicts);
        assert!((function.named[0].cost / 1e3 - 60.0).abs() < 1.0, "{function:#?}");
    }
}

#[test]
fn taking_a_lock_that_is_free_is_no_wait_but_going_to_sleep_on_it_and_waking_others_is() {
    let latch = "main;heap_update;LWLockAcquire;PGSemaphoreLock;sem_wait;k:futex_wait";
    let mut made = waiting("postgres", &[(latch, 500.0)]);
    made.cpu.extend([
        ("main;heap_update;LWLockAcquire", 7.0),
        ("main;heap_update;LWLockAcquire;PGSemaphoreLock;sem_wait;k:futex_wait", 5.0),
        ("main;heap_update;LWLockRelease;PGSemaphoreUnlock;k:futex_wake", 4.0),
        ("main;heap_update;LWLockAcquire;s_lock", 3.0),
    ]);
    let found = made.diagnosed();
    let first = &found.verdicts[0];
    assert_eq!((first.cause, first.wait.as_deref()), (Cause::LightweightLock, Some("LWLock")), "{:#?}", found.verdicts);
    assert!((first.there.unwrap() / 1e3 - 512.0).abs() < 1.0, "{first:#?}");
}

#[test]
fn a_wait_that_saturated_cpus_mask_is_named_before_them_with_its_figures_and_its_small_effect() {
    let row = "main;heap_update;XactLockTableWait;ProcSleep;WaitLatch;WaitEventSetWait;k:ep_poll";
    // 35 us of CPU a query on two CPUs are all of the latency of 16 clients.
    let masked = |blocked: f64| waiting("postgres", &[(row, blocked), ("main;other;k:do_wait", 240.0 - blocked)]);
    let found = masked(40.0).diagnosed();
    let named: Vec<Cause> = found.verdicts.iter().map(|verdict| verdict.cause).collect();
    let at = named.iter().position(|cause| *cause == Cause::RowLock).unwrap();
    let row = &found.verdicts[at];
    assert_eq!((row.confidence, row.wait.as_deref()), (Confidence::Masked, Some("row or table lock")), "{found:#?}");
    assert!((row.there.unwrap() / 1e3 - 40.0).abs() < 1.0 && row.effect.unwrap().share < 0.05, "{row:#?}");
    assert!(row.because.contains("spend 14 % of the latency"), "{}", row.because);
    let saturated = named.iter().position(|cause| *cause == Cause::CpuSaturated).unwrap();
    assert_eq!((saturated, found.verdicts[saturated].confidence), (at + 1, Confidence::Confident), "{named:?}");
    // A twentieth of the latency is the least, and CPUs that are not saturated mask nothing.
    assert_none(&masked(13.0));
    assert_none(&Made { clients: 8, ..masked(40.0) });
}
