//! Which kind of server it is, by what it says of itself. Invariant: what a server says names a preset only where
//! every other witness that there is (the name of its process) agrees; nothing here asks anybody.

use super::{BUILT_IN, Pattern, Preset, PresetError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How a kind of server is recognised. Not inherited: a child is another kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recognised {
    /// `select version()` answers something that matches one of these...
    pub version: Vec<Pattern>,
    /// ... and none of these, which are of servers that give themselves out as this one.
    pub other: Vec<Pattern>,
    /// Or it tells a session this parameter with a value that matches (ParameterStatus of the protocol).
    pub parameters: BTreeMap<String, Pattern>,
}

/// What a server tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The answer to `select version()`; `None`: it has none.
    pub version: Option<String>,
    /// Parameters that it told the session, of those in [`told_parameters`].
    pub parameters: BTreeMap<String, String>,
}

/// The process that listens, as the second witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Process id.
    pub pid: u32,
    /// Name of the process, and the file name of its executable where that can be read.
    pub names: Vec<String>,
}

/// Characters of what a server says that a sentence shows.
const SHOWN: usize = 60;

/// Parameters of the session that presets recognise a server by.
///
/// # Errors
/// A preset that is compiled in and cannot be read.
pub fn told_parameters() -> Result<Vec<String>, PresetError> {
    let mut names = vec!["server_version".to_string()];
    for (name, _) in BUILT_IN {
        names.extend(Preset::built_in(name)?.recognised.parameters.into_keys());
    }
    Ok(names)
}

/// The preset of the server that said this, and why it is that one, as the end of a sentence.
///
/// # Errors
/// A preset that is compiled in and cannot be read.
pub fn recognise(greeting: &Greeting, process: Option<&Witness>) -> Result<(Preset, String), PresetError> {
    let mut claimed = Vec::new();
    for (name, _) in BUILT_IN {
        let preset = Preset::built_in(name)?;
        claimed.extend(preset.recognised.claims(greeting).map(|said| (preset, said)));
    }
    let generic = |why: String| Ok((Preset::built_in("generic")?, why));
    let Some((first, said)) = claimed.first() else {
        return generic(match greeting.said() {
            Some(said) => format!("no preset is of a server that says {said}"),
            None => "the server does not say what it is".into(),
        });
    };
    let Some(process) = process else {
        return match claimed.len() {
            1 => Ok((first.clone(), format!("the server says {said}"))),
            _ => generic(format!("the server says {said}, which several presets are of")),
        };
    };
    let fits = |preset: &Preset| preset.process.names.iter().any(|name| process.names.contains(name));
    match claimed.iter().find(|(preset, _)| fits(preset)) {
        Some((preset, said)) => Ok((
            preset.clone(),
            format!("the server says {said}, and process {} is called {}", process.pid, process.shown()),
        )),
        None => generic(format!(
            "the server says {said}, but process {} that listens is called {} and not {}, as preset {} expects: a \
             proxy before the server, or another server; --preset {} says that it is one all the same",
            process.pid,
            process.shown(),
            first.process.names.join(" or "),
            first.name,
            first.name
        )),
    }
}

/// The preset of a process that nobody may ask, by its name alone.
///
/// # Errors
/// A preset that is compiled in and cannot be read.
pub fn recognise_process(process: &Witness) -> Result<(Preset, String), PresetError> {
    let called = format!("process {} that listens is called {}", process.pid, process.shown());
    for (name, _) in BUILT_IN {
        let preset = Preset::built_in(name)?;
        if preset.process.names.iter().any(|name| process.names.contains(name)) {
            return Ok((preset, called));
        }
    }
    Ok((Preset::built_in("generic")?, format!("{called}, which no preset knows")))
}

impl Witness {
    fn shown(&self) -> &str {
        self.names.first().map_or("?", String::as_str)
    }
}

impl Greeting {
    /// What it says, shortened.
    fn said(&self) -> Option<String> {
        let parameter = || self.parameters.get("server_version");
        self.version.as_ref().or_else(parameter).map(|text| shortened(text))
    }
}

