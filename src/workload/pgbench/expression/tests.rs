//! How operators bind, what functions compute, and what is refused.

use super::super::evaluate::Scope;
use super::super::value::Variable;
use super::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn value(text: &str) -> Result<String, String> {
    let mut names = Names::default();
    let expression = parse(text, &mut names)?;
    let names = names.into_names();
    let set = |name: &String| match name.as_str() {
        "a" => Variable::Value(Value::Int(7)),
        "text" => Variable::Text("1.5".into()),
        "default_seed" => Variable::Value(Value::Int(5432)),
        _ => Variable::Unset,
    };
    let variables: Vec<_> = names.iter().map(set).collect();
    let mut random = StdRng::seed_from_u64(1);
    Scope { variables: &variables, names: &names, random: &mut random }.evaluate(&expression).map(|v| v.to_string())
}

#[test]
fn operators_bind_as_in_pgbench() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3"),
        ("7 / 2.0", "3.5"),
        ("-7 % 3", "-1"),
        ("10 - 3 - 2", "5"),
        ("2 * -3", "-6"),
        ("- -3", "3"),
        ("~0", "-1"),
        ("1 << 4 | 1", "17"),
        ("6 & 3 # 1", "3"),
        ("1 + 1 << 2", "8"),
        ("not 1 = 2", "true"),
        ("1 < 2 and 2 <= 2 or false", "true"),
        ("3 > 2", "true"),
        ("3 >= 4", "false"),
        ("1 <> 1.0", "false"),
        ("2 != 3", "true"),
        ("null is null", "true"),
        ("1 is not null", "true"),
        ("null isnull", "true"),
        ("null notnull", "false"),
        ("true is not true", "false"),
        ("null and false", "false"),
        ("null or true", "true"),
        ("null + 1", "NULL"),
        ("CASE WHEN :a = 7 THEN 'x' END", "ERROR"),
        ("CASE WHEN :a = 7 THEN 1 ELSE 2 END", "1"),
        ("case when false then 1 end", "NULL"),
        (":a * 2", "14"),
        (":text + 1", "2.5"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("false and 1 / 0 = 1", "false"),
    ] {
        assert_eq!(value(text).unwrap_or("ERROR".into()), expected, "{text}");
    }
}

#[test]
fn functions_are_those_of_the_documentation() {
    for (text, expected) in [
        ("abs(-17)", "17"),
        ("ABS(-1.5)", "1.5"),
        ("double(5432)", "5432"),
        ("exp(1.0)", "2.71828182845905"),
        ("greatest(5, 4, 3, 2)", "5"),
        ("greatest(1, 2, 3, 4, 5.5)", "5.5"),
        ("least(5, 4, 3, 2.1)", "2.1"),
        ("hash(10, 5432)", "-5817877081768721676"),
        ("hash(10)", "-5817877081768721676"),
        ("hash_fnv1a(10, 5432)", "-7793829335365542153"),
        ("hash_murmur2(10, 5432)", "-5817877081768721676"),
        ("int(5.4 + 3.8)", "9"),
        ("ln(2.718281828459045)", "1"),
        ("mod(54, 32)", "22"),
        ("pi()", "3.14159265358979"),
        ("pow(2.0, 10)", "1024"),
        ("power(2.0, 10)", "1024"),
        ("sqrt(2.0)", "1.4142135623731"),
        ("random(3, 3)", "3"),
    ] {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_pgbench_refuses_is_refused_in_words() {
    for (text, part) in [
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "out of range"),
        ("9223372036854775808", "out of the range"),
        ("random(2, 1)", "between 2 and 1"),
        (":missing + 1", ":missing is not set"),
        ("true + 1", "true is no number"),
        ("1 and true", "neither TRUE nor FALSE"),
        ("ceil(1)", "no function ceil()"),
        ("debug(1)", "prints"),
        ("abs(1, 2)", "does not take 2"),
        ("1 +", "ends too early"),
        ("1 2", "follows a whole expression"),
        ("(1", "`)` is missing"),
        ("'x'", "'"),
        ("case 1 when 1 then 1 end", "CASE"),
        ("1 is 2", "follows IS"),
    ] {
        let said = value(text).unwrap_err();
        assert!(said.contains(part), "{text}: {said}");
    }
    assert!(value(&"(".repeat(300)).unwrap_err().contains("200"));
    assert!(value(&"-".repeat(100_000)).unwrap_err().contains("500"));
}

#[test]
fn what_is_too_long_for_the_stack_is_refused() {
    let longest = format!("1{}", " + 1".repeat(249));
    assert_eq!(value(&longest), Ok("250".into()));
    assert_eq!(value(&format!("{}1", "- ".repeat(499))), Ok("-1".into()));
    for endless in [format!("{longest} + 1"), "not ".repeat(100_000), "-".repeat(100_000)] {
        assert!(value(&endless).unwrap_err().contains("at most 500 are read"));
    }
}
