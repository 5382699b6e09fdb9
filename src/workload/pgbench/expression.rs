//! Expressions of `\set`, `\if` and `\elif`, parsed as pgbench's grammar binds them (PostgreSQL documentation,
//! "pgbench": Built-in Operators, Built-in Functions). Invariant: a parsed call has as many operands as its function
//! takes.

use super::lexer::{Lexeme, lexemes};
use super::names::Names;
use super::value::Value;

/// What computes a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Always the same.
    Constant(Value),
    /// The variable of this slot.
    Variable(usize),
    /// Of an operator or function.
    Call(Function, Vec<Expression>),
    /// The right side is computed only if it matters.
    And(Box<Expression>, Box<Expression>),
    /// As `And`.
    Or(Box<Expression>, Box<Expression>),
    /// Conditions with their results, and the result if none holds.
    Case(Vec<(Expression, Expression)>, Box<Expression>),
}

/// Operators and functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Not,
    IsNull,
    IsTrue,
    IsFalse,
    BitAnd,
    BitOr,
    BitXor,
    BitNot,
    ShiftLeft,
    ShiftRight,
    Abs,
    Int,
    Double,
    Sqrt,
    Ln,
    Exp,
    Power,
    Greatest,
    Least,
    HashFnv1a,
    HashMurmur2,
    Permute,
    Random,
    RandomExponential,
    RandomGaussian,
    RandomZipfian,
}

/// The functions by name, with the least and the greatest number of their operands.
const FUNCTIONS: [(&str, Function, usize, usize); 20] = [
    ("abs", Function::Abs, 1, 1),
    ("double", Function::Double, 1, 1),
    ("exp", Function::Exp, 1, 1),
    ("greatest", Function::Greatest, 1, usize::MAX),
    ("hash", Function::HashMurmur2, 1, 2),
    ("hash_fnv1a", Function::HashFnv1a, 1, 2),
    ("hash_murmur2", Function::HashMurmur2, 1, 2),
    ("int", Function::Int, 1, 1),
    ("least", Function::Least, 1, usize::MAX),
    ("ln", Function::Ln, 1, 1),
    ("mod", Function::Modulo, 2, 2),
    ("permute", Function::Permute, 2, 3),
    ("pow", Function::Power, 2, 2),
    ("power", Function::Power, 2, 2),
    ("random", Function::Random, 2, 2),
    ("random_exponential", Function::RandomExponential, 3, 3),
    ("random_gaussian", Function::RandomGaussian, 3, 3),
    ("random_zipfian", Function::RandomZipfian, 3, 3),
    ("sqrt", Function::Sqrt, 1, 1),
    ("pi", Function::Exp, 0, 0),
];

/// Parses a whole text.
///
/// # Errors
/// In words: what was expected where, or which function there is none of.
pub fn parse(text: &str, names: &mut Names) -> Result<Expression, String> {
    let lexemes = lexemes(text)?;
    if lexemes.len() > LONGEST {
        return Err(format!("it has {} words and signs, and at most {LONGEST} are read", lexemes.len()));
    }
    let mut parser = Parser { lexemes, at: 0, depth: 0, names };
    let expression = parser.or()?;
    match parser.peek() {
        None => Ok(expression),
        Some(rest) => Err(format!("{rest} follows a whole expression")),
    }
}

/// Deeper than anybody writes, and shallow enough for the stack.
const DEEPEST: usize = 200;
/// Longer than anybody writes: `1 + 1 + 1` is as deep as it is long.
const LONGEST: usize = 500;

struct Parser<'a> {
    lexemes: Vec<Lexeme>,
    at: usize,
    depth: usize,
    names: &'a mut Names,
}

type Parsed = Result<Expression, String>;

