//! What this process writes to: a terminal of some width, in colours or not, in which characters. Invariant: it is told
//! once, when the arguments are known, so that all of an answer looks alike.

use crate::render::Screen;
use anstream::ColorChoice;
use clap::ValueEnum;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::OnceLock;
use terminal_size::{Height, Width, terminal_size_of};

/// Width of what is piped, in characters: wide enough for most tables, and the same wherever it runs.
const PIPED: usize = 140;

/// When colours are used, as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR or TERM say otherwise; CLICOLOR_FORCE elsewhere too
    #[default]
    Auto,
    /// Wherever text goes
    Always,
    /// Nowhere
    Never,
}

/// What the arguments say of the output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub colour: Colour,
    pub pager: bool,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Keeps what the arguments say; the first call counts.
pub fn settle(settings: Settings) {
    let _ = SETTINGS.set(settings);
}

/// What the arguments said.
pub fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or_default()
}

/// Width where nobody asks for one: `$COLUMNS`, else the terminal's, else that of a pipe.
pub fn width() -> usize {
    let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok()).filter(|n| *n > 0);
    named.or_else(|| Some(size()?.0)).unwrap_or(PIPED)
}

/// Columns and lines of the terminal that the answer goes to; `None`: it goes elsewhere.
pub fn size() -> Option<(usize, usize)> {
    let (Width(columns), Height(lines)) = terminal_size_of(std::io::stdout())?;
    (columns > 0 && lines > 0).then_some((usize::from(columns), usize::from(lines)))
}

/// Columns of the terminal that notes go to; as many as one likes where they go elsewhere.
pub fn width_of_notes() -> usize {
    terminal_size_of(std::io::stderr()).map_or(usize::MAX, |(Width(columns), _)| usize::from(columns.max(20)))
}

/// The screen of standard output.
pub fn screen(width: usize) -> Screen {
    let colour = match settings().colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => !matches!(anstream::AutoStream::choice(&std::io::stdout()), ColorChoice::Never),
    };
    Screen { width, colour, unicode: unicode(std::io::stdout().is_terminal()) }
}

/// Whether the characters beyond ASCII can be read where text goes.
pub fn unicode(terminal: bool) -> bool {
    let dumb = terminal && std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !dumb && locale_is_utf8(|name| std::env::var_os(name))
}

/// By the first variable that is set, as the C library has it. Without any the locale is unknown rather than ASCII:
/// containers and services are mostly so, and what reads them mostly reads UTF-8.
fn locale_is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_of_the_locale_decides() {
        let of = |set: &[(&str, &str)]| {
            locale_is_utf8(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert!(of(&[("LANG", "de_DE.UTF-8")]) && of(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(!of(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]) && !of(&[("LC_CTYPE", "POSIX")]));
        assert!(of(&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")]), "an empty one counts as unset");
        assert!(of(&[]));
    }
}
