//! What one thread or task did from the first event to the last. Invariant: segments follow each other without gap and
//! none has a negative length; what two contradicting events leave open is [`State::Unseen`].

use super::model::State;
use crate::clock::Nanos;

/// Which thread or task: an index of [`super::follow::Followed::tracks`].
pub(super) type Entity = u32;

/// Who ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A task, or a thread outside of any.
    Entity(Entity),
    Interrupt,
}

/// Who ended a wait, at which stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ender {
    pub by: By,
    pub stack: Option<u32>,
}

/// The stacks of the wakers that a task registered in one poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The last one's.
    pub stack: Option<u32>,
    /// The earlier ones, in that order, each once.
    pub others: Box<[u32]>,
}

/// What is so during a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub state: State,
    pub ways: Ways,
    pub wait_event: u32,
    /// Port of the hop whose answer is outstanding when it begins.
    pub behind: Option<u16>,
    /// Of a blocked thread: it polls a task meanwhile.
    pub in_poll: bool,
}

impl Standing {
    /// A state without a stack.
    pub(super) fn of(state: State) -> Standing {
        Standing { state, ways: Ways::default(), wait_event: 0, behind: None, in_poll: false }
    }
}

/// A period in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub from: Nanos,
    pub to: Nanos,
    pub is: Standing,
    pub ended_by: Option<Ender>,
}

/// The segments of one thread or task, in order of time.
#[derive(Debug)]
pub(super) struct Timeline {
    segments: Vec<Segment>,
    /// Until when the present state is certain: its latest evidence.
    sure: Nanos,
}

impl Timeline {
    /// Unseen from this instant on.
    pub(super) fn new(origin: Nanos) -> Timeline {
        let unseen = Segment { from: origin, to: origin, is: Standing::of(State::Unseen), ended_by: None };
        Timeline { segments: vec![unseen], sure: origin }
    }

    fn open(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a timeline has a segment from its beginning on")
    }

    /// The present state.
    pub(super) fn state(&self) -> State {
        self.segments.last().map_or(State::Unseen, |open| open.is.state)
    }

    /// Evidence of the present state.
    pub(super) fn confirm(&mut self, at: Nanos) {
        self.sure = self.sure.max(at);
    }

    /// Until when the present state is certain.
    pub(super) fn sure(&self) -> Nanos {
        self.sure
    }

    /// Ends the present segment, by somebody or not, and begins the next.
    pub(super) fn change(&mut self, at: Nanos, is: Standing, ended_by: Option<Ender>) {
        let open = self.open();
        let at = at.max(open.from);
        open.to = at;
        open.ended_by = ended_by;
        self.segments.push(Segment { from: at, to: at, is, ended_by: None });
        self.confirm(at);
    }

    /// The present segment was a wait that had been ended before it began.
    pub(super) fn was_runnable(&mut self) {
        self.open().is = Standing::of(State::Runnable);
    }

    /// Something is missing since `since`: all from there on is unseen.
    pub(super) fn doubt(&mut self, since: Nanos) {
        let origin = self.segments[0].from;
        while self.segments.last().is_some_and(|last| last.from >= since) {
            self.segments.pop();
        }
        let from = since.max(origin);
        if let Some(last) = self.segments.last_mut() {
            last.to = from;
        }
        self.segments.push(Segment { from, to: from, is: Standing::of(State::Unseen), ended_by: None });
    }

    /// Nothing follows.
    pub(super) fn close(&mut self, at: Nanos) {
        let open = self.open();
        open.to = at.max(open.from);
    }

    /// Something of it was seen.
    pub(super) fn is_seen(&self) -> bool {
        self.segments.iter().any(|segment| segment.is.state != State::Unseen)
    }

    /// All segments.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments that have a part in this interval, each with that part.
    pub(super) fn within(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = (&Segment, Nanos, Nanos)> {
        let first = self.segments.partition_point(|segment| segment.to <= from);
        let reached = self.segments[first..].iter().take_while(move |segment| segment.from < to);
        let parts = reached.map(move |segment| (segment, segment.from.max(from), segment.to.min(to)));
        parts.filter(|(_, from, to)| from < to)
    }
}
