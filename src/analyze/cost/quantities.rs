//! What a preset's expressions are worth in a window. Invariant: a value that rests on a metric that is absent, or on
//! a histogram nothing was observed in, is missing with the reason; it never becomes 0.

use crate::metrics::{Change, MetricsDelta, Selector, quantile_bounds};
use crate::preset::{Conversion, Expression, Function, Node, Operator, Per, Preset, Time, Timed, Unit, Variable};
use crate::run::{Part, Window};
use serde::Serialize;

/// A figure of a window, by the preset's definition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// Its name in the preset.
    pub name: String,
    /// Unit of `value` and `bounds`: the one in which the preset shows it.
    pub unit: String,
    /// What the value is divided by.
    pub per: Per,
    /// `None` where `missing` says why, and for a quantile, which has bounds instead.
    pub value: Option<f64>,
    /// Observations the value rests on: the smallest count among the histograms used; `None` for counters and gauges.
    pub count: Option<f64>,
    /// The quantile lies in `(lower, upper]`; an infinite upper bound (the last bucket) becomes null in JSON.
    pub bounds: Option<(f64, f64)>,
    /// The stored files and the series in them.
    pub source: String,
    /// Why there is no value.
    pub missing: Option<String>,
}

/// All figures of the preset, in its order.
pub fn quantities(preset: &Preset, window: &Window) -> Vec<Quantity> {
    let inputs = Inputs::of(window);
    let quantity = |computed: &crate::preset::Computed| {
        let mut quantity = Quantity {
            name: computed.name.clone(),
            unit: computed.shown.to_string(),
            per: computed.per,
            value: None,
            count: None,
            bounds: None,
            source: source(&computed.expression),
            missing: None,
        };
        match inputs.evaluate(&computed.expression).and_then(|figure| in_unit(figure, &computed.unit, &computed.shown))
        {
            Ok(Figure { kind: Kind::Exact(value), count }) => (quantity.value, quantity.count) = (Some(value), count),
            Ok(Figure { kind: Kind::Within(a, b), count }) => {
                (quantity.bounds, quantity.count) = (Some((a, b)), count);
            }
            Err(why) => quantity.missing = Some(why),
        }
        quantity
    };
    preset.quantity.iter().map(quantity).collect()
}

/// One expression's exact value in a window, or why it has none.
pub fn evaluate(expression: &Expression, window: &Window) -> Result<f64, String> {
    Inputs::of(window).number(expression)
}

/// What an expression that gives a time is worth in a window, in us, or why it has no value.
pub fn microseconds(timed: &Timed, window: &Window) -> Result<f64, String> {
    match Inputs::of(window).microseconds(timed)?.kind {
        Kind::Exact(micros) => Ok(micros),
        Kind::Within(..) => Err(format!("`{}` is known only within bounds", timed.expression)),
    }
}

pub(in crate::analyze) fn source(expression: &Expression) -> String {
    let series: Vec<String> = expression.selectors().iter().map(|s| s.to_string()).collect();
    if series.is_empty() {
        return "load.json".to_string();
    }
    format!("metrics-before.prom.gz, metrics-after.prom.gz: {}", series.join(", "))
}

/// What expressions are evaluated on.
pub(in crate::analyze) struct Inputs<'a> {
    metrics: Result<&'a MetricsDelta, String>,
    queries: f64,
    connections: usize,
}

/// A value, and how many observations it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::analyze) struct Figure {
    pub kind: Kind,
    pub count: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::analyze) enum Kind {
    Exact(f64),
    /// Somewhere in `(lower, upper]`.
    Within(f64, f64),
}

