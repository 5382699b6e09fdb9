//! Numbers and cells as text. Invariant: all numbers of a column have the same decimals, so that their points align
//! and their sizes compare at a glance; nothing is written as 0 that is not.

use super::model::{Cell, Table};
use crate::profile::{Named, short_name, tell_apart};
use crate::words::thousands;

pub use crate::words::significant;

/// Decimals per column, the same for all columns of a unit: the largest number shows four digits and the median one
/// two, with at most three after the point.
fn decimals(table: &Table) -> Vec<usize> {
    let of_column = |i: usize| table.rows.iter().filter_map(move |row| row[i].magnitude());
    (0..table.columns.len())
        .map(|column| {
            let unit = &table.columns[column].unit;
            let shared =
                (0..table.columns.len()).filter(|i| *i == column || unit.is_some() && table.columns[*i].unit == *unit);
            decimals_for(shared.flat_map(of_column).filter(|size| *size > 0.0).collect())
        })
        .collect()
}

fn decimals_for(mut sizes: Vec<f64>) -> usize {
    sizes.sort_by(f64::total_cmp);
    // 0.05 % below the power of ten, so that 999.6 does not become 1000.0.
    let digits = |size: f64, wanted: i32| wanted - 1 - (size * 1.0005).log10().floor() as i32;
    let (Some(largest), Some(median)) = (sizes.last(), sizes.get(sizes.len() / 2)) else { return 0 };
    digits(*largest, 4).max(digits(*median, 2)).clamp(0, 3) as usize
}

/// All cells as text, by row; names short, and different functions of a column apart.
pub(super) fn cells(table: &Table) -> Vec<Vec<String>> {
    let decimals = decimals(table);
    let texts = |row: &Vec<Cell>| row.iter().zip(&decimals).map(|(part, decimals)| cell(part, *decimals)).collect();
    let mut cells: Vec<Vec<String>> = table.rows.iter().map(texts).collect();
    for column in 0..table.columns.len() {
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        for (at, row) in table.rows.iter().enumerate() {
            if let Cell::Name(full) = &row[column] {
                rows.push(at);
                names.push(Named { shown: cells[at][column].clone(), full, module: beside(row) });
            }
        }
        for (at, shown) in rows.into_iter().zip(tell_apart(&names, true)) {
            cells[at][column] = shown;
        }
    }
    cells
}

/// The text that stands beside a row's name: its module.
fn beside(row: &[Cell]) -> &str {
    row.iter().find_map(Cell::words).unwrap_or("")
}

/// A cell as text; names short.
fn cell(cell: &Cell, decimals: usize) -> String {
    match cell {
        Cell::Text(text) | Cell::Coded { text, .. } | Cell::FullName(text) => text.clone(),
        Cell::Name(name) => short_name(name),
        Cell::Count(number) => count(*number),
        Cell::Number(value) => number(*value, decimals),
        Cell::Figure(value) => significant(*value),
        Cell::Within(lower, upper) => format!("{}..{}", significant(*lower), significant(*upper)),
        Cell::Estimate { value, interval, .. } => estimate(*value, *interval, decimals),
        Cell::Difference { value, interval } => {
            let sign = if *value > 0.0 { "+" } else { "" };
            let half = interval.map_or(String::new(), |(low, high)| {
                format!(" ±{}", number((high - value).max(value - low), decimals))
            });
            format!("{sign}{}{half}", number(*value, decimals))
        }
        Cell::Missing(_) => "not measured".to_string(),
        Cell::Undefined(_) => "-".to_string(),
        Cell::Empty => String::new(),
    }
}

/// `12.3 ±0.4`; `<0.3` where nothing was seen and the interval bounds it.
fn estimate(value: f64, interval: Option<(f64, f64)>, decimals: usize) -> String {
    match interval {
        None => number(value, decimals),
        Some((_, high)) if value == 0.0 => format!("<{}", number(high, decimals)),
        Some((low, high)) => {
            format!("{} ±{}", number(value, decimals), number((high - value).max(value - low), decimals))
        }
    }
}

/// A number with thousands separators; one too small for the decimals reads `<0.001`.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let smallest = 0.1f64.powi(decimals as i32);
    if value != 0.0 && value.abs() < smallest / 2.0 {
        return format!("{}<{smallest:.decimals$}", if value < 0.0 { "-" } else { "" });
    }
    thousands(&format!("{value:.decimals$}"))
}

/// A count, for running text.
pub(super) fn count(count: u64) -> String {
    thousands(&count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_are_never_a_false_zero() {
        assert_eq!(number(1234567.8, 0), "1,234,568");
        assert_eq!(number(-1234.5, 1), "-1,234.5");
        assert_eq!(number(0.0, 2), "0.00");
        assert_eq!(number(0.0001, 2), "<0.01");
        assert_eq!(number(-0.0001, 2), "-<0.01");
        assert_eq!(number(123.0, 0), "123");
    }

    #[test]
    fn an_estimate_shows_its_wider_half_and_an_unseen_one_its_bound() {
        assert_eq!(estimate(12.34, Some((12.0, 12.9)), 1), "12.3 ±0.6");
        assert_eq!(estimate(0.0, Some((0.0, 0.25)), 2), "<0.25");
        assert_eq!(estimate(12.34, None, 1), "12.3");
    }

    #[test]
    fn columns_show_four_digits_of_the_largest_and_two_of_the_median() {
        let decimals = |sizes: &[f64]| decimals_for(sizes.to_vec());
        assert_eq!(decimals(&[147.5, 132.6, 1.2, 0.4, 0.2, 0.2, 0.1]), 2);
        assert_eq!(decimals(&[15_000.0, 2_300.0]), 0);
        assert_eq!((decimals(&[999.7]), decimals(&[999.4])), (0, 1));
        assert_eq!((decimals(&[0.000_1]), decimals(&[])), (3, 0));
    }
}
