//! Parts that exceed their whole: why they can. Invariant: no part has a negative time; what parts have in common, or
//! have beyond their whole, is an overlap with a reason.

use super::{ALL_TOGETHER, Node, SAME};
use serde::Serialize;
use std::fmt;

/// Why measured parts exceed their whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// So little that queries in flight at the window's ends, and scrapes that are out of step with it, make it.
    Ends,
    /// The parts are of all round trips of a hop, the whole is of some of them.
    OtherUses,
    /// The whole and a part have their borders from two instruments, which do not put them in the same place.
    Borders,
    /// The parts are not all of the same calls as the whole.
    OtherCalls,
}

impl Overlap {
    /// `nanos`: how far the parts exceed the whole.
    pub(super) fn of(whole: &Node, parts: &[&Node], nanos: f64) -> Overlap {
        let instrument = |node: &Node| node.source.split([':', ',']).next().unwrap_or("").to_string();
        if nanos <= SAME * whole.mean.unwrap_or(0.0) {
            Overlap::Ends
        } else if parts.iter().any(|part| part.source.ends_with(ALL_TOGETHER)) {
            Overlap::OtherUses
        } else if parts.iter().any(|part| instrument(part) != instrument(whole)) {
            Overlap::Borders
        } else {
            Overlap::OtherCalls
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Overlap::Ends => "what is in flight at the ends of the window, and scrapes out of step with it",
            Overlap::OtherUses => {
                "the places are of all round trips of the hop together, which serve other statements too"
            }
            Overlap::Borders => {
                "two instruments put their borders in different places: what a server still does of a call after its \
                 answer was sent, say, is in its own metric and in none of the places before that"
            }
            Overlap::OtherCalls => "they are not all of the same calls",
        })
    }
}
