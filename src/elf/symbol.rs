//! Where a running process has what its executable exports. Invariant: an address is of the mapped file itself and of
//! this process; what a file of the same name would say is never taken for it.

use super::{Image, ImageError, MappedFile};
use object::{Object, ObjectSymbol};
use std::path::{Path, PathBuf};

/// One mapping of the executable: addresses in the process, offset in the file in bytes, inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapped {
    start: u64,
    end: u64,
    offset: u64,
    inode: u64,
}

/// The virtual address in a running process of a symbol that its executable defines in its table of dynamic symbols
/// (`.dynsym` in elf(5)); `None` where it defines none of this name. Processes that were forked and did not run another
/// program since have it at the same address.
///
/// # Errors
/// [`ImageError`] where the process is gone or may not be looked into, or its executable cannot be read.
pub fn symbol_address(pid: u32, name: &str) -> Result<Option<u64>, ImageError> {
    let (path, mapped) = executable(pid)?;
    let shown = path.to_string_lossy().into_owned();
    let named = Path::new(shown.strip_suffix(" (deleted)").unwrap_or(&shown));
    let gone = || ImageError::Unreadable { path: shown.clone(), cause: std::io::ErrorKind::NotFound.into() };
    let first = mapped.first().ok_or_else(gone)?;
    let file = MappedFile { pid, mapping: (first.start, first.end), path: named, inode: first.inode };
    let image = Image::open(&file)?;
    let Some(address) = defined(&image, name) else { return Ok(None) };
    let bias = mapped.iter().find_map(|mapped| {
        let of_file = image.address_of_mapping(mapped.offset..mapped.offset.checked_add(mapped.end - mapped.start)?)?;
        Some(mapped.start.wrapping_sub(of_file))
    });
    let malformed = || ImageError::Malformed { path: shown.clone(), cause: "no segment of it is mapped".into() };
    Ok(Some(address.wrapping_add(bias.ok_or_else(malformed)?)))
}

/// The address that the file itself gives to a symbol that it defines.
fn defined(image: &Image, name: &str) -> Option<u64> {
    let elf = image.elf()?;
    let symbol = elf.dynamic_symbols().find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))?;
    Some(symbol.address())
}

/// The executable's path as the kernel names it, and its mappings in the order of their addresses.
fn executable(pid: u32) -> Result<(PathBuf, Vec<Mapped>), ImageError> {
    let (link, maps) = (format!("/proc/{pid}/exe"), format!("/proc/{pid}/maps"));
    let path = std::fs::read_link(&link).map_err(|cause| ImageError::Unreadable { path: link, cause })?;
    let bytes = std::fs::read(&maps).map_err(|cause| ImageError::Unreadable { path: maps, cause })?;
    // As proc(5) writes a path into a line.
    let name = path.to_string_lossy().replace('\n', "\\012");
    let mapped = String::from_utf8_lossy(&bytes).lines().filter_map(|line| mapped(line, &name)).collect();
    Ok((path, mapped))
}

/// A line of `/proc/PID/maps` (proc(5)), where it is of this file.
fn mapped(line: &str, name: &str) -> Option<Mapped> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let offset = hex(fields.nth(1)?)?;
    let inode = fields.nth(1)?.parse().ok()?;
    let (start, end) = (hex(start)?, hex(end)?);
    (fields.next()?.trim_start() == name && start < end).then_some(Mapped { start, end, offset, inode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn a_line_counts_where_it_is_of_the_file_whatever_is_in_its_name() {
        let line = "55d0e000-55d0f000 rw-p 0001a000 103:02 4711                       /opt/my server (deleted)";
        let found = Mapped { start: 0x55d0_e000, end: 0x55d0_f000, offset: 0x1a000, inode: 4711 };
        assert_eq!(mapped(line, "/opt/my server (deleted)"), Some(found));
        assert_eq!(mapped(line, "/opt/my server"), None);
        assert_eq!(mapped("1000-2000 rw-p 00000000 00:00 0", ""), None);
    }

    /// A program that exports a variable, runs until its input ends, and is gone with the value.
    struct Exporter(Child);

    impl Exporter {
        fn start(directory: &Path, options: &[&str]) -> Option<Exporter> {
            let (source, program) = (directory.join("exporter.c"), directory.join("exporter"));
            let text = "#include <unistd.h>\nunsigned exported = 4711;\nunsigned *pointer = &exported;\n\
                        int main(void) { char c; write(1, \"\\n\", 1); return read(0, &c, 1) < 0; }\n";
            std::fs::write(&source, text).unwrap();
            let made = Command::new("cc").args(options).arg("-rdynamic").arg("-o").args([&program, &source]).status();
            if !made.is_ok_and(|status| status.success()) {
                println!("skipped: no C compiler");
                return None;
            }
            let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // It has told that it runs: its maps are its own.
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            Some(Exporter(child))
        }
    }

    impl Drop for Exporter {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_variable_of_a_running_program_is_read_at_its_address_though_the_file_is_gone_and_wherever_it_is_loaded() {
        for options in [["-pie", "-fPIE"], ["-no-pie", "-fno-pie"]] {
            let directory = tempfile::tempdir().unwrap();
            let Some(exporter) = Exporter::start(directory.path(), &options) else { return };
            let pid = exporter.0.id();
            let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
            for gone in [false, true] {
                if gone {
                    std::fs::remove_file(directory.path().join("exporter")).unwrap();
                }
                let address = match symbol_address(pid, "pointer") {
                    Ok(address) => address.expect("it is exported"),
                    Err(why) if gone => {
                        println!("skipped in part: a file without a name is reached through its mapping alone: {why}");
                        continue;
                    }
                    Err(why) => panic!("{why}"),
                };
                let (mut pointer, mut value) = ([0; 8], [0; 4]);
                memory.read_exact_at(&mut pointer, address).unwrap();
                memory.read_exact_at(&mut value, u64::from_ne_bytes(pointer)).unwrap();
                assert_eq!(u32::from_ne_bytes(value), 4711, "{options:?}");
                assert_eq!(symbol_address(pid, "exported").unwrap(), Some(u64::from_ne_bytes(pointer)));
                assert_eq!(symbol_address(pid, "no_such_symbol").unwrap(), None);
                assert_eq!(symbol_address(pid, "read").unwrap(), None, "it is used, but not defined here");
            }
        }
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_and_not_a_missing_symbol() {
        let error = symbol_address(u32::MAX, "pointer").unwrap_err().to_string();
        assert!(error.starts_with("/proc/4294967295/exe: "), "{error}");
    }
}
