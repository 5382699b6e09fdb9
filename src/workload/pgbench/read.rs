//! A pgbench script's text becomes its commands (PostgreSQL documentation, "pgbench": Custom Scripts). Invariant: what
//! pgbench would run is run, or refused by line with a remedy; statements end where psql's lexer ends them.

use super::expression;
use super::lexer::name_length;
use super::names::Names;
use super::{Action, Command, Keep, Length, Piece, Statement};
use crate::workload::WorkloadError;
use crate::workload::ini::error;
use crate::workload::script::Open;
use crate::workload::sql::{Token, is_blank, tokens};
use std::cell::Cell;

/// Reads one script.
///
/// # Errors
/// The first line that cannot be honoured.
pub fn read(text: &str, source: &str, names: &mut Names) -> Result<Vec<Command>, WorkloadError> {
    let (commands, draft, blocks) = (Vec::new(), Draft::default(), Vec::new());
    let mut reader = Reader { text, source, names, at: 0, counted: Cell::new((0, 1)), commands, draft, blocks };
    reader.run()?;
    Ok(reader.commands)
}

struct Reader<'a> {
    text: &'a str,
    source: &'a str,
    names: &'a mut Names,
    /// How much of the text has been read.
    at: usize,
    /// A place whose line is known: the next one asked for mostly lies behind it.
    counted: Cell<(usize, usize)>,
    commands: Vec<Command>,
    draft: Draft,
    /// The `\if` that are not ended.
    blocks: Vec<Block>,
}

/// A statement under way.
#[derive(Default)]
struct Draft {
    open: Open,
    pieces: Vec<Piece>,
    compound: bool,
    line: usize,
    /// The last token was a colon.
    colon: bool,
    brackets: usize,
}

/// An `\if`: the command that skips its present branch, those that end a branch, and whether `\else` was met.
struct Block {
    line: usize,
    skip: Option<usize>,
    ends: Vec<usize>,
    in_else: bool,
}

type Read<T> = Result<T, WorkloadError>;

