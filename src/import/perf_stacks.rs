//! Stacks of perf's frames. Invariant: the text of each function is looked at once however often and at however many
//! addresses it occurs: a recording has gigabytes of text and some thousand functions.

use super::perf_frame::FrameText;
use crate::profile::{Builder, Frame, FrameId, Miss, StackId, place};
use crate::symbol::demangle;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A frame that was read, its texts as ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappedSymbol {
    symbol: u32,
    module: u32,
    /// Its address is in the kernel's half of the address space.
    upper_half: bool,
    /// Inlined into the next outer one, whose module it lies in.
    pub inlined: bool,
}

#[derive(Default)]
pub(super) struct Stacks {
    pub builder: Builder,
    ids: FxHashMap<Rc<str>, u32>,
    texts: Vec<Rc<str>>,
    frames: FxHashMap<MappedSymbol, FrameId>,
}

impl Stacks {
    /// `None` for the address 0 that ends a walk along frame pointers.
    pub(super) fn place(&mut self, frame: FrameText) -> Option<MappedSymbol> {
        let symbol = frame.symbol.filter(|symbol| *symbol != "[unknown]").unwrap_or_default();
        if symbol.is_empty() && frame.address == 0 {
            return None;
        }
        Some(MappedSymbol {
            symbol: self.id(symbol),
            module: self.id(frame.module.unwrap_or_default()),
            upper_half: frame.address >> 63 == 1,
            inlined: frame.inlined,
        })
    }

    fn id(&mut self, text: &str) -> u32 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = self.texts.len() as u32;
        let text: Rc<str> = text.into();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    /// The stack of these frames, leaf first.
    pub(super) fn stack(&mut self, leaf_first: &[MappedSymbol]) -> Option<StackId> {
        let mut outer: Option<MappedSymbol> = None;
        let mut stack = None;
        for &place in leaf_first.iter().rev() {
            // An inlined function's code lies in the module of the function that it was inlined into.
            let place = match outer.filter(|_| place.inlined) {
                Some(MappedSymbol { module, upper_half, .. }) => MappedSymbol { module, upper_half, ..place },
                None => place,
            };
            outer = Some(place);
            let frame = match self.frames.get(&place) {
                Some(&frame) => frame,
                None => self.frame(place),
            };
            stack = Some(self.builder.push(stack, frame));
        }
        stack
    }

    fn frame(&mut self, of: MappedSymbol) -> FrameId {
        let text = |id: u32| self.texts[id as usize].clone();
        let (symbol, module) = (text(of.symbol), text(of.module));
        let (space, module) = place(&module, of.upper_half);
        let frame = if symbol.is_empty() {
            // Named by its module, which perf may know in brackets.
            let name = if module.is_empty() { "unknown" } else { module.trim_matches(['[', ']']) };
            Frame {
                name: format!("[{name}]"),
                module,
                space,
                inlined: false,
                file: String::new(),
                miss: Some(Miss::NoSymbol),
            }
        } else {
            Frame { name: demangle(&symbol), module, space, inlined: of.inlined, file: String::new(), miss: None }
        };
        let id = self.builder.frame(frame);
        self.frames.insert(of, id);
        id
    }
}
