//! Throughput and latency over the clients, with what bounds the throughput. Invariant: a bound that the run does not
//! tell is not drawn.

use super::chart::{Chart, Scale, Series, draw, rate};
use super::{part as part_of, tables};
use crate::analyze::judge::summary::LevelSummary;
use crate::analyze::page::Page;
use crate::render::model::Section;
use crate::words::{counted, significant, time};
use maud::{Markup, html};

/// By how much a bound may be above the greatest throughput and still be drawn.
const ABOVE: f64 = 2.0;

/// The second part.
pub(super) fn part(page: &Page, sections: &[Section]) -> Markup {
    let lead = "More clients bring more queries a second until something is busy all the time. From then on they only \
                wait longer.";
    let body = html! {
        div class="pair" {
            (throughput(page))
            (latency(page))
        }
        (knee(page))
        (tables::behind(sections, &["levels", "costs"]))
    };
    part_of("speed", "Throughput and latency", lead, &body)
}

fn throughput(page: &Page) -> Markup {
    let levels: Vec<usize> = page.levels.iter().map(|level| level.level).collect();
    let measured: Vec<Option<f64>> = page.levels.iter().map(|level| level.throughput).collect();
    let most = measured.iter().flatten().fold(0.0_f64, |most, rate| most.max(*rate));
    let mut series = vec![Series { name: "measured".into(), class: "series-main", values: measured }];
    if let Some(ceiling) = &page.ceiling {
        let values = levels.iter().map(|level| Some(ceiling.at(*level)?.throughput)).collect();
        let name = "bound: capacity over what a query costs there (1/Dmax)".into();
        series.push(Series { name, class: "series-bound", values });
        series.extend(ceiling.unqueued.map(|unqueued| Series {
            name: format!("bound: clients over the time between a client's queries at {} (N/(R+Z))", unqueued.level),
            class: "series-unqueued",
            values: levels.iter().map(|level| Some(unqueued.throughput(*level))).collect(),
        }));
    }
    let last = page.ceiling.as_ref().and_then(|ceiling| ceiling.bounds.last());
    let mark = last.and_then(|bound| Some((bound.clients?, format!("bounds meet at {}", significant(bound.clients?)))));
    draw(&Chart {
        title: "Queries a second, by number of clients",
        levels: &levels,
        series: &series,
        scale: Scale::Linear,
        top: (most > 0.0).then_some(ABOVE * most),
        mark,
        show: rate,
    })
}

fn latency(page: &Page) -> Markup {
    let levels: Vec<usize> = page.levels.iter().map(|level| level.level).collect();
    let of = |name: &str, class, value: &dyn Fn(&LevelSummary) -> Option<f64>| Series {
        name: name.into(),
        class,
        values: page.levels.iter().map(value).collect(),
    };
    let as_float = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64);
    let series = [
        of("p99", "series-p99", &|level| as_float(level.p99)),
        of("mean", "series-main", &|level| level.mean_latency.or(level.sockets_latency)),
        of("p50", "series-p50", &|level| as_float(level.p50)),
    ];
    draw(&Chart {
        title: "Latency, by number of clients",
        levels: &levels,
        series: &series,
        scale: Scale::Log,
        top: None,
        mark: None,
        show: time,
    })
}

/// What the bounds say.
fn knee(page: &Page) -> Markup {
    let Some(bound) = page.ceiling.as_ref().and_then(|ceiling| ceiling.bounds.last()) else {
        let why = "What bounds the throughput: not measured, for the run does not tell what a query costs.";
        return html! { p class="note" { (why) } };
    };
    html! {
        p class="note" {
            "By the costs at " (counted(bound.level as u64, "client")) " the scarcest resource is "
            (bound.resource.to_string()) ": it can serve at most " (rate(bound.throughput)) " and was busy "
            (format!("{:.0}", 100.0 * bound.utilisation)) " % of the time."
            @if let Some(clients) = bound.clients {
                " Without queues " (significant(clients)) " clients would be enough for that: the knee."
            }
            " What a query costs can fall as the load grows, so the bound is drawn for each level by its own costs."
        }
    }
}
