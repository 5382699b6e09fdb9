//! What a frame is, for its colour and the legend. Invariant: it is told by what is known of the frame (where its code
//! runs, which file holds it, the preset's patterns), never by how a name looks; each kind has a colour of its own, on
//! which black text is legible.

use super::fold::{Folded, Label};
use super::head::Key;
use crate::analyze::cost::carried::ENDED_BY;
use crate::analyze::cost::view::Source;
use crate::carriers::State;
use crate::profile::{Folding, Frame, Space};

/// What tells the program's code from libraries' and the runtime's.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// Base name of the file that is the program; `None`: not known, and then every file is that is no shared object.
    pub program: Option<String>,
    /// Frames of the runtime.
    pub runtime: Folding,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Program,
    Library,
    Runtime,
    Kernel,
    /// Code without symbols.
    Unknown,
    /// Who ended a wait.
    Ender,
    Running,
    Runnable,
    Queued,
    /// No code: other states, stand-ins.
    NoCode,
}

/// In the legend's order; the first five stand in every legend, so that legends can be compared.
const ALL: [FrameKind; 10] = [
    FrameKind::Program,
    FrameKind::Library,
    FrameKind::Runtime,
    FrameKind::Kernel,
    FrameKind::Unknown,
    FrameKind::Ender,
    FrameKind::Running,
    FrameKind::Runnable,
    FrameKind::Queued,
    FrameKind::NoCode,
];
const ALWAYS: usize = 5;

impl FrameKind {
    fn word(self) -> String {
        let word = match self {
            FrameKind::Program => "program",
            FrameKind::Library => "libraries",
            FrameKind::Runtime => "runtime",
            FrameKind::Kernel => "kernel",
            FrameKind::Unknown => "unknown (no symbols)",
            FrameKind::Ender => "who ended the wait",
            FrameKind::Running => return State::Running.to_string(),
            FrameKind::Runnable => return State::Runnable.to_string(),
            FrameKind::Queued => return State::Queued.to_string(),
            FrameKind::NoCode => "no code",
        };
        word.into()
    }

    /// Red, green, blue.
    pub fn colour(self) -> [u8; 3] {
        match self {
            FrameKind::Program => [255, 190, 105],
            FrameKind::Library => [246, 234, 140],
            FrameKind::Runtime => [214, 196, 242],
            FrameKind::Kernel => [243, 164, 157],
            FrameKind::Unknown => [160, 212, 206],
            FrameKind::Ender => [150, 180, 235],
            FrameKind::Running => [165, 215, 165],
            FrameKind::Runnable => [240, 196, 224],
            FrameKind::Queued => [200, 216, 124],
            FrameKind::NoCode => [208, 208, 208],
        }
    }
}

impl Code {
    /// What a frame of this view is.
    pub(super) fn kind(&self, source: Source, frame: &Frame) -> FrameKind {
        match frame.space {
            Space::Marker => marker(source, &frame.name),
            Space::Kernel => FrameKind::Kernel,
            _ if frame.miss.is_some() => FrameKind::Unknown,
            _ if self.runtime.matches(frame) => FrameKind::Runtime,
            Space::Vdso => FrameKind::Library,
            Space::User if self.is_library(&frame.module) => FrameKind::Library,
            Space::User => FrameKind::Program,
        }
    }

    fn is_library(&self, module: &str) -> bool {
        match &self.program {
            // Where the source tells no files, all is the program's.
            _ if module.is_empty() => false,
            Some(program) => module != program,
            None => module.contains(".so"),
        }
    }

    /// The kinds of a picture's labels, in their order.
    pub(super) fn kinds(&self, source: Source, labels: &[Label]) -> Vec<FrameKind> {
        labels.iter().map(|label| self.kind(source, &label.frame)).collect()
    }
}

