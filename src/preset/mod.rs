//! Presets: all that is particular to a server, as data. Invariant: a preset that loads is valid throughout: its
//! selectors, expressions and patterns are parsed when the file is read, and an error names the file and its line.

mod expression;
mod load;
mod model;
mod setup;

pub use expression::{BadExpression, Expression, Function, Node, Operator, Variable};
pub use load::{BUILT_IN, PresetError};
pub use model::*;
pub use setup::{Connection, Step, set_parameter, show_parameter};
