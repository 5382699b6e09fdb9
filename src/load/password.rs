//! Where a password comes from when the URL has none: PGPASSWORD, then the password file (libpq, "The Password File").
//! Invariant: the file is used only if nobody but its owner can read it, as libpq has it; a reason not to use it is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A password with its origin, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub password: Option<String>,
    /// `PGPASSWORD` or the file's path; meaningless without a password.
    pub from: String,
    pub passfile: PathBuf,
    /// Why the file was left alone.
    pub ignored: Option<String>,
}

/// Looks a password up. `variable` reads the environment.
pub fn find(host: &str, port: u16, database: &str, user: &str, variable: &dyn Fn(&str) -> Option<String>) -> Lookup {
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let passfile = variable("PGPASSFILE").map_or_else(|| home.join(".pgpass"), PathBuf::from);
    let mut lookup = Lookup { password: None, from: String::new(), passfile: passfile.clone(), ignored: None };
    if let Some(password) = variable("PGPASSWORD").filter(|p| !p.is_empty()) {
        (lookup.password, lookup.from) = (Some(password), "PGPASSWORD".into());
        return lookup;
    }
    match read(&passfile) {
        Ok(Some(text)) => {
            lookup.password = text.lines().find_map(|line| matching(line, [host, &port.to_string(), database, user]));
            lookup.from = passfile.display().to_string();
        }
        Ok(None) => {}
        Err(why) => lookup.ignored = Some(why),
    }
    lookup
}

fn read(file: &Path) -> Result<Option<String>, String> {
    let Ok(metadata) = std::fs::metadata(file) else { return Ok(None) };
    if !metadata.is_file() {
        return Err("ignored: it is no regular file".into());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err("ignored: others can read it; chmod 600 it".into());
    }
    std::fs::read_to_string(file).map(Some).map_err(|cause| format!("ignored: {cause}"))
}

/// The password of a line whose four fields match; `*` matches all, `\` escapes.
fn matching(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for value in wanted {
        let (raw, field, after) = field(rest, true)?;
        if raw != "*" && field != value {
            return None;
        }
        rest = after;
    }
    field(rest, false).map(|(_, password, _)| password)
}

/// The first field of a line as written and unescaped, and what follows its `:` (which the last one need not have).
fn field(text: &str, colon: bool) -> Option<(&str, String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().map_or('\\', |(_, c)| c)),
            ':' => return Some((&text[..at], value, &text[at + 1..])),
            _ => value.push(c),
        }
    }
    (!colon).then_some((text, value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(file: &Path, password: Option<&str>) -> Lookup {
        let variable = |name: &str| match name {
            "PGPASSFILE" => Some(file.display().to_string()),
            "PGPASSWORD" => password.map(String::from),
            _ => None,
        };
        find("db", 5432, "app", "me", &variable)
    }

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_first_matching_line_gives_the_password() {
        let file = file("# db:5432:app:me:no\nother:*:*:*:a\ndb:5432:*:me:p\\:w\\\\x\n*:*:*:*:z\n", 0o600);
        assert_eq!(look(file.path(), None).password.as_deref(), Some("p:w\\x"));
        assert_eq!(look(file.path(), Some("env")).password.as_deref(), Some("env"));
        assert_eq!(look(file.path(), Some("env")).from, "PGPASSWORD");
    }

    #[test]
    fn a_file_that_others_can_read_is_left_alone_and_said() {
        let file = file("*:*:*:*:z\n", 0o640);
        let lookup = look(file.path(), None);
        assert_eq!(lookup.password, None);
        assert_eq!(lookup.ignored.as_deref(), Some("ignored: others can read it; chmod 600 it"));
    }

    #[test]
    fn no_file_and_no_match_are_no_password() {
        assert_eq!(look(Path::new("/nonexistent"), None).password, None);
        assert_eq!(look(file("db:5433:app:me:p\nbroken\n", 0o600).path(), None).password, None);
    }
}
