//! Arguments and statements in a line for people. Invariant: what is cut has its length told; what is stored stays
//! whole.

/// A longer one is cut, to so many characters.
const LONGEST: usize = 200;
const KEPT: usize = 120;

/// Arguments behind one another, long ones cut.
pub fn legible_arguments<'a>(arguments: impl IntoIterator<Item = &'a String>) -> String {
    arguments.into_iter().map(|argument| legible(argument)).collect::<Vec<_>>().join(" ")
}

/// A text in one line; a long one is cut.
pub fn legible(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    match line.chars().count() {
        length if length > LONGEST => {
            let kept: String = line.chars().take(KEPT).collect();
            format!("{kept}… ({} characters)", thousands(length))
        }
        _ => line,
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap_or("")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_argument_is_cut_and_its_length_told_and_a_short_one_stays() {
        let arguments = ["server".to_string(), format!("--map={}", "x".repeat(3208)), "--port=1".into()];
        let shown = legible_arguments(&arguments);
        assert_eq!(shown, format!("server --map={}… (3,214 characters) --port=1", "x".repeat(114)));
        assert_eq!(legible("é".repeat(200).as_str()), "é".repeat(200));
        assert_eq!(legible("select\n1"), "select 1");
    }
}
