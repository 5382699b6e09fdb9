//! Finding, reading and inheriting presets. Invariant: sections are inherited whole by their keys: a list of the
//! child's replaces or extends the parent's by name, never element by element. What a name in a file stands for is
//! decided by that file and its parents alone: a child that redefines a quantity leaves the parent's nodes as they are.

use super::Preset;
use crate::connection::without_secrets;
use std::path::{Path, PathBuf};

/// The presets compiled in, by name.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("materialize", include_str!("../../presets/materialize.toml")),
    ("testbed", include_str!("../../presets/testbed.toml")),
    ("postgres", include_str!("../../presets/postgres.toml")),
    ("cockroach", include_str!("../../presets/cockroach.toml")),
    ("generic", include_str!("../../presets/generic.toml")),
];

/// The files of wait events' names compiled in: a name that presets refer to, the server's major version, the text.
pub(super) const WAIT_EVENT_NAMES: [(&str, u32, &str); 5] = [
    ("postgres", 14, include_str!("../../presets/wait-events/postgres-14.toml")),
    ("postgres", 15, include_str!("../../presets/wait-events/postgres-15.toml")),
    ("postgres", 16, include_str!("../../presets/wait-events/postgres-16.toml")),
    ("postgres", 17, include_str!("../../presets/wait-events/postgres-17.toml")),
    ("postgres", 18, include_str!("../../presets/wait-events/postgres-18.toml")),
];

/// Why there is no preset.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// No preset is compiled in under this name.
    #[error("there is no preset `{name}`; there are {known}, or give the path of a file that ends in .toml")]
    Unknown {
        /// The name that was asked for, or that `inherits` gives.
        name: String,
        /// The names of the compiled-in presets, separated by commas.
        known: String,
    },
    /// The file of a preset could not be read.
    #[error("cannot read the preset {path}: {why}", path = path.display())]
    Unreadable {
        /// The file's path as the user gave it.
        path: PathBuf,
        /// What the operating system answered.
        why: std::io::Error,
    },
    /// The text is no valid preset.
    #[error("preset {name}: {why}")]
    Invalid {
        /// The preset that was read: one of its parents, or itself.
        name: String,
        /// What is wrong, with the line where it is known.
        why: String,
    },
}

impl Preset {
    /// The preset of this name, or of the file at this path (which must end in `.toml` or hold a `/`).
    pub fn load(name_or_path: &str) -> Result<Preset, PresetError> {
        if !name_or_path.ends_with(".toml") && !name_or_path.contains('/') {
            return Preset::built_in(name_or_path);
        }
        let path = Path::new(name_or_path);
        let unreadable = |why| PresetError::Unreadable { path: path.to_path_buf(), why };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let name = path.file_stem().map_or_else(|| name_or_path.to_string(), |s| s.to_string_lossy().into_owned());
        Ok(Preset { text: Some(text.clone()), ..Preset::parse(&name, &text)? })
    }

    /// A compiled-in preset.
    pub fn built_in(name: &str) -> Result<Preset, PresetError> {
        Preset::parse(name, text_of(name)?)
    }

    /// Reads a preset's text and those it inherits from.
    pub fn parse(name: &str, text: &str) -> Result<Preset, PresetError> {
        let mut files = vec![(text, read(name, text)?)];
        // Ends: parents are compiled in, and a test loads each of those.
        while let Some(parent) = &files[files.len() - 1].1.inherits {
            let (name, text) = (parent.clone(), text_of(parent)?);
            files.push((text, read(&name, text)?));
        }
        let mut preset = Preset::default();
        for (text, file) in files.into_iter().rev() {
            let name = file.name.clone();
            let invalid = |why| PresetError::Invalid { name, why };
            preset = file.over(preset).resolved(text).map_err(invalid)?;
        }
        let invalid = |why| PresetError::Invalid { name: name.to_string(), why };
        preset.check_times().map_err(invalid)?;
        Ok(preset)
    }

    /// The nodes and checks of the file that was read last, on top of the inherited ones. `text`: that file's.
    fn resolved(mut self, text: &str) -> Result<Preset, String> {
        let written = std::mem::take(&mut self.written);
        let own = written.into_iter().map(|node| node.resolve(&self.quantity, text)).collect::<Result<_, _>>()?;
        self.node = by_key(own, self.node, |node| node.name.clone());
        let own = std::mem::take(&mut self.written_checks).resolve(&self.quantity, text)?;
        self.checks = super::Checks {
            focus: own.focus.or(self.checks.focus),
            churn: by_key(own.churn, self.checks.churn, |churn| churn.name.clone()),
        };
        Ok(self)
    }

