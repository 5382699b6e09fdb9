//! Names of the kernel's functions, its modules' and its BPF programs', from `/proc/kallsyms`.
//! Invariant: hidden addresses (all zero) are said to be hidden; they never name anything.

use super::image::{Function, Functions};
use super::name::demangle;
use crate::bpf::times_loaded;
use crate::profile::{Miss, OBSERVER};
use crate::{sample, wire};
use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

/// Beyond the last symbol of all, an address this much further (bytes) is not taken to belong to it: kallsyms has no
/// sizes.
const LAST_SYMBOL_REACH: u64 = 64 * 1024;

/// Why `/proc/kallsyms` shows no addresses, and what shows them, by the settings `kernel.kptr_restrict` and
/// `kernel.perf_event_paranoid` (`kallsyms_show_value` of the kernel's `ksyms_common.c`;
/// admin-guide/sysctl/kernel.rst).
pub fn hidden_kernel_names(restrict: &str, paranoid: &str) -> (String, String) {
    let capability = "`sudo setcap` with cap_syslog (`wireprof doctor` has the whole line)";
    let unprofiled = paranoid.parse::<i32>().is_ok_and(|paranoid| paranoid > 1);
    let mut settings = Vec::new();
    if restrict != "0" {
        settings.push("kernel.kptr_restrict=0");
    }
    if unprofiled {
        settings.push("kernel.perf_event_paranoid=1");
    }
    let settings = format!("`sudo sysctl {}`", settings.join(" "));
    match restrict {
        "0" if unprofiled => (
            format!(
                "kernel.kptr_restrict is 0, but kernel.perf_event_paranoid is {paranoid} and this process has no \
                 CAP_SYSLOG"
            ),
            format!("run as root, or {capability}, or {settings}"),
        ),
        "0" => (
            "they are masked here, as in some containers: neither kernel.kptr_restrict nor perf_event_paranoid does \
                that"
                .into(),
            "run wireprof on the host itself".into(),
        ),
        "2" => ("kernel.kptr_restrict is 2, which hides them from everybody".into(), settings),
        _ => (
            format!("kernel.kptr_restrict is {restrict} and this process has no CAP_SYSLOG"),
            format!("run as root, or {capability}, or {settings}"),
        ),
    }
}

/// Stands for the kernel itself, its modules apart.
pub(super) const KERNEL: &str = "[kernel]";

/// The name of a function of wireprof's own programs, which the kernel calls `bpf_prog_TAG_NAME`. Programs of another
/// wireprof that runs at the same time count as well.
fn own_function<'a>(name: &'a str, module: &str) -> Option<&'a str> {
    static FUNCTIONS: LazyLock<HashSet<String>> =
        LazyLock::new(|| sample::ebpf::own_functions().into_iter().chain(wire::own_functions()).collect());
    let (_tag, name) = name.strip_prefix("bpf_prog_").filter(|_| module == "[bpf]")?.split_once('_')?;
    FUNCTIONS.contains(name).then_some(name)
}

struct Entry {
    at: u64,
    /// Ranges within `Kernel::text`.
    name: (u32, u32),
    module: (u32, u32),
}

/// The kernel's table of functions.
pub(super) struct Kernel {
    text: String,
    entries: Vec<Entry>,
    /// Why there is no table.
    hidden: Option<String>,
    /// How many times this process had loaded programs when the table was read.
    loaded: u64,
}

impl Kernel {
    /// Reads the table (about 8 MB of text, 122,000 functions on Linux 6.18).
    pub(super) fn read(path: &Path) -> Kernel {
        let loaded = times_loaded();
        match std::fs::read_to_string(path) {
            Ok(text) => Kernel { loaded, ..Kernel::parse(text) },
            Err(error) => Kernel {
                text: String::new(),
                entries: Vec::new(),
                hidden: Some(format!("kernel symbols are hidden: {} cannot be read: {error}", path.display())),
                loaded,
            },
        }
    }

