//! Which package brings the names of a stripped file: by the distribution's own records, in the root that the file's
//! process sees. Invariant: only files are read, no command is run; what is not known is not guessed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

const BUILD: &str = "build it with line tables (gcc -g1, Rust: debug = \"line-tables-only\") and without strip";

/// What to do about a stripped file: the distribution's package, the build, or a debuginfod server. `root` is where
/// the process's `/` lies, `file` the path below it.
pub fn remedy(root: &Path, file: &Path) -> String {
    let Some(release) = Release::read(root) else {
        return format!("install its debug package, or {BUILD}");
    };
    let shown = file.display();
    let asked = |server: &str| format!("set DEBUGINFOD_URLS={server}");
    if release.is("arch") {
        return format!("{}, or {BUILD}", asked("https://debuginfod.archlinux.org"));
    }
    if release.is("debian") || release.is("ubuntu") {
        let server =
            if release.is("ubuntu") { "https://debuginfod.ubuntu.com" } else { "https://debuginfod.debian.net" };
        return match Package::of_dpkg(root, file) {
            Some(package) => format!("{}; or {}", package.install(&release), asked(server)),
            None => format!("no package of {} has it: {BUILD}", release.name),
        };
    }
    if release.is("alpine") {
        return match of_apk(root, file) {
            Some(package) => format!("`apk add {package}-dbg`, where that package exists; else {BUILD}"),
            None => format!("no package of {} has it: {BUILD}", release.name),
        };
    }
    if release.is("suse") || release.is("opensuse") {
        let server = asked("https://debuginfod.opensuse.org");
        return format!(
            "`zypper install --plus-content debug $(rpm -qf --qf '%{{NAME}}-debuginfo' {shown})`; or {server}"
        );
    }
    if release.is("fedora") || release.is("rhel") || release.is("centos") {
        let server = "set DEBUGINFOD_URLS=https://debuginfod.fedoraproject.org";
        let or = if release.id == "fedora" { format!("; or {server}") } else { String::new() };
        return format!("`dnf debuginfo-install $(rpm -qf {shown})`{or}");
    }
    format!("install the debug package of {} for it, or {BUILD}", release.name)
}

/// os-release(5).
struct Release {
    id: String,
    like: Vec<String>,
    name: String,
    codename: Option<String>,
}

impl Release {
    fn read(root: &Path) -> Option<Release> {
        let files = ["etc/os-release", "usr/lib/os-release"];
        let text = files.into_iter().find_map(|file| std::fs::read_to_string(within(root, Path::new(file))?).ok())?;
        let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let field = |name: &str| fields.get(name).map(|value| value.trim().trim_matches(['"', '\'']).to_string());
        let id = field("ID")?;
        Some(Release {
            like: field("ID_LIKE").unwrap_or_default().split_whitespace().map(String::from).collect(),
            name: field("PRETTY_NAME").unwrap_or_else(|| id.clone()),
            codename: field("VERSION_CODENAME"),
            id,
        })
    }

    /// It is this distribution, or made from it.
    fn is(&self, id: &str) -> bool {
        self.id == id || self.id.starts_with(&format!("{id}-")) || self.like.iter().any(|like| like == id)
    }
}

/// A package of Debian's kind.
struct Package {
    name: String,
    architecture: Option<String>,
    version: Option<String>,
}

impl Package {
    /// Whose list has the file. Where `/lib` is `/usr/lib`, lists have either.
    fn of_dpkg(root: &Path, file: &Path) -> Option<Package> {
        let plain = file
            .strip_prefix("/usr")
            .map_or_else(|_| PathBuf::from("/usr").join(below(file)), |rest| Path::new("/").join(rest));
        let wanted = [file, &plain].map(|path| path.to_string_lossy().into_owned());
        let folder = within(root, Path::new("var/lib/dpkg"))?;
        let mut lists: Vec<PathBuf> =
            std::fs::read_dir(folder.join("info")).ok()?.flatten().map(|entry| entry.path()).collect();
        lists.sort();
        let of_list = |list: &PathBuf| {
            let name = list.file_name()?.to_str()?.strip_suffix(".list")?;
            let text = std::fs::read_to_string(list).ok()?;
            text.lines().any(|line| wanted.iter().any(|wanted| wanted == line)).then(|| name.to_string())
        };
        let owner = lists.iter().find_map(of_list)?;
        let (name, architecture) = match owner.split_once(':') {
            Some((name, architecture)) => (name.to_string(), Some(architecture.to_string())),
            None => (owner, None),
        };
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let stanza = status.split("\n\n").find(|stanza| {
            let has = |field: &str, value: &str| stanza.lines().any(|line| line.strip_prefix(field) == Some(value));
            has("Package: ", &name)
                && architecture.as_ref().is_none_or(|architecture| has("Architecture: ", architecture))
        });
        let version = stanza.and_then(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Version: ")));
        Some(Package { name, architecture, version: version.map(String::from) })
    }

    /// The command, and the archive that must be known first.
    fn install(&self, release: &Release) -> String {
        // The C library's, which has been a package of its own since before there were others.
        let own = self.name == "libc6";
        let debug = if own { "libc6-dbg".to_string() } else { format!("{}-dbgsym", self.name) };
        let architecture = self.architecture.as_ref().map_or(String::new(), |name| format!(":{name}"));
        let version = self.version.as_ref().map_or(String::new(), |version| format!("={version}"));
        let command = format!("`apt-get install {debug}{architecture}{version}`");
        let codename = release.codename.as_deref().unwrap_or("CODENAME");
        if own || self.version.as_ref().is_some_and(|version| version.contains("pgdg")) {
            // PostgreSQL's own archive has them beside the packages.
            return command;
        }
        let archive = if release.is("ubuntu") {
            format!(
                "deb http://ddebs.ubuntu.com {codename} main universe` (and {codename}-updates; key: \
                 ubuntu-dbgsym-keyring"
            )
        } else {
            format!(
                "deb http://deb.debian.org/debian-debug {codename}-debug main` (security updates: \
                 {codename}-proposed-updates-debug"
            )
        };
        format!("{command}, from the archive `{archive})")
    }
}

/// The package that has the file in apk's list: `P:` names it, `F:` a folder and `R:` a file in that.
fn of_apk(root: &Path, file: &Path) -> Option<String> {
    let lists = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
    let text = lists.into_iter().find_map(|list| std::fs::read_to_string(within(root, Path::new(list))?).ok())?;
    let (folder, name) = (below(file.parent()?).to_str()?.to_string(), file.file_name()?.to_str()?);
    let (mut package, mut inside) = ("", "");
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", found)) => package = found,
            Some(("F", found)) => inside = found,
            Some(("R", found)) if found == name && inside == folder => return Some(package.to_string()),
            _ => {}
        }
    }
    None
}

