//! What is asked of TLS. Invariant: it is never less than libpq asks for with the same settings; a file that is named
//! and not there is an error, where libpq does without it.

use super::SettingError;
use super::settings::Settings;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// When TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Only if the server refuses a session without.
    Allow,
    /// If the server offers it; without, if it does not, or if a session with it fails.
    Prefer,
    /// Always: a server without it is refused.
    Require,
}

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The certificate is not looked at.
    Nothing,
    /// Signed by a known authority.
    Authority,
    /// And made out to the host.
    AuthorityAndName,
}

/// Authorities that are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// A PEM file of certificates.
    File(PathBuf),
    /// `sslrootcert=system`: the public ones, of Mozilla's list.
    Public,
}

/// What the client shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file of the client's certificate (`sslcert`).
    pub certificate: PathBuf,
    /// PEM file of its private key (`sslkey`), which others must not be able to read.
    pub key: PathBuf,
}

/// All settings of TLS for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// When TLS is used.
    pub mode: TlsMode,
    /// What is asked of the server's certificate.
    pub verify: Verify,
    /// There where `verify` asks for them.
    pub roots: Option<Roots>,
    /// Revoked certificates.
    pub revoked: Option<PathBuf>,
    /// What the client shows of itself; `None`: nothing.
    pub client: Option<ClientCertificate>,
    /// TLS 1.2 and 1.3.
    pub versions: [bool; 2],
    /// Tell the server the host's name.
    pub names_host: bool,
}

impl Encryption {
    /// Reads the settings; files are looked for only where a server `over_tcp` may be asked for TLS.
    ///
    /// # Errors
    /// A mode or version that is not supported, a file that is named and not there, verification without
    /// authorities, or a key that others can read.
    pub fn of(settings: &Settings, over_tcp: bool) -> Result<Self, SettingError> {
        let (mode, wanted) = mode(settings)?;
        let mut encryption = Encryption {
            mode: if over_tcp { mode } else { TlsMode::Disable },
            verify: Verify::Nothing,
            roots: None,
            revoked: None,
            client: None,
            versions: versions(settings)?,
            names_host: settings.get("sslsni") != Some("0"),
        };
        if encryption.mode == TlsMode::Disable {
            return Ok(encryption);
        }
        encryption.roots = roots(settings)?;
        if wanted != Verify::Nothing && encryption.roots.is_none() {
            let remedy =
                "there is no file of authorities: give one as sslrootcert, or sslrootcert=system for the public ones";
            return Err(settings.unsupported("sslmode", remedy));
        }
        if wanted == Verify::AuthorityAndName && settings.get("host").is_none() {
            return Err(
                settings.unsupported("sslmode", "it needs the host's name, as its certificate has it: give host")
            );
        }
        // A file of authorities that is there is used in every mode (libpq, "Client Verification of Server
        // Certificates").
        let at_least = if encryption.roots.is_some() { Verify::Authority } else { Verify::Nothing };
        encryption.verify = if wanted == Verify::Nothing { at_least } else { wanted };
        encryption.revoked = file(settings, "sslcrl", "root.crl")?.filter(|_| encryption.verify != Verify::Nothing);
        encryption.client = client(settings)?;
        Ok(encryption)
    }
}

/// `sslmode`, exactly as libpq spells its values.
fn mode(settings: &Settings) -> Result<(TlsMode, Verify), SettingError> {
    let system = settings.get("sslrootcert") == Some("system");
    let stated = settings.stated("sslmode").unwrap_or(if system { "verify-full" } else { "prefer" });
    if system && stated != "verify-full" {
        return Err(settings.unsupported("sslmode", "sslrootcert=system asks for sslmode=verify-full"));
    }
    Ok(match stated {
        "disable" => (TlsMode::Disable, Verify::Nothing),
        "allow" => (TlsMode::Allow, Verify::Nothing),
        "prefer" => (TlsMode::Prefer, Verify::Nothing),
        "require" => (TlsMode::Require, Verify::Nothing),
        "verify-ca" => (TlsMode::Require, Verify::Authority),
        "verify-full" => (TlsMode::Require, Verify::AuthorityAndName),
        _ => {
            let remedy = "write disable, allow, prefer, require, verify-ca or verify-full";
            return Err(settings.unsupported("sslmode", remedy));
        }
    })
}

