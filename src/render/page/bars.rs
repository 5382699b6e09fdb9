//! Bars whose parts are side by side, and what their colours mean. Invariant: positions are shares of the width, so
//! that a bar fits any screen and its text keeps its size.

use crate::wire::Place;
use maud::{Markup, html};

/// Least share of a screen's width that has room for a short number.
const LABELLED: f64 = 0.08;

/// A part of a bar.
pub(super) struct Segment {
    /// Of the whole width, 0..1.
    pub share: f64,
    /// Its colour in the style sheet.
    pub class: String,
    /// What it is, with its figure.
    pub tip: String,
    /// What stands in it where there is room.
    pub label: String,
}

/// A bar; `what` is said before its parts to those who do not see it.
pub(super) fn bar(segments: &[Segment], what: &str) -> Markup {
    let shown: Vec<&Segment> = segments.iter().filter(|segment| segment.share > 0.0005).collect();
    let told: Vec<&str> = shown.iter().map(|segment| segment.tip.as_str()).collect();
    let starts = shown.iter().scan(0.0, |at, segment| {
        let start = *at;
        *at += segment.share;
        Some(start)
    });
    html! {
        svg class="bar" width="100%" height="22" role="img" aria-label={ (what) ": " (told.join(", ")) } {
            @for (segment, start) in shown.iter().zip(starts) {
                rect class=(segment.class) x=(percent(start)) y="0" width=(percent(segment.share)) height="22" {
                    title { (segment.tip) }
                }
                @if segment.share >= LABELLED {
                    text x=(percent(start + segment.share / 2.0)) y="15" { (segment.label) }
                }
            }
        }
    }
}

/// What colours mean.
pub(super) fn key(entries: impl Iterator<Item = (String, String)>) -> Markup {
    html! {
        ul class="key" {
            @for (class, words) in entries { li { span class={ "swatch " (class) } {} (words) } }
        }
    }
}

/// `12.34%`
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// A place's colour.
pub(super) fn hue(place: Place) -> &'static str {
    match place {
        Place::Client => "place-client",
        Place::Request => "place-request",
        Place::ServerBuffer => "place-server-buffer",
        Place::Server => "place-server",
        Place::Response => "place-response",
        Place::Network => "place-request",
        Place::ClientBuffer => "place-client-buffer",
    }
}
