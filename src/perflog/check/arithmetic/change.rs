//! Whether a difference, percentage or factor follows from two figures. Invariant: it contradicts them only if no
//! values within everything's rounding agree, in no reading that its words allow.

use super::grid::Value;
use super::head::Form;
use super::interval::Interval;
use super::told::{Contradiction, Rule};
use super::unit::{Dimension, Unit, grouped};

/// A change as it is said.
#[derive(Clone, Debug)]
pub struct Said {
    pub value: Value,
    pub form: Form,
    /// The sign says better and worse, not more and less.
    pub better: bool,
    /// A percentage or factor may be of the later value, or what is left of the earlier one.
    pub loose: bool,
}

impl Said {
    pub fn new(value: &Value, form: Form, better: bool) -> Said {
        let form = match (value.dimension(), form) {
            (Dimension::Percent | Dimension::Points, _) => Form::Percent,
            (Dimension::Factor, _) => Form::Factor,
            (Dimension::Time | Dimension::Rate | Dimension::Clients | Dimension::Bytes, Form::Any) => Form::Difference,
            (_, form) => form,
        };
        Said { value: value.clone(), form, better, loose: false }
    }

    /// Whether it can be said of going from one value to the other; `None` where the two have nothing to compare.
    pub fn agrees(&self, from: &Value, to: &Value) -> Option<bool> {
        let alike = from.dimension() == to.dimension();
        if !alike || from.unit.per_query != to.unit.per_query {
            return None;
        }
        let readings = self.readings(from, to);
        (!readings.is_empty()).then(|| readings.iter().any(|one| one.meets(self.value.interval)))
    }

    /// What it could be, the plainest first.
    fn readings(&self, from: &Value, to: &Value) -> Vec<Interval> {
        let (a, b) = (from.interval, to.interval);
        let of_percent = [Dimension::Percent, Dimension::Points];
        let points = of_percent.contains(&from.dimension()) && self.value.dimension() != Dimension::Factor;
        let mut found = Vec::new();
        if points || self.form == Form::Difference && self.differs_in(from) || self.form == Form::Any {
            self.push(&mut found, b.minus(a));
        }
        if matches!(self.form, Form::Percent | Form::Any) {
            let change = |a: Interval, b: Interval| Some(b.over(a)?.shifted(-1.0).scaled(100.0));
            change(a, b).into_iter().for_each(|change| self.push(&mut found, change));
            if self.better {
                change(b, a).into_iter().for_each(|change| self.push(&mut found, change));
            }
            let left = self.value.sign.is_none() || self.loose;
            found.extend(b.over(a).filter(|_| left).map(|ratio| ratio.scaled(100.0)));
        }
        if matches!(self.form, Form::Factor | Form::Any) {
            found.extend(b.over(a));
            // A factor without a sign is said of the larger by the smaller, too.
            found.extend(a.over(b));
            if self.value.sign == Some('+') {
                found.extend(b.over(a).map(|ratio| ratio.shifted(-1.0)));
            }
        }
        found
    }

    /// Without a sign, or with one that says better and worse, the other direction is meant as well.
    fn push(&self, found: &mut Vec<Interval>, change: Interval) {
        found.push(change);
        if self.value.sign.is_none() || self.better || self.loose {
            found.push(change.scaled(-1.0));
        }
    }

    fn differs_in(&self, from: &Value) -> bool {
        [Dimension::Plain, from.dimension()].contains(&self.value.dimension())
    }

    /// What is wrong with it.
    pub fn contradiction(&self, from: &Value, to: &Value) -> Contradiction {
        let by_unit = [1e3, 1e-3].into_iter().find(|factor| {
            let other = Value { interval: from.interval.scaled(*factor), ..from.clone() };
            from.dimension() == Dimension::Time && self.agrees(&other, to) == Some(true)
        });
        let hint = by_unit.map_or("", |_| "; with the unit of one of them 1000 times larger or smaller it would");
        Contradiction {
            rule: if by_unit.is_some() { Rule::Unit } else { Rule::Change },
            stands: self.value.text.clone(),
            right: self.right(from, to),
            why: format!("it does not follow from {} and {}{hint}", from.said(), to.said()),
        }
    }

    fn right(&self, from: &Value, to: &Value) -> String {
        let (a, b) = (from.interval.middle(), to.interval.middle());
        let signed = |value: f64, text: String| if value > 0.0 { format!("+{text}") } else { text };
        let percent = 100.0 * (b / a - 1.0);
        match self.form {
            Form::Percent => signed(percent, format!("{} %", grouped(percent))),
            Form::Factor => {
                format!("{}x", grouped(if self.value.interval.middle() >= 1.0 && b < a { a / b } else { b / a }))
            }
            Form::Difference | Form::Any => {
                let unit = if self.value.unit == Unit::PLAIN { from.unit } else { self.value.unit };
                signed(b - a, unit.said(b - a))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::figures;
    use super::*;

    fn value(text: &str) -> Value {
        let figure = &figures(text)[0];
        Value::of(figure, figure.unit.unwrap_or(Unit::PLAIN), text)
    }

    fn agrees(said: &str, from: &str, to: &str) -> Option<bool> {
        Said::new(&value(said), Form::Any, false).agrees(&value(from), &value(to))
    }

    #[test]
    fn a_change_agrees_within_the_rounding_of_all_three() {
        for (said, from, to) in [
            ("+14 %", "12,300 q/s", "14,100 q/s"),
            ("+14.6 %", "12,301 q/s", "14,101 q/s"),
            ("-13 %", "1,301 us", "1,131 us"),
            ("1.4x", "10.0 ms", "14.4 ms"),
            ("x1.4", "14.4 ms", "10.0 ms"),
            ("+14.6x", "1.0 ms", "15.6 ms"),
            ("13 %", "1,301 us", "1,131 us"),
            ("87 %", "1,301 us", "1,131 us"),
            ("+170 us", "1.131 ms", "1.301 ms"),
            ("+5 points", "80 %", "85 %"),
            ("+2.1x", "12.3k q/s", "26k q/s"),
        ] {
            assert_eq!(agrees(said, from, to), Some(true), "{said} of {from}, {to}");
        }
        for (said, from, to) in [
            ("+24 %", "12,300 q/s", "14,100 q/s"),
            ("-14.6 %", "12,301 q/s", "14,101 q/s"),
            ("-15.0 %", "1,301 us", "1,131 us"),
            ("1.4x", "10.0 ms", "15.6 ms"),
            ("+270 us", "1.131 ms", "1.301 ms"),
            ("-170 us", "1.131 ms", "1.301 ms"),
        ] {
            assert_eq!(agrees(said, from, to), Some(false), "{said} of {from}, {to}");
        }
        assert_eq!(agrees("+14 %", "12,300 q/s", "14 ms"), None);
    }

    #[test]
    fn what_would_be_right_is_said_and_so_is_a_unit_that_was_taken_for_another() {
        let of = |said: &str, from: &str, to: &str| {
            let found = Said::new(&value(said), Form::Any, false).contradiction(&value(from), &value(to));
            (found.rule, found.right)
        };
        assert_eq!(of("+24 %", "12,300 q/s", "14,100 q/s"), (Rule::Change, "+14.6 %".into()));
        assert_eq!(of("+270 us", "1.131 ms", "1.301 ms"), (Rule::Change, "+170 us".into()));
        assert_eq!(of("-13 %", "1,301 ms", "1,131 us").0, Rule::Unit);
    }
}
