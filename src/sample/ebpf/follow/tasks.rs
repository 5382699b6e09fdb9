//! The functions of tokio in a running program that tell when a task is polled, registers a waker and is woken.
//! Invariant: functions are recognised by their symbols alone, and a program that has not all of them has no tasks
//! here, with the reason.
//!
//! All are entries of tables of function pointers, so that they are never inlined: `tokio::runtime::task::raw::poll` of
//! each type of future, and `tokio::runtime::task::waker::{clone_waker, wake_by_val, wake_by_ref}` (tokio 1.20 and
//! later). A name is recognised in the legacy mangling (`_ZN5tokio7runtime…`) and in the newer one of RFC 2603
//! (`_RINvNtNtNtCs…_5tokio7runtime…`), where the parts of a path stand in the same spelling.

use crate::elf::Image;
use object::{Object, ObjectSymbol};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A function of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its offset in the file.
    pub offset: u64,
    /// Bytes of its code, by the symbol table; 0: not known.
    pub size: u64,
    /// Its address in the running process.
    pub address: u64,
    /// As it stands in the symbol table.
    pub symbol: String,
}

/// What is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFunctions {
    /// The file that runs, by a path that stays right when it is replaced.
    pub file: PathBuf,
    /// The file as it is called among the process's mappings.
    pub mapped_as: PathBuf,
    /// Those that begin a poll, by address.
    pub polls: BTreeMap<u64, Function>,
    /// Those that a waker is cloned by.
    pub registers: Vec<Function>,
    /// Those that a task is woken by.
    pub wakes: Vec<Function>,
    /// Those that the waker of a future is cloned by that runs side by side with others within one task.
    pub registers_within: Vec<Function>,
    /// Those that such a future is woken by.
    pub wakes_within: Vec<Function>,
}

/// Why a program's tasks cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTasks {
    /// It cannot be looked at.
    #[error("its program cannot be read: {0}")]
    Unreadable(String),
    /// It may have some.
    #[error("its program has no symbol table (it is stripped)")]
    Stripped,
    /// A probe would harm it.
    #[error(
        "its system calls are filtered (seccomp), and on Linux 6.11 to 6.13 a probe at the return of a function would \
         end such a process"
    )]
    Filtered,
    /// Nothing in it looks like it.
    #[error("its program has no symbols of tokio's tasks (another runtime, or renamed symbols)")]
    NoSymbols,
}

const POLL: &str = "5tokio7runtime4task3raw4poll";
const CLONE: &str = "5tokio7runtime4task5waker11clone_waker";
const WAKES: [&str; 2] = ["5tokio7runtime4task5waker11wake_by_val", "5tokio7runtime4task5waker11wake_by_ref"];

/// Where the wakers of such futures are made (futures-util and futures-task 0.3).
const WITHIN: [&str; 2] = ["12futures_util6stream17futures_unordered4task9waker_ref", "12futures_task5waker"];

impl TaskFunctions {
    /// Those of a running process.
    ///
    /// # Errors
    /// Why there are none.
    pub fn of(pid: u32) -> Result<TaskFunctions, NoTasks> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        if returns_are_fatal(&read(&format!("/proc/{pid}/status")), &read("/proc/sys/kernel/osrelease")) {
            return Err(NoTasks::Filtered);
        }
        let file = PathBuf::from(format!("/proc/{pid}/exe"));
        let image = Image::open_path(&file).map_err(|error| NoTasks::Unreadable(error.to_string()))?;
        let mapped_as = mapped_as(pid).ok_or_else(|| NoTasks::Unreadable("its path is not known".into()))?;
        let bias =
            bias(pid, &mapped_as, &image).ok_or_else(|| NoTasks::Unreadable("its mapping is not known".into()))?;
        let mut found = TaskFunctions { file, mapped_as, ..TaskFunctions::default() };
        let elf = image.elf().ok_or_else(|| NoTasks::Unreadable("it is no ELF file".into()))?;
        let mut symbols = 0u64;
        for symbol in elf.symbols().filter(|symbol| symbol.is_definition()) {
            symbols += 1;
            let Ok(name) = symbol.name() else { continue };
            if name.contains("5tokio7runtime4task") || name.contains("arc_raw") {
                let offset = offset_of(&image, symbol.address());
                found.add(name, offset, symbol.size(), symbol.address().wrapping_add(bias));
            }
        }
        found.check(symbols)
    }

    fn add(&mut self, name: &str, offset: Option<u64>, size: u64, address: u64) {
        let Some(offset) = offset else { return };
        let function = Function { offset, size, address, symbol: name.to_string() };
        if is_function(name, POLL) {
            self.polls.insert(address, function);
        } else if is_function(name, CLONE) {
            self.registers.push(function);
        } else if WAKES.iter().any(|wake| is_function(name, wake)) {
            self.wakes.push(function);
        } else if WITHIN.iter().any(|module| is_function(name, &format!("{module}13clone_arc_raw"))) {
            self.registers_within.push(function);
        } else if WITHIN.iter().any(|module| {
            ["12wake_arc_raw", "19wake_by_ref_arc_raw"].iter().any(|wake| is_function(name, &format!("{module}{wake}")))
        }) {
            self.wakes_within.push(function);
        }
    }

    /// The poll function that an offset of the file lies in.
    pub fn poll_at(&self, offset: u64) -> Option<u64> {
        let around = |function: &&Function| (function.offset..function.offset + function.size).contains(&offset);
        self.polls.values().find(around).map(|function| function.address)
    }

    fn check(self, symbols: u64) -> Result<TaskFunctions, NoTasks> {
        if symbols == 0 {
            return Err(NoTasks::Stripped);
        }
        if self.polls.is_empty() || self.registers.is_empty() || self.wakes.is_empty() {
            return Err(NoTasks::NoSymbols);
        }
        Ok(self)
    }
}

