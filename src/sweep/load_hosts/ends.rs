//! The client's ends of the load's connections, which each load host followed for its own. Invariant: times of
//! intervals of unlike length are brought to one length before they are added.

use crate::wire::{HopDelta, Stay, WireDelta};

/// All hosts' ends as one; `None`: there is none.
pub fn added(ends: Vec<WireDelta>) -> Option<WireDelta> {
    let mut ends = ends.into_iter();
    let mut whole = ends.next()?;
    let length = whole.span.nanos();
    for end in ends {
        let scale = length as f64 / end.span.nanos().max(1) as f64;
        whole.sends_seen &= end.sends_seen;
        if let (Some(hop), Some(more)) = (whole.hops.first_mut(), end.hops.into_iter().next()) {
            add(hop, more, scale);
        }
    }
    Some(whole)
}

fn add(hop: &mut HopDelta, more: HopDelta, scale: f64) {
    hop.connections += more.connections;
    hop.client_seen += more.client_seen;
    hop.queries += more.queries;
    hop.pipelined += more.pipelined;
    hop.pieces += more.pieces;
    hop.reversed = hop.reversed.zip(more.reversed).map(|(a, b)| a + b);
    let stays = std::mem::take(&mut hop.stays).into_iter().zip(more.stays);
    let scaled = |stay: Stay| Stay { nanos: (stay.nanos as f64 * scale).round() as u64, ..stay };
    hop.stays = stays.map(|(stay, more)| stay.plus(scaled(more))).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::wire::Place;
    use std::collections::BTreeMap;

    fn end(span: Span, connections: u64, queries: u64, nanos: u64) -> WireDelta {
        let stay = |place| Stay { place, nanos, count: queries, by_power: BTreeMap::from([(10, queries)]) };
        let stays = Place::ALL.map(stay).to_vec();
        let hop = HopDelta { connections, client_seen: connections, queries, stays, ..HopDelta::default() };
        WireDelta { span, hops: vec![hop], sends_seen: true }
    }

    #[test]
    fn ends_of_several_hosts_are_added_over_intervals_of_one_length() {
        let second = Span::new(7_000, 2_007_000);
        let whole = added(vec![end(Span::new(0, 1_000_000), 2, 10, 500), end(second, 3, 20, 800)]).unwrap();
        let hop = whole.load().unwrap();
        assert_eq!((hop.connections, hop.client_seen, hop.queries), (5, 5, 30));
        assert_eq!(hop.stay(Place::Server).nanos, 500 + 400);
        assert_eq!(hop.stay(Place::Server).by_power, BTreeMap::from([(10, 30)]));
        assert!(added(Vec::new()).is_none());
    }
}
