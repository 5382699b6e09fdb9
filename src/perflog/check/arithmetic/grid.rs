//! A table as lines of cells under heads, and the same table turned. Invariant: a cell has a value only where it is one
//! figure, and a unit where it, its head or its label says one.

use super::figure::{Figure, figures};
use super::head::{Form, Head, Quantity, Role};
use super::interval::Interval;
use super::page::Rows;
use super::unit::{Dimension, Unit};

/// A table, or a table turned: heads over positions, lines with labels.
#[derive(Clone, Debug)]
pub struct Grid {
    pub heads: Vec<Head>,
    pub lines: Vec<Line>,
    /// Number of clients that the words before the table name, where it is one.
    pub level: Option<u64>,
    /// The words before the table, lower case.
    pub before: String,
    turned: bool,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub label: Head,
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug)]
pub struct Cell {
    /// Byte of the log.
    pub at: usize,
    pub value: Option<Value>,
    /// In parentheses behind the value: `14,100 (+14 %)`.
    pub beside: Option<Value>,
}

/// One figure in its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// In seconds, things a second, bytes, or as written.
    pub interval: Interval,
    pub unit: Unit,
    pub sign: Option<char>,
    pub vague: bool,
    pub text: String,
}

impl Value {
    pub fn of(figure: &Figure, unit: Unit, text: &str) -> Value {
        Value {
            interval: figure.interval(unit),
            unit,
            sign: figure.sign,
            vague: figure.vague,
            text: text[figure.at.clone()].trim().to_string(),
        }
    }

    /// Where it has no unit, in that of the other.
    pub fn in_unit_of(&self, other: &Value) -> Value {
        let bare = self.unit == Unit::PLAIN;
        let unit = if bare { other.unit } else { self.unit };
        let scale = if bare { unit.scale } else { 1.0 };
        Value { interval: self.interval.scaled(scale), unit, ..self.clone() }
    }

    pub fn dimension(&self) -> Dimension {
        self.unit.dimension
    }

    /// With its unit, also where only the head says it.
    pub fn said(&self) -> String {
        let bare = self.text.ends_with(|c: char| c.is_ascii_digit());
        let unit = self.unit.said(0.0);
        let unit = unit.trim_start_matches('0');
        if bare && self.unit.dimension != Dimension::Plain { format!("{}{unit}", self.text) } else { self.text.clone() }
    }
}

struct Read {
    text: String,
    at: usize,
    main: Option<Figure>,
    beside: Option<Figure>,
}

impl Grid {
    /// `None` for a table without a row, or of one column.
    pub fn of(table: &Rows, before: &str, level: Option<u64>) -> Option<Grid> {
        let columns = table.rows.first()?.len();
        if table.rows.len() < 2 || columns < 2 {
            return None;
        }
        let mut read: Vec<Vec<Read>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(|piece| Read::of(&piece.text, piece.place(0))).collect())
            .collect();
        let heads: Vec<Head> = read[0].iter().map(|cell| Head::read(&cell.text)).collect();
        let labels: Vec<Head> = read.iter().map(|row| Head::read(&row[0].text)).collect();
        finer(&mut read, &heads, &labels);
        let lines = read.iter().zip(&labels).map(|(row, label)| Line {
            label: label.clone(),
            cells: row.iter().zip(&heads).map(|(cell, head)| cell.resolved(head, label)).collect(),
        });
        let lines: Vec<Line> = lines.collect();
        Some(Grid { heads, lines, level, before: before.to_lowercase(), turned: false }.with_signs())
    }

    /// Percentages and factors that all have a sign are changes, whatever stands above them.
    fn with_signs(mut self) -> Grid {
        let all_signed = |cells: &mut dyn Iterator<Item = &Cell>| {
            let mut values = cells.filter_map(|cell| cell.value.as_ref()).peekable();
            let signed = |value: &Value| {
                value.sign.is_some() && matches!(value.dimension(), Dimension::Percent | Dimension::Factor)
            };
            values.peek().is_some() && values.all(signed)
        };
        for position in 0..self.heads.len() {
            let signed = all_signed(&mut self.lines.iter().skip(1).map(|line| &line.cells[position]));
            if signed && self.heads[position].role == Role::Plain {
                self.heads[position].role = Role::Change(Form::Any);
            }
        }
        for line in self.lines.iter_mut().skip(1) {
            if line.label.role == Role::Plain && all_signed(&mut line.cells.iter().skip(1)) {
                line.label.role = Role::Change(Form::Any);
            }
        }
        self
    }

    /// Rows for columns.
    pub fn turned(&self) -> Grid {
        let line = |position: usize| Line {
            label: self.heads[position].clone(),
            cells: self.lines.iter().map(|line| line.cells[position].clone()).collect(),
        };
        Grid {
            heads: self.lines.iter().map(|line| line.label.clone()).collect(),
            lines: (0..self.heads.len()).map(line).collect(),
            level: self.level,
            before: self.before.clone(),
            turned: true,
        }
    }

    /// Whether its lines are numbers of clients, so that they are parts of nothing.
    pub fn has_levels(&self) -> bool {
        let heads = self.heads.iter().skip(usize::from(self.turned));
        heads.clone().any(|head| head.quantity == Quantity::Clients)
            || self.body().any(|(_, line)| line.label.level.is_some())
    }

    /// The lines without that of the heads.
    pub fn body(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().skip(1)
    }

    pub fn value(&self, line: usize, position: usize) -> Option<&Value> {
        self.lines.get(line)?.cells.get(position)?.value.as_ref()
    }

    /// What a line's cell is: by its head, else by its line's label.
    pub fn quantity(&self, line: usize, position: usize) -> Quantity {
        match (self.heads[position].quantity, self.lines[line].label.quantity) {
            (Quantity::Other, of_line) => of_line,
            (of_head, _) => of_head,
        }
    }

    /// Number of clients of a line: its own cell, its label, the words before the table.
    pub fn clients(&self, line: usize) -> Option<(u64, usize)> {
        let here = &self.lines[line];
        let own = self.heads.iter().position(|head| head.quantity == Quantity::Clients);
        let cell = own.and_then(|position| here.cells.get(position));
        if let Some(cell) = cell {
            let value = cell.value.as_ref()?;
            let number = value.interval.middle();
            let whole = number >= 1.0 && number.fract() == 0.0 && !value.vague;
            return whole.then_some((number as u64, cell.at));
        }
        let says = here.label.text.to_lowercase();
        let named = ["client", "conn", "n=", "n =", "c=", "level"].iter().any(|word| says.contains(word));
        let labelled = here.label.level.filter(|_| named);
        labelled.or(self.level).map(|level| (level, here.cells[0].at))
    }
}

