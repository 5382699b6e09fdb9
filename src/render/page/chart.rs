//! Lines over the levels. Invariant: levels stand in their order at equal distances, each labelled; a value that was
//! not measured has no point, and no line goes through it.

use super::bars::{key, percent};
use crate::words::significant;
use maud::{Markup, html};

/// Height of the drawing, with the line of levels below it.
const HEIGHT: f64 = 240.0;
const FOOT: f64 = 26.0;
const HEAD: f64 = 22.0;

/// One line.
pub(super) struct Series {
    /// What it is, in the legend.
    pub name: String,
    /// Its colour and dashes in the style sheet.
    pub class: &'static str,
    /// One value a level.
    pub values: Vec<Option<f64>>,
}

/// How heights are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// By powers of ten.
    Log,
}

/// A chart.
pub(super) struct Chart<'a> {
    /// What is shown.
    pub title: &'a str,
    /// Numbers of clients.
    pub levels: &'a [usize],
    pub series: &'a [Series],
    pub scale: Scale,
    /// Nothing above this is drawn; `None`: all is.
    pub top: Option<f64>,
    /// A place between the levels with words: a number of clients.
    pub mark: Option<(f64, String)>,
    /// A value with its unit.
    pub show: fn(f64) -> String,
}

/// Draws it.
pub(super) fn draw(chart: &Chart) -> Markup {
    let Some(axis) = Axis::of(chart) else {
        return html! { p class="muted" { (chart.title) ": not measured." } };
    };
    html! {
        figure {
            figcaption { (chart.title) }
            svg class="chart" width="100%" height=(HEIGHT + FOOT) role="img" aria-label=(spoken(chart)) {
                @for (value, y) in axis.ticks() {
                    line class="grid" x1="0%" x2="100%" y1=(y) y2=(y) {}
                    text class="tick" x="0%" y=(y - 4.0) { ((chart.show)(value)) }
                }
                @for (at, level) in chart.levels.iter().enumerate() {
                    text class="level" x=(percent(x(chart, at as f64))) y=(HEIGHT + 18.0) { (level) }
                }
                @if let Some((clients, words)) = &chart.mark { (mark(chart, *clients, words)) }
                @for series in chart.series { (line(chart, &axis, series)) }
            }
            (key(chart.series.iter().map(|series| (format!("line {}", series.class), series.name.clone()))))
        }
    }
}

/// Share of the width at which the level of this number stands.
fn x(chart: &Chart, at: f64) -> f64 {
    let steps = chart.levels.len().max(2) - 1;
    0.17 + 0.78 * at / steps as f64
}

fn line(chart: &Chart, axis: &Axis, series: &Series) -> Markup {
    let points: Vec<Option<(f64, f64, f64)>> = series
        .values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let value = value.filter(|value| *value <= axis.high && *value > 0.0)?;
            Some((x(chart, at as f64), axis.y(value), value))
        })
        .collect();
    html! {
        g class=(series.class) {
            @for pair in points.windows(2) {
                @if let [Some(from), Some(to)] = pair {
                    line x1=(percent(from.0)) y1=(px(from.1)) x2=(percent(to.0)) y2=(px(to.1)) {}
                }
            }
            @for (point, level) in points.iter().zip(chart.levels) {
                @if let Some((x, y, value)) = point {
                    circle cx=(percent(*x)) cy=(px(*y)) r="3.5" {
                        title { (series.name) " at " (level) ": " ((chart.show)(*value)) }
                    }
                }
            }
        }
    }
}

/// A vertical line where so many clients are, between the levels by their logarithms.
fn mark(chart: &Chart, clients: f64, words: &str) -> Markup {
    let Some(at) = between(chart.levels, clients) else { return html! {} };
    let x = x(chart, at);
    let end = x > 0.6;
    html! {
        line class="mark" x1=(percent(x)) x2=(percent(x)) y1=(HEAD) y2=(HEIGHT) {}
        text class={ "mark " @if end { "end" } } x=(percent(if end { x - 0.01 } else { x + 0.01 })) y=(HEAD - 8.0) {
            (words)
        }
    }
}

