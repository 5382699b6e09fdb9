//! What a preset changes on the server before the load. Invariant: a step never breaks on its own second run (what is
//! there already is looked for, and not made again), and a parameter's former value can be read so that it can be put
//! back.

use serde::{Deserialize, Serialize};

/// Which of the preset's connections a statement goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// The one under load.
    #[default]
    Sql,
    /// The administrator's.
    Internal,
}

/// One step of the set-up, in the order of the file. It is written with the keys by which it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Written")]
pub enum Step {
    /// A system parameter; the conductor reads the former value, sets the new one, and can restore the former one.
    Parameter {
        /// The connection that reads and sets it.
        on: Connection,
        /// The parameter's name: letters, digits, `_` and `.` only.
        parameter: String,
        /// The new value, not quoted.
        value: String,
    },
    /// A statement that is run as it is.
    Statement {
        /// The connection that runs it.
        on: Connection,
        /// The SQL.
        statement: String,
        /// Leave the step out where this query answers a row; it is asked again where `statement` fails, since servers
        /// differ in how they refuse what is there already.
        unless: Option<String>,
        /// SQLSTATEs that mean "there already", where `unless` is not given or not answered.
        tolerate: Vec<String>,
        /// Run `statement` only where the workload has the preset's own query.
        for_own_query: bool,
        /// Run `statement` only where this query answers no row.
        only_if_empty: Option<String>,
        /// Run `statement` only where the step before really made something.
        only_with_previous: bool,
        /// Undoes the step; to be run only where the step really made something.
        undo: Option<String>,
    },
}

/// A step as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    on: Connection,
    parameter: Option<String>,
    value: Option<String>,
    statement: Option<String>,
    unless: Option<String>,
    #[serde(default)]
    tolerate: Vec<String>,
    #[serde(default)]
    for_own_query: bool,
    only_if_empty: Option<String>,
    #[serde(default)]
    only_with_previous: bool,
    undo: Option<String>,
}

impl Written {
    /// A key that was given and that only a statement has.
    fn of_statement(&self) -> Option<&'static str> {
        let given = [
            ("unless", self.unless.is_some()),
            ("tolerate", !self.tolerate.is_empty()),
            ("for_own_query", self.for_own_query),
            ("only_if_empty", self.only_if_empty.is_some()),
            ("only_with_previous", self.only_with_previous),
            ("undo", self.undo.is_some()),
        ];
        given.into_iter().find_map(|(key, given)| given.then_some(key))
    }
}

impl TryFrom<Written> for Step {
    type Error = String;

    fn try_from(written: Written) -> Result<Step, String> {
        let of_statement = written.of_statement();
        let Written { on, parameter, value, statement, unless, tolerate, .. } = written;
        let Written { for_own_query, only_if_empty, only_with_previous, undo, .. } = written;
        match (parameter, value, statement) {
            (Some(parameter), Some(value), None) => {
                if let Some(key) = of_statement {
                    return Err(format!("`{key}` belongs to a `statement`"));
                }
                if !is_name(&parameter) {
                    return Err(format!("`{parameter}` is no parameter's name"));
                }
                Ok(Step::Parameter { on, parameter, value })
            }
            (None, None, Some(statement)) => Ok(Step::Statement {
                on,
                statement,
                unless,
                tolerate,
                for_own_query,
                only_if_empty,
                only_with_previous,
                undo,
            }),
            _ => Err("a step has either `parameter` and `value`, or `statement`".to_string()),
        }
    }
}

/// SQL that answers a system parameter's value.
pub fn show_parameter(parameter: &str) -> String {
    format!("SHOW {parameter}")
}

/// SQL that sets a system parameter. Servers take every value in quotes, and without them not even all that they show
/// (`4MB`, or `all`, which SQL reserves): only numbers and truth values go without.
pub fn set_parameter(parameter: &str, value: &str) -> String {
    let value = if is_number(value) || matches!(value, "true" | "false" | "on" | "off") {
        value.to_string()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    };
    format!("ALTER SYSTEM SET {parameter} = {value}")
}

