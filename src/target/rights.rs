//! What this process may not do and what mends it. Invariant: a command that is told can be typed as it stands.

/// What a file of wireprof needs to measure another user's process without root (capabilities(7)): to follow stacks and
/// sockets in the kernel, to sample, to read the process, to find it by the sockets among its files, and to see the
/// kernel's names.
pub const CAPABILITIES: &str = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_syslog";

/// The command that gives this program's file these capabilities.
pub fn setcap_command() -> String {
    // setcap refuses a symbolic link: this is the file itself.
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    let program = program.map_or_else(|| "$(which wireprof)".into(), |path| quoted(&path.display().to_string()));
    format!("sudo setcap {CAPABILITIES}=ep {program}")
}

/// What lets perf events sample, as far as this user lacks it; `or`: the other way, without any right.
pub fn sampling_remedy(or: &str) -> String {
    match has(&[PERFMON]) {
        true => format!("{FILTERED}, which must permit perf_event_open"),
        false => format!("run as root, or `{}`, or {or}", setcap_command()),
    }
}

/// What lets the program that follows stacks be loaded into the kernel, as far as this user lacks it.
pub fn following_remedy() -> String {
    match numbers_are_the_kernels() {
        true => programs_remedy("a kernel with CONFIG_DEBUG_INFO_BTF"),
        false => "run wireprof in the host's namespace of process numbers (Docker: --pid=host)".into(),
    }
}

/// As [`following_remedy`], for a program to which processes are nothing. `kernel`: what the kernel must have.
pub fn programs_remedy(kernel: &str) -> String {
    match has(&[PERFMON, BPF]) {
        true => format!("{FILTERED}, which must permit bpf and perf_event_open; on {kernel}"),
        false => format!("run as root, or with CAP_BPF and CAP_PERFMON, on {kernel}"),
    }
}

/// For a user that has every right.
const FILTERED: &str = "run on the host itself, or without a container's filter of system calls (Docker: \
     --security-opt seccomp=unconfined)";

/// Bits of capability.h.
const PERFMON: u32 = 38;
const BPF: u32 = 39;
/// Root's, which has both of these.
const SYS_ADMIN: u32 = 21;

fn has(capabilities: &[u32]) -> bool {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    let effective = status.map_or(0, |status| status.capeff);
    let holds = |capability: &u32| effective >> capability & 1 == 1;
    holds(&SYS_ADMIN) || capabilities.iter().all(holds)
}

/// Whether processes have the numbers here that they have in the kernel, whose programs know no others. In a namespace
/// of their own, such as a container's, they have not.
pub fn numbers_are_the_kernels() -> bool {
    // PROC_PID_INIT_INO of include/linux/proc_ns.h.
    const INITIAL: &str = "pid:[4026531836]";
    // Without /proc nothing is measured in any case.
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace.as_os_str() == INITIAL)
}

/// A path as a shell takes it for one word.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path.into() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_file_that_runs_as_one_word() {
        let told = setcap_command();
        let path = told.rsplit(' ').next().unwrap();
        assert!(std::path::Path::new(path).is_file(), "{told}");
        assert_eq!(quoted("/opt/my tools/it's"), r"'/opt/my tools/it'\''s'");
    }
}
