//! pgbench's scripts: what one transaction consists of, and in which mix scripts are run. Invariant: as pgbench reads
//! them, or refused by name, line and remedy.

mod builtin;
mod evaluate;
mod expression;
mod lexer;
mod names;
mod random;
mod read;
mod sources;
mod value;

pub use evaluate::Scope;
pub use expression::Expression;
pub use sources::load;
pub use value::{Value, Variable};

/// Scripts of which each client takes one at random for each of its transactions.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// At least one of them has a weight above 0.
    pub scripts: Vec<Script>,
    /// The variables' names by slot; one client's variables are those of all scripts.
    pub names: Vec<String>,
    /// What `-D` sets, by slot.
    pub defined: Vec<(usize, String)>,
    /// A script uses `:scale`, and `-D` does not say what it is.
    pub wants_scale: bool,
}

/// One script: its run is one transaction, in pgbench's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The file's path, or the built-in script's name.
    pub name: String,
    /// How often it is chosen, against the others' weights.
    pub weight: u32,
    /// In order.
    pub commands: Vec<Command>,
    /// The statements as written, in order.
    pub statements: Vec<String>,
}

/// What a script does at a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// From 1.
    pub line: usize,
    /// What it does.
    pub action: Action,
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends a statement and waits for its answer.
    Send(Statement),
    /// Computes a variable.
    Set {
        /// Which one.
        slot: usize,
        /// Its value.
        expression: Expression,
    },
    /// Waits.
    Sleep {
        /// How many units.
        number: Length,
        /// ns of a unit.
        unit: u64,
    },
    /// Goes on at the command `goto` where the condition does not hold.
    Unless {
        /// What must hold for the next command.
        condition: Expression,
        /// Index of a command, or the number of them.
        goto: usize,
    },
    /// Goes on at this command.
    Goto(usize),
}

/// A number, or the variable that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// A number of units.
    Number(u64),
    /// The slot of a variable.
    Variable(usize),
}

/// A statement with its variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it consists of, in order.
    pub pieces: Vec<Piece>,
    /// It holds several statements (joined by `\;`), which are sent together.
    pub compound: bool,
    /// Whether the answer becomes variables.
    pub keep: Option<Keep>,
}

/// A part of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Sent as it is.
    Text(String),
    /// A variable's value.
    Variable {
        /// Which one.
        slot: usize,
        /// It stands in quotes, where no parameter can.
        quoted: bool,
        /// Its line, where nothing but a variable can be meant.
        line: Option<usize>,
    },
}

/// `\gset` and `\aset`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    /// What each column's name is put behind, to name its variable.
    pub prefix: String,
    /// `\aset`: every result is kept, and a result without rows is none; else the last one, which has one row.
    pub all: bool,
}

/// Whether a text is the name of a variable.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && lexer::name_length(text) == text.len()
}

impl Mix {
    /// The slot of a variable, if any script uses or sets it.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Whether anything may set the variable of a slot before a script uses it.
    pub fn may_set(&self, slot: usize) -> bool {
        let name = self.names[slot].as_str();
        let sets = |command: &Command| match &command.action {
            Action::Set { slot: set, .. } => *set == slot,
            Action::Send(Statement { keep: Some(keep), .. }) => name.starts_with(&keep.prefix),
            _ => false,
        };
        self.defined.iter().any(|(defined, _)| *defined == slot)
            || sources::AUTOMATIC.contains(&name)
            || self.scripts.iter().flat_map(|script| &script.commands).any(sets)
    }
}

impl Command {
    /// The statement that it sends, as it was written.
    fn statement(&self, names: &[String]) -> Option<String> {
        let Action::Send(statement) = &self.action else { return None };
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable { slot, .. } => format!(":{}", names[*slot]),
        };
        Some(statement.pieces.iter().map(piece).collect())
    }
}
