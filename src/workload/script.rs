//! SQL files cut into statements, as `psql -f` cuts them. Invariant: a `;` inside quotes, comments, parentheses or the
//! body of a function (`BEGIN ATOMIC ... END`) cuts nothing, and what psql would do by itself is refused by name and
//! line.

use super::sql::{Token, is_blank, tokens};

/// Why a file cannot be sent as SQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// From 1.
    pub line: usize,
    pub problem: String,
    pub remedy: &'static str,
}

/// A statement under way: what decides where it ends.
#[derive(Default)]
pub struct Open {
    text: String,
    /// Whether there is anything but blanks and comments.
    begun: bool,
    /// Its keywords and names in lower case.
    words: Vec<String>,
    parentheses: usize,
    /// `BEGIN` and `CASE` in the body of a function that are not ended yet.
    blocks: usize,
}

/// The statements of a script, trimmed, without their `;` and without empty ones.
///
/// # Errors
/// Commands of psql's own (`\set`), and data of a `COPY ... FROM STDIN` in the file.
pub fn statements(sql: &str) -> Result<Vec<String>, Refused> {
    let sql = sql.trim_start_matches('\u{feff}');
    let (mut found, mut open) = (Vec::new(), Open::default());
    for (token, at) in tokens(sql) {
        let refused = |problem, remedy| Refused { line: sql[..at.start].matches('\n').count() + 1, problem, remedy };
        match token {
            Token::Semicolon if open.is_complete() => {
                if open.copies_from_here() {
                    let problem = "COPY from standard input has its data in the script".into();
                    return Err(refused(problem, "write INSERT statements, or load the data beforehand with psql"));
                }
                found.extend(std::mem::take(&mut open).end());
                continue;
            }
            // psql sends both sides of it together.
            Token::Command("\\;") => {
                open.text.push(';');
                continue;
            }
            Token::Command("\\:") => {
                open.text.push(':');
                continue;
            }
            Token::Command(name) => {
                let problem = format!("{name} is a command of psql or pgbench, which no server knows");
                return Err(refused(
                    problem,
                    "leave SQL alone in the file; a script of pgbench's is given as --workload FILE.sql",
                ));
            }
            token => open.add(token),
        }
        open.text.push_str(&sql[at]);
    }
    found.extend(open.end());
    Ok(found)
}

/// Keywords and names of a statement in lower case, without those in quotes or comments; `None` where it is empty.
pub fn words(sql: &str) -> Option<Vec<String>> {
    let mut open = Open::default();
    tokens(sql).for_each(|(token, _)| open.add(token));
    open.begun.then_some(open.words)
}

impl Open {
    /// Whether there is anything but blanks and comments.
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether a semicolon would end the statement here.
    pub fn is_complete(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    /// Takes note of the next token.
    pub fn add(&mut self, token: Token<'_>) {
        self.begun |= !matches!(token, Token::Blank | Token::Semicolon);
        match token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) => self.word(word.to_ascii_lowercase()),
            Token::Blank | Token::Semicolon | Token::Command(_) | Token::Other => {}
        }
    }

    fn word(&mut self, word: String) {
        if self.parentheses == 0 && self.makes_function() {
            match word.as_str() {
                "begin" => self.blocks += 1,
                // It ends with END, too.
                "case" if self.blocks > 0 => self.blocks += 1,
                "end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        self.words.push(word);
    }

    /// As psql decides it.
    fn makes_function(&self) -> bool {
        let words: Vec<&str> = self.words.iter().take(4).map(String::as_str).collect();
        matches!(words[..], ["create", "function" | "procedure", ..])
            || matches!(words[..], ["create", "or", "replace", "function" | "procedure"])
    }

    /// Whether it is a COPY that reads from its client.
    pub fn copies_from_here(&self) -> bool {
        let stdin = |pair: &[String]| pair[0] == "from" && pair[1] == "stdin";
        self.words.first().is_some_and(|word| word == "copy") && self.words.windows(2).any(stdin)
    }

    fn end(self) -> Option<String> {
        self.begun.then(|| self.text.trim_matches(is_blank).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(sql: &str) -> Vec<String> {
        statements(sql).unwrap()
    }

    #[test]
    fn a_script_is_cut_at_semicolons_outside_quotes_and_comments() {
        let sql = "select ';', \"a;b\" from t; -- no; cut\nselect $$;$$, $x$;$$;$x$, $1 /* ; /* ; */ ; */;\n;-- end\n";
        let expected = [
            "select ';', \"a;b\" from t".to_string(),
            "-- no; cut\nselect $$;$$, $x$;$$;$x$, $1 /* ; /* ; */ ; */".to_string(),
        ];
        assert_eq!(cut(sql), expected);
        assert_eq!(cut("select E'it\\';s';\nselect 2;"), ["select E'it\\';s'", "select 2"]);
    }

    #[test]
    fn parentheses_and_bodies_of_functions_hold_their_semicolons() {
        for statement in [
            "create rule r as on insert to t do (select 1; select 2)",
            "create function two() returns int language sql begin atomic select 1; select 2; end",
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
            "create or replace function \"begin\"() returns int as 'begin; end' language plpgsql",
        ] {
            assert_eq!(cut(&format!("{statement};\nselect 3")), [statement, "select 3"]);
        }
        assert_eq!(
            cut("create table begin (a int); end; begin; select case 1 when 1 then 2 end; )"),
            ["create table begin (a int)", "end", "begin", "select case 1 when 1 then 2 end", ")"]
        );
    }

    #[test]
    fn marks_line_endings_and_empty_statements_change_nothing() {
        let sql = "\u{feff}select 1;\r\n;;\r\n-- x;\r\n/* ; */;select\r\n2 -- ;\r\n";
        assert_eq!(cut(sql), ["select 1", "select\r\n2 -- ;"]);
        assert_eq!(cut(" \n"), [""; 0]);
        assert_eq!(cut("select 1 \\; select 2; select 3"), ["select 1 ; select 2", "select 3"]);
        assert_eq!(cut("select 1;\x0b; \x0c\nselect 2"), ["select 1", "select 2"], "a vertical tab is a blank");
        assert_eq!(cut("\u{a0};"), ["\u{a0}"], "what psql would send is not empty");
    }

    #[test]
    fn what_psql_does_by_itself_is_refused_with_its_line() {
        let refused = |sql| statements(sql).map_err(|refused| (refused.line, refused.problem)).unwrap_err();
        let (line, problem) = refused("select '\\a';\n\n  \\set n 1\n");
        assert_eq!((line, problem.split(' ').next()), (3, Some("\\set")));
        assert_eq!(refused("select 1\n\\gexec").0, 2);
        let (line, problem) = refused("select 1;\ncopy t (a)\n from stdin with (format csv);\n1;\n\\.\n");
        assert!((line, problem.contains("COPY")) == (3, true), "{line} {problem}");
        assert_eq!(cut("copy t from '/x'; select 'from stdin'").len(), 2);
    }

    #[test]
    fn an_unclosed_quote_or_comment_reaches_to_the_end() {
        assert_eq!(cut("select 'a;b"), ["select 'a;b"]);
        assert_eq!(cut("select 1 /* a;b"), ["select 1 /* a;b"]);
        assert_eq!(cut("sélect 'é'; x"), ["sélect 'é'", "x"]);
    }
}
