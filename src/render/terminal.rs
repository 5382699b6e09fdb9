//! Reports as text for a terminal. Invariant: no line of a table is wider than asked for, unless by a column whose
//! cells are kept whole; a table that has too many columns goes on below, its first column repeated.

use super::figure;
use super::model::{Align, Cell, Report, Table};
use super::screen::Screen;
use crate::profile::{middle, names_within};

/// Names are cut to this width before a table is broken into blocks.
const NARROWEST_NAME: usize = 24;
/// What a note that is a command begins with, as in Markdown.
const COMMAND: &str = "    ";
/// Between two columns.
const GAP: usize = 2;

/// The report as text, its tables at most `width` characters wide (at least 40).
pub fn terminal(report: &Report, width: usize) -> String {
    on_terminal(report, &Screen::plain(width))
}

/// As [`terminal`], with what the screen can show: heads in bold, outcomes in colours, its characters.
pub fn on_terminal(report: &Report, screen: &Screen) -> String {
    let screen = &Screen { width: screen.width.max(40), ..*screen };
    let title = screen.spelt(&report.title);
    let title = if title.chars().count() > screen.width { wrapped(&title, screen.width) } else { format!("{title}\n") };
    let mut text: String = title.lines().map(|line| format!("{}\n", screen.heading(line))).collect();
    for section in &report.sections {
        if !section.title.is_empty() {
            text += &format!("\n{}\n", screen.heading(&format!("== {} ==", screen.spelt(&section.title))));
        }
        for table in &section.tables {
            text += "\n";
            text += &table_text(table, screen);
        }
        if !section.notes.is_empty() {
            text += "\n";
        }
        section.notes.iter().for_each(|note| text += &paragraph(note, screen));
        section
            .pictures
            .iter()
            .for_each(|p| text += &format!("{}: {}\n", screen.spelt(&p.title), screen.spelt(&p.path)));
    }
    text
}

fn table_text(table: &Table, screen: &Screen) -> String {
    let title = if table.title.is_empty() { String::new() } else { paragraph(&table.title, screen) };
    let mut text: String = title.lines().map(|line| format!("{}\n", screen.heading(line))).collect();
    let grid = Grid::of(table, screen);
    let mut from = 1.min(grid.columns.len());
    loop {
        let to = grid.fitting(from, screen.width);
        text += &grid.block(from, to);
        if to >= grid.columns.len() {
            break;
        }
        text += "\n";
        from = to;
    }
    table.notes.iter().chain(&table.reasons()).for_each(|note| text += &paragraph(note, screen));
    text
}

/// A table's cells as text, by column.
struct Grid<'a> {
    columns: Vec<GridColumn>,
    rows: usize,
    units: bool,
    screen: &'a Screen,
}

struct GridColumn {
    key: String,
    width: usize,
    whole: bool,
    align: Align,
    header: String,
    unit: String,
    wraps: Wraps,
    cells: Vec<String>,
}

/// What becomes of a cell that is longer than its column.
#[derive(Clone, Copy, PartialEq)]
enum Wraps {
    /// Names keep the end of their path.
    Never,
    /// Texts go on in the next line after a blank.
    Words,
    /// Full names go on in the next line wherever they must.
    Anywhere,
}

impl Wraps {
    fn of(table: &Table, column: usize) -> Self {
        let any = |wanted: fn(&Cell) -> bool| table.rows.iter().any(|row| wanted(&row[column]));
        match (any(|cell| matches!(cell, Cell::Name(_))), any(|cell| matches!(cell, Cell::FullName(_)))) {
            (true, _) => Wraps::Never,
            (false, true) => Wraps::Anywhere,
            (false, false) => Wraps::Words,
        }
    }
}

impl GridColumn {
    /// A cell's lines.
    fn lines(&self, row: usize) -> Vec<String> {
        let cell = &self.cells[row];
        if cell.chars().count() <= self.width {
            return vec![cell.clone()];
        }
        match self.wraps {
            Wraps::Never => vec![middle(cell, self.width)],
            Wraps::Words => {
                let indent = (cell.len() - cell.trim_start().len()).min(self.width / 2);
                let lines = wrapped(cell, self.width - indent);
                lines.lines().map(|line| format!("{}{line}", " ".repeat(indent))).collect()
            }
            Wraps::Anywhere => {
                let letters: Vec<char> = cell.chars().collect();
                letters.chunks(self.width.max(1)).map(|line| line.iter().collect()).collect()
            }
        }
    }
}

