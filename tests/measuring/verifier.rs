//! How near the kernel's programs are to what its verifier takes: instructions that it goes through, and bytes of stack
//! (`BPF_COMPLEXITY_LIMIT_INSNS` and `MAX_BPF_STACK` of the kernel's sources). Invariant: the figures are the running
//! kernel's own, of each program of the objects, with everything in it that any option brings.

use crate::skip::skip;
use crate::sweeps::is_root;
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};

/// Half of what the verifier takes: another kernel may go through more of the same program.
const INSTRUCTIONS: u64 = 1_000_000 / 2;
/// Of one function; and of a program's outermost with the largest that it calls, all of which the verifier takes.
const FUNCTION: u64 = 512 / 2;
const STACK: u64 = 512;

/// Where the programs of tracepoints are attached.
const TRACEPOINTS: [(&str, &str); 15] = [
    ("on_send", "tcp_sendmsg_locked"),
    ("on_readable", "sk_data_ready"),
    ("on_receive", "sock_recv_length"),
    ("on_switch", "sched_switch"),
    ("on_fork", "sched_process_fork"),
    ("on_exec", "sched_process_exec"),
    ("on_end", "sched_process_free"),
    ("on_wakeup", "sched_wakeup"),
    ("on_birth", "sched_wakeup_new"),
    ("follow_switch", "sched_switch"),
    ("follow_waking", "sched_waking"),
    ("follow_receive", "sock_recv_length"),
    ("follow_send_unix", "sk_data_ready"),
    ("follow_send", "tcp_sendmsg_locked"),
    ("follow_sent", "sock_send_length"),
];

fn object(path: &str, with: impl FnOnce(&mut EbpfLoader<'_>), btf: &Btf) -> Ebpf {
    let bytes = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf)).verifier_log_level(VerifierLogLevel::STATS);
    with(&mut loader);
    loader.load(&bytes).unwrap()
}

/// Four hops over TCP and Unix sockets.
fn at_sockets(btf: &Btf) -> Ebpf {
    let with = |loader: &mut EbpfLoader<'_>| {
        for hop in 0..4 {
            loader.override_global(PORTS[hop].0, &PORTS[hop].1, true);
            loader.override_global(NAMES[hop].0, &NAMES[hop].1, true);
        }
    };
    object("src/wire/wire.bpf.o", with, btf)
}

static PORTS: [(&str, u16); 4] =
    [("server_port_0", 5_432), ("server_port_1", 5_433), ("server_port_2", 5_434), ("server_port_3", 5_435)];
static NAMES: [(&str, [u64; 14]); 4] =
    [("server_name_0", [1; 14]), ("server_name_1", [2; 14]), ("server_name_2", [3; 14]), ("server_name_3", [4; 14])];

/// Stacks that are followed and copied, waits, probes.
fn of_sampler(btf: &Btf) -> Ebpf {
    let with = |loader: &mut EbpfLoader<'_>| {
        for name in ["with_copies", "with_waits", "with_probes"] {
            loader.override_global(name, &1_u32, true);
        }
        loader.override_global("cpu_count", &2_u32, true).override_global("half_ring", &65_536_u64, true);
        loader.map_max_entries("ring", 1 << 17).map_max_entries("events", 1 << 17).map_max_entries("cpus", 2);
        for name in ["mappings", "pages", "rows", "rules", "waits", "scratches", "claims", "clocks"] {
            loader.map_max_entries(name, 16);
        }
    };
    object("src/sample/ebpf/sampler.bpf.o", with, btf)
}

fn load(name: &str, program: &mut Program, btf: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::BtfTracePoint(program) => {
            let tracepoint = TRACEPOINTS.iter().find(|(known, _)| *known == name);
            program.load(tracepoint.unwrap_or_else(|| panic!("where is {name} attached?")).1, btf)
        }
        Program::PerfEvent(program) => program.load(),
        Program::UProbe(program) => program.load(),
        _ => panic!("{name} is of another kind"),
    }
}

/// Calls while this process can open no file, and so gets no descriptor of a program that the kernel has verified: the
/// verifier's words are kept only where a program is not loaded.
fn without_descriptors<T>(call: impl FnOnce() -> T) -> T {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one structure that they are given, which lives as long as they take.
    let set = |limit: &libc::rlimit| unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) }, 0);
    assert_eq!(set(&libc::rlimit { rlim_cur: 0, ..before }), 0);
    let answer = call();
    assert_eq!(set(&before), 0);
    answer
}

/// Instructions that the verifier went through, and the bytes of stack of the program's functions, its own first.
fn of_log(log: &str) -> Option<(u64, Vec<u64>)> {
    let after = |begin: &str| log.lines().find_map(|line| line.strip_prefix(begin));
    let instructions = after("processed ")?.split(' ').next()?.parse().ok()?;
    let stack = after("stack depth ")?.split_whitespace().next()?;
    Some((instructions, stack.split('+').map(str::parse).collect::<Result<_, _>>().ok()?))
}

#[test]
fn the_kernels_programs_take_half_of_what_its_verifier_takes_at_most() {
    if !is_root() {
        return skip("only root may load the kernel's programs with all that is in them");
    }
    let btf = Btf::from_sys_fs().unwrap();
    let mut found = 0;
    for mut ebpf in [at_sockets(&btf), of_sampler(&btf)] {
        for (name, program) in ebpf.programs_mut() {
            // On a kernel that lacks its tracepoint, the product does without a program too.
            let words = match without_descriptors(|| load(name, program, &btf)) {
                Err(ProgramError::LoadError { verifier_log, .. }) => verifier_log.to_string(),
                other => {
                    println!("{name}: {other:?}");
                    continue;
                }
            };
            let (instructions, stack) = of_log(&words).unwrap_or_else(|| panic!("{name}: {words}"));
            println!("{name}: {instructions} instructions, stack {stack:?}");
            assert!(instructions <= INSTRUCTIONS, "{name}: {instructions} instructions");
            assert!(stack.iter().all(|bytes| *bytes <= FUNCTION), "{name}: {stack:?} bytes of stack");
            let called = stack[1..].iter().max().unwrap_or(&0);
            assert!(stack[0] + called <= STACK, "{name}: {stack:?} bytes of stack");
            found += 1;
        }
    }
    assert!(found >= 18, "{found} programs were verified");
}
