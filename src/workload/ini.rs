//! The lines of a dbbench script: sections and properties, each with the line it began on.
//! Dialect (awreece/goini): `;` or `#` begins a comment line, a trailing `\` continues a line, spaces around names and
//! values do not matter, everything before the first section is global.

use super::WorkloadError;
use std::collections::HashMap;

/// `name=value` and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub line: usize,
    pub name: String,
    pub value: String,
}

/// A section; the global one has the name `global` and is always the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub line: usize,
    pub name: String,
    pub properties: Vec<Property>,
}

/// Splits a script into its sections.
///
/// # Errors
/// A line that is neither section nor property, with its number.
pub fn read(text: &str, source: &str) -> Result<Vec<Section>, WorkloadError> {
    let mut sections = vec![Section { line: 1, name: "global".into(), properties: Vec::new() }];
    let mut current = 0;
    let mut known = HashMap::from([("global".to_string(), 0)]);
    for (line, content) in logical_lines(text, source)? {
        if content.starts_with('[') {
            let name = header(&content).map_err(|(problem, remedy)| error(source, line, problem, remedy))?;
            current = enter(&mut sections, &mut known, name, line, source)?;
        } else {
            let property = property(line, &content)
                .ok_or_else(|| error(source, line, format!("{content:?} is no option"), "write `name=value`"))?;
            sections[current].properties.push(property);
        }
    }
    Ok(sections)
}

/// Joins continued lines and drops comments and empty lines; numbers are those of the first physical line, from 1.
fn logical_lines(text: &str, source: &str) -> Result<Vec<(usize, String)>, WorkloadError> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        if raw.trim_start().starts_with([';', '#']) {
            if open.is_some() {
                let remedy = "move the comment, or end the line before it without `\\`";
                return Err(error(source, number, "a continued line runs into a comment", remedy));
            }
            continue;
        }
        let (mut first, mut content) = open.take().unwrap_or((number, String::new()));
        if content.is_empty() {
            first = number;
        }
        match raw.strip_suffix('\\') {
            Some(part) => {
                content.push_str(part);
                open = Some((first, content));
            }
            None => {
                content.push_str(raw);
                let trimmed = content.trim();
                if !trimmed.is_empty() {
                    lines.push((first, trimmed.to_string()));
                }
            }
        }
    }
    match open {
        Some((line, _)) => {
            Err(error(source, line, "the script ends in a continued line", "remove the last `\\` or complete the line"))
        }
        None => Ok(lines),
    }
}

fn header(content: &str) -> Result<&str, (String, &'static str)> {
    let Some((name, rest)) = content[1..].split_once(']') else {
        return Err((format!("the section header {content:?} has no `]`"), "write `[name of the job]`"));
    };
    if !rest.trim().is_empty() {
        return Err((format!("{:?} follows the section header", rest.trim()), "put it on a line of its own"));
    }
    if name.trim().is_empty() {
        return Err(("the section has no name".into(), "write `[name of the job]`"));
    }
    Ok(name)
}

/// `known`: the sections by their names.
fn enter(
    sections: &mut Vec<Section>,
    known: &mut HashMap<String, usize>,
    name: &str,
    line: usize,
    source: &str,
) -> Result<usize, WorkloadError> {
    match known.get(name) {
        Some(0) => Ok(0),
        Some(&at) => {
            let problem = format!("section {name:?} was already given on line {}", sections[at].line);
            Err(error(source, line, problem, "give it another name, or merge the two"))
        }
        None => {
            known.insert(name.into(), sections.len());
            sections.push(Section { line, name: name.into(), properties: Vec::new() });
            Ok(sections.len() - 1)
        }
    }
}

fn property(line: usize, content: &str) -> Option<Property> {
    let (name, value) = content.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| Property { line, name: name.into(), value: value.trim().into() })
}

/// An error of one line.
pub fn error(source: &str, line: usize, problem: impl Into<String>, remedy: impl Into<String>) -> WorkloadError {
    WorkloadError::Line { source_name: source.into(), line, problem: problem.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        read(text, "w.ini").unwrap_err().to_string()
    }

    #[test]
    fn a_continued_line_keeps_the_number_of_its_first_line() {
        let sections = read("; c\n\n[a]\nquery=select \\\n  1\ncount=2\n", "w.ini").unwrap();
        assert_eq!(sections[1].properties[0], Property { line: 4, name: "query".into(), value: "select   1".into() });
        assert_eq!(sections[1].properties[1].line, 6);
    }

    #[test]
    fn properties_before_the_first_section_and_in_global_are_global() {
        let sections = read("duration=1s\n[a]\nquery=x\n[global]\nerror=40001", "w.ini").unwrap();
        let names: Vec<_> = sections[0].properties.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["duration", "error"]);
        assert_eq!(sections.len(), 2);
    }

    #[test]
    fn malformed_lines_are_named_with_their_number() {
        assert_eq!(message("[a"), "w.ini:1: the section header \"[a\" has no `]`; write `[name of the job]`");
        assert_eq!(message("\nnonsense"), "w.ini:2: \"nonsense\" is no option; write `name=value`");
        assert!(message("[a] b").starts_with("w.ini:1: \"b\" follows the section header"));
        assert!(message("[]").starts_with("w.ini:1: the section has no name"));
        assert!(message("[a]\n[b]\n[a]").starts_with("w.ini:3: section \"a\" was already given on line 1"));
        assert!(message("a=b\\\n; c").starts_with("w.ini:2: a continued line runs into a comment"));
        assert!(message("[a]\nquery=1\\").starts_with("w.ini:2: the script ends in a continued line"));
    }
}