fn roots(settings: &Settings) -> Result<Option<Roots>, SettingError> {
    if settings.get("sslrootcert") == Some("system") {
        return Ok(Some(Roots::Public));
    }
    Ok(file(settings, "sslrootcert", "root.crt")?.map(Roots::File))
}

/// The file that a setting names, which must be there, else the one of this name in `~/.postgresql`, if it is there.
fn file(settings: &Settings, setting: &str, name: &str) -> Result<Option<PathBuf>, SettingError> {
    if let Some(path) = settings.get(setting).map(PathBuf::from) {
        let found = std::fs::metadata(&path);
        let wrong =
            |cause| settings.wrong(setting, format!("is {}: {cause}; give the path of a PEM file", path.display()));
        found.map_err(wrong)?;
        return Ok(Some(path));
    }
    let home = (settings.variable)("HOME").filter(|home| !home.is_empty());
    Ok(home.map(|home| Path::new(&home).join(".postgresql").join(name)).filter(|path| path.exists()))
}

fn client(settings: &Settings) -> Result<Option<ClientCertificate>, SettingError> {
    if settings.get("sslcertmode") == Some("disable") {
        return Ok(None);
    }
    let Some(certificate) = file(settings, "sslcert", "postgresql.crt")? else { return Ok(None) };
    let Some(key) = file(settings, "sslkey", "postgresql.key")? else {
        let cause = format!("is missing, and there is a certificate, {}; give its key", certificate.display());
        return Err(settings.wrong("sslkey", cause));
    };
    let metadata =
        std::fs::metadata(&key).map_err(|cause| settings.wrong("sslkey", format!("{}: {cause}", key.display())))?;
    // As libpq: root's keys may be read by a group.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if !metadata.is_file() || metadata.permissions().mode() & forbidden != 0 {
        let cause = format!("is {}, which others can read, or is no regular file; chmod 600 it", key.display());
        return Err(settings.wrong("sslkey", cause));
    }
    Ok(Some(ClientCertificate { certificate, key }))
}

