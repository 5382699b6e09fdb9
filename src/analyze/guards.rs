//! Guards: checks that must hold for a window's numbers to mean what they say. Each carries its evidence; its prose
//! and remedy are made in `Display` and [`Guard::remedy`].

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    /// Could not be checked; the evidence says why.
    NotMeasured,
    Warn,
    Fail,
}

/// Placeholder until the guards land.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "guard")]
pub enum Guard {
    Placeholder,
}

impl Guard {
    pub fn verdict(&self) -> Verdict {
        Verdict::NotMeasured
    }

    /// What to do about it; empty where nothing is to be done.
    pub fn remedy(&self) -> String {
        String::new()
    }
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("not checked")
    }
}

pub fn check_window(_: &crate::preset::Preset, _: &crate::run::Manifest, _: &crate::run::Window) -> Vec<Guard> {
    Vec::new()
}
