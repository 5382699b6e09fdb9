//! Prometheus metrics: scrape, parse, difference. Invariant: a series that is absent, or whose count did not move,
//! is "not measured"; it never becomes 0. A declared counter that went down was reset, and the reset is said; what may
//! be no counter is never called one that was reset.

mod delta;
mod exposition;
mod histogram;
mod line;
mod quoted;
mod scrape;
mod selector;
mod series_log;

pub use exposition::{Exposition, Reading};
pub use histogram::quantile_bounds;
pub use scrape::{HttpScraper, ReplayScraper, ScrapeError, Scraper};
pub use selector::{BadSelector, Selection, Selector, Unselected};
pub use series_log::{Point, SeriesLog, SeriesOrigin, read_series_log};

use crate::clock::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One exposition as received.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// From the sending of the request to the end of the answer, on `CLOCK_MONOTONIC`.
    pub span: Span,
    /// The exposition, as the server sent it.
    pub text: String,
}

/// A metric's name and labels, `le` and `quantile` left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Values by label name.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for Series {
    /// As the exposition writes it: `name{key="value"}`, `{"a name","a key"="value"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = is_name(&self.name);
        if bare {
            f.write_str(&self.name)?;
        } else {
            write!(f, "{{\"{}\"", quoted::escape(&self.name))?;
        }
        for (i, (key, value)) in self.labels.iter().enumerate() {
            f.write_str(if i == 0 && bare { "{" } else { "," })?;
            match is_name(key) && !key.contains(':') {
                true => f.write_str(key)?,
                false => write!(f, "\"{}\"", quoted::escape(key))?,
            }
            write!(f, "=\"{}\"", quoted::escape(value))?;
        }
        f.write_str(if bare && self.labels.is_empty() { "" } else { "}" })
    }
}

/// Whether a name needs no quotes.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(line::is_bare) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// How a series changed between the window's two scrapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Change {
    /// Declared `counter`: `delta` since the first scrape (since the reset where `reset`).
    Counter {
        /// Increase, in the metric's own unit.
        delta: f64,
        /// The value went down between the scrapes, so `delta` counts from 0.
        reset: bool,
    },
    /// Of no declared type: a counter as far as is seen, until it falls. `before` is `None` where the first scrape
    /// lacks it; it then counts from 0.
    Untyped {
        /// Value at the first scrape.
        before: Option<f64>,
        /// Value at the second scrape.
        after: f64,
    },
    /// Declared `gauge`. Some servers export monotone values as gauges, so both readings are kept.
    Gauge {
        /// Value at the first scrape; `None` where that lacks the series.
        before: Option<f64>,
        /// Value at the second scrape.
        after: f64,
    },
    /// Bucket counts are cumulative over `le`, as in the exposition, ascending, the last one `+Inf`.
    /// A summary is one without buckets. `sum` is `None` where it is not exposed.
    Histogram {
        /// Observations between the scrapes.
        count: f64,
        /// Sum of the observed values, in the metric's own unit; `None` where a scrape does not expose it.
        sum: Option<f64>,
        /// `(le, count)`: upper bound in the metric's own unit, and observations up to it.
        buckets: Vec<(f64, f64)>,
        /// The count went down between the scrapes, so all figures count from 0.
        reset: bool,
    },
}

/// All series of one window, and the scrapes it was made from.
#[derive(Clone, Debug)]
pub struct MetricsDelta {
    /// When the first scrape was made.
    pub before: Span,
    /// When the second scrape was made.
    pub after: Span,
    /// How each series changed.
    pub series: BTreeMap<Series, Change>,
    /// Lines of the exposition that could not be read, with their count.
    pub garbled: usize,
}
