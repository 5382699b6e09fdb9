//! One client of pgbench scripts: its variables, its random numbers, and where in which script it is. Invariant: a
//! run of a script ends once, and its statements are sent one after the other.

use super::mix::MixPlan;
use super::results::results;
use crate::clock::Nanos;
use crate::workload::pgbench::{Action, Keep, Length, Piece, Scope, Statement, Value, Variable, is_name};
use bytes::{BufMut, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt::Write;

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Client::request`] is to be sent.
    Send,
    /// Nothing for so many ns.
    Sleep(Nanos),
    /// The script has been run.
    Done,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    variables: Vec<Variable>,
    random: StdRng,
    script: usize,
    /// The command that comes next.
    next: usize,
    /// The command whose answer is awaited.
    sent: usize,
    /// When the transaction began.
    pub begun: Nanos,
    /// It has sent a statement.
    pub has_sent: bool,
    /// The session waits for its turn to begin a script, because its last one sent nothing.
    pub waits: bool,
    /// The transaction failed, and the server is told to roll it back.
    pub rolls_back: bool,
    request: BytesMut,
    /// By script and command, whether the session knows the statement.
    known: Vec<Vec<bool>>,
    /// The present answer's bytes, where they become variables.
    answer: Option<Vec<u8>>,
}

impl Client {
    /// The client of this number, from 0.
    pub fn new(plan: &MixPlan, number: usize) -> Self {
        let mut variables = plan.variables.clone();
        if let Some(slot) = plan.mix.slot("client_id")
            && plan.mix.defined.iter().all(|(defined, _)| *defined != slot)
        {
            variables[slot] = Variable::Value(Value::Int(number as i64));
        }
        Client {
            variables,
            random: StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
            script: 0,
            next: 0,
            sent: 0,
            begun: 0,
            has_sent: false,
            waits: false,
            rolls_back: false,
            request: BytesMut::new(),
            known: plan.mix.scripts.iter().map(|script| vec![false; script.commands.len()]).collect(),
            answer: None,
        }
    }

    /// Begins a script, chosen by weight.
    pub fn begin(&mut self, plan: &MixPlan, now: Nanos) {
        self.script = match plan.mix.scripts.len() {
            1 => 0,
            _ => plan.chosen(self.random.random_range(0..plan.weight())),
        };
        (self.next, self.begun) = (0, now);
        (self.has_sent, self.waits, self.rolls_back) = (false, false, false);
    }

    /// Index of the script under way.
    pub fn script(&self) -> usize {
        self.script
    }

    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Runs commands up to the next one that takes time.
    ///
    /// # Errors
    /// A command that cannot be followed, with its script and line.
    pub fn advance(&mut self, plan: &MixPlan) -> Result<Step, String> {
        let script = plan.script(self.script);
        let fail = |line: usize, why: String| Err(format!("{}:{line}: {why}; correct the script", script.name));
        while let Some(command) = script.commands.get(self.next) {
            self.next += 1;
            match &command.action {
                Action::Goto(goto) => self.next = *goto,
                Action::Set { slot, expression } => match self.scope(plan).evaluate(expression) {
                    Ok(value) => self.variables[*slot] = Variable::Value(value),
                    Err(why) => return fail(command.line, why),
                },
                Action::Unless { condition, goto } => match self.scope(plan).holds(condition) {
                    Ok(true) => {}
                    Ok(false) => self.next = *goto,
                    Err(why) => return fail(command.line, why),
                },
                Action::Sleep { number, unit } => match self.sleep(plan, *number) {
                    Ok(number) => return Ok(Step::Sleep(number.saturating_mul(*unit))),
                    Err(why) => return fail(command.line, why),
                },
                Action::Send(statement) => {
                    self.sent = self.next - 1;
                    self.has_sent = true;
                    if let Err(why) = self.encode(plan, statement) {
                        return fail(command.line, why);
                    }
                    self.answer = statement.keep.as_ref().map(|_| Vec::new());
                    return Ok(Step::Send);
                }
            }
        }
        Ok(Step::Done)
    }

    fn scope<'a>(&'a mut self, plan: &'a MixPlan) -> Scope<'a, StdRng> {
        Scope { variables: &self.variables, names: &plan.mix.names, random: &mut self.random }
    }

    fn sleep(&self, plan: &MixPlan, number: Length) -> Result<u64, String> {
        let slot = match number {
            Length::Number(number) => return Ok(number),
            Length::Variable(slot) => slot,
        };
        match self.variables[slot].value() {
            // As in pgbench, no time passes where the number is negative.
            Ok(Value::Int(number)) => Ok(number.max(0) as u64),
            Ok(Value::Double(number)) => Ok(number.max(0.0) as u64),
            Ok(other) => Err(format!(":{} is {other}, which is no length", plan.mix.names[slot])),
            Err(why) => Err(format!(":{} {why}", plan.mix.names[slot])),
        }
    }

    fn encode(&mut self, plan: &MixPlan, statement: &Statement) -> Result<(), String> {
        self.request.clear();
        if plan.prepared(self.script, self.sent).is_some() {
            return self.encode_extended(plan, statement.keep.is_some()).map_err(|cause| cause.to_string());
        }
        self.request.put_slice(b"Q\0\0\0\0");
        for piece in &statement.pieces {
            let Piece::Variable { slot, .. } = piece else {
                if let Piece::Text(text) = piece {
                    self.request.put_slice(text.as_bytes());
                }
                continue;
            };
            match &self.variables[*slot] {
                Variable::Value(value) => write!(self.request, "{value}").map_err(|cause| cause.to_string())?,
                Variable::Text(text) => self.request.put_slice(text.as_bytes()),
                Variable::Unset => {
                    self.request.put_u8(b':');
                    self.request.put_slice(plan.mix.names[*slot].as_bytes());
                }
            }
        }
        self.request.put_u8(0);
        let length = u32::try_from(self.request.len() - 1).map_err(|_| "the statement is longer than 4 GiB")?;
        self.request[1..5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Parse where the session does not know the statement yet; Bind, Execute and Sync.
    fn encode_extended(&mut self, plan: &MixPlan, describe: bool) -> Result<(), std::io::Error> {
        let Some(prepared) = plan.prepared(self.script, self.sent) else { return Ok(()) };
        let known = &mut self.known[self.script][self.sent];
        if !std::mem::replace(known, true) {
            self.request.put_slice(&prepared.parse);
        }
        let variables = prepared.slots.iter().map(|slot| &self.variables[*slot]);
        let write = |variable: &Variable, buffer: &mut BytesMut| {
            match variable {
                Variable::Value(Value::Null) => return Ok(IsNull::Yes),
                Variable::Value(value) => write!(buffer, "{value}")?,
                Variable::Text(text) => buffer.put_slice(text.as_bytes()),
                Variable::Unset => return Err("a variable of the statement is not set".into()),
            }
            Ok(IsNull::No)
        };
        frontend::bind("", &prepared.name, [], variables, write, [], &mut self.request).map_err(
            |error| match error {
                frontend::BindError::Serialization(cause) => cause,
                frontend::BindError::Conversion(cause) => std::io::Error::other(cause),
            },
        )?;
        if describe {
            frontend::describe(b'P', "", &mut self.request)?;
        }
        frontend::execute("", 0, &mut self.request)?;
        frontend::sync(&mut self.request);
        Ok(())
    }

    /// Makes the request that rolls the failed transaction back.
    pub fn roll_back(&mut self) {
        self.rolls_back = true;
        self.answer = None;
        self.request.clear();
        self.request.put_slice(b"Q\0\0\0\x0dROLLBACK\0");
    }

    /// The statement under way failed: the session may not know it.
    pub fn failed(&mut self) {
        self.known[self.script][self.sent] = false;
        self.answer = None;
    }

    /// Whether the present answer's bytes are wanted.
    pub fn keeps(&self) -> bool {
        self.answer.is_some()
    }

    /// More bytes of the present answer.
    pub fn keep(&mut self, bytes: &[u8]) {
        if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(bytes);
        }
    }

    /// Makes variables of the present answer, where its statement says so.
    ///
    /// # Errors
    /// Another number of rows than `\gset` takes, with script and line.
    pub fn answered(&mut self, plan: &MixPlan) -> Result<(), String> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        let script = plan.script(self.script);
        let command = &script.commands[self.sent];
        let Action::Send(Statement { keep: Some(keep), .. }) = &command.action else { return Ok(()) };
        self.store(plan, &answer, keep).map_err(|why| format!("{}:{}: {why}", script.name, command.line))
    }

    fn store(&mut self, plan: &MixPlan, answer: &[u8], keep: &Keep) -> Result<(), String> {
        let results = results(answer);
        let wanted = if keep.all { &results[..] } else { &results[results.len().saturating_sub(1)..] };
        if !keep.all && wanted.first().map_or(0, |result| result.rows) != 1 {
            let rows = wanted.first().map_or(0, |result| result.rows);
            return Err(format!("\\gset takes one row, and the query answered {rows}; use \\aset, or limit it"));
        }
        for result in wanted.iter().filter(|result| result.rows > 0) {
            for (column, value) in result.columns.iter().zip(&result.last) {
                let name = format!("{}{column}", keep.prefix);
                if !is_name(&name) {
                    return Err(format!("the column {column:?} names no variable; give it a name with AS"));
                }
                if let Some(slot) = plan.mix.slot(&name) {
                    self.variables[slot] = Variable::Text(value.clone());
                }
            }
        }
        Ok(())
    }
}
