//! The table behind a window's lines: the same figures by seconds. Invariant: a figure that some slice of a stretch
//! lacks is a dash, never 0.

use super::tables::{head, scrolled};
use crate::analyze::page::{Line, Stretch};
use crate::render::places::short;
use crate::wire::Place;
use crate::words::{significant, time};
use maud::{Markup, html};

/// Rows at most: what can be read through.
const ROWS: usize = 30;

/// A window by seconds, closed until somebody opens it.
pub(super) fn table(line: &Line) -> Markup {
    let found = line.stretches(ROWS);
    let places: Vec<Place> = Place::ALL.into_iter().filter(|place| *place != Place::Client).collect();
    let placed = found.iter().any(|stretch| stretch.clients.is_some());
    let columns = ["seconds", "queries/s", "mean", "greatest p99", "CPUs"].map(String::from).into_iter();
    let names: Vec<String> =
        columns.chain(places.iter().filter(|_| placed).map(|place| format!("clients {}", short(*place)))).collect();
    html! {
        details {
            summary { "Table: window " (line.window.directory()) " by seconds" }
            (scrolled("The window by seconds", &html! { table {
                (head(names.iter().map(|name| ("number", name.as_str()))))
                tbody { @for stretch in &found { (row(stretch, placed)) } }
            } }))
        }
    }
}

fn row(stretch: &Stretch, placed: bool) -> Markup {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let clients = (0..Place::ALL.len() - 1).filter(|_| placed);
    html! {
        tr {
            th scope="row" class="number" {
                (format!("{:.0} to {:.1}", stretch.at, stretch.at + stretch.seconds).trim_end_matches(".0"))
            }
            td class="number" { (significant(stretch.throughput)) }
            td class="number" { (or_dash(stretch.mean.map(time))) }
            td class="number" { (or_dash(stretch.p99.map(|nanos| time(nanos as f64)))) }
            td class="number" { (or_dash(stretch.cpus.map(significant))) }
            @for place in clients {
                td class="number" { (or_dash(stretch.clients.map(|clients| significant(clients[place])))) }
            }
        }
    }
}
