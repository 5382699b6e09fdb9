//! Finding, reading and inheriting presets. Invariant: sections are inherited whole by their keys: a list of the
//! child's replaces or extends the parent's by name, never element by element.

use super::Preset;
use std::path::{Path, PathBuf};

/// The presets compiled in, by name.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("materialize", include_str!("../../presets/materialize.toml")),
    ("testbed", include_str!("../../presets/testbed.toml")),
    ("postgres", include_str!("../../presets/postgres.toml")),
    ("cockroach", include_str!("../../presets/cockroach.toml")),
    ("generic", include_str!("../../presets/generic.toml")),
];

/// Why there is no preset.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    #[error("there is no preset `{name}`; there are {known}, or give the path of a file that ends in .toml")]
    Unknown { name: String, known: String },
    #[error("cannot read the preset {path}: {why}", path = path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("preset {name}: {why}")]
    Invalid { name: String, why: String },
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
        Preset::parse(&name, &text)
    }

    /// A compiled-in preset.
    pub fn built_in(name: &str) -> Result<Preset, PresetError> {
        Preset::parse(name, text_of(name)?)
    }

    /// Reads a preset's text and those it inherits from.
    pub fn parse(name: &str, text: &str) -> Result<Preset, PresetError> {
        let mut preset = read(name, text)?;
        let mut next = preset.inherits.clone();
        // Ends: parents are compiled in, and a test loads each of those.
        while let Some(parent) = next {
            let parent = read(&parent, text_of(&parent)?)?;
            next = parent.inherits.clone();
            preset = preset.over(parent);
        }
        Ok(preset)
    }

    /// What this preset leaves out is taken from `parent`.
    fn over(self, parent: Preset) -> Preset {
        let (own, looked_at) = (self.guards, self.diagnosis);
        let description = if self.description.is_empty() { parent.description } else { self.description };
        Preset {
            name: self.name,
            description,
            inherits: self.inherits,
            connect: super::Connect {
                url: self.connect.url.or(parent.connect.url),
                internal: self.connect.internal.or(parent.connect.internal),
                metrics: self.connect.metrics.or(parent.connect.metrics),
            },
            process: super::Process {
                names: or(self.process.names, parent.process.names),
                children: self.process.children.or(parent.process.children),
                others: or(self.process.others, parent.process.others),
            },
            workload: super::Workload {
                query: self.workload.query.or(parent.workload.query),
                divisor: self.workload.divisor.or(parent.workload.divisor),
            },
            setup: or(self.setup, parent.setup),
            statements: super::Statements {
                reader: self.statements.reader.or(parent.statements.reader),
                behind: self.statements.behind.or(parent.statements.behind),
                watched: or(self.statements.watched, parent.statements.watched),
            },
            focus: by_key(self.focus, parent.focus, |f| f.name.clone()),
            plumbing: or(self.plumbing, parent.plumbing),
            metric: by_key(self.metric, parent.metric, |m| m.selector.to_string()),
            quantity: by_key(self.quantity, parent.quantity, |q| q.name.clone()),
            node: by_key(self.node, parent.node, |n| n.name.clone()),
            rest: parent.rest.into_iter().chain(self.rest).collect(),
            guards: super::Guards {
                focus: own.focus.or(parent.guards.focus),
                churn: by_key(own.churn, parent.guards.churn, |c| c.name.clone()),
            },
            freshness: self.freshness.or(parent.freshness),
            rung: or(self.rung, parent.rung),

            diagnosis: super::Diagnosis {
                behind: looked_at.behind.or(parent.diagnosis.behind),
                workers: looked_at.workers.or(parent.diagnosis.workers),
                allocator: looked_at.allocator.or(parent.diagnosis.allocator),
                helpers: [parent.diagnosis.helpers, looked_at.helpers].concat(),
                transport: or(looked_at.transport, parent.diagnosis.transport),
                locks: or(looked_at.locks, parent.diagnosis.locks),
            },
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
    let invalid = |e: toml::de::Error| PresetError::Invalid { name: name.to_string(), why: e.to_string() };
    let mut preset: Preset = toml::from_str(text).map_err(invalid)?;
    preset.name = name.to_string();
    Ok(preset)
}

fn or<T>(own: Vec<T>, parent: Vec<T>) -> Vec<T> {
    if own.is_empty() { parent } else { own }
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
