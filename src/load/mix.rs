//! pgbench scripts as the load threads need them: weights summed up, prepared statements encoded. Invariant: a mix does
//! not change under load; what one client changes is its [`super::transaction::Client`].

use super::LoadError;
use super::plan::{Protocol, unencodable};
use crate::workload::pgbench::{Action, Command, Mix, Piece, Script, Statement, Value, Variable};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::sync::Arc;

/// Scripts and how their statements are sent.
#[derive(Debug)]
pub struct MixPlan {
    pub mix: Arc<Mix>,
    /// By script and command: what the extended protocol needs for a statement; empty in the simple one.
    prepared: Vec<Vec<Option<Prepared>>>,
    /// Of all scripts.
    weight: u64,
    /// What every client's variables begin with.
    pub variables: Vec<Variable>,
    pub seed: u64,
    /// What the server's tables say of `:scale`, where a script uses it and nothing else says it.
    pub counted_scale: Option<u64>,
}

/// A statement in the extended protocol.
#[derive(Debug)]
pub struct Prepared {
    pub name: String,
    /// Its Parse message, which is sent with the first execution of a session.
    pub parse: Box<[u8]>,
    /// The variables of its parameters.
    pub slots: Vec<usize>,
}

impl MixPlan {
    /// Encodes what does not change from run to run.
    pub fn new(mix: &Arc<Mix>, protocol: Protocol) -> Result<Self, LoadError> {
        let mut prepared = Vec::new();
        for (at, script) in mix.scripts.iter().enumerate() {
            let encode = |(line, command): (usize, &Command)| match &command.action {
                Action::Send(statement) => prepare(mix, at, line, command.line, statement, protocol),
                _ => Ok(None),
            };
            prepared.push(script.commands.iter().enumerate().map(encode).collect::<Result<_, _>>()?);
        }
        let seed: u64 = rand::random();
        let mut variables = vec![Variable::Unset; mix.names.len()];
        let mut set = |name: &str, value: Variable| {
            if let Some(slot) = mix.slot(name) {
                variables[slot] = value;
            }
        };
        // pgbench's seeds are positive, too.
        let positive = |seed: u64| Variable::Value(Value::Int((seed >> 1) as i64));
        set("random_seed", positive(seed));
        set("default_seed", positive(rand::random()));
        for (slot, text) in &mix.defined {
            variables[*slot] = Variable::Text(text.clone());
        }
        let weight = mix.scripts.iter().map(|script| u64::from(script.weight)).sum();
        Ok(MixPlan { mix: mix.clone(), prepared, weight, variables, seed, counted_scale: None })
    }

    /// Sets `:scale` to what the server's tables say.
    pub fn set_scale(&mut self, scale: u64) {
        self.counted_scale = Some(scale);
        if let Some(slot) = self.mix.slot("scale") {
            self.variables[slot] = Variable::Value(Value::Int(scale as i64));
        }
    }

    /// The script that a number below the sum of the weights chooses.
    pub fn chosen(&self, mut number: u64) -> usize {
        for (at, script) in self.mix.scripts.iter().enumerate() {
            match number.checked_sub(u64::from(script.weight)) {
                Some(rest) => number = rest,
                None => return at,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }

    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn script(&self, script: usize) -> &Script {
        &self.mix.scripts[script]
    }

    pub fn prepared(&self, script: usize, command: usize) -> Option<&Prepared> {
        self.prepared[script][command].as_ref()
    }
}

/// Checks a statement, and encodes it where the protocol prepares it.
fn prepare(
    mix: &Mix,
    script: usize,
    at: usize,
    line: usize,
    statement: &Statement,
    protocol: Protocol,
) -> Result<Option<Prepared>, LoadError> {
    let refuse = |problem: String| {
        let name = &mix.scripts[script].name;
        Err(LoadError::Usage(format!("{name}:{line}: {problem}; use --protocol simple, or rewrite the statement")))
    };
    let holds_zero = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('\0'));
    if statement.pieces.iter().any(holds_zero) {
        return Err(unencodable(std::io::Error::other("it holds a zero byte")));
    }
    if protocol == Protocol::Simple {
        return Ok(None);
    }
    if statement.compound {
        return refuse("the extended protocol takes no statements joined by `\\;`".into());
    }
    let (mut sql, mut slots) = (String::new(), Vec::new());
    for piece in &statement.pieces {
        match piece {
            Piece::Text(text) => sql.push_str(text),
            Piece::Variable { slot, quoted: true, .. } if mix.may_set(*slot) => {
                return refuse(format!(":{} stands in quotes, where no parameter can", mix.names[*slot]));
            }
            Piece::Variable { slot, .. } if !mix.may_set(*slot) => {
                sql.push(':');
                sql.push_str(&mix.names[*slot]);
            }
            Piece::Variable { slot, .. } => {
                slots.push(*slot);
                sql.push_str(&format!("${}", slots.len()));
            }
        }
    }
    let name = format!("wireprof_{script}_{at}");
    let mut parse = BytesMut::new();
    frontend::parse(&name, &sql, [], &mut parse).map_err(unencodable)?;
    Ok(Some(Prepared { name, parse: parse.to_vec().into_boxed_slice(), slots }))
}