impl<'a> Inputs<'a> {
    pub fn of(window: &'a Window) -> Inputs<'a> {
        let why = || {
            let missing = window.facts.lacks(&Part::Metrics);
            missing.map_or_else(|| "the window has no metrics".to_string(), |m| format!("no metrics: {}", m.why))
        };
        Inputs {
            metrics: window.metrics.as_ref().ok_or_else(why),
            queries: window.load.completed as f64,
            connections: window.load.connections,
        }
    }

    /// The expression's value, or why it has none.
    pub fn evaluate(&self, expression: &Expression) -> Result<Figure, String> {
        let figure = self.node(expression.root())?;
        match figure.kind {
            Kind::Exact(value) if !value.is_finite() => Err(format!("`{expression}` is not a finite number")),
            _ => Ok(figure),
        }
    }

    /// The expression's value where it is a plain number.
    pub fn number(&self, expression: &Expression) -> Result<f64, String> {
        match self.evaluate(expression)?.kind {
            Kind::Exact(value) => Ok(value),
            Kind::Within(..) => Err(format!("`{expression}` is known only within bounds")),
        }
    }

    /// The value of an expression that gives a time, in us.
    pub fn microseconds(&self, timed: &Timed) -> Result<Figure, String> {
        convert(self.evaluate(&timed.expression)?, timed.unit, Time::Microseconds)
    }

    fn node(&self, node: &Node) -> Result<Figure, String> {
        let exact = |value| Ok(Figure { kind: Kind::Exact(value), count: None });
        match node {
            Node::Number(value) => exact(*value),
            Node::Variable(Variable::Queries) if self.queries == 0.0 => Err("no query was completed".to_string()),
            Node::Variable(Variable::Queries) => exact(self.queries),
            Node::Variable(Variable::Connections) => exact(self.connections as f64),
            Node::Variable(Variable::Window) => exact(self.metrics.clone()?.seconds()),
            Node::Of(function, selector) => self.take(*function, selector),
            Node::Negated(inner) => {
                let figure = self.node(inner)?;
                Ok(Figure { kind: scale(figure.kind, -1.0), ..figure })
            }
            Node::Binary(operator, left, right) => binary(*operator, self.node(left)?, self.node(right)?),
        }
    }

    fn take(&self, function: Function, selector: &Selector) -> Result<Figure, String> {
        let change = selector.select(self.metrics.clone()?).map_err(|e| e.to_string())?.change;
        let figure = |value, count| Ok(Figure { kind: Kind::Exact(value), count });
        let observed = |count: f64| match count > 0.0 {
            true => Ok(count),
            false => Err(format!("registered, never observed in the window: {selector}")),
        };
        let exposed = |sum: Option<f64>| sum.ok_or_else(|| format!("the histogram's sum is not exposed: {selector}"));
        match (function, &change) {
            (Function::Count, Change::Histogram { count, .. }) => figure(observed(*count)?, Some(*count)),
            (Function::Sum, Change::Histogram { count, sum, .. }) => {
                observed(*count)?;
                figure(exposed(*sum)?, Some(*count))
            }
            (Function::Mean, Change::Histogram { count, sum, .. }) => {
                let count = observed(*count)?;
                figure(exposed(*sum)? / count, Some(count))
            }
            (Function::Delta, Change::Histogram { count, .. }) => figure(*count, None),
            (Function::Delta, Change::Counter { delta, .. }) => figure(*delta, None),
            (Function::Delta, Change::Untyped { before, after }) => match after - before.unwrap_or(0.0) {
                fell if fell < 0.0 => Err(format!("went down and has no declared type: a gauge, or reset: {selector}")),
                delta => figure(delta, None),
            },
            (Function::Delta, Change::Gauge { before: Some(before), after }) => figure(after - before, None),
            (Function::Delta, Change::Gauge { before: None, .. }) => {
                Err(format!("a gauge that the first scrape lacks has no difference: {selector}"))
            }
            (Function::Gauge, Change::Gauge { after, .. }) => figure(*after, None),
            (Function::Quantile(q), Change::Histogram { count, .. }) => {
                let count = observed(*count)?;
                let bounds = quantile_bounds(&change, q);
                let (lower, upper) = bounds.ok_or_else(|| format!("has no buckets: {selector}"))?;
                Ok(Figure { kind: Kind::Within(lower, upper), count: Some(count) })
            }
            (Function::Gauge, _) => Err(format!("is not declared a gauge: {selector}")),
            (Function::Count | Function::Sum | Function::Mean | Function::Quantile(_), _) => {
                Err(format!("is not a histogram: {selector}"))
            }
        }
    }
}

fn binary(operator: Operator, left: Figure, right: Figure) -> Result<Figure, String> {
    let count = match (left.count, right.count) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let kind = match (operator, left.kind, right.kind) {
        (Operator::Divide, _, Kind::Exact(0.0)) => return Err("divided by 0".to_string()),
        (Operator::Add, Kind::Exact(a), Kind::Exact(b)) => Kind::Exact(a + b),
        (Operator::Subtract, Kind::Exact(a), Kind::Exact(b)) => Kind::Exact(a - b),
        (Operator::Multiply, Kind::Exact(a), Kind::Exact(b)) => Kind::Exact(a * b),
        (Operator::Divide, Kind::Exact(a), Kind::Exact(b)) => Kind::Exact(a / b),
        (Operator::Multiply, bounds, Kind::Exact(by)) | (Operator::Multiply, Kind::Exact(by), bounds) => {
            scale(bounds, by)
        }
        (Operator::Divide, bounds, Kind::Exact(by)) => scale(bounds, 1.0 / by),
        _ => return Err("bounds of a quantile can only be multiplied or divided by a number".to_string()),
    };
    Ok(Figure { kind, count })
}

/// A figure in the unit that it is shown in; units that are no times are the same.
fn in_unit(figure: Figure, unit: &Unit, shown: &Unit) -> Result<Figure, String> {
    match (unit.time(), shown.time()) {
        (Some(from), Some(to)) => convert(figure, from, to),
        _ => Ok(figure),
    }
}

fn convert(figure: Figure, from: Time, to: Time) -> Result<Figure, String> {
    let exact = |factor| Figure { kind: Kind::Exact(factor), count: None };
    match from.to(to) {
        Conversion::Multiply(factor) => binary(Operator::Multiply, figure, exact(factor)),
        Conversion::Divide(factor) => binary(Operator::Divide, figure, exact(factor)),
    }
}

fn scale(kind: Kind, by: f64) -> Kind {
    match kind {
        Kind::Exact(value) => Kind::Exact(value * by),
        Kind::Within(lower, upper) if by < 0.0 => Kind::Within(upper * by, lower * by),
        Kind::Within(lower, upper) => Kind::Within(lower * by, upper * by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::metrics::Scrape;

    const BEFORE: &str = "# TYPE h histogram\n# TYPE dead histogram\n# TYPE g gauge\n# TYPE c counter\n\
        h_bucket{le=\"0.001\"} 10\nh_bucket{le=\"+Inf\"} 10\nh_sum 0.5\nh_count 10\n\
        dead_sum 0\ndead_count 0\nc 5\ng 2\nu 9\n# TYPE bare histogram\nbare_bucket{le=\"+Inf\"} 1\n";
    const AFTER: &str = "# TYPE h histogram\n# TYPE dead histogram\n# TYPE g gauge\n# TYPE c counter\n# TYPE late \
                         gauge\n\
        h_bucket{le=\"0.001\"} 60\nh_bucket{le=\"+Inf\"} 110\nh_sum 2.5\nh_count 110\n\
        dead_sum 0\ndead_count 0\nc 5\ng 10\nlate 1\nu 4\n# TYPE bare histogram\nbare_bucket{le=\"+Inf\"} 3\n";

    fn evaluate(text: &str) -> Result<Figure, String> {
        let scrape = |at, text: &str| Scrape { span: Span::new(at, at), text: text.to_string() };
        let metrics = MetricsDelta::between(&scrape(0, BEFORE), &scrape(4_000_000_000, AFTER));
        let inputs = Inputs { metrics: Ok(&metrics), queries: 50.0, connections: 16 };
        inputs.evaluate(&Expression::parse(text).unwrap())
    }

    fn exact(value: f64, count: Option<f64>) -> Result<Figure, String> {
        Ok(Figure { kind: Kind::Exact(value), count })
    }

    #[test]
    fn a_mean_carries_its_own_count() {
        assert_eq!(evaluate("mean(h) * 1000"), exact(20.0, Some(100.0)));
        assert_eq!(evaluate("count(h) / queries"), exact(2.0, Some(100.0)));
        assert_eq!(evaluate("sum(h) / window"), exact(0.5, Some(100.0)));
        assert_eq!(evaluate("delta(g) / (window * connections)"), exact(0.125, None));
        assert_eq!(evaluate("gauge(g) - 3"), exact(7.0, None));
    }

    #[test]
    fn a_counter_that_stood_still_is_zero_and_a_histogram_that_did_is_not_measured() {
        assert_eq!(evaluate("delta(c)"), exact(0.0, None));
        assert_eq!(evaluate("delta(dead)"), exact(0.0, None));
        let never = Err("registered, never observed in the window: dead".to_string());
        for expression in ["mean(dead) * 1e6", "count(dead)", "1 + sum(dead)", "quantile(dead, 0.5)"] {
            assert_eq!(evaluate(expression), never, "{expression}");
        }
    }

    #[test]
    fn what_is_absent_or_of_another_kind_is_said() {
        let why = |text: &str| evaluate(text).unwrap_err();
        assert_eq!(why("1 - mean(gone{a=\"b\"})"), "absent: the server exports no series gone{a=\"b\"}");
        assert_eq!(why("mean(c)"), "is not a histogram: c");
        assert_eq!(why("gauge(c)"), "is not declared a gauge: c");
        assert_eq!(why("delta(late)"), "a gauge that the first scrape lacks has no difference: late");
        assert_eq!(why("queries / delta(c)"), "divided by 0");
        assert_eq!(why("delta(u)"), "went down and has no declared type: a gauge, or reset: u");
        assert_eq!(why("mean(bare)"), "the histogram's sum is not exposed: bare");
    }

    #[test]
    fn a_quantile_has_bounds_and_scales_with_its_unit() {
        let within = |a, b| Ok(Figure { kind: Kind::Within(a, b), count: Some(100.0) });
        assert_eq!(evaluate("quantile(h, 0.5) * 1000"), within(0.0, 1.0));
        assert_eq!(evaluate("quantile(h, 0.51) / 2"), within(0.0005, f64::INFINITY));
        assert!(evaluate("quantile(h, 0.5) + 1").is_err());
        assert!(evaluate("quantile(h, 0.5) / quantile(h, 0.9)").is_err());
    }
}