    /// The quantities that a diagnosis takes for times are times.
    fn check_times(&self) -> Result<(), String> {
        let behind =
            self.diagnosis.behind.iter().flat_map(|behind| behind.call.iter().chain(&behind.wait).chain(&behind.pool));
        let workers = self.diagnosis.workers.iter().map(|workers| &workers.busy);
        for name in behind.chain(workers) {
            let named = self.quantity.iter().find(|quantity| quantity.name == *name);
            if let Some(quantity) = named.filter(|quantity| quantity.unit.time().is_none()) {
                return Err(format!(
                    "quantity `{name}`: [diagnosis] needs a time, and its unit is `{}`; give it as s, ms, us or ns",
                    quantity.unit
                ));
            }
        }
        Ok(())
    }

    /// What this preset leaves out is taken from `parent`.
    fn over(self, parent: Preset) -> Preset {
        let looked_at = self.diagnosis;
        let description = if self.description.is_empty() { parent.description } else { self.description };
        Preset {
            name: self.name,
            description,
            inherits: self.inherits,
            text: self.text,
            recognised: self.recognised,
            connect: super::Connect {
                url: self.connect.url.or(parent.connect.url),
                internal: self.connect.internal.or(parent.connect.internal),
                metrics: self.connect.metrics.or(parent.connect.metrics),
            },
            process: super::Process {
                names: or(self.process.names, parent.process.names),
                children: self.process.children.or(parent.process.children),
                companions: or(self.process.companions, parent.process.companions),
            },
            workload: super::Workload {
                query: self.workload.query.or(parent.workload.query),
                query_count: self.workload.query_count.or(parent.workload.query_count),
            },
            setup: or(self.setup, parent.setup),
            statements: super::Statements {
                reader: self.statements.reader.or(parent.statements.reader),
                behind: self.statements.behind.or(parent.statements.behind),
                watched: or(self.statements.watched, parent.statements.watched),
            },
            focus: by_key(self.focus, parent.focus, |f| f.name.clone()),
            runtime: [parent.runtime, self.runtime].concat(),
            metric: by_key(self.metric, parent.metric, |m| m.selector.to_string()),
            quantity: by_key(self.quantity, parent.quantity, |q| q.name.clone()),
            node: parent.node,
            written: self.written,
            residual: parent.residual.into_iter().chain(self.residual).collect(),
            checks: parent.checks,
            written_checks: self.written_checks,
            freshness: self.freshness.or(parent.freshness),
            rung: or(self.rung, parent.rung),

            diagnosis: super::Diagnosis {
                behind: looked_at.behind.or(parent.diagnosis.behind),
                workers: looked_at.workers.or(parent.diagnosis.workers),
                allocator: looked_at.allocator.or(parent.diagnosis.allocator),
                helpers: [parent.diagnosis.helpers, looked_at.helpers].concat(),
                transport: or(looked_at.transport, parent.diagnosis.transport),
                polling: or(looked_at.polling, parent.diagnosis.polling),
                locks: or(looked_at.locks, parent.diagnosis.locks),
                waiting: [parent.diagnosis.waiting, looked_at.waiting].concat(),
                polls: or(looked_at.polls, parent.diagnosis.polls),
            },
            ender: or(self.ender, parent.ender),
            wait: own_first(self.wait, parent.wait),
            wait_events: self.wait_events.or(parent.wait_events),
            locks: self.locks.or(parent.locks),
            rule: by_key(self.rule, parent.rule, |r| format!("{:?}", r.cause)),
        }
    }
}

fn text_of(name: &str) -> Result<&'static str, PresetError> {
    let unknown = || {
        let known = BUILT_IN.map(|(name, _)| name).join(", ");
        PresetError::Unknown { name: name.to_string(), known }
    };
    BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, text)| *text).ok_or_else(unknown)
}

/// One file; toml's own message shows the line and marks the place.
fn read(name: &str, text: &str) -> Result<Preset, PresetError> {
    // It quotes the line.
    let invalid =
        |e: toml::de::Error| PresetError::Invalid { name: name.to_string(), why: without_secrets(&e.to_string()) };
    let mut preset: Preset = toml::from_str(text).map_err(invalid)?;
    preset.name = name.to_string();
    Ok(preset)
}

fn or<T>(own: Vec<T>, parent: Vec<T>) -> Vec<T> {
    if own.is_empty() { parent } else { own }
}

/// The own kinds of waits, then the parent's but for those of the same name.
fn own_first(own: Vec<super::Wait>, mut parent: Vec<super::Wait>) -> Vec<super::Wait> {
    parent.retain(|wait| own.iter().all(|own| own.name != wait.name));
    own.into_iter().chain(parent).collect()
}

/// The parent's entries in their order, those of the same key replaced, then the new ones.
fn by_key<T>(own: Vec<T>, parent: Vec<T>, key: impl Fn(&T) -> String) -> Vec<T> {
    let mut merged = parent;
    for entry in own {
        match merged.iter().position(|p| key(p) == key(&entry)) {
            Some(at) => merged[at] = entry,
            None => merged.push(entry),
        }
    }
    merged
}