impl Reader<'_> {
    fn run(&mut self) -> Read<()> {
        while let Some((token, range)) = tokens(&self.text[self.at..]).next() {
            let start = self.at;
            let text = &self.text[start..start + range.end];
            self.at = start + text.len();
            match token {
                Token::Semicolon if self.draft.open.is_complete() => self.end_statement(start, None)?,
                Token::Command("\\;") => {
                    self.draft.compound = true;
                    self.add(";", start);
                }
                // pgbench looks for variables in what psql's lexer leaves of it, a colon.
                Token::Command("\\:") => self.colon(start)?,
                Token::Command(name) => self.meta(&name[1..], start)?,
                Token::Other if text == ":" => self.colon(start)?,
                token => {
                    self.draft.open.add(token);
                    let quoted = token == Token::Other && text.contains(['\'', '"', '$']) && text.len() > 1;
                    if quoted { self.quoted(text, start) } else { self.add(text, start) }
                }
            }
        }
        self.end_statement(self.text.len(), None)?;
        match self.blocks.last() {
            Some(block) => self.refuse(block.line, "\\if has no \\endif", "end it with \\endif on a line of its own"),
            None => Ok(()),
        }
    }

    fn line(&self, at: usize) -> usize {
        let (from, line) = Some(self.counted.get()).filter(|(from, _)| *from <= at).unwrap_or((0, 1));
        let line = line + self.text[from..at].matches('\n').count();
        self.counted.set((at, line));
        line
    }

    fn refuse<T>(&self, line: usize, problem: impl Into<String>, remedy: &str) -> Read<T> {
        Err(error(self.source, line, problem, remedy))
    }

    fn add(&mut self, text: &str, at: usize) {
        if self.draft.line == 0 && self.draft.open.is_begun() {
            self.draft.line = self.line(at);
        }
        self.draft.colon = false;
        match text {
            "[" => self.draft.brackets += 1,
            "]" => self.draft.brackets = self.draft.brackets.saturating_sub(1),
            _ => {}
        }
        if let Some(Piece::Text(last)) = self.draft.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.draft.pieces.push(Piece::Text(text.to_string()));
        }
    }

    /// The first colon of a row of them begins a variable, if a name follows.
    fn colon(&mut self, at: usize) -> Read<()> {
        let length = name_length(&self.text[self.at..]);
        self.draft.open.add(Token::Other);
        if self.draft.colon || length == 0 {
            self.add(":", at);
            self.draft.colon = true;
            return Ok(());
        }
        let name = &self.text[self.at..self.at + length];
        self.at += length;
        self.add("", at);
        let slot = self.names.used(name);
        let place = Some(self.line(at)).filter(|_| self.draft.brackets == 0);
        self.draft.pieces.push(Piece::Variable { slot, quoted: false, line: place });
        Ok(())
    }

    /// pgbench looks for variables inside quotes, too.
    fn quoted(&mut self, text: &str, at: usize) {
        let mut rest = text;
        while let Some(colon) = rest.find(':') {
            let after = &rest[colon + 1..];
            let length = name_length(after);
            if length == 0 {
                let row = rest[colon..].len() - rest[colon..].trim_start_matches(':').len();
                self.add(&rest[..colon + row], at);
                rest = &rest[colon + row..];
                continue;
            }
            self.add(&rest[..colon], at);
            let slot = self.names.used(&after[..length]);
            self.draft.pieces.push(Piece::Variable { slot, quoted: true, line: None });
            rest = &after[length..];
        }
        self.add(rest, at);
    }

    fn end_statement(&mut self, at: usize, keep: Option<Keep>) -> Read<()> {
        let draft = std::mem::take(&mut self.draft);
        if !draft.open.is_begun() {
            return Ok(());
        }
        if draft.open.copies_from_here() {
            let remedy = "write INSERT statements, or load the data beforehand with psql";
            return self.refuse(self.line(at), "COPY from standard input, as which pgbench sends nothing", remedy);
        }
        let mut pieces: Vec<Piece> = draft.pieces;
        if let Some(Piece::Text(first)) = pieces.first_mut() {
            *first = first.trim_start_matches(is_blank).to_string();
        }
        if let Some(Piece::Text(last)) = pieces.last_mut() {
            *last = last.trim_end_matches(is_blank).to_string();
        }
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        let statement = Statement { pieces, compound: draft.compound, keep };
        self.commands.push(Command { line: draft.line, action: Action::Send(statement) });
        Ok(())
    }

    /// A command of pgbench's own, with the rest of its line.
    fn meta(&mut self, name: &str, at: usize) -> Read<()> {
        let line = self.line(at);
        let arguments = self.rest_of_line();
        if let "gset" | "aset" = name {
            let keep = Keep { prefix: arguments.trim().to_string(), all: name == "aset" };
            return self.keep(keep, at);
        }
        self.end_statement(at, None)?;
        let words: Vec<&str> = arguments.split_whitespace().collect();
        match name {
            "set" => self.set(&arguments, line),
            "sleep" => self.sleep(&words, line),
            "if" => self.begin_if(&arguments, line),
            "elif" | "else" => self.else_if((name == "elif").then_some(&arguments), line),
            "endif" => self.end_if(line),
            "shell" | "setshell" => {
                let remedy = "leave it out, or compute the value by \\set";
                self.refuse(line, format!("\\{name} runs a program of the client's, which would be measured"), remedy)
            }
            "startpipeline" | "endpipeline" | "syncpipeline" => {
                let remedy = "leave the pipeline's commands out, or join its statements with `\\;`";
                self.refuse(line, format!("\\{name}: statements are not sent in pipelines"), remedy)
            }
            _ => {
                let remedy = "pgbench's are \\set, \\sleep, \\if, \\elif, \\else, \\endif, \\gset and \\aset; psql's \
                              commands mean nothing to it";
                self.refuse(line, format!("\\{name} is no command of pgbench that is honoured here"), remedy)
            }
        }
    }

    /// What follows on the line; a backslash at its end takes the next line along.
    fn rest_of_line(&mut self) -> String {
        let mut all = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find('\n').unwrap_or(rest.len());
            self.at += (end + 1).min(rest.len());
            let line = rest[..end].trim_end_matches('\r');
            match line.strip_suffix('\\') {
                Some(line) if end < rest.len() => all.extend([line, " "]),
                _ => {
                    all.push_str(line);
                    return all;
                }
            }
        }
    }

    fn keep(&mut self, keep: Keep, at: usize) -> Read<()> {
        let line = self.line(at);
        if keep.prefix.contains(char::is_whitespace) || !keep.prefix.is_empty() && name_length(&keep.prefix) == 0 {
            return self.refuse(
                line,
                format!("{:?} begins no variable's name", keep.prefix),
                "write one name, or none",
            );
        }
        let last = self.commands.last_mut().map(|command| &mut command.action);
        if !self.draft.open.is_begun()
            && let Some(Action::Send(Statement { keep: kept @ None, .. })) = last
        {
            // After a semicolon it is meant, too.
            *kept = Some(keep);
            return Ok(());
        }
        if !self.draft.open.is_begun() {
            let remedy = "write it in place of the `;` that ends the query";
            return self.refuse(line, "no statement precedes it that could be kept", remedy);
        }
        self.end_statement(at, Some(keep))
    }

    fn set(&mut self, arguments: &str, line: usize) -> Read<()> {
        let arguments = arguments.trim_start();
        let length = name_length(arguments);
        let (name, rest) = arguments.split_at(length);
        if length == 0 || !rest.starts_with(char::is_whitespace) {
            return self.refuse(line, "\\set has no name and value", "write \\set name expression");
        }
        let expression = self.expression(rest, line)?;
        let action = Action::Set { slot: self.names.set(name), expression };
        self.commands.push(Command { line, action });
        Ok(())
    }

    fn expression(&mut self, text: &str, line: usize) -> Read<expression::Expression> {
        expression::parse(text, self.names)
            .map_err(|problem| error(self.source, line, problem, "see the expressions of pgbench's documentation"))
    }

    fn sleep(&mut self, words: &[&str], line: usize) -> Read<()> {
        let remedy = "write \\sleep number us, ms or s";
        let (length, unit) = match words {
            [one] if !one.starts_with(':') => {
                one.split_at(one.find(|c: char| !c.is_ascii_digit()).unwrap_or(one.len()))
            }
            [length] => (*length, "s"),
            [length, unit] => (*length, *unit),
            _ => return self.refuse(line, "\\sleep takes a number and a unit", remedy),
        };
        let unit = match unit.to_ascii_lowercase().as_str() {
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" | "" => 1_000_000_000,
            other => return self.refuse(line, format!("\\sleep has the unit {other:?}"), remedy),
        };
        let number = match length.strip_prefix(':') {
            Some(name) if name_length(name) == name.len() && !name.is_empty() => {
                Length::Variable(self.names.used(name))
            }
            _ => match length.parse() {
                Ok(number) => Length::Number(number),
                Err(_) => return self.refuse(line, format!("\\sleep has the length {length:?}"), remedy),
            },
        };
        self.commands.push(Command { line, action: Action::Sleep { number, unit } });
        Ok(())
    }

    fn begin_if(&mut self, condition: &str, line: usize) -> Read<()> {
        let condition = self.expression(condition, line)?;
        let skip = Some(self.commands.len());
        self.commands.push(Command { line, action: Action::Unless { condition, goto: usize::MAX } });
        self.blocks.push(Block { line, skip, ends: Vec::new(), in_else: false });
        Ok(())
    }

    fn else_if(&mut self, condition: Option<&String>, line: usize) -> Read<()> {
        let Some(mut block) = self.blocks.pop().filter(|block| !block.in_else) else {
            return self.refuse(line, "it follows no \\if, or an \\else", "give each \\if one \\else at its end");
        };
        block.ends.push(self.commands.len());
        self.commands.push(Command { line, action: Action::Goto(usize::MAX) });
        self.branch(block.skip.take());
        match condition {
            Some(condition) => {
                let condition = self.expression(condition, line)?;
                block.skip = Some(self.commands.len());
                self.commands.push(Command { line, action: Action::Unless { condition, goto: usize::MAX } });
            }
            None => block.in_else = true,
        }
        self.blocks.push(block);
        Ok(())
    }

    fn end_if(&mut self, line: usize) -> Read<()> {
        let Some(block) = self.blocks.pop() else {
            return self.refuse(line, "\\endif follows no \\if", "remove it");
        };
        block.ends.into_iter().chain(block.skip).for_each(|command| self.branch(Some(command)));
        Ok(())
    }

    /// Lets a command go to what follows now.
    fn branch(&mut self, command: Option<usize>) {
        let here = self.commands.len();
        let action = command.map(|command| &mut self.commands[command].action);
        if let Some(Action::Unless { goto, .. } | Action::Goto(goto)) = action {
            *goto = here;
        }
    }
}
