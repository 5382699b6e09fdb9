//! Expressions over a window's metrics: `mean(NAME{op="read_ts"}) * 1e6`, `count(A) / queries`. Invariant: parsing
//! knows no data; what an expression is worth is decided in [`crate::analyze::cost::quantities`].
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = factor { ("*" | "/") factor }
//! factor  = "-" factor | number | variable | function "(" selector [ "," number ] ")" | "(" sum ")"
//! ```

use crate::metrics::Selector;
use std::fmt;

/// A parsed expression; displays as it was written.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    root: Node,
}

/// A node of the syntax tree of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A constant.
    Number(f64),
    /// A figure of the window itself.
    Variable(Variable),
    /// A function of the series that a selector means.
    Of(Function, Selector),
    /// The operand with the opposite sign.
    Negated(Box<Node>),
    /// An operator with its left and its right operand.
    Binary(Operator, Box<Node>, Box<Node>),
}

/// An arithmetic operator; `*` and `/` bind more tightly than `+` and `-`, and all associate to the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// Figures of the window itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Queries completed in the window.
    Queries,
    /// Seconds between the two scrapes' midpoints.
    Window,
    /// N.
    Connections,
}

/// What is taken of the series that a selector means, in the metric's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Observations of a histogram; none at all is "not measured".
    Count,
    /// Sum of a histogram's observations; none at all is "not measured".
    Sum,
    /// delta(sum) / delta(count) of a histogram.
    Mean,
    /// Difference of a counter, of a gauge that only rises, or of a histogram's count; 0 is a value.
    Delta,
    /// A gauge's (or a gauge-like counter's) reading at the window's end.
    Gauge,
    /// Bounds of the bucket that holds this quantile (0..=1).
    Quantile(f64),
}

/// What is wrong with an expression, and where (bytes from its start).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expression `{text}`, at byte {at}: {what}")]
pub struct BadExpression {
    /// The whole expression as written.
    pub text: String,
    /// Where the fault is, in bytes from the start of `text`.
    pub at: usize,
    /// What is wrong there, in words.
    pub what: String,
}

impl Expression {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Expression, BadExpression> {
        let mut parser = Parser { text, at: 0, parts: 0 };
        let root = parser.sum()?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.bad("an operator (`+ - * /`) or the end expected"));
        }
        Ok(Expression { text: text.to_string(), root })
    }

    /// The root of the syntax tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The selectors in the order they are written.
    pub fn selectors(&self) -> Vec<&Selector> {
        fn walk<'a>(node: &'a Node, found: &mut Vec<&'a Selector>) {
            match node {
                Node::Of(_, selector) => found.push(selector),
                Node::Negated(inner) => walk(inner, found),
                Node::Binary(_, left, right) => {
                    walk(left, found);
                    walk(right, found);
                }
                Node::Number(_) | Node::Variable(_) => {}
            }
        }
        let mut found = Vec::new();
        walk(&self.root, &mut found);
        found
    }
}

/// Operands and signs: more than anybody writes, and few enough for the stack, as `1 + 1 + 1` is as deep as it is long.
const MOST_PARTS: usize = 200;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    parts: usize,
}

impl<'a> Parser<'a> {
    fn bad(&self, what: &str) -> BadExpression {
        self.bad_at(self.at, what)
    }

