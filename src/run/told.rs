//! Texts of a stored run that quote others: errors of servers, statements of presets, addresses. Invariant: they are
//! written without secrets, whoever made them.

use crate::connection::without_secrets;
use serde::Serializer;

/// One text; for `serialize_with`.
pub(super) fn text<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&without_secrets(text))
}

/// Several; for `serialize_with`.
pub(super) fn texts<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(texts.iter().map(|text| without_secrets(text)))
}