    fn parse(text: String) -> Kernel {
        let base = text.as_ptr() as usize;
        let range = |part: &str| {
            let start = part.as_ptr() as usize - base;
            (start as u32, (start + part.len()) as u32)
        };
        let mut entries: Vec<Entry> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                let at = u64::from_str_radix(fields.next()?, 16).ok().filter(|&at| at != 0)?;
                let kind = fields.next()?;
                let name = fields.next()?;
                let module = fields.next().unwrap_or(&name[..0]);
                matches!(kind, "t" | "T" | "w" | "W").then(|| Entry { at, name: range(name), module: range(module) })
            })
            .collect();
        // Stable, and of names at one address the file's last wins: section marks such as `_text` come first.
        entries.sort_by_key(|entry| entry.at);
        let hidden = entries.is_empty().then(|| {
            let setting = |name: &str| {
                let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
                text.trim().to_string()
            };
            let (cause, remedy) = hidden_kernel_names(&setting("kptr_restrict"), &setting("perf_event_paranoid"));
            format!("kernel symbols are hidden: every address in /proc/kallsyms is 0, since {cause}; {remedy}")
        });
        Kernel { text, entries, hidden, loaded: 0 }
    }

    /// Whether programs were loaded since it was read: their addresses would have the names of those before them.
    pub(super) fn is_outdated(&self) -> bool {
        self.loaded != times_loaded()
    }

    /// Why names are hidden, if they are.
    pub(super) fn hidden(&self) -> Option<&str> {
        self.hidden.as_deref()
    }

    /// The function that holds a kernel virtual address; the kernel's are never told to be inlined.
    pub(super) fn find(&self, at: u64) -> Functions {
        let (name, module) = self.entry(at)?;
        if let Some(own) = own_function(name, module) {
            // In brackets, as all that is no function of the server's.
            let name = format!("[wireprof {own}]");
            return Ok(vec![Function { name: name.into(), file: None, inlined: false, module: Some(OBSERVER.into()) }]);
        }
        Ok(vec![Function { name: demangle(name).into(), file: None, inlined: false, module: Some(module.into()) }])
    }

    /// Function and module (`[kernel]`, `[ext4]`, `[bpf]`) that hold an address.
    fn entry(&self, at: u64) -> Result<(&str, &str), Miss> {
        if self.hidden.is_some() {
            return Err(Miss::KernelHidden);
        }
        let next = self.entries.partition_point(|entry| entry.at <= at);
        let entry = next.checked_sub(1).map(|i| &self.entries[i]).ok_or(Miss::NoSymbol)?;
        if next == self.entries.len() && at - entry.at > LAST_SYMBOL_REACH {
            return Err(Miss::NoSymbol);
        }
        let module = self.slice(entry.module);
        Ok((self.slice(entry.name), if module.is_empty() { KERNEL } else { module }))
    }

    fn slice(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "ffffffff81000000 T _text\nffffffff81000000 T startup_64\nffffffff81000100 t tcp_sendmsg\n\
        ffffffff81000180 D some_data\nffffffffc0000000 t ext4_write\t[ext4]\nffffffffc0001000 t \
        bpf_prog_1_walk\t[bpf]\n";

    #[test]
    fn addresses_fall_to_the_function_before_them_and_data_is_no_function() {
        let kernel = Kernel::parse(TABLE.into());
        assert_eq!(kernel.entry(0xffff_ffff_8100_0190), Ok(("tcp_sendmsg", "[kernel]")));
        assert_eq!(kernel.entry(0xffff_ffff_8100_0000), Ok(("startup_64", "[kernel]")));
        assert_eq!(kernel.entry(0xffff_ffff_c000_0fff), Ok(("ext4_write", "[ext4]")));
        assert_eq!(kernel.entry(0xffff_ffff_c000_1004), Ok(("bpf_prog_1_walk", "[bpf]")));
    }

    #[test]
    fn programs_of_the_observer_are_told_from_others() {
        let own = |name| own_function(name, "[bpf]");
        assert_eq!(own("bpf_prog_08226eab80fce6a3_find_mapping"), Some("find_mapping"));
        assert_eq!(own("bpf_prog_a7374c4f32113bdc_on_receive"), Some("on_receive"));
        assert_eq!(own("bpf_prog_6deef7357e7b4530_sd_fw_egress"), None);
        assert_eq!(own_function("bpf_prog_a7374c4f32113bdc_on_receive", "[ext4]"), None);
        let table = "ffffffffc0001000 t bpf_prog_a7374c4f32113bdc_on_receive\t[bpf]\n";
        let found = Kernel::parse(table.into()).find(0xffff_ffff_c000_1004).unwrap();
        assert_eq!((&*found[0].name, found[0].module.as_deref()), ("[wireprof on_receive]", Some("[wireprof]")));
    }

    #[test]
    fn addresses_before_the_first_and_far_beyond_the_last_function_have_no_name() {
        let kernel = Kernel::parse(TABLE.into());
        assert_eq!(kernel.entry(0xffff_ffff_80ff_ffff), Err(Miss::NoSymbol));
        assert_eq!(kernel.entry(0xffff_ffff_c010_0000), Err(Miss::NoSymbol));
    }

    #[test]
    fn zero_addresses_mean_hidden_and_are_said_to_be() {
        let kernel = Kernel::parse("0000000000000000 T _text\n0000000000000000 t tcp_sendmsg\n".into());
        assert_eq!(kernel.entry(0xffff_ffff_8100_0190), Err(Miss::KernelHidden));
        assert!(kernel.hidden().unwrap().contains("kptr_restrict"));
    }

    #[test]
    fn the_cause_of_hidden_names_is_told_and_no_remedy_is_in_force_already() {
        let (cause, remedy) = hidden_kernel_names("0", "2");
        assert!(cause.contains("perf_event_paranoid is 2") && cause.contains("CAP_SYSLOG"), "{cause}");
        assert!(
            remedy.contains("cap_syslog") && remedy.contains("`sudo sysctl kernel.perf_event_paranoid=1`"),
            "{remedy}"
        );
        let (cause, remedy) = hidden_kernel_names("1", "1");
        assert!(
            cause.contains("kptr_restrict is 1") && remedy.ends_with("`sudo sysctl kernel.kptr_restrict=0`"),
            "{remedy}"
        );
        let (cause, remedy) = hidden_kernel_names("2", "4");
        assert!(cause.contains("everybody") && !remedy.contains("root"), "{cause} {remedy}");
        assert!(!hidden_kernel_names("0", "1").1.contains("sysctl"));
    }

    #[test]
    fn an_absent_table_means_hidden() {
        let kernel = Kernel::read(Path::new("/nonexistent/kallsyms"));
        assert_eq!(kernel.entry(1), Err(Miss::KernelHidden));
    }
}