impl Step {
    /// Reads `ALTER SYSTEM SET name = value` for the administrator's connection: of such a statement the former value
    /// can be read, so that it can be put back. `None` for anything else.
    pub fn from_alter_system(sql: &str) -> Option<Step> {
        let form = regex::Regex::new(r"(?is)^\s*alter\s+system\s+set\s+([\w.]+)\s*(?:=|\s+to\s+)\s*(.+?)\s*;?\s*$");
        let found = form.expect("constant pattern").captures(sql)?;
        let (parameter, value) = (found[1].to_string(), &found[2]);
        let quoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let value = quoted.map_or_else(|| value.to_string(), |inner| inner.replace("''", "'"));
        Some(Step::Parameter { on: Connection::Internal, parameter, value })
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

/// Digits with one point at most: what every server's SQL takes for a number.
fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_as_it_is_read() {
        for text in [
            r#"{"on":"internal","parameter":"a","value":"true"}"#,
            r#"{"on":"sql","statement":"create table t ()","unless":null,"tolerate":["42P07"],"for_own_query":true,
                "only_if_empty":"select 1","only_with_previous":false,"undo":"drop table t"}"#,
        ] {
            let step: Step = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::from_str::<Step>(&serde_json::to_string(&step).unwrap()).unwrap(), step);
        }
    }

    #[test]
    fn a_value_is_quoted_unless_it_is_a_number_or_a_truth_value() {
        for value in ["true", "off", "0", "77", "0.5"] {
            assert_eq!(set_parameter("a", value), format!("ALTER SYSTEM SET a = {value}"));
        }
        // What SHOW answers is put back: values with a unit, words that SQL reserves, names whose case matters.
        for value in ["4MB", "10ms", "60s", "5min", "all", "Main", "inf", "1e3", "1.2.3", ".", "-1", "", "a, b"] {
            assert_eq!(set_parameter("a", value), format!("ALTER SYSTEM SET a = '{value}'"));
        }
        assert_eq!(set_parameter("a", "it's 1 s"), "ALTER SYSTEM SET a = 'it''s 1 s'");
    }

    #[test]
    fn what_the_user_quoted_is_quoted_when_it_is_set() {
        for value in ["'7MB'", "'all'", "'it''s'"] {
            let sql = format!("ALTER SYSTEM SET a = {value}");
            let Some(Step::Parameter { parameter, value, .. }) = Step::from_alter_system(&sql) else { panic!("{sql}") };
            assert_eq!(set_parameter(&parameter, &value), sql);
        }
    }

    #[test]
    fn only_a_setting_whose_former_value_can_be_read_is_taken_from_sql() {
        let read = |sql: &str| match Step::from_alter_system(sql) {
            Some(Step::Parameter { on: Connection::Internal, parameter, value }) => Some((parameter, value)),
            _ => None,
        };
        let pair = |a: &str, b: &str| Some((a.to_string(), b.to_string()));
        assert_eq!(read("ALTER SYSTEM SET a_b = true;"), pair("a_b", "true"));
        assert_eq!(read("alter system set x.y to 'it''s 1 s'"), pair("x.y", "it's 1 s"));
        assert_eq!(read("alter system set a=0.5"), pair("a", "0.5"));
        for sql in ["alter system reset a", "create table t (a int)", "alter system set a", ""] {
            assert_eq!(read(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_step_is_a_parameter_or_a_statement() {
        let read = |text: &str| toml::from_str::<Step>(text).map_err(|e| e.message().to_string());
        let step = read("on = 'internal'\nparameter = 'p'\nvalue = 'v'").unwrap();
        assert_eq!(step, Step::Parameter { on: Connection::Internal, parameter: "p".into(), value: "v".into() });
        assert!(read("parameter = 'p'").unwrap_err().contains("either"));
        assert!(read("parameter = 'p'\nvalue = 'v'\nstatement = 's'").unwrap_err().contains("either"));
        assert!(
            read("parameter = 'p'\nvalue = 'v'\nundo = 's'").unwrap_err().contains("`undo` belongs to a `statement`")
        );
        assert!(read("parameter = 'p; drop'\nvalue = 'v'").unwrap_err().contains("no parameter's name"));
        assert!(read("statement = 's'\nstatemnt = 's'").unwrap_err().contains("unknown field"));
    }
}