/// Without its first `/`.
fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// A path below the root; a link in it is followed within the root, as the root's processes follow it.
fn within(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut at = crate::elf::below(root, &Path::new("/").join(path));
    for _ in 0..8 {
        let Ok(target) = std::fs::read_link(&at) else { return Some(at) };
        at = match target.is_absolute() {
            true => crate::elf::below(root, &target),
            false => at.parent()?.join(target),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn said(files: &[(&str, &str)], file: &str) -> String {
        remedy(root(files).path(), Path::new(file))
    }

    const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";
    const STATUS: &str = "Package: other\nVersion: 1\n\n\
        Package: postgresql-15\nArchitecture: amd64\nVersion: 15.18-0+deb12u1\n\n\
        Package: libc6\nArchitecture: i386\nVersion: 1\n\n\
        Package: libc6\nArchitecture: amd64\nVersion: 2.36-9\n";

    #[test]
    fn debian_and_ubuntu_name_the_package_its_version_and_its_archive() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        let files = |release| {
            [
                ("etc/os-release", release),
                ("var/lib/dpkg/status", STATUS),
                ("var/lib/dpkg/info/postgresql-15.list", "/.\n/usr/lib/postgresql/15/bin/postgres\n"),
                ("var/lib/dpkg/info/libc6:amd64.list", "/lib/x86_64-linux-gnu/libc.so.6\n"),
                ("var/lib/dpkg/info/other.list", "/usr/lib/postgresql/15/bin\n"),
            ]
        };
        let told = said(&files(debian), POSTGRES);
        assert!(told.starts_with("`apt-get install postgresql-15-dbgsym=15.18-0+deb12u1`, from the archive"), "{told}");
        assert!(told.contains("debian-debug bookworm-debug main") && told.contains("debuginfod.debian.net"), "{told}");
        let told = said(&files(debian), "/usr/lib/x86_64-linux-gnu/libc.so.6");
        assert!(told.starts_with("`apt-get install libc6-dbg:amd64=2.36-9`; or"), "{told}");
        let told = said(&files(debian), "/opt/own/server");
        assert!(told.starts_with("no package of Debian GNU/Linux 12 (bookworm) has it: build it"), "{told}");
        let ubuntu = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n";
        let told = said(&files(ubuntu), POSTGRES);
        assert!(told.contains("ddebs.ubuntu.com noble main") && told.contains("debuginfod.ubuntu.com"), "{told}");
        let derived = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\n";
        assert!(said(&files(derived), POSTGRES).contains("postgresql-15-dbgsym"));
        let pgdg = STATUS.replace("15.18-0+deb12u1", "15.18-1.pgdg120+1");
        let mut of_pgdg = files(debian);
        of_pgdg[1].1 = &pgdg;
        let told = said(&of_pgdg, POSTGRES);
        assert!(told.starts_with("`apt-get install postgresql-15-dbgsym=15.18-1.pgdg120+1`; or"), "{told}");
    }

    #[test]
    fn other_distributions_have_their_own_commands() {
        let release = |text| [("usr/lib/os-release", text)];
        let told = |text| said(&release(text), POSTGRES);
        assert!(
            told("ID=fedora\n")
                .starts_with("`dnf debuginfo-install $(rpm -qf /usr/lib/postgresql/15/bin/postgres)`; or")
        );
        let rocky = told("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
        assert!(rocky.starts_with("`dnf debuginfo-install") && !rocky.contains("DEBUGINFOD"), "{rocky}");
        assert!(told("ID=arch\n").starts_with("set DEBUGINFOD_URLS=https://debuginfod.archlinux.org"));
        assert!(told("ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n").starts_with("`zypper install"));
        assert!(told("ID=nixos\nPRETTY_NAME=NixOS\n").starts_with("install the debug package of NixOS"));
        assert!(said(&[], POSTGRES).starts_with("install its debug package, or build it"));
        let apk = "P:busybox\nF:bin\nR:sh\n\nP:postgresql16\nF:usr/libexec/postgresql16\nR:postgres\n\n";
        let files = [("etc/os-release", "ID=alpine\n"), ("lib/apk/db/installed", apk)];
        assert!(said(&files, "/usr/libexec/postgresql16/postgres").starts_with("`apk add postgresql16-dbg`"));
        assert!(said(&files, "/usr/bin/postgres").starts_with("no package of alpine has it"));
    }

    #[test]
    fn a_link_is_followed_within_the_root() {
        let root = root(&[("usr/lib/os-release", "ID=arch\n")]);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/usr/lib/os-release", root.path().join("etc/os-release")).unwrap();
        assert!(remedy(root.path(), Path::new("/x")).contains("archlinux"));
    }
}