/// Whether a probe at the return of a function can end the process of this status (proc_pid_status(5)). Since Linux
/// 6.11 the return goes through a system call of its own, which filters of the process can refuse; 6.14 exempts it.
fn returns_are_fatal(status: &str, release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let filtered = status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"));
    filtered && ((6, 11)..(6, 14)).contains(&kernel)
}

/// Whether a mangled name is this function's own, not that of something within it: a closure, or a type's argument.
fn is_function(name: &str, path: &str) -> bool {
    if let Some(rest) = name.strip_prefix("_ZN").and_then(|rest| rest.strip_prefix(path)) {
        // Legacy: the hash follows.
        return rest.starts_with("17h");
    }
    // `_RINv…` with type arguments, `_RNv…` without: a level of the path each `Nt`, then the crate.
    let Some(rest) = name.strip_prefix("_RINv").or_else(|| name.strip_prefix("_RNv")) else { return false };
    let Some(rest) = rest.trim_start_matches("Nt").strip_prefix('C') else { return false };
    // The crate's disambiguator lies before its name: `s`, digits and letters, `_`.
    let Some(path_at) = rest.find(path) else { return false };
    let disambiguator = &rest[..path_at];
    let digits = disambiguator.strip_prefix('s').and_then(|rest| rest.strip_suffix('_'));
    disambiguator.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A process's program, as its mappings are called (proc_pid_maps(5)).
fn mapped_as(pid: u32) -> Option<PathBuf> {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(PathBuf::from(exe.to_string_lossy().trim_end_matches(" (deleted)")))
}

/// What is added to an address of the file to get that of the process.
fn bias(pid: u32, exe: &Path, image: &Image) -> Option<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let (mapped, offset) = maps.lines().find_map(|line| executable_mapping(line, exe))?;
    let address = image.address_of_mapping(offset..offset + (mapped.end - mapped.start))?;
    Some(mapped.start.wrapping_sub(address))
}

/// The addresses and the file's offset of a mapping of this file that code runs in (proc_pid_maps(5)).
fn executable_mapping(line: &str, file: &Path) -> Option<(Range<u64>, u64)> {
    let mut fields = line.splitn(6, ' ');
    let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let path = fields.nth(2)?.trim_start().trim_end_matches(" (deleted)");
    let hex = |text| u64::from_str_radix(text, 16).ok();
    (permissions.contains('x') && Path::new(path) == file).then_some(())?;
    let (start, end) = range.split_once('-')?;
    Some((hex(start)?..hex(end)?, hex(offset)?))
}

/// The offset in the file of an address of it.
fn offset_of(image: &Image, address: u64) -> Option<u64> {
    image.segments().iter().find_map(|segment| {
        let offset = segment.file.start + address.checked_sub(segment.address)?;
        segment.file.contains(&offset).then_some(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_recognised_in_both_manglings_and_what_lies_within_them_is_not() {
        let legacy = "_ZN5tokio7runtime4task3raw4poll17h0123456789abcdefE";
        let newer = "_RINvNtNtNtCskhxBiJCMGsE_5tokio7runtime4task3raw4pollNCNvCs1_4main3fooE";
        assert!(is_function(legacy, POLL) && is_function(newer, POLL));
        assert!(!is_function("_ZN5tokio7runtime4task3raw4poll28_$u7b$$u7b$closure$u7d$$u7d$17h01E", POLL));
        assert!(!is_function("_RNCINvNtNtNtCskhx_5tokio7runtime4task3raw4pollE", POLL), "a closure within it");
        assert!(!is_function("_RINvNtNtNtCsa_4core3fooNvNtNtNtCsb_5tokio7runtime4task3raw4pollE", POLL));
        assert!(is_function("_RNvNtNtNtCskhx_5tokio7runtime4task5waker11clone_waker", CLONE));
        assert!(!is_function("_ZN5tokio7runtime4task3raw13poll_something17h01E", POLL));
        let within = format!("{}13clone_arc_raw", WITHIN[1]);
        assert!(is_function("_RINvNtCsabc_12futures_task5waker13clone_arc_rawNtCsd_1a1bE", &within));
    }

    #[test]
    fn a_program_without_symbols_and_one_without_tasks_say_so() {
        let none = TaskFunctions::default();
        assert_eq!(none.clone().check(0), Err(NoTasks::Stripped));
        assert_eq!(none.check(10), Err(NoTasks::NoSymbols));
    }

    #[test]
    fn a_process_with_filters_is_not_probed_where_the_kernel_does_not_exempt_returns() {
        let filtered = "Name:\ta\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        for (release, fatal) in [("6.12.9-arch1", true), ("6.11.0", true), ("6.14.1", false), ("5.15.0-91", false)] {
            assert_eq!(returns_are_fatal(filtered, release), fatal, "{release}");
            assert!(!returns_are_fatal("Seccomp:\t0\n", release));
        }
    }

    #[test]
    fn the_mapping_with_code_of_the_file_itself_is_found() {
        let file = Path::new("/usr/bin/a b");
        let line = "5600-5700 r-xp 00001000 fe:01 77                 /usr/bin/a b (deleted)";
        assert_eq!(executable_mapping(line, file), Some((0x5600..0x5700, 0x1000)));
        assert_eq!(executable_mapping("5600-5700 r--p 00001000 fe:01 77   /usr/bin/a b", file), None);
        assert_eq!(executable_mapping("5600-5700 r-xp 00000000 00:00 0 ", file), None);
    }
}