impl Recognised {
    /// What of the greeting is this kind of server's.
    fn claims(&self, greeting: &Greeting) -> Option<String> {
        let told = self.parameters.iter().find_map(|(name, pattern)| {
            let value = greeting.parameters.get(name)?;
            pattern.0.is_match(value).then(|| format!("{name} = {}", shortened(value)))
        });
        let version = greeting.version.as_ref().filter(|version| {
            let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.0.is_match(version));
            any(&self.version) && !any(&self.other)
        });
        version.map(|version| shortened(version)).or(told)
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.chars().count() > SHOWN {
        true => format!("{}…", line.chars().take(SHOWN).collect::<String>().trim_end()),
        false => line.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: &str = "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc";

    fn chosen(version: &str, parameters: &[(&str, &str)], process: Option<&str>) -> (String, String) {
        let parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let version = Some(version.to_string()).filter(|version| !version.is_empty());
        let witness = process.map(|name| Witness { pid: 7, names: vec![name.into()] });
        let (preset, why) = recognise(&Greeting { version, parameters }, witness.as_ref()).unwrap();
        (preset.name, why)
    }

    #[test]
    fn a_server_whose_witnesses_agree_has_its_preset_and_the_reason_is_what_it_said() {
        let (preset, why) = chosen(POSTGRES, &[("server_version", "15.18")], Some("postgres"));
        assert_eq!((preset.as_str(), why.contains("PostgreSQL 15.18 (Debian")), ("postgres", true), "{why}");
        assert!(why.contains("process 7 is called postgres"), "{why}");
        for (version, parameters, process, preset) in [
            ("PostgreSQL 17beta1 on aarch64-unknown-linux-gnu", &[][..], Some("postgres"), "postgres"),
            (
                "PostgreSQL 9.5 on x86_64-unknown-linux-gnu (Materialize v0.130.1)",
                &[],
                Some("environmentd"),
                "materialize",
            ),
            ("", &[("mz_version", "v26.13.0-dev (abc)")], Some("environmentd"), "materialize"),
            ("CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu)", &[], Some("cockroach"), "cockroach"),
            ("", &[("crdb_version", "CockroachDB CCL v25.2.1")], None, "cockroach"),
            ("wireprof-testbed 0.2.0", &[], Some("wireprof-testbe"), "testbed"),
            (POSTGRES, &[], None, "postgres"),
        ] {
            assert_eq!(chosen(version, parameters, process).0, preset, "{version}");
        }
    }

    #[test]
    fn a_proxy_before_the_server_and_a_server_that_gives_itself_out_as_another_are_generic_and_it_is_said() {
        let (preset, why) = chosen(POSTGRES, &[], Some("pgbouncer"));
        assert_eq!(preset, "generic");
        assert!(why.contains("called pgbouncer and not postgres") && why.contains("--preset postgres"), "{why}");
        for (version, process) in [
            ("PostgreSQL 13.14.0-RisingWave-1.8.0 (abc)", "risingwave"),
            ("PostgreSQL 11.2-YB-2.15.0.0-b0 on x86_64-pc-linux-gnu", "postgres"),
            ("PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB", "java"),
            ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.1", "postgres"),
            ("PostgreSQL 9.5 on x86_64-unknown-linux-gnu (Materialize v0.130.1)", "postgres"),
            ("DuckDB", "duck"),
            ("", "x"),
        ] {
            assert_eq!(chosen(version, &[], Some(process)).0, "generic", "{version}");
        }
    }

    #[test]
    fn a_process_that_is_not_asked_is_known_by_its_name_alone() {
        let named = |name: &str| recognise_process(&Witness { pid: 7, names: vec![name.into()] }).unwrap();
        assert_eq!(named("postgres").0.name, "postgres");
        let (preset, why) = named("pgcat");
        assert_eq!((preset.name.as_str(), why.contains("no preset knows")), ("generic", true));
    }
}