/// Where a number of clients stands among the levels; `None`: beyond them.
fn between(levels: &[usize], clients: f64) -> Option<f64> {
    let at = levels.windows(2).position(|pair| (pair[0] as f64..=pair[1] as f64).contains(&clients))?;
    let [low, high] = [levels[at] as f64, levels[at + 1] as f64];
    Some(at as f64 + (clients / low).ln() / (high / low).ln())
}

/// What those hear who do not see it.
fn spoken(chart: &Chart) -> String {
    let of = |series: &Series| {
        let values = chart.levels.iter().zip(&series.values);
        let told: Vec<String> = values
            .map(|(level, value)| format!("{} at {level}", value.map_or("not measured".into(), chart.show)))
            .collect();
        format!("{}: {}", series.name, told.join(", "))
    };
    format!("{}. {}", chart.title, chart.series.iter().map(of).collect::<Vec<_>>().join(". "))
}

fn px(y: f64) -> String {
    format!("{y:.1}")
}

/// Heights of values.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    /// `None` where there is nothing to show.
    fn of(chart: &Chart) -> Option<Axis> {
        let values = chart.series.iter().flat_map(|series| &series.values).flatten().copied();
        let shown = values.filter(|value| *value > 0.0 && chart.top.is_none_or(|top| *value <= top));
        let (low, high) = shown.fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        (high > 0.0).then_some(())?;
        Some(match chart.scale {
            Scale::Linear => Axis { scale: chart.scale, low: 0.0, high },
            Scale::Log => Axis { scale: chart.scale, low: low / 1.3, high: high * 1.1 },
        })
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        HEIGHT - share * (HEIGHT - HEAD)
    }

    /// Round values with their heights.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear => {
                let step = round_step(self.high / 4.0);
                (0..6).map(|at| f64::from(at) * step).take_while(|value| *value <= self.high).collect()
            }
            Scale::Log => powers(self.low, self.high),
        };
        values.into_iter().map(|value| (value, self.y(value))).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least so much.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= least).unwrap_or(least)
}

/// Powers of ten in the range; with twos and fives where there are fewer than three.
fn powers(low: f64, high: f64) -> Vec<f64> {
    let from = low.log10().floor() as i32;
    let all = |times: &'static [f64]| {
        let values = (from..from + 12).flat_map(|power| times.iter().map(move |time| time * 10_f64.powi(power)));
        values.filter(|value| (low..=high).contains(value)).collect::<Vec<f64>>()
    };
    let tens = all(&[1.0]);
    if tens.len() >= 3 { tens } else { all(&[1.0, 2.0, 5.0]) }
}

/// Queries a second.
pub(super) fn rate(value: f64) -> String {
    format!("{}/s", significant(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(levels: &'a [usize], series: &'a [Series]) -> Chart<'a> {
        Chart { title: "t", levels, series, scale: Scale::Linear, top: None, mark: None, show: rate }
    }

    #[test]
    fn a_value_that_was_not_measured_has_no_point_and_no_line() {
        let series = [Series { name: "s".into(), class: "c", values: vec![Some(1.0), None, Some(2.0), Some(3.0)] }];
        let text = draw(&chart(&[1, 4, 16, 64], &series)).into_string();
        assert_eq!((text.matches("<circle").count(), text.matches("<line x1").count()), (3, 1), "{text}");
        assert!(text.contains("not measured at 4"), "{text}");
        let none = [Series { name: "s".into(), class: "c", values: vec![None] }];
        assert!(draw(&chart(&[1], &none)).into_string().contains("not measured"));
    }

    #[test]
    fn a_number_of_clients_stands_between_its_levels() {
        assert_eq!(between(&[1, 4, 16], 2.0), Some(0.5));
        assert_eq!(between(&[1, 4, 16], 16.0), Some(2.0));
        assert_eq!(between(&[1, 4, 16], 17.0), None);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([0.3, 1.0, 1_550.0, 7.0].map(round_step), [0.5, 1.0, 2_000.0, 10.0]);
        assert_eq!(powers(0.8, 30.0), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(powers(0.8, 300.0), [1.0, 10.0, 100.0]);
    }
}
