//! The connection service file (PostgreSQL documentation, "The Connection Service File"). Invariant: a service that
//! is named is found, or the error names the files that were looked into; a file that is there and cannot be read is
//! not passed over, and one in another encoding is read, since libpq reads bytes.

use super::SettingError;
use super::keywords::{self, Keyword};
use super::settings::Variable;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where packages of PostgreSQL keep the machine's file: the compiled-in default upstream, and that of Debian.
const SYSTEM: [&str; 2] = ["/usr/local/pgsql/etc", "/etc/postgresql-common"];

/// The settings of a service. A file that is named must be there; the default ones need not.
///
/// # Errors
/// A file that is named and cannot be read, a damaged line, or a service that no file has.
pub fn read(
    service: &str,
    file: Option<&str>,
    variable: Variable,
) -> Result<Vec<(&'static Keyword, String)>, SettingError> {
    let named = file.map(PathBuf::from).or_else(|| variable("PGSERVICEFILE").map(PathBuf::from));
    let own = named.clone().or_else(|| Some(PathBuf::from(variable("HOME")?).join(".pg_service.conf")));
    let directories = variable("PGSYSCONFDIR").map_or(SYSTEM.map(String::from).to_vec(), |directory| vec![directory]);
    let system = directories.into_iter().map(|directory| PathBuf::from(directory).join("pg_service.conf"));
    let files: Vec<PathBuf> = own.into_iter().chain(system).collect();
    for file in &files {
        let is_named = named.as_ref() == Some(file);
        let text = match std::fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(cause) if is_absent(&cause) && !is_named => continue,
            Err(cause) => {
                let remedy = match is_named {
                    true => "correct PGSERVICEFILE",
                    false => "let this user read it, or name another file by PGSERVICEFILE",
                };
                return Err(SettingError(format!("service file {}: {cause}; {remedy}", file.display())));
            }
        };
        if let Some(settings) = group(&text, service, file)? {
            return Ok(settings);
        }
    }
    let files = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ");
    Err(SettingError(format!("service {service:?} (service or PGSERVICE) is not in {files}; define it there")))
}

/// There is no such file, or no such directory.
fn is_absent(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The settings of one group of a file; the first of a name counts.
fn group(text: &str, service: &str, file: &Path) -> Result<Option<Vec<(&'static Keyword, String)>>, SettingError> {
    let mut found: Option<Vec<(&'static Keyword, String)>> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |cause: &str| SettingError(format!("{} line {}: {cause}", file.display(), at + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                return Ok(found);
            }
            found = name.strip_prefix(service).filter(|rest| rest.starts_with(']')).map(|_| Vec::new());
            continue;
        }
        let Some(settings) = &mut found else { continue };
        if line.starts_with("ldap") {
            return Err(wrong("LDAP is not supported; write the settings into the file"));
        }
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("no `=`; write name=value"))?;
        let keyword = keywords::find(name).ok_or_else(|| wrong("no setting of libpq has this name; correct it"))?;
        if ["service", "servicefile"].contains(&name) {
            return Err(wrong("a service cannot name another; write its settings here"));
        }
        if settings.iter().all(|(known, _)| known.name != name) {
            settings.push((keyword, value.into()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(service: &str, text: &str) -> Result<Vec<(&'static str, String)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().display().to_string();
        let none = |name: &str| (name == "PGSYSCONFDIR").then(|| "/nonexistent".to_string());
        let read = read(service, Some(&path), &none).map_err(|error| error.to_string())?;
        Ok(read.into_iter().map(|(keyword, value)| (keyword.name, value)).collect())
    }

    #[test]
    fn a_group_is_read_as_libpq_reads_it() {
        let text = "[ab]\nhost=no\n# x\n [a]\n host=h\nhost=second\npassword=p = q\n[a]\nport=1\n";
        assert_eq!(look("a", text).unwrap(), [("host", "h".into()), ("password", "p = q".to_string())]);
    }

    #[test]
    fn a_service_that_is_missing_or_damaged_is_said() {
        assert!(look("b", "[a]\n").unwrap_err().contains("service \"b\" (service or PGSERVICE) is not in "));
        for (text, named) in
            [("[a]\nhost\n", "line 2: no `=`"), ("[a]\nS3CR=1", "line 2: no setting"), ("[a]\nservice=b", "another")]
        {
            let told = look("a", text).unwrap_err();
            assert!(told.contains(named) && !told.contains("S3CR"), "{told}");
        }
        let told = read("a", Some("/nonexistent"), &|_| None).unwrap_err().to_string();
        assert!(told.starts_with("service file /nonexistent: "), "{told}");
    }

    #[test]
    fn a_file_in_another_encoding_is_read_and_one_that_cannot_be_is_told() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pg_service.conf");
        let own = |name: &str| match name {
            "HOME" => Some(home.path().display().to_string()),
            "PGSYSCONFDIR" => Some("/nonexistent".to_string()),
            _ => None,
        };
        let look = || read("a", None, &own).map_err(|error| error.to_string());
        assert!(look().unwrap_err().contains("service \"a\" (service or PGSERVICE) is not in "));
        std::fs::write(&file, b"# R\xe9seau\n[a]\nhost=h\n").unwrap();
        assert_eq!(look().unwrap().into_iter().map(|(_, value)| value).collect::<Vec<_>>(), ["h"]);
        std::fs::remove_file(&file).unwrap();
        // Nobody can read a directory, root included.
        std::fs::create_dir(&file).unwrap();
        let told = look().unwrap_err();
        assert!(told.starts_with(&format!("service file {}: ", file.display())), "{told}");
        assert!(told.ends_with("; let this user read it, or name another file by PGSERVICEFILE"), "{told}");
    }
}
