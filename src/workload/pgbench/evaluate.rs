//! The value of an expression. Invariant: integers never wrap; what pgbench calls an error is one here.

use super::expression::{Expression, Function};
use super::random;
use super::value::{Value, Variable};
use rand::Rng;

/// What an expression may look at.
pub struct Scope<'a, R> {
    /// One client's variables, by slot.
    pub variables: &'a [Variable],
    /// Their names, for errors.
    pub names: &'a [String],
    /// The client's source of random numbers.
    pub random: &'a mut R,
}

impl<R: Rng> Scope<'_, R> {
    /// # Errors
    /// In words: a variable without a value, an operand of a wrong kind, an overflow, a division by zero.
    pub fn evaluate(&mut self, expression: &Expression) -> Result<Value, String> {
        Ok(match expression {
            Expression::Constant(value) => *value,
            Expression::Variable(slot) => {
                self.variables[*slot].value().map_err(|why| format!(":{} {why}", self.names[*slot]))?
            }
            Expression::Call(function, operands) => return self.call(*function, operands),
            Expression::And(left, right) => match self.truth(left)? {
                Some(false) => Value::Bool(false),
                left => match (left, self.truth(right)?) {
                    (_, Some(false)) => Value::Bool(false),
                    (Some(true), Some(true)) => Value::Bool(true),
                    _ => Value::Null,
                },
            },
            Expression::Or(left, right) => match self.truth(left)? {
                Some(true) => Value::Bool(true),
                left => match (left, self.truth(right)?) {
                    (_, Some(true)) => Value::Bool(true),
                    (Some(false), Some(false)) => Value::Bool(false),
                    _ => Value::Null,
                },
            },
            Expression::Case(branches, otherwise) => {
                for (condition, result) in branches {
                    if self.truth(condition)? == Some(true) {
                        return self.evaluate(result);
                    }
                }
                return self.evaluate(otherwise);
            }
        })
    }

    /// Whether a condition holds: as in pgbench, a number other than 0 does, and NULL does not.
    ///
    /// # Errors
    /// As [`Scope::evaluate`].
    pub fn holds(&mut self, condition: &Expression) -> Result<bool, String> {
        Ok(match self.evaluate(condition)? {
            Value::Null => false,
            Value::Bool(value) => value,
            Value::Int(value) => value != 0,
            Value::Double(value) => value != 0.0,
        })
    }

    fn truth(&mut self, operand: &Expression) -> Result<Option<bool>, String> {
        match self.evaluate(operand)? {
            Value::Null => Ok(None),
            value => boolean(value).map(Some),
        }
    }

    fn call(&mut self, function: Function, operands: &[Expression]) -> Result<Value, String> {
        let mut values = [Value::Null; 4];
        // Greatest and least alone take more.
        if operands.len() > values.len() {
            let all = operands.iter().map(|operand| self.evaluate(operand)).collect::<Result<Vec<_>, _>>()?;
            return extreme(function, &all);
        }
        for (value, operand) in values.iter_mut().zip(operands) {
            *value = self.evaluate(operand)?;
        }
        let values = &values[..operands.len()];
        let any_null = values.contains(&Value::Null);
        match function {
            Function::IsNull => return Ok(Value::Bool(any_null)),
            Function::IsTrue => return Ok(Value::Bool(!any_null && boolean(values[0])?)),
            Function::IsFalse => return Ok(Value::Bool(!any_null && !boolean(values[0])?)),
            _ if any_null => return Ok(Value::Null),
            Function::Random => return random::uniform(self.random, int(values[0])?, int(values[1])?).map(Value::Int),
            Function::RandomExponential | Function::RandomGaussian | Function::RandomZipfian => {}
            _ => return pure(function, values),
        }
        let (low, high, parameter) = (int(values[0])?, int(values[1])?, double(values[2])?);
        let draw = match function {
            Function::RandomExponential => random::exponential(self.random, low, high, parameter),
            Function::RandomGaussian => random::gaussian(self.random, low, high, parameter),
            _ => random::zipfian(self.random, low, high, parameter),
        };
        draw.map(Value::Int)
    }
}

