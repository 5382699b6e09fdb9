//! When two statements' texts are the same statement. Invariant: only what sources write in different ways is made
//! alike: white space, the case of letters, and what stands for a constant or a parameter.

/// Whether two texts are one statement: `SELECT a FROM t WHERE b = $1` of pg_stat_statements is `select a from t
/// where b = _` of a source that writes `_` for what was left out.
pub fn same_statement(a: &str, b: &str) -> bool {
    canonical(a) == canonical(b)
}

/// In lower case, with `_` for `$1`, and without the blanks that do not part two words.
fn canonical(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    let mut chars = query.trim().chars().peekable();
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(c) = chars.next() {
        match c {
            '$' if chars.peek().is_some_and(char::is_ascii_digit) => {
                while chars.next_if(char::is_ascii_digit).is_some() {}
                text.push('_');
            }
            c if c.is_whitespace() => {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                let next = chars.peek().is_some_and(|c| is_of_word(*c) || *c == '$');
                if next && text.chars().next_back().is_some_and(is_of_word) {
                    text.push(' ');
                }
            }
            c => text.extend(c.to_lowercase()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::same_statement;

    #[test]
    fn white_space_case_and_placeholders_do_not_part_statements() {
        let oracle = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";
        for alike in [
            "SELECT read_ts FROM timestamp_oracle WHERE timeline = _",
            "select read_ts\n  from timestamp_oracle\n where timeline=$2 ",
            " SELECT read_ts FROM timestamp_oracle WHERE timeline =$1",
        ] {
            assert!(same_statement(oracle, alike), "{alike}");
        }
        for other in [
            "SELECT read_ts FROM timestamp_oracle WHERE timeline = 'x'",
            "SELECT write_ts FROM timestamp_oracle WHERE timeline = $1",
            "SELECT read_ts FROM timestamp_oracle WHEREtimeline = $1",
            "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1 FOR UPDATE",
            "SELECT read_ts FROM timestamp_oracle WHERE timeline = $x",
        ] {
            assert!(!same_statement(oracle, other), "{other}");
        }
    }

    #[test]
    fn words_stay_apart() {
        assert!(same_statement("a  b", "a\nb") && same_statement("f( a , b )", "f(a,b)"));
        assert!(!same_statement("a b", "ab") && !same_statement("limit $1", "limit$1 x"));
    }
}
