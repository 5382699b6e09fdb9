//! Whose code a module is, told from what profilers call it. Invariant: the kernel's own image is `[kernel]`,
//! whichever of its names and paths a tool printed, so that one function is one function in every report.

use super::Space;

/// The module and the space of code in `module` (a path, or a name in brackets). `upper_half`: its address lies in
/// the kernel's half of the address space. The names are those that perf looks for: `vmlinux_path` in
/// tools/perf/util/symbol.c of Linux.
pub fn place(module: &str, upper_half: bool) -> (Space, String) {
    let module = module.trim_end_matches(" (deleted)");
    let name = module.rsplit('/').next().unwrap_or(module);
    if name == "[vdso]" {
        return (Space::Vdso, name.to_string());
    }
    if is_kernel_image(module, name) {
        return (Space::Kernel, "[kernel]".to_string());
    }
    if let Some(driver) = kernel_module(name) {
        return (Space::Kernel, driver);
    }
    let space = if upper_half { Space::Kernel } else { Space::User };
    (space, if name == "[unknown]" { String::new() } else { name.to_string() })
}

/// `[kernel.kallsyms]`, `/proc/kcore`, `/usr/lib/debug/boot/vmlinux-6.1.0-13-amd64`, and the copies in perf's own
/// cache. A tool beside them (`vmlinux-gdb.py`, `/usr/src/vmlinux-6.1/tool`) is none.
fn is_kernel_image(path: &str, name: &str) -> bool {
    let cached = |part: &str| part.starts_with("[kernel.");
    if name.starts_with("[kernel") || path.split('/').any(cached) || matches!(path, "/proc/kcore" | "/proc/kallsyms") {
        return true;
    }
    let Some(version) = name.strip_prefix("vmlinux").or_else(|| name.strip_prefix("vmlinuz")) else { return false };
    let version = unpacked(version);
    // Behind the image's name stands what `uname -r` says, which begins with a digit; `.py` and `.so` are programs.
    let is_release =
        version.strip_prefix(['-', '.']).is_some_and(|release| release.starts_with(|c: char| c.is_ascii_digit()));
    version.is_empty() || is_release && ![".py", ".so", ".sh"].iter().any(|end| version.ends_with(end))
}

/// `nf.ko.xz` as `[nf]`, as /proc/kallsyms and perf without the file call it.
fn kernel_module(name: &str) -> Option<String> {
    let stem = unpacked(name).strip_suffix(".ko")?;
    (!stem.is_empty()).then(|| format!("[{}]", stem.replace('-', "_")))
}

/// Without the ends that packing and separate debug information add.
fn unpacked(mut name: &str) -> &str {
    const ENDS: [&str; 6] = [".debug", ".gz", ".xz", ".zst", ".bz2", ".lz4"];
    while let Some(shorter) = ENDS.iter().find_map(|end| name.strip_suffix(end)) {
        name = shorter;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_image_has_one_name_wherever_it_lies() {
        for image in [
            "[kernel.kallsyms]",
            "[kernel.kallsyms]_stext",
            "[kernel.vmlinux]",
            "/proc/kcore",
            "vmlinux",
            "/boot/vmlinux-6.1.0-13-amd64",
            "/boot/vmlinuz-6.6.1-arch1-1",
            "/usr/lib/debug/boot/vmlinux-5.3.18-default.debug",
            "/usr/lib/debug/lib/modules/5.4.17/vmlinux",
            "/lib/modules/6.1.0/build/vmlinux",
            "/root/.debug/[kernel.kallsyms]/0123abcd/kallsyms",
            "/root/.debug/.build-id/01/23abcd/vmlinux",
        ] {
            assert_eq!(place(image, false), (Space::Kernel, "[kernel]".to_string()), "{image}");
        }
    }

    #[test]
    fn a_module_of_the_kernel_is_called_as_kallsyms_calls_it() {
        for file in
            ["/lib/modules/6.1.0/kernel/net/nf-x.ko.xz", "nf_x.ko", "/usr/lib/debug/x/nf-x.ko.zst.debug", "nf-x.ko.gz"]
        {
            assert_eq!(place(file, false), (Space::Kernel, "[nf_x]".to_string()), "{file}");
        }
        assert_eq!(place("[nf_x]", true), (Space::Kernel, "[nf_x]".to_string()));
    }

    #[test]
    fn what_lies_beside_the_kernel_is_user_code() {
        for (file, name) in [
            ("/usr/src/vmlinux-6.1.0/server", "server"),
            ("/usr/lib/debug/boot/vmlinux-gdb.py", "vmlinux-gdb.py"),
            ("/opt/vmlinux-to-elf", "vmlinux-to-elf"),
            ("/lib/modules/6.1.0/build/scripts/kallsyms", "kallsyms"),
            ("/opt/nf.ko.d/server", "server"),
            ("/opt/libvmlinux.so", "libvmlinux.so"),
            ("/opt/my server (deleted)", "my server"),
            ("[unknown]", ""),
        ] {
            assert_eq!(place(file, false), (Space::User, name.to_string()), "{file}");
        }
        assert_eq!(place("[vdso]", false), (Space::Vdso, "[vdso]".to_string()));
    }
}