impl Parser<'_> {
    fn peek(&self) -> Option<&Lexeme> {
        self.lexemes.get(self.at)
    }

    fn next(&mut self) -> Result<Lexeme, String> {
        let lexeme = self.peek().cloned().ok_or("the expression ends too early")?;
        self.at += 1;
        Ok(lexeme)
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|lexeme| lexeme.is_word(word));
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Lexeme::Sign(found)) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) {
            return Ok(());
        }
        let found = self.peek().map_or("the end".into(), ToString::to_string);
        Err(format!("`{sign}` is missing before {found}"))
    }

    fn or(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} expressions lie within each other"));
        }
        let mut left = self.and()?;
        while self.takes_word("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.not()?;
        while self.takes_word("and") {
            left = Expression::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed {
        let mut negations = 0;
        while self.takes_word("not") {
            negations += 1;
        }
        let operand = self.is()?;
        Ok((0..negations).fold(operand, |operand, _| Expression::Call(Function::Not, vec![operand])))
    }

    /// `IS [NOT] NULL`, `ISNULL`, `NOTNULL` after a comparison.
    fn is(&mut self) -> Parsed {
        let operand = self.comparison()?;
        let (function, negated) = if self.takes_word("isnull") {
            (Function::IsNull, false)
        } else if self.takes_word("notnull") {
            (Function::IsNull, true)
        } else if self.takes_word("is") {
            let negated = self.takes_word("not");
            let function = match self.next()? {
                word if word.is_word("null") => Function::IsNull,
                word if word.is_word("true") => Function::IsTrue,
                word if word.is_word("false") => Function::IsFalse,
                other => return Err(format!("{other} follows IS; write NULL, TRUE or FALSE")),
            };
            (function, negated)
        } else {
            return Ok(operand);
        };
        let call = Expression::Call(function, vec![operand]);
        Ok(if negated { Expression::Call(Function::Not, vec![call]) } else { call })
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.bits()?;
        let (function, swapped) = match self.peek() {
            Some(Lexeme::Sign("=")) => (Function::Equal, false),
            Some(Lexeme::Sign("<>" | "!=")) => (Function::NotEqual, false),
            Some(Lexeme::Sign("<")) => (Function::Less, false),
            Some(Lexeme::Sign("<=")) => (Function::LessOrEqual, false),
            Some(Lexeme::Sign(">")) => (Function::Less, true),
            Some(Lexeme::Sign(">=")) => (Function::LessOrEqual, true),
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.bits()?;
        Ok(Expression::Call(function, if swapped { vec![right, left] } else { vec![left, right] }))
    }

    fn bits(&mut self) -> Parsed {
        const SIGNS: [(&str, Function); 5] = [
            ("|", Function::BitOr),
            ("#", Function::BitXor),
            ("&", Function::BitAnd),
            ("<<", Function::ShiftLeft),
            (">>", Function::ShiftRight),
        ];
        self.chain(&SIGNS, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[("+", Function::Add), ("-", Function::Subtract)], Self::product)
    }

    fn product(&mut self) -> Parsed {
        const SIGNS: [(&str, Function); 3] =
            [("*", Function::Multiply), ("/", Function::Divide), ("%", Function::Modulo)];
        self.chain(&SIGNS, Self::unary)
    }

    /// Operators of one rank, from left to right.
    fn chain(&mut self, signs: &[(&'static str, Function)], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = operand(self)?;
        while let Some((_, function)) = signs.iter().find(|(sign, _)| self.takes(sign)) {
            left = Expression::Call(*function, vec![left, operand(self)?]);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let function = match self.peek() {
            Some(Lexeme::Sign("-")) => Some(Function::Negate),
            Some(Lexeme::Sign("~")) => Some(Function::BitNot),
            Some(Lexeme::Sign("+")) => None,
            _ => return self.primary(),
        };
        self.at += 1;
        // The one integer that has no positive counterpart.
        if function == Some(Function::Negate) && self.peek() == Some(&Lexeme::LeastInteger) {
            self.at += 1;
            return Ok(Expression::Constant(Value::Int(i64::MIN)));
        }
        let operand = self.unary()?;
        Ok(match function {
            Some(function) => Expression::Call(function, vec![operand]),
            None => operand,
        })
    }

    fn primary(&mut self) -> Parsed {
        Ok(match self.next()? {
            Lexeme::Number(value) => Expression::Constant(value),
            Lexeme::Variable(name) => Expression::Variable(self.names.used(&name)),
            Lexeme::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                inner
            }
            Lexeme::Word(word) => match word.to_ascii_lowercase().as_str() {
                "null" => Expression::Constant(Value::Null),
                "true" => Expression::Constant(Value::Bool(true)),
                "false" => Expression::Constant(Value::Bool(false)),
                "case" => self.case()?,
                name => self.function(name)?,
            },
            Lexeme::LeastInteger => return Err("9223372036854775808 is out of the range of integers".into()),
            other => return Err(format!("{other} stands where a value is expected")),
        })
    }

    fn case(&mut self) -> Parsed {
        let mut branches = Vec::new();
        while self.takes_word("when") {
            let condition = self.or()?;
            if !self.takes_word("then") {
                return Err("CASE WHEN has no THEN".into());
            }
            branches.push((condition, self.or()?));
        }
        let otherwise = if self.takes_word("else") { self.or()? } else { Expression::Constant(Value::Null) };
        if branches.is_empty() || !self.takes_word("end") {
            return Err("CASE is written CASE WHEN condition THEN value ... [ELSE value] END".into());
        }
        Ok(Expression::Case(branches, Box::new(otherwise)))
    }

    fn function(&mut self, name: &str) -> Parsed {
        if name == "debug" {
            return Err("debug() prints for each transaction, which would be measured as the load's time".into());
        }
        let known = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let (_, function, least, most) = *known.ok_or_else(|| format!("pgbench has no function {name}()"))?;
        self.expect("(")?;
        let mut operands = Vec::new();
        while !self.takes(")") {
            if !operands.is_empty() {
                self.expect(",")?;
            }
            operands.push(self.or()?);
        }
        if !(least..=most).contains(&operands.len()) {
            return Err(format!("{name}() does not take {} argument(s)", operands.len()));
        }
        let seeded = [(Function::HashMurmur2, 2), (Function::HashFnv1a, 2), (Function::Permute, 3)];
        if seeded.contains(&(function, operands.len() + 1)) {
            operands.push(Expression::Variable(self.names.used("default_seed")));
        }
        Ok(match name {
            "pi" => Expression::Constant(Value::Double(std::f64::consts::PI)),
            _ => Expression::Call(function, operands),
        })
    }
}

#[cfg(test)]
mod tests;