impl<'a> Grid<'a> {
    fn of(table: &Table, screen: &'a Screen) -> Self {
        let texts = figure::cells(table);
        let shown = |text: &str| screen.spelt(text).replace('\n', " ");
        let mut columns: Vec<GridColumn> = table
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let (header, unit) = (shown(&column.header), shown(column.unit.as_deref().unwrap_or_default()));
                let cells: Vec<String> = texts.iter().map(|row| shown(&row[i])).collect();
                let width = cells.iter().chain([&header, &unit]).map(|t| t.chars().count()).max().unwrap_or(0);
                GridColumn {
                    key: column.key.clone(),
                    width,
                    whole: column.whole,
                    wraps: Wraps::of(table, i),
                    align: column.align,
                    header,
                    unit,
                    cells,
                }
            })
            .collect();
        let total: usize = columns.iter().map(|c| c.width + GAP).sum::<usize>().saturating_sub(GAP);
        shrink(&mut columns, table, total.saturating_sub(screen.width), screen.width);
        for column in columns.iter_mut().filter(|column| column.wraps == Wraps::Never) {
            column.cells = names_within(&column.cells, column.width);
        }
        Grid { rows: table.rows.len(), units: columns.iter().any(|c| !c.unit.is_empty()), columns, screen }
    }

    /// The end of the columns that fit beside the first one.
    fn fitting(&self, from: usize, width: usize) -> usize {
        let mut used = self.columns.first().map_or(0, |c| c.width);
        let mut to = from;
        while let Some(column) = self.columns.get(to) {
            used += GAP + column.width;
            if used > width && to > from {
                break;
            }
            to += 1;
        }
        to
    }

    /// The first column and those of `from..to`.
    fn block(&self, from: usize, to: usize) -> String {
        let shown = || self.columns[..1.min(self.columns.len())].iter().chain(&self.columns[from..to]);
        let head = |text: fn(&GridColumn) -> &str| {
            let head: String = self.line(shown().map(|c| (c, text(c))), |_, text| text.to_string());
            format!("{}\n", self.screen.heading(&head))
        };
        let mut text = head(|c| &c.header);
        if self.units {
            text += &head(|c| &c.unit);
        }
        text += &format!("{}\n", shown().map(|c| "-".repeat(c.width)).collect::<Vec<_>>().join("  "));
        for row in 0..self.rows {
            let cells: Vec<(&GridColumn, Vec<String>)> = shown().map(|c| (c, c.lines(row))).collect();
            let height = cells.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
            let part = |i: usize| cells.iter().map(move |(c, lines)| (*c, lines.get(i).map_or("", String::as_str)));
            let painted = |column: &GridColumn, text: &str| self.screen.cell(&column.key, text);
            (0..height).for_each(|i| text += &format!("{}\n", self.line(part(i), painted)));
        }
        text
    }

    /// Cells side by side, painted after they were measured.
    fn line<'c>(
        &self,
        cells: impl Iterator<Item = (&'c GridColumn, &'c str)>,
        painted: impl Fn(&GridColumn, &str) -> String,
    ) -> String {
        let padded = cells.map(|(column, text)| {
            let text = middle(text, column.width);
            let text = self.screen.spelt(&text);
            let blank = " ".repeat(column.width - text.chars().count().min(column.width));
            match column.align {
                Align::Left => painted(column, &text) + &blank,
                Align::Right => blank + &painted(column, &text),
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    }
}

/// Takes `excess` characters from the widest columns of names and texts, and keeps any column within the width.
fn shrink(columns: &mut [GridColumn], table: &Table, mut excess: usize, width: usize) {
    let is_name = |i: usize| {
        table.rows.iter().any(|r| matches!(r[i], Cell::Name(_) | Cell::FullName(_)) || r[i].words().is_some())
    };
    let mut shrinkable: Vec<usize> = (0..columns.len()).filter(|i| is_name(*i) && !columns[*i].whole).collect();
    shrinkable.sort_by_key(|i| std::cmp::Reverse(columns[*i].width));
    for i in shrinkable {
        let taken = excess.min(columns[i].width.saturating_sub(NARROWEST_NAME));
        columns[i].width -= taken;
        excess -= taken;
    }
    for (i, column) in columns.iter_mut().enumerate().filter(|(_, column)| !column.whole) {
        // The first column is repeated beside each other one, so the two together must fit.
        column.width = column.width.min(if i == 0 { width / 2 } else { width - width / 2 - GAP });
    }
    if columns.len() == 1 && !columns[0].whole {
        columns[0].width = columns[0].cells.iter().map(|c| c.chars().count()).max().unwrap_or(0).min(width);
    }
}

/// A command, which is indented by four, stays in its line: broken it could not be typed as it stands.
fn paragraph(text: &str, screen: &Screen) -> String {
    if text.starts_with(COMMAND) {
        return format!("{}\n", screen.spelt(text));
    }
    wrapped(&screen.spelt(text), screen.width)
}

/// A paragraph in lines of at most `width` characters, as far as its words allow.
pub fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines += &format!("{line}\n");
            line.clear();
        }
        line += &format!("{}{}", if line.is_empty() { "" } else { " " }, middle(word, width));
    }
    lines + &format!("{line}\n")
}
