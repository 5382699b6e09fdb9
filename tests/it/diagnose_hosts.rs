//! Runs constructed so that queries are on a network between two hosts for a known time: it is concluded with that
//! effect, told from the link's own round trip, and from no run of one host.

use crate::build;
use crate::diagnose::{Made, one, sixteen};
use std::collections::BTreeMap;
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Finding, diagnose};
use wireprof::clock::ClockRelation;
use wireprof::preset::{Cause, Preset};
use wireprof::run::{ClocksOfHosts, Window};
use wireprof::wire::{Others, Place, Stay};

/// The window of two hosts whose queries spend so many us on the network beside what `made` has; readings of the clock
/// took so many us at least.
fn apart(made: &Made, network: f64, link: f64) -> Window {
    let apart = Made { latency: made.latency + network, ..made.clone() };
    let mut window = apart.window();
    let wire = window.wire.as_mut().unwrap();
    let load = &mut wire.hops[0];
    let queries = load.queries as f64;
    let mut stays: BTreeMap<Place, u64> = load.stays.iter().map(|stay| (stay.place, stay.nanos)).collect();
    // What the constructed hop has of the latency is in the server's hands.
    *stays.get_mut(&Place::Server).unwrap() -= (network * 1e3 * queries) as u64;
    stays.insert(Place::Network, (network * 1e3 * queries) as u64);
    let stay = |(place, nanos)| Stay { place, nanos, count: 0, by_power: BTreeMap::new() };
    load.stays = Place::EVERY.into_iter().map(|place| stay((place, stays[&place]))).collect();
    load.ways_together = true;
    load.others = Some(Others::default());
    let relation =
        ClockRelation { at: 0, offset: 0, drift: 0.0, bound: 1, round_trip: (link * 1e3) as u64, readings: 25 };
    window.facts.clocks = Some(ClocksOfHosts { relation, bytes: 1 });
    window
}

fn diagnosed(windows: Vec<Window>) -> Diagnosis {
    let level = windows.last().unwrap().facts.id.level;
    diagnose(&build::run(windows), &Preset::built_in("testbed").unwrap(), level).unwrap()
}

fn of_network(found: &Diagnosis) -> Option<&Finding> {
    found.verdicts.iter().find(|verdict| verdict.cause == Cause::NetworkBetweenHosts)
}

#[test]
fn what_queries_spend_between_two_hosts_is_a_cause_with_its_effect_and_the_link_itself_where_it_is_as_long() {
    let four = Made { clients: 4, ..one() };
    let found = diagnosed(vec![apart(&one(), 2_000.0, 2_100.0), apart(&four, 2_050.0, 2_300.0)]);
    let network = &found.verdicts[0];
    assert_eq!((network.cause, network.confidence), (Cause::NetworkBetweenHosts, Confidence::Confident));
    let effect = network.effect.unwrap().latency / 1e3;
    assert!((0.95..1.02).contains(&(effect / 2_050.0)), "{effect} us would go with 2,050");
    for said in ["2.05 ms are on the network", "as much as at 1 client", "That is the link itself", "took 2.10 ms"] {
        assert!(network.sentence.contains(said), "no {said:?} in {}", network.sentence);
    }
    let figures: Vec<(f64, usize)> = network.evidence.iter().map(|one| (one.value.round(), one.level)).collect();
    assert_eq!(figures, [(2_000.0, 1), (2_050.0, 4), (2_100.0, 4)], "each level, and the link's round trip");
    assert!(network.next.contains("pipelining") && network.next.contains("nearer"), "{}", network.next);
}

#[test]
fn a_network_far_above_the_links_round_trip_is_queues_or_losses_and_its_growth_is_told() {
    let four = Made { clients: 4, ..one() };
    let found = diagnosed(vec![apart(&one(), 2_000.0, 2_100.0), apart(&four, 8_400.0, 2_100.0)]);
    let network = &found.verdicts[0];
    assert_eq!(network.cause, Cause::NetworkBetweenHosts, "{:#?}", found.verdicts);
    for said in ["it was 2.00 ms at 1 client", "4.00 times as long", "queue or are lost on the way"] {
        assert!(network.sentence.contains(said), "no {said:?} in {}", network.sentence);
    }
    let effect = network.effect.unwrap().latency / 1e3;
    assert!((0.95..1.02).contains(&(effect / 8_400.0)), "what it grew by is no queue of the server's: {effect}");
    // ssh's own programs take most of a reading on a quick link: then nothing is said of the link.
    let quick = diagnosed(vec![apart(&one(), 100.0, 1_000.0)]);
    assert!(of_network(&quick).unwrap().sentence.contains("not told how much"), "{:#?}", quick.verdicts);
}

#[test]
fn what_stands_between_the_hosts_and_opens_connections_of_its_own_is_said_to_have_its_time_there() {
    let mut window = apart(&one(), 2_000.0, 300.0);
    window.wire.as_mut().unwrap().hops[0].others = None;
    let found = diagnosed(vec![window]);
    let sentence = &of_network(&found).unwrap().sentence;
    assert!(sentence.contains("a pooler") && !sentence.contains("lost on the way"), "{sentence}");
}

#[test]
fn on_saturated_cpus_the_network_is_masked_and_on_one_host_there_is_no_such_cause() {
    let found = diagnosed(vec![apart(&Made { latency: 100.0, ..sixteen() }, 60.0, 50.0)]);
    assert_eq!(of_network(&found).map(|network| network.confidence), Some(Confidence::Masked), "{:#?}", found.verdicts);
    let here = diagnosed(vec![one().window()]);
    assert!(of_network(&here).is_none());
}

#[test]
fn the_network_to_the_load_is_no_floor_of_the_round_trip_behind_the_server() {
    let slow = Made { latency: 1_100.0, call: 1_050.0, wait: 1_055.0, ..one() };
    let effect = |window: Window| {
        let found = diagnosed(vec![window]);
        let path = found.verdicts.into_iter().find(|verdict| verdict.cause == Cause::DatabasePath);
        path.and_then(|path| path.effect).map_or(0.0, |effect| effect.latency / 1e3)
    };
    let apart = effect(apart(&slow, 2_000.0, 2_000.0));
    assert!(apart > 900.0, "{apart} us of a call of 1,050");
}