/// Functions of their operands alone, of which none is NULL.
fn pure(function: Function, values: &[Value]) -> Result<Value, String> {
    let (a, b) = (values.first().copied().unwrap_or(Value::Null), values.get(1).copied().unwrap_or(Value::Null));
    let ints = || Ok::<_, String>((int(a)?, int(b)?));
    Ok(match function {
        Function::Add => arithmetic(a, b, i64::checked_add, |a, b| a + b)?,
        Function::Subtract => arithmetic(a, b, i64::checked_sub, |a, b| a - b)?,
        Function::Multiply => arithmetic(a, b, i64::checked_mul, |a, b| a * b)?,
        Function::Divide if b == Value::Int(0) && matches!(a, Value::Int(_)) => return Err("division by zero".into()),
        Function::Divide => arithmetic(a, b, i64::checked_div, |a, b| a / b)?,
        Function::Modulo => match ints()? {
            (_, 0) => return Err("division by zero".into()),
            (a, b) => Value::Int(a.wrapping_rem(b)),
        },
        Function::Negate => arithmetic(Value::Int(0), a, i64::checked_sub, |_, a| -a)?,
        Function::Less => Value::Bool(compare(a, b)?.is_some_and(std::cmp::Ordering::is_lt)),
        Function::LessOrEqual => Value::Bool(compare(a, b)?.is_some_and(std::cmp::Ordering::is_le)),
        Function::Equal => Value::Bool(equal(a, b)?),
        Function::NotEqual => Value::Bool(!equal(a, b)?),
        Function::Not => Value::Bool(!boolean(a)?),
        Function::BitAnd => Value::Int(int(a)? & int(b)?),
        Function::BitOr => Value::Int(int(a)? | int(b)?),
        Function::BitXor => Value::Int(int(a)? ^ int(b)?),
        Function::BitNot => Value::Int(!int(a)?),
        // As on pgbench's machines: a shift by more than 63 bits takes the lower six of them.
        Function::ShiftLeft => Value::Int(int(a)?.wrapping_shl(int(b)? as u32)),
        Function::ShiftRight => Value::Int(int(a)?.wrapping_shr(int(b)? as u32)),
        Function::Abs => match a {
            Value::Double(a) => Value::Double(a.abs()),
            a => Value::Int(int(a)?.checked_abs().ok_or("the integer is out of range")?),
        },
        Function::Int => Value::Int(int(a)?),
        Function::Double => Value::Double(double(a)?),
        Function::Sqrt => Value::Double(double(a)?.sqrt()),
        Function::Ln => Value::Double(double(a)?.ln()),
        Function::Exp => Value::Double(double(a)?.exp()),
        Function::Power => Value::Double(double(a)?.powf(double(b)?)),
        Function::Greatest | Function::Least => return extreme(function, values),
        Function::HashFnv1a => Value::Int(random::fnv1a(int(a)?, int(b)?)),
        Function::HashMurmur2 => Value::Int(random::murmur2(int(a)?, int(b)?)),
        Function::Permute => Value::Int(random::permute(int(a)?, int(b)?, int(values[2])?)?),
        Function::IsNull
        | Function::IsTrue
        | Function::IsFalse
        | Function::Random
        | Function::RandomExponential
        | Function::RandomGaussian
        | Function::RandomZipfian => unreachable!("evaluated where NULL and random numbers are known"),
    })
}

fn extreme(function: Function, values: &[Value]) -> Result<Value, String> {
    if values.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    let greatest = function == Function::Greatest;
    if values.iter().any(|value| matches!(value, Value::Double(_))) {
        let values = values.iter().map(|value| double(*value)).collect::<Result<Vec<_>, _>>()?;
        let pick = if greatest { f64::max } else { f64::min };
        return Ok(values.into_iter().reduce(pick).map_or(Value::Null, Value::Double));
    }
    let values = values.iter().map(|value| int(*value)).collect::<Result<Vec<_>, _>>()?;
    let found = if greatest { values.into_iter().max() } else { values.into_iter().min() };
    Ok(found.map_or(Value::Null, Value::Int))
}

fn arithmetic(
    a: Value,
    b: Value,
    ints: fn(i64, i64) -> Option<i64>,
    doubles: fn(f64, f64) -> f64,
) -> Result<Value, String> {
    if matches!(a, Value::Double(_)) || matches!(b, Value::Double(_)) {
        return Ok(Value::Double(doubles(double(a)?, double(b)?)));
    }
    let out_of_range = || "the integer is out of range".to_string();
    ints(int(a)?, int(b)?).map(Value::Int).ok_or_else(out_of_range)
}

fn compare(a: Value, b: Value) -> Result<Option<std::cmp::Ordering>, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(&b))),
        (a, b) => Ok(double(a)?.partial_cmp(&double(b)?)),
    }
}

fn equal(a: Value, b: Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Bool(_), _) | (_, Value::Bool(_)) => Ok(false),
        (a, b) => Ok(compare(a, b)? == Some(std::cmp::Ordering::Equal)),
    }
}

fn int(value: Value) -> Result<i64, String> {
    match value {
        Value::Int(value) => Ok(value),
        Value::Double(value) => {
            let near = value.round_ties_even();
            let fits = near >= i64::MIN as f64 && near < -(i64::MIN as f64);
            if fits { Ok(near as i64) } else { Err(format!("{value} is out of the range of integers")) }
        }
        other => Err(format!("{other} is no number")),
    }
}

fn double(value: Value) -> Result<f64, String> {
    match value {
        Value::Int(value) => Ok(value as f64),
        Value::Double(value) => Ok(value),
        other => Err(format!("{other} is no number")),
    }
}

fn boolean(value: Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(format!("{other} is neither TRUE nor FALSE")),
    }
}
