//! Events that come late, twice or not at all, clocks that stand still, counters that begin anew, ports that are used
//! again: nothing is negative, and the places of every connection sum to the time that passed.

use super::*;

/// Servers for each kind of disorder.
const SEEDS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disorder {
    /// Neighbours change places, each with its own clock: one end's processor was held up.
    Late,
    /// Clocks that are read ahead of or behind the others by up to some events.
    Skewed,
    Lost,
    Twice,
    /// A clock that moves in steps, so that many instants are equal.
    Coarse,
    /// Counters of 32 bits and less are just below where they begin anew.
    Wrapped,
    /// A connection ends in the midst of a query, and another one has its port.
    Reused,
    /// Anything at either end, as on a connection with another protocol.
    Noise,
    /// Several of these.
    All,
}

const EACH: [Disorder; 9] = [
    Disorder::Late,
    Disorder::Skewed,
    Disorder::Lost,
    Disorder::Twice,
    Disorder::Coarse,
    Disorder::Wrapped,
    Disorder::Reused,
    Disorder::Noise,
    Disorder::All,
];

/// A start-up packet, with which a session begins.
const START_UP: &str = "00000008000300000000";

fn disordered(how: Disorder, random: &mut StdRng, mut events: Vec<Line>) -> Vec<Line> {
    let share = [0.01, 0.1, 0.4][random.random_range(0..3)];
    match how {
        Disorder::Late => {
            for at in 1..events.len() {
                if random.random_bool(share) {
                    events.swap(at - 1, at);
                }
            }
        }
        Disorder::Skewed => {
            let clocks: Vec<Nanos> = events.iter().map(Line::now).collect();
            for (at, event) in events.iter_mut().enumerate() {
                let other = (at + random.random_range(0..16)).saturating_sub(8).min(clocks.len() - 1);
                if random.random_bool(share) {
                    event.at(clocks[other]);
                }
            }
        }
        Disorder::Lost => events.retain(|_| !random.random_bool(share)),
        Disorder::Twice => {
            let twice = |event: Line| if random.random_bool(share) { vec![event.clone(), event] } else { vec![event] };
            events = events.into_iter().flat_map(twice).collect();
        }
        Disorder::Coarse => {
            let step = [10, 1_000, 1_000_000][random.random_range(0..3)];
            events.iter_mut().for_each(|event| event.at(event.now() - event.now() % step));
        }
        Disorder::Wrapped => {
            let by = random.random_range(1..4);
            let each = |port| [0, 1].map(|hop| Line::NearWrap { by, hop, port });
            events.splice(0..0, (1..5).flat_map(each));
        }
        Disorder::Reused => reuse(random, &mut events),
        Disorder::Noise => {
            for event in &mut events {
                if let Line::Event { end, what, .. } = event {
                    (*end, *what) = (random.random_range(1..3), ['s', 'r', 'g'][random.random_range(0..3)]);
                }
            }
        }
        Disorder::All => {
            for how in &EACH[..8] {
                if random.random_bool(0.4) {
                    events = disordered(*how, random, events);
                }
            }
        }
    }
    events
}

/// Nothing more is heard of a connection for a while, until a session begins on its port.
fn reuse(random: &mut StdRng, events: &mut Vec<Line>) {
    let (from, port) = (random.random_range(0..events.len()), random.random_range(1..5));
    let until = (from + random.random_range(1..20)).min(events.len());
    let of = |event: &Line| matches!(event, Line::Event { port: found, .. } if *found == port);
    let mut at = 0;
    events.retain(|event| {
        at += 1;
        !(from..until).contains(&(at - 1)) || !of(event)
    });
    let next = events.iter_mut().skip(from).find(|event| matches!(event, Line::Event { end: 1, what: 's', .. }));
    if let Some(Line::Event { bytes, .. }) = next {
        *bytes = START_UP;
    }
}

impl Line {
    /// Sets its clock, if it has one.
    fn at(&mut self, clock: Nanos) {
        if let Line::Event { now, .. } = self {
            *now = clock;
        }
    }
}