/// Whether TLS 1.2 and 1.3 are permitted. As libpq, 1.2 is the least where nothing is said.
fn versions(settings: &Settings) -> Result<[bool; 2], SettingError> {
    let bound = |name: &str, default: usize| {
        let Some(value) = settings.get(name) else { return Ok(default) };
        let known = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
        known
            .iter()
            .position(|version| version.eq_ignore_ascii_case(value))
            .ok_or_else(|| settings.unsupported(name, "write TLSv1.2 or TLSv1.3"))
    };
    let (least, most) = (bound("ssl_min_protocol_version", 2)?, bound("ssl_max_protocol_version", 3)?);
    let versions = [2, 3].map(|version| (least..=most).contains(&version));
    if versions == [false; 2] {
        return Err(settings
            .unsupported("ssl_max_protocol_version", "TLSv1.2 and TLSv1.3 are spoken, within these bounds none"));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mode: Option<&str>) -> Result<Encryption, String> {
        let variable = |name: &str| (name == "PGSSLMODE").then(|| mode.map(String::from)).flatten();
        let settings = Settings::gather(text, &variable).map_err(|error| error.to_string())?;
        Encryption::of(&settings, true).map_err(|error| error.to_string())
    }

    #[test]
    fn no_spelling_or_place_weakens_the_mode() {
        let asked = [
            "host=h sslmode = require",
            "sslmode='require'host=h",
            "host=h sslmode=re\\quire",
            "postgres://h?sslmode=require",
            "postgres://h?%73slmode=re%71uire",
            "postgres://h?ssl=true",
            "postgres://h?sslmode=require&application_name=x&sslmode=require",
            "postgres:///?host=h&sslmode=require",
        ];
        for text in asked {
            assert_eq!(read(text, None).unwrap().mode, TlsMode::Require, "{text}");
        }
        assert_eq!(read("postgres://h", Some("require")).unwrap().mode, TlsMode::Require);
        assert_eq!(read("postgres://h?sslmode=disable", Some("require")).unwrap().mode, TlsMode::Disable);
        assert_eq!(read("postgres://h", None).unwrap().mode, TlsMode::Prefer);
        for text in ["sslmode=Require", "sslmode=REQUIRE", "sslmode=''", "sslmode=require1", "sslmode=verify_full"] {
            let told = read(&format!("host=h {text}"), None).unwrap_err();
            assert!(told.starts_with("sslmode=") && told.contains("is not supported; write disable"), "{told}");
        }
        let told = read("host=h", Some("on")).unwrap_err();
        assert!(told.starts_with("sslmode=on (of PGSSLMODE) is not supported"), "{told}");
        for text in ["postgres://h?ssl=1", "host=h ssl=true", "postgres://h?ssl=false", "host=h requiressl=1"] {
            assert!(read(text, None).unwrap_err().contains("is no setting of libpq"), "{text}");
        }
    }

    #[test]
    fn authorities_that_are_there_are_asked_in_every_mode_and_must_be_there_where_they_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        for (mode, verify) in [
            ("prefer", Verify::Authority),
            ("require", Verify::Authority),
            ("verify-ca", Verify::Authority),
            ("verify-full", Verify::AuthorityAndName),
        ] {
            let read = read(&format!("host=h sslmode={mode} sslrootcert={path}"), None).unwrap();
            assert_eq!((read.verify, read.roots), (verify, Some(Roots::File(file.path().into()))), "{mode}");
        }
        for mode in ["verify-ca", "verify-full"] {
            assert!(read(&format!("host=h sslmode={mode}"), None).unwrap_err().contains("sslrootcert"));
        }
        for setting in ["sslrootcert", "sslcert", "sslcrl"] {
            let told = read(&format!("host=h {setting}=/nonexistent sslmode=require"), None);
            // A list of revoked certificates is of no use without an authority, but it was asked for.
            assert!(told.unwrap_err().starts_with(&format!("{setting} is /nonexistent: ")), "{setting}");
        }
        let system = read("host=h sslrootcert=system", None).unwrap();
        assert_eq!(
            (system.mode, system.verify, system.roots),
            (TlsMode::Require, Verify::AuthorityAndName, Some(Roots::Public))
        );
        assert!(read("host=h sslrootcert=system sslmode=require", None).unwrap_err().starts_with("sslmode=require"));
        assert!(
            read(&format!("hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={path}"), None)
                .unwrap_err()
                .contains("give host")
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_and_versions_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["crt", "key"] {
            std::fs::write(path(name), "").unwrap();
        }
        let text = format!("host=h sslcert={} sslkey={}", path("crt").display(), path("key").display());
        std::fs::set_permissions(path("key"), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read(&text, None).unwrap_err().contains("chmod 600 it"));
        std::fs::set_permissions(path("key"), PermissionsExt::from_mode(0o600)).unwrap();
        let certificate = ClientCertificate { certificate: path("crt"), key: path("key") };
        assert_eq!(read(&text, None).unwrap().client, Some(certificate));
        assert_eq!(read("host=h ssl_min_protocol_version=tlsv1.3", None).unwrap().versions, [false, true]);
        assert_eq!(read("host=h ssl_max_protocol_version=TLSv1.2", None).unwrap().versions, [true, false]);
        for text in ["ssl_max_protocol_version=TLSv1.1", "ssl_min_protocol_version=1.3"] {
            assert!(read(&format!("host=h {text}"), None).unwrap_err().starts_with("ssl_m"), "{text}");
        }
    }
}
