//! The view model that every renderer reads. Invariant: each row has one cell per column; a column's key and level
//! together are distinct within a table; a cell that was not measured says why.

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Heading of the whole.
    pub title: String,
    /// Ids of the runs that it is about.
    pub runs: Vec<String>,
    /// In the order in which they are shown.
    pub sections: Vec<Section>,
}

/// Tables, remarks and pictures that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Short name by which it is asked for; stable, the same for sections of one kind. Empty: it has none.
    pub id: &'static str,
    /// Heading of the section.
    pub title: String,
    /// In the order in which they are shown.
    pub tables: Vec<Table>,
    /// Remarks under the tables, one paragraph each.
    pub notes: Vec<String>,
    /// Links under the remarks.
    pub pictures: Vec<Picture>,
}

/// A link to a picture; paths are relative to where the report is read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Text of the link.
    pub title: String,
    /// Relative path of the file.
    pub path: String,
}

/// Rows of cells under headed columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Short name for programs; stable, the same for tables of one kind. Empty: that of its section.
    pub id: &'static str,
    /// What all its rows are about, for programs: a key, and a text or a count.
    pub about: Vec<(&'static str, Cell)>,
    /// Heading of the table; empty: none.
    pub title: String,
    /// One per cell of a row.
    pub columns: Vec<Column>,
    /// Each with one cell per column.
    pub rows: Vec<Vec<Cell>>,
    /// Remarks under the table, one paragraph each.
    pub notes: Vec<String>,
}

/// What the cells of one position in the rows are.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name for programs; stable.
    pub key: String,
    /// The number of clients at which its numbers were measured; `None`: a column of its own or the row's says it, or
    /// they are of no level.
    pub level: Option<usize>,
    /// Its cells say what the row is about, and measure nothing.
    pub tells_row: bool,
    /// Heading, without the unit.
    pub header: String,
    /// Unit of all numbers of the column.
    pub unit: Option<String>,
    /// Where the cells stand within the column.
    pub align: Align,
    /// Its cells are never cut or broken: somebody types or copies them.
    pub whole: bool,
}

/// Where a column's cells stand within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At the left edge, as text does.
    Left,
    /// At the right edge, as numbers do.
    Right,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words, shown as they are.
    Text(String),
    /// Words that have a name for programs.
    Coded {
        /// The name; stable.
        code: String,
        /// The words.
        text: String,
        /// A count in the words, with its name.
        number: Option<(&'static str, u64)>,
    },
    /// A function's full name; text outputs show it short, with what tells it from others of its column, and cut it
    /// in the middle.
    Name(String),
    /// A function's full name that text outputs show whole, in several lines where it must be.
    FullName(String),
    /// A whole number of things.
    Count(u64),
    /// In the column's unit.
    Number(f64),
    /// A number whose column holds different units or sizes: text outputs show three significant digits.
    Figure(f64),
    /// Known to lie in `(lower, upper]` (a quantile of a histogram).
    Within(f64, f64),
    /// With its 95 % interval and number of samples where those were measured.
    Estimate {
        /// In the column's unit.
        value: f64,
        /// Low and high end, in the column's unit.
        interval: Option<(f64, f64)>,
        /// Number of samples behind the value.
        samples: Option<u64>,
    },
    /// A difference, with its 95 % interval where that was measured: text outputs show its sign.
    Difference {
        /// In the column's unit.
        value: f64,
        /// Low and high end, in the column's unit.
        interval: Option<(f64, f64)>,
    },
    /// Not measured, and why.
    Missing(String),
    /// Measured, but the number does not exist (a ratio to 0), and why.
    Undefined(String),
    /// Nothing belongs here.
    Empty,
}

impl Report {
    /// The report with all functions' names in full.
    pub fn with_full_names(mut self) -> Self {
        let tables = self.sections.iter_mut().flat_map(|section| &mut section.tables);
        for cell in tables.flat_map(|table| &mut table.rows).flatten() {
            if let Cell::Name(name) = cell {
                *cell = Cell::FullName(std::mem::take(name));
            }
        }
        self
    }
}

/// Reasons under a table at most; JSON has all of them.
const REASONS: usize = 8;

impl Table {
    /// Why cells were not measured, each reason once with the columns that it is for.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
        for (column, cell) in self.rows.iter().flat_map(|row| self.columns.iter().zip(row)) {
            let Cell::Missing(why) = cell else { continue };
            let at = found.iter().position(|(known, _)| known == why).unwrap_or_else(|| {
                found.push((why, Vec::new()));
                found.len() - 1
            });
            let name = if column.header.is_empty() { &column.key } else { &column.header };
            if !found[at].1.contains(&name.as_str()) {
                found[at].1.push(name);
            }
        }
        let more = found.len().saturating_sub(REASONS);
        found.truncate(REASONS);
        let mut notes: Vec<String> =
            found.iter().map(|(why, columns)| format!("Not measured ({}): {why}.", columns.join(", "))).collect();
        if more > 0 {
            notes.push(format!("Not measured for {more} more reasons: --json has them."));
        }
        notes
    }
}

impl Column {
    /// A left-aligned column of text.
    pub fn text(key: &str, header: &str) -> Self {
        Column {
            key: key.into(),
            level: None,
            tells_row: true,
            header: header.into(),
            unit: None,
            align: Align::Left,
            whole: false,
        }
    }

    /// A column of text that is never cut or broken.
    pub fn whole(key: &str, header: &str) -> Self {
        Column { whole: true, ..Column::text(key, header) }
    }

    /// A column of text that is a fact of the row.
    pub fn fact(key: &str, header: &str) -> Self {
        Column { tells_row: false, ..Column::text(key, header) }
    }

    /// A right-aligned column of counts that say what the row is about.
    pub fn position(key: &str, header: &str) -> Self {
        Column { align: Align::Right, ..Column::text(key, header) }
    }

    /// A column of levels.
    pub fn level() -> Self {
        Column::position("level", "level")
    }

    /// A right-aligned column of numbers; an empty `unit` is none.
    pub fn number(key: &str, header: &str, unit: &str) -> Self {
        let unit = (!unit.is_empty()).then(|| unit.to_string());
        Column { unit, tells_row: false, ..Column::position(key, header) }
    }

    /// As [`Column::number`], of one level.
    pub fn at(level: usize, key: &str, header: &str, unit: &str) -> Self {
        Column { level: Some(level), ..Column::number(key, header, unit) }
    }
}

impl Cell {
    /// Words with their name for programs.
    pub fn coded(code: &str, text: impl Into<String>) -> Self {
        Cell::Coded { code: code.into(), text: text.into(), number: None }
    }

    /// The words, where it has some.
    pub fn words(&self) -> Option<&str> {
        match self {
            Cell::Text(text) | Cell::Coded { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A number, or why there is none.
    pub fn or_missing(value: Option<f64>, why: &str) -> Self {
        value.map_or_else(|| Cell::Missing(why.to_string()), Cell::Number)
    }

    /// As [`Cell::or_missing`], shown with three significant digits.
    pub fn figure(value: Option<f64>, why: &str) -> Self {
        value.map_or_else(|| Cell::Missing(why.to_string()), Cell::Figure)
    }

    /// The numbers that decide how many decimals its column shows.
    pub(super) fn magnitude(&self) -> Option<f64> {
        match self {
            Cell::Number(value) | Cell::Difference { value, .. } => Some(value.abs()),
            Cell::Estimate { value, interval, .. } if *value == 0.0 => interval.map(|i| i.1),
            Cell::Estimate { value, .. } => Some(value.abs()),
            _ => None,
        }
    }
}
