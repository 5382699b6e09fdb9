//! Presets, and the expressions in them. Invariant: what is read displays as it was written, and is read again.

use super::text;
use crate::preset::{Expression, Preset};

/// A preset, and the text as an expression.
pub fn preset(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(expression) = Expression::parse(&text) {
        assert_eq!(expression.to_string(), text);
        assert_eq!(Expression::parse(&expression.to_string()).as_ref(), Ok(&expression));
        assert!(expression.selectors().len() <= text.len());
    }
    let _ = Preset::parse("fuzzed", &text);
}