fn marker(source: Source, name: &str) -> FrameKind {
    let is = |state: State| name == format!("[{state}]");
    match () {
        () if source != Source::InHand => FrameKind::NoCode,
        () if name.starts_with(ENDED_BY) => FrameKind::Ender,
        () if is(State::Running) => FrameKind::Running,
        () if is(State::Runnable) => FrameKind::Runnable,
        () if is(State::Queued) => FrameKind::Queued,
        () => FrameKind::NoCode,
    }
}

/// The legend of a picture whose labels are of these kinds.
pub(super) fn legend(folded: &Folded, kinds: &[FrameKind]) -> Vec<Key> {
    let there = |kind: &FrameKind| folded.boxes.iter().any(|drawn| drawn.label.is_some_and(|at| kinds[at] == *kind));
    let shown = ALL.iter().enumerate().filter(|(at, kind)| *at < ALWAYS || there(kind));
    shown.map(|(_, kind)| Key { colour: rgb(kind.colour()), word: kind.word() }).collect()
}

/// As SVG writes it; every other box of a row somewhat darker, so that neighbours of one kind are told apart.
pub(super) fn tone(colour: [u8; 3], darker: bool) -> String {
    rgb(if darker { colour.map(|part| (f64::from(part) * 0.93).round() as u8) } else { colour })
}

fn rgb([red, green, blue]: [u8; 3]) -> String {
    format!("rgb({red},{green},{blue})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Miss;
    use regex::Regex;

    fn frame(name: &str, module: &str, space: Space, miss: Option<Miss>) -> Frame {
        Frame { name: name.into(), module: module.into(), space, inlined: false, file: String::new(), miss }
    }

    #[test]
    fn a_frame_is_what_its_space_its_file_and_the_presets_patterns_say() {
        let runtime = Folding::of(&[Regex::new("^tokio::runtime").unwrap()]);
        let code = Code { program: Some("server".into()), runtime };
        let kind = |name, module, space| code.kind(Source::OnCpu, &frame(name, module, space, None));
        assert_eq!(kind("app::work", "server", Space::User), FrameKind::Program);
        assert_eq!(kind("app::work", "", Space::User), FrameKind::Program);
        assert_eq!(kind("malloc", "libc.so.6", Space::User), FrameKind::Library);
        assert_eq!(kind("clock_gettime", "[vdso]", Space::Vdso), FrameKind::Library);
        assert_eq!(kind("tokio::runtime::park", "server", Space::User), FrameKind::Runtime);
        assert_eq!(kind("tokio::runtime::park", "[kernel]", Space::Kernel), FrameKind::Kernel);
        let running = frame(&format!("[{}]", State::Running), "", Space::Marker, None);
        assert_eq!(code.kind(Source::OnCpu, &running), FrameKind::NoCode);
        assert_eq!(code.kind(Source::InHand, &running), FrameKind::Running);
        let missing = frame("server+0x10", "server", Space::User, Some(Miss::NoSymbol));
        assert_eq!(code.kind(Source::OnCpu, &missing), FrameKind::Unknown);
        let unknown = Code::default();
        let library = |module| unknown.kind(Source::OnCpu, &frame("f", module, Space::User, None));
        assert_eq!((library("server"), library("libc.so.6")), (FrameKind::Program, FrameKind::Library));
    }

    /// WCAG 2.1, relative luminance and contrast ratio.
    fn contrast_with_black(colour: &str) -> f64 {
        let parts: Vec<f64> = colour[4..colour.len() - 1].split(',').map(|part| part.parse().unwrap()).collect();
        let linear = |part: f64| {
            let part = part / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        (0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2]) + 0.05) / 0.05
    }

    #[test]
    fn black_text_is_legible_on_every_kind_and_no_two_kinds_have_one_colour() {
        let mut colours = Vec::new();
        for kind in ALL {
            for darker in [false, true] {
                let colour = tone(kind.colour(), darker);
                assert!(contrast_with_black(&colour) >= 7.0, "{kind:?}: {colour}");
                colours.push(colour);
            }
        }
        colours.sort();
        colours.dedup();
        assert_eq!(colours.len(), 2 * ALL.len());
    }
}