/// Where all whole numbers of a column (or a row) are of one thing, the one that shows most digits shows how finely
/// they were written.
fn finer(read: &mut [Vec<Read>], heads: &[Head], labels: &[Head]) {
    let known = |head: &Head| head.quantity != Quantity::Other || head.unit.is_some();
    let whole = |cell: &Read| cell.main.as_ref().filter(|f| f.step >= 1.0 && f.value.fract() == 0.0).map(|f| f.step);
    for (column, _) in heads.iter().enumerate().filter(|(_, head)| known(head)) {
        let steps: Vec<f64> = read.iter().skip(1).filter_map(|row| whole(&row[column])).collect();
        if let Some(finest) = steps.iter().copied().reduce(f64::min).filter(|_| steps.len() > 1) {
            let cells = read.iter_mut().skip(1).map(|row| &mut row[column]);
            cells.for_each(|cell| cell.at_least(finest));
        }
    }
    for (row, _) in labels.iter().enumerate().skip(1).filter(|(_, label)| known(label)) {
        let steps: Vec<f64> = read[row].iter().skip(1).filter_map(whole).collect();
        if let Some(finest) = steps.iter().copied().reduce(f64::min).filter(|_| steps.len() > 1) {
            read[row].iter_mut().skip(1).for_each(|cell| cell.at_least(finest));
        }
    }
}

impl Read {
    fn of(text: &str, at: usize) -> Read {
        let plain = text.trim();
        let mut all = figures(plain);
        let mut read = Read { text: plain.to_string(), at, main: None, beside: None };
        if all.is_empty() {
            return read;
        }
        let first = all.remove(0);
        let quiet = |text: &str| !text.contains(char::is_alphanumeric);
        let marks = |text: &str| {
            let text = text.trim();
            quiet(text) && !text.contains('/') || text.starts_with('(') && text.ends_with(')')
        };
        let (head, tail) = (&plain[..first.at.start], &plain[first.at.end..]);
        if quiet(head) && marks(tail) && all.len() <= 1 {
            read.beside = all.pop().filter(|_| tail.trim().starts_with('('));
            read.main = Some(first);
        }
        read
    }

    fn at_least(&mut self, step: f64) {
        if let Some(figure) = self.main.as_mut().filter(|f| f.step >= 1.0 && f.value.fract() == 0.0 && f.step > step) {
            figure.step = step;
        }
    }

    fn resolved(&self, head: &Head, label: &Head) -> Cell {
        let unit = |figure: &Figure| figure.unit.or(head.unit).or(label.unit).unwrap_or(Unit::PLAIN);
        let mut value = self.main.as_ref().map(|figure| Value::of(figure, unit(figure), &self.text));
        if head.quantity == Quantity::Clients
            && let (Some(value), Some(figure)) = (value.as_mut(), &self.main)
        {
            let unit = Unit { dimension: Dimension::Clients, ..Unit::PLAIN };
            *value = Value { vague: value.vague || figure.until.is_some(), ..Value::of(figure, unit, &self.text) };
        }
        let of_its_own = |figure: &Figure| figure.unit.is_some() && figure.dimension() != Dimension::Clients;
        let beside = self.beside.as_ref().filter(|figure| of_its_own(figure));
        Cell { at: self.at, value, beside: beside.map(|figure| Value::of(figure, unit(figure), &self.text)) }
    }
}
