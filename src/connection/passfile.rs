//! Where a password comes from when the settings have none: the password file (PostgreSQL documentation, "The
//! Password File"). Invariant: the file is used only if nobody but its owner can read it, as libpq has it; a reason
//! not to use it is kept.

use super::settings::{Origin, Settings};
use super::{Endpoint, Secret};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A password with its origin, or why there is none.
#[derive(Clone)]
pub struct Lookup {
    pub password: Option<Secret>,
    /// `the URL`, `PGPASSWORD`, a service or the file's path; meaningless without a password.
    pub from: String,
    pub passfile: PathBuf,
    /// Why the file was left alone.
    pub ignored: Option<String>,
}

/// The password of the settings, else of the first line of the file that matches; an empty one is none.
pub fn find(settings: &Settings, endpoint: &Endpoint, database: &str, user: &str) -> Lookup {
    let home = || (settings.variable)("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
    let passfile = settings.get("passfile").map(PathBuf::from).or_else(home).unwrap_or_default();
    let mut lookup = Lookup { password: settings.secret("password"), from: String::new(), passfile, ignored: None };
    if lookup.password.is_some() {
        lookup.from = match settings.origin("password") {
            Origin::Text => "the URL".into(),
            Origin::Service(name) => format!("service {name}"),
            Origin::Environment(variable) => variable.into(),
        };
        return lookup;
    }
    match read(&lookup.passfile) {
        Ok(bytes) => {
            let port = endpoint.port().to_string();
            let wanted = [endpoint.name_in_passfile(), &port, database, user];
            let found = bytes.split(|byte| *byte == b'\n').find_map(|line| matching(line, wanted));
            lookup.password = found.filter(|password| !password.is_empty());
            lookup.from = lookup.passfile.display().to_string();
        }
        Err(why) => lookup.ignored = why,
    }
    lookup
}

/// The file's bytes; an error without a text where there is no file.
fn read(file: &Path) -> Result<Vec<u8>, Option<String>> {
    let Ok(metadata) = std::fs::metadata(file) else { return Err(None) };
    if !metadata.is_file() {
        return Err(Some("ignored: it is no regular file".into()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Some("ignored: others can read it; chmod 600 it".into()));
    }
    std::fs::read(file).map_err(|cause| Some(format!("ignored: {cause}")))
}

/// The password of a line whose four fields match; `*` matches all, `\` makes the next byte plain.
fn matching(line: &[u8], wanted: [&str; 4]) -> Option<Secret> {
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    if rest.starts_with(b"#") {
        return None;
    }
    for value in wanted {
        let (field, after) = field(rest);
        if &rest[..rest.len() - after?.len() - 1] != b"*" && field != value.as_bytes() {
            return None;
        }
        rest = after?;
    }
    Some(Secret::new(field(rest).0))
}

/// The first field of a line, and what follows its `:`.
fn field(line: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut value = Vec::new();
    let mut bytes = line.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => value.push(bytes.next().map_or(b'\\', |(_, byte)| *byte)),
            b':' => return (value, Some(&line[at + 1..])),
            byte => value.push(*byte),
        }
    }
    (value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(file: &Path, text: &str, password: Option<&str>) -> Lookup {
        let variable = |name: &str| match name {
            "PGPASSFILE" => Some(file.display().to_string()),
            "PGPASSWORD" => password.map(String::from),
            _ => None,
        };
        let settings = Settings::gather(text, &variable).ok().unwrap();
        find(&settings, &Endpoint::of(&settings).unwrap(), "app", "me")
    }

    fn password(lookup: &Lookup) -> Option<&str> {
        lookup.password.as_ref().map(|password| std::str::from_utf8(password.expose()).unwrap())
    }

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_first_matching_line_gives_the_password() {
        let file = file("# db:5432:app:me:no\nother:*:*:*:a\ndb:5432:*:me:p\\:w\\\\x:rest\r\n*:*:*:*:z\n", 0o600);
        assert_eq!(password(&look(file.path(), "host=db", None)), Some("p:w\\x"));
        let lookup = look(file.path(), "host=db", Some("env"));
        assert_eq!((password(&lookup), lookup.from.as_str()), (Some("env"), "PGPASSWORD"));
        assert_eq!(password(&look(file.path(), "host=elsewhere hostaddr=127.0.0.1", None)), Some("z"));
    }

    #[test]
    fn an_empty_password_is_none() {
        let file = file("*:*:*:*:right\n", 0o600);
        assert_eq!(password(&look(file.path(), "postgres://me:@db", None)), Some("right"));
        assert_eq!(password(&look(file.path(), "postgres://me:@db", Some("env"))), Some("env"));
        assert_eq!(password(&look(file.path(), "host=db password=''", Some("env"))), Some("right"));
        assert_eq!(password(&look(file.path(), "host=db", Some(""))), Some("right"));
    }

    #[test]
    fn the_default_directory_of_sockets_is_called_localhost() {
        let directory = crate::connection::endpoint::default_directory();
        let file = file(&format!("{directory}:*:*:*:no\n/elsewhere:*:*:*:other\nlocalhost:*:*:*:right\n"), 0o600);
        for text in ["", &format!("host={directory}"), "host=localhost"] {
            assert_eq!(password(&look(file.path(), text, None)), Some("right"), "{text}");
        }
        assert_eq!(password(&look(file.path(), "host=/elsewhere", None)), Some("other"));
    }

    #[test]
    fn a_file_that_others_can_read_is_left_alone_and_said() {
        let file = file("*:*:*:*:z\n", 0o640);
        let lookup = look(file.path(), "host=db", None);
        assert_eq!(password(&lookup), None);
        assert_eq!(lookup.ignored.as_deref(), Some("ignored: others can read it; chmod 600 it"));
    }

    #[test]
    fn no_file_and_no_match_are_no_password() {
        assert_eq!(password(&look(Path::new("/nonexistent"), "host=db", None)), None);
        assert_eq!(password(&look(file("db:5433:app:me:p\nbroken\n", 0o600).path(), "host=db", None)), None);
    }
}
