//! Data for scripts. Invariant: whatever text it holds, it ends no element and begins none, for there is no `<` in it.

use maud::{Markup, PreEscaped, html};
use serde_json::Value;

/// What the page's script reads.
pub(super) fn block(value: &Value) -> Markup {
    html! { script type="application/json" id="data" { (PreEscaped(inert(value))) } }
}

/// JSON that is the same to its reader, and plain text to a browser. The two line ends are such to JavaScript alone.
fn inert(value: &Value) -> String {
    let text = value.to_string();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_block_and_every_text_is_read_back() {
        let hostile = "</script><script>alert(1)</script><!-- \u{2028} & \"'";
        let text = inert(&Value::from(hostile));
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), hostile);
        assert_eq!(block(&Value::from(hostile)).into_string().matches("<script").count(), 1);
    }
}