    fn bad_at(&self, at: usize, what: &str) -> BadExpression {
        BadExpression { text: self.text.to_string(), at, what: what.to_string() }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len_utf8() } else { 0 };
        found
    }

    fn need(&mut self, token: char, after: &str) -> Result<(), BadExpression> {
        if self.take(token) { Ok(()) } else { Err(self.bad(&format!("`{token}` expected {after}"))) }
    }

    fn sum(&mut self) -> Result<Node, BadExpression> {
        let mut left = self.product()?;
        loop {
            let operator = match () {
                _ if self.take('+') => Operator::Add,
                _ if self.take('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            left = Node::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Node, BadExpression> {
        let mut left = self.factor()?;
        loop {
            let operator = match () {
                _ if self.take('*') => Operator::Multiply,
                _ if self.take('/') => Operator::Divide,
                _ => return Ok(left),
            };
            left = Node::Binary(operator, Box::new(left), Box::new(self.factor()?));
        }
    }

    fn factor(&mut self) -> Result<Node, BadExpression> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(self.bad(&format!("more than {MOST_PARTS} operands and signs")));
        }
        if self.take('-') {
            return Ok(Node::Negated(Box::new(self.factor()?)));
        }
        if self.take('(') {
            let inner = self.sum()?;
            self.need(')', "to close the parenthesis")?;
            return Ok(inner);
        }
        let rest = &self.text[self.at..];
        match rest.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number().map(Node::Number),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            _ => Err(self.bad("a number, a name or `(` expected")),
        }
    }

    fn number(&mut self) -> Result<f64, BadExpression> {
        self.skip_space();
        let rest = &self.text.as_bytes()[self.at..];
        let exponent = |i: usize| i > 0 && matches!(rest[i - 1], b'e' | b'E');
        let part =
            |i: usize, b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E') || (b == b'-' && exponent(i));
        let length = rest.iter().enumerate().take_while(|&(i, &b)| part(i, b)).count();
        let number = self.text[self.at..self.at + length].parse().map_err(|_| self.bad("a number expected"))?;
        self.at += length;
        Ok(number)
    }

    fn word(&mut self) -> Result<Node, BadExpression> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        let function = match word {
            "queries" => return Ok(Node::Variable(Variable::Queries)),
            "window" => return Ok(Node::Variable(Variable::Window)),
            "connections" => return Ok(Node::Variable(Variable::Connections)),
            "count" => Function::Count,
            "sum" => Function::Sum,
            "mean" => Function::Mean,
            "delta" => Function::Delta,
            "gauge" => Function::Gauge,
            "quantile" => Function::Quantile(0.0),
            _ => {
                let known = "queries, window, connections, count(), sum(), mean(), delta(), gauge() and quantile()";
                return Err(self.bad_at(start, &format!("`{word}` is not known; there are {known}")));
            }
        };
        self.need('(', &format!("after `{word}`"))?;
        let selector = self.selector()?;
        let function = if let Function::Quantile(_) = function { self.quantile()? } else { function };
        self.need(')', "after the selector")?;
        Ok(Node::Of(function, selector))
    }

    fn quantile(&mut self) -> Result<Function, BadExpression> {
        self.need(',', "and the quantile (0..1) after the selector")?;
        let at = self.at;
        let q = self.number()?;
        if !(0.0..=1.0).contains(&q) {
            return Err(self.bad_at(at, "a quantile lies between 0 and 1"));
        }
        Ok(Function::Quantile(q))
    }

    /// Reads `name{...}`; a quoted value may hold any character.
    fn selector(&mut self) -> Result<Selector, BadExpression> {
        self.skip_space();
        let start = self.at;
        let (mut quoted, mut escaped, mut braces) = (false, false, false);
        for (i, c) in self.text[start..].char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '{' => braces = true,
                '}' => braces = false,
                ',' | ')' if !braces => {
                    self.at = start + i;
                    break;
                }
                _ => {}
            }
        }
        if self.at == start {
            return Err(self.bad_at(start, "a selector and `)` expected"));
        }
        let text = self.text[start..self.at].trim_end();
        Selector::parse(text).map_err(|e| self.bad_at(start + e.at, &e.what))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Expression {
    type Error = BadExpression;
    fn try_from(text: String) -> Result<Expression, BadExpression> {
        Expression::parse(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> String {
        expression.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> f64 {
        fn value(node: &Node) -> f64 {
            match node {
                Node::Number(n) => *n,
                Node::Negated(inner) => -value(inner),
                Node::Binary(operator, a, b) => match operator {
                    Operator::Add => value(a) + value(b),
                    Operator::Subtract => value(a) - value(b),
                    Operator::Multiply => value(a) * value(b),
                    Operator::Divide => value(a) / value(b),
                },
                other => panic!("{other:?}"),
            }
        }
        value(Expression::parse(text).unwrap().root())
    }

    #[test]
    fn products_bind_tighter_and_operators_of_one_rank_go_from_left_to_right() {
        assert_eq!(number("1 + 2 * 3"), 7.0);
        assert_eq!(number("(1 + 2) * 3"), 9.0);
        assert_eq!(number("8 - 4 - 2"), 2.0);
        assert_eq!(number("8 / 4 / 2"), 1.0);
        assert_eq!(number("-2 * -3 + 1e-1 - 1.5E1"), -8.9);
    }

    #[test]
    fn selectors_may_hold_parentheses_commas_and_quotes() {
        let text = r#"mean(a_b{x="1,)", y=~"\"}|z"}) * 1e6 / (count( c ) + quantile(d{*="e"}, 0.99))"#;
        let expression = Expression::parse(text).unwrap();
        let selectors: Vec<String> = expression.selectors().iter().map(|s| s.to_string()).collect();
        assert_eq!(selectors, [r#"a_b{x="1,)", y=~"\"}|z"}"#, "c", r#"d{*="e"}"#]);
        assert_eq!(expression.to_string(), text);
    }

    #[test]
    fn an_error_says_what_and_where() {
        let error = |text: &str| {
            let error = Expression::parse(text).unwrap_err();
            (error.at, error.what)
        };
        assert_eq!(error("1 +"), (3, "a number, a name or `(` expected".into()));
        assert_eq!(error("1 2"), (2, "an operator (`+ - * /`) or the end expected".into()));
        assert_eq!(error("(1"), (2, "`)` expected to close the parenthesis".into()));
        assert_eq!(error("mean a"), (5, "`(` expected after `mean`".into()));
        assert_eq!(error("mean()").0, 5);
        assert_eq!(error("mean(a{b=c})").0, 9);
        assert_eq!(error("quantile(a)"), (10, "`,` expected and the quantile (0..1) after the selector".into()));
        assert_eq!(error("quantile(a, 99)").0, 11);
        assert!(error("2 * quieries").1.starts_with("`quieries` is not known; there are queries"));
        assert_eq!(error("2 * quieries").0, 4);
        assert_eq!(number(&format!("1{}", "+1".repeat(199))), 200.0);
        assert!(Expression::parse(&format!("{}1{}", "(".repeat(199), ")".repeat(199))).is_ok());
        for endless in ["(".repeat(100_000), "-".repeat(100_000), format!("1{}", "+1".repeat(100_000))] {
            assert_eq!(error(&endless).1, "more than 200 operands and signs", "and no stack overflows");
        }
    }
}
