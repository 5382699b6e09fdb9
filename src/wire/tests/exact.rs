//! Where no event is missing and none comes late, every figure is exactly what the simulated server did.

use super::*;
use crate::wire::QueryTimeline;
use std::collections::{BTreeMap, BTreeSet};

/// How many servers.
const SEEDS: u64 = 600;

#[test]
fn where_every_event_comes_in_its_order_every_figure_is_exactly_what_the_server_did() {
    let mut all = Vec::new();
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let server = simulate(&mut random);
        let mut ends = [(); 2].map(|()| random.random_range(server.span.start..=server.span.end));
        ends.sort_unstable();
        let span = Span::new(ends[0], ends[1] + 1);
        let every = random.random_range(1..4);
        let full = random.random_range(0..10) == 0;
        let mut lines: Vec<Line> = [0, 1].map(|hop| Line::Every { every, hop }).into();
        lines.extend(full.then_some(Line::Full));
        lines.extend(server.recorded(server.events.clone(), span));
        all.push((seed, server, span, u64::from(every), full, lines));
    }
    let answers = host::run(&all.iter().map(|one| one.5.clone()).collect::<Vec<_>>());
    let (mut told, mut behind) = (0, 0);
    for ((seed, server, span, every, full, _), answer) in all.iter().zip(&answers) {
        assert_window(*seed, server, *span, &window(answer, *span));
        let wanted = timelines(server, *every);
        if *full {
            let lost = |hop: usize| wanted.iter().filter(|(of, _)| *of == hop).count() as u64;
            assert_eq!(answer.lost[4..], [lost(0), lost(1)], "seed {seed}: what finds no room is counted");
            assert!(answer.timelines.is_empty());
            continue;
        }
        let mut found: Vec<_> = answer.timelines.iter().map(|(hop, _, query)| (*hop, *query)).collect();
        found.sort_by_key(|(hop, query)| (*hop, query.client, query.sent));
        if server.clients > 1 {
            // Whose request to the database it was is not known where several ask at once.
            found.iter_mut().for_each(|(_, query)| query.behind = None);
        }
        assert_eq!(found, wanted, "seed {seed}");
        told += found.len();
        behind += found.iter().filter(|(_, query)| query.behind.is_some()).count();
    }
    assert!(told > 3_000 && behind > 60, "{told} timelines, {behind} with a request behind");
}

fn assert_window(seed: u64, server: &Simulated, span: Span, delta: &WireDelta) {
    for (hop, found) in delta.hops.iter().enumerate() {
        let ended = |stay: &&server::Stayed| stay.hop == hop && span.start < stay.to && stay.to <= span.end;
        let active: BTreeSet<u32> = server.stays.iter().filter(ended).map(|stay| stay.port).collect();
        let begun =
            server.trips.iter().filter(|trip| trip.hop == hop && span.start < trip.sent && trip.sent <= span.end);
        let active: BTreeSet<u32> = begun.clone().map(|trip| trip.port).chain(active).collect();
        let mut wanted = [0; PLACES];
        let mut counts = [0; PLACES];
        for stay in server.stays.iter().filter(|stay| stay.hop == hop && active.contains(&stay.port)) {
            let (from, to) = (stay.from.max(span.start), stay.to.min(span.end));
            wanted[stay.place.index()] += to.saturating_sub(from);
        }
        server.stays.iter().filter(ended).for_each(|stay| counts[stay.place.index()] += 1);
        assert_eq!(nanos(found), wanted, "seed {seed}, hop {hop}");
        assert_eq!(Place::ALL.map(|place| found.stay(place).count), counts, "seed {seed}, hop {hop}: stays");
        let is_piece = |(of, port, at): &&(usize, u32, Nanos)| {
            *of == hop && active.contains(port) && span.start < *at && *at <= span.end
        };
        let pieces = server.pieces.iter().filter(is_piece).count();
        let counted = (found.connections, found.queries, found.pieces, found.pipelined, found.reversed);
        assert_eq!(
            counted,
            (active.len() as u64, begun.count() as u64, pieces as u64, 0, Some(0)),
            "seed {seed}, hop {hop}"
        );
        if hop > 0 {
            let (mut by_use, round_trips) = uses(found);
            by_use[0] = wanted[0];
            assert_eq!((by_use, round_trips), (wanted, found.queries), "seed {seed}: what round trips are for");
        }
    }
}

/// The timelines that are to be kept: of one query in so many, as soon as its connection sends the next.
fn timelines(server: &Simulated, every: u64) -> Vec<(usize, QueryTimeline)> {
    let mut last: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for trip in &server.trips {
        let last = last.entry((trip.hop, trip.port)).or_default();
        *last = trip.nth.max(*last);
    }
    let short = |nanos: u64| u32::try_from(nanos).unwrap_or(u32::MAX);
    let is_kept = |trip: &&server::Trip| {
        (trip.nth + u64::from(trip.port)).is_multiple_of(every) && trip.nth < last[&(trip.hop, trip.port)]
    };
    let told = |trip: &server::Trip| {
        let behind = match trip.asks[..] {
            [(before, after)] if server.clients == 1 && before > 0 => {
                Some(crate::wire::Behind { before: short(before), after: short(after) })
            }
            _ => None,
        };
        (trip.hop, QueryTimeline { sent: trip.sent, client: trip.port, spent: trip.spent.map(short), behind })
    };
    let mut all: Vec<_> = server.trips.iter().filter(is_kept).map(told).collect();
    all.sort_by_key(|(hop, query)| (*hop, query.client, query.sent));
    all
}
