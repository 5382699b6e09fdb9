//! Presets: all that is particular to a server, as data. Invariant: a preset that loads is valid throughout: its
//! selectors, expressions and patterns are parsed when the file is read, and an error names the file and its line.

mod check;
mod expression;
mod load;
mod model;
mod node;
mod quantity;
mod recognise;
mod setup;
mod unit;
mod wait;
mod wait_event;

pub use check::{Checks, ChurnGuard, FocusGuard};
pub use expression::{BadExpression, Expression, Function, Node, Operator, Variable};
pub use load::{BUILT_IN, PresetError};
pub use model::*;
pub use node::{Known, Nested};
pub use quantity::{Computed, Timed};
pub use recognise::{Greeting, Recognised, Witness, recognise, recognise_process, told_parameters};
pub use setup::{Connection, Step, set_parameter, show_parameter};
pub use unit::{Conversion, Time, Unit};
pub use wait::{Wait, WaitKind};
pub use wait_event::{WaitEventName, WaitEventTable, WaitEvents};

use check::WrittenChecks;
use node::WrittenNode;