#[test]
fn whatever_becomes_of_the_events_nothing_is_negative_and_the_places_sum_to_the_time_that_passed() {
    let mut all = Vec::new();
    for (how, seed) in EACH.into_iter().flat_map(|how| (0..SEEDS).map(move |seed| (how, seed))) {
        let mut random = StdRng::seed_from_u64(seed);
        let server = simulate(&mut random);
        let mut ends = [(); 2].map(|()| random.random_range(server.span.start..=server.span.end));
        ends.sort_unstable();
        let span = Span::new(ends[0], ends[1] + 1);
        let events = disordered(how, &mut random, server.events.clone());
        let mut lines: Vec<Line> = [0, 1].map(|hop| Line::Every { every: 1 + seed as u32 % 3, hop }).into();
        lines.extend(server.recorded(events, span));
        all.push((how, seed, span, lines));
    }
    let answers = host::run(&all.iter().map(|one| one.3.clone()).collect::<Vec<_>>());
    let mut reversed = 0;
    for ((how, seed, span, lines), answer) in all.iter().zip(&answers) {
        let shown = format!("{how:?}, seed {seed}");
        let slack = lateness(lines, *span);
        let delta = window(answer, *span);
        for (hop, found) in delta.hops.iter().enumerate() {
            assert_sums(&shown, (&answer.snapshots[hop], &answer.snapshots[2 + hop]), *span, slack, found);
            reversed += found.reversed.unwrap_or_default();
            let late = matches!(how, Disorder::Late | Disorder::Skewed | Disorder::Noise | Disorder::All);
            assert!(late || found.reversed == Some(0), "{shown}: no clock is behind another one's");
        }
        for (_, kept, query) in &answer.timelines {
            assert!(query.latency() <= kept - query.sent, "{shown}: {query:?} was kept at {kept}");
            let within = query.spent_in(Place::Server).map(u64::from);
            let outside = query.behind.map_or(0, |behind| u64::from(behind.before) + u64::from(behind.after));
            assert!(Some(outside) <= within || within == Some(u32::MAX.into()), "{shown}: {query:?}");
        }
    }
    assert!(reversed > 150, "{reversed} events came late");
}

/// ns by which events that came after a snapshot have clocks from before it: what ended then was under way in it.
fn lateness(lines: &[Line], span: Span) -> u64 {
    let mut ends = vec![];
    let mut late = 0;
    for line in lines {
        match line {
            Line::Snapshot { hop: 0 } => ends.push([span.start, span.end].get(ends.len()).copied().unwrap_or(0)),
            event if event.now() > 0 => late += ends.iter().map(|end| end.saturating_sub(event.now())).sum::<u64>(),
            _ => {}
        }
    }
    late
}

/// The places of each connection that did anything sum to the time between the snapshots; where a clock was ahead of
/// one, to the time until that.
fn assert_sums(shown: &str, (before, after): (&HopSnapshot, &HopSnapshot), span: Span, slack: u64, found: &HopDelta) {
    let nothing = Connection::default();
    let (mut passed, mut active, mut queries) = (0, 0, 0);
    for (client, end) in after.connections.iter().filter(|(client, _)| !found.ends_elsewhere.contains(client)) {
        let start = before.connections.get(client).unwrap_or(&nothing);
        queries += end.queries.saturating_sub(start.queries);
        if (start.since, start.queries, start.place) == (end.since, end.queries, end.place) {
            continue;
        }
        active += 1;
        passed += if start.since > 0 {
            span.end.max(end.since) - span.start.max(start.since)
        } else {
            end.nanos.iter().sum::<u64>() + span.end.saturating_sub(end.since)
        };
    }
    let wanted = (passed, active, queries);
    let places = nanos(found);
    assert_eq!((places.iter().sum::<u64>(), found.connections, found.queries), wanted, "{shown}: {found:?}");
    if found.uses.is_some() {
        let (by_use, round_trips) = uses(found);
        let at_server = places[1..].iter().sum::<u64>();
        assert_eq!(round_trips, queries, "{shown}");
        let differs = by_use.iter().sum::<u64>().abs_diff(at_server);
        assert!(differs <= slack, "{shown}: {by_use:?} and {places:?} differ by {differs}, and {slack} came late");
    }
}
