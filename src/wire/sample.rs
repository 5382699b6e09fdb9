//! Whole timelines of every k-th query of a connection. Invariant: which queries are taken is decided by their number
//! when they are sent, never by how long they take; what was lost is counted.

use super::shapes::{PLACES, Place, Timeline};
use crate::clock::{Nanos, Span};
use serde::{Deserialize, Serialize};

/// Timelines a second and hop that are taken at most, on average.
pub const MOST_A_SECOND: f64 = 2_000.0;
/// Timelines a window and hop: the kernel keeps two hops' until the window's end, with room for a load that quickens.
pub const MOST_A_WINDOW: f64 = 25_000.0;

/// The sample of one hop, as an element of `timelines.json.gz`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The hop's name: [`Hop::name`](super::Hop::name).
    pub hop: String,
    /// Every how many queries of a connection one was taken.
    pub every: u32,
    /// Taken, but not kept: there was no room.
    pub lost: u64,
    /// By when they were sent. Those that had not ended with the window are not among them.
    pub queries: Vec<QueryTimeline>,
}

/// One query, or round trip; in JSON `[sent, client, [request, server_buffer, server, response, client_buffer],
/// behind]`, times in ns, `behind` null or `[before, after]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct QueryTimeline {
    /// `CLOCK_MONOTONIC`.
    pub sent: Nanos,
    /// The client's port, or the inode of its Unix socket.
    pub client: u32,
    /// ns in each place but the client's, in the order of the path.
    pub spent: [u32; PLACES - 1],
    /// While the server had it, exactly one request was sent to the hops behind, by whichever connection.
    pub behind: Option<Behind>,
}

/// What the server did itself of a query with one request to the hops behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// ns from reading the query to sending the request.
    pub before: u32,
    /// ns from reading its answer to sending the query's.
    pub after: u32,
}

type Written = (Nanos, u32, [u32; PLACES - 1], Option<[u32; 2]>);

impl From<Written> for QueryTimeline {
    fn from((sent, client, spent, behind): Written) -> Self {
        QueryTimeline { sent, client, spent, behind: behind.map(|[before, after]| Behind { before, after }) }
    }
}

impl From<QueryTimeline> for Written {
    fn from(query: QueryTimeline) -> Self {
        (query.sent, query.client, query.spent, query.behind.map(|behind| [behind.before, behind.after]))
    }
}

impl QueryTimeline {
    /// ns in a place; `None` for the client's, which a query's timeline does not hold.
    pub fn spent_in(&self, place: Place) -> Option<u32> {
        self.spent.get(place.index().checked_sub(1)?).copied()
    }

    /// ns from sending to reading.
    pub fn latency(&self) -> u64 {
        self.spent.iter().map(|nanos| u64::from(*nanos)).sum()
    }
}

impl From<&Timeline> for QueryTimeline {
    fn from(timeline: &Timeline) -> Self {
        let Timeline { sent, spent, requests, before, after, port, hop: _, reserved: _ } = *timeline;
        // Both are 0 where the request's times do not lie within the query's: of a connection that does something else.
        let behind = (requests == 1 && before > 0).then_some(Behind { before, after });
        QueryTimeline { sent, client: port.into(), spent, behind }
    }
}

impl Sample {
    /// Those sent within the window, by time.
    pub fn cut(mut self, window: Span) -> Sample {
        self.queries.retain(|query| window.contains(query.sent));
        self.queries.sort_by_key(|query| (query.sent, query.client));
        self
    }
}

/// Every how many queries one's timeline is taken, so that neither bound is passed.
pub(super) fn every(queries_a_second: f64, seconds: f64) -> u32 {
    let most = MOST_A_SECOND.min(MOST_A_WINDOW / seconds.max(1.0));
    (queries_a_second / most).ceil().clamp(1.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_both_the_rate_and_the_number() {
        assert_eq!(every(100.0, 10.0), 1);
        assert_eq!(every(60_000.0, 10.0), 30);
        assert_eq!(every(60_000.0, 100.0), 240, "250 a second");
        assert_eq!(every(0.0, 10.0), 1);
    }

    #[test]
    fn a_timeline_is_written_as_an_array_and_read_again() {
        let timeline = Timeline {
            sent: 7,
            spent: [1, 2, 3, 4, 5],
            requests: 1,
            before: 2,
            after: 1,
            port: 9,
            ..Timeline::default()
        };
        let query = QueryTimeline::from(&timeline);
        assert_eq!((query.latency(), query.behind), (15, Some(Behind { before: 2, after: 1 })));
        assert_eq!([Place::Server, Place::Client].map(|place| query.spent_in(place)), [Some(3), None]);
        let text = serde_json::to_string(&query).unwrap();
        assert_eq!(text, "[7,9,[1,2,3,4,5],[2,1]]");
        assert_eq!(serde_json::from_str::<QueryTimeline>(&text).unwrap(), query);
        let shared = QueryTimeline::from(&Timeline { requests: 2, ..timeline });
        assert_eq!(shared.behind, None, "of two requests it is not known which is the query's");
    }

    #[test]
    fn only_what_was_sent_within_the_window_is_kept() {
        let query = |sent| QueryTimeline { sent, client: 1, spent: [1; 5], behind: None };
        let sample = Sample { queries: vec![query(30), query(9), query(10)], ..Sample::default() };
        let sent: Vec<u64> = sample.cut(Span::new(10, 31)).queries.iter().map(|query| query.sent).collect();
        assert_eq!(sent, [10, 30]);
    }
}
