//! How many of a level's clients are where: the places, and the server's hands divided by the nodes that every level
//! knows. Invariant: a level's populations sum to its clients; a part that one level does not know divides no level.

use super::nodes::{LevelNodes, Node, What};
use super::places::{HopPlaces, load_places};
use crate::wire::Place;
use serde::Serialize;
use std::collections::BTreeMap;

/// Before the key of the first of several parts that are shown as one.
pub const OTHERS: &str = "others, as ";

/// Where some of the clients are, over the levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Population {
    /// Key of the node; `client` for what lies outside the latency.
    pub key: String,
    /// What the node is.
    pub what: What,
    /// The place that it lies in.
    pub place: Place,
    /// Clients, on average over the windows (Little's law).
    pub levels: BTreeMap<usize, f64>,
}

/// In the order of the path, beginning with the client's hands; empty where the sockets were not followed.
pub fn populations(hops: &[HopPlaces], levels: &BTreeMap<usize, LevelNodes>) -> Vec<Population> {
    let Some(hop) = load_places(hops) else { return Vec::new() };
    let trees: BTreeMap<usize, &LevelNodes> =
        levels.iter().filter(|(level, _)| hop.levels.contains_key(level)).map(|(level, tree)| (*level, tree)).collect();
    let mut found = Vec::new();
    for place in hop.passed() {
        let there: BTreeMap<usize, f64> =
            hop.levels.iter().map(|(level, places)| (*level, places.places[place.index()].population)).collect();
        let same = |node: &&Node| matches!(&node.what, What::Place { hop: None, place: other } if *other == place);
        let nodes: Option<Vec<&Node>> = trees.values().map(|tree| tree.latency.parts.iter().find(same)).collect();
        let whole =
            Population { key: key_of(place, &nodes), what: What::Place { hop: None, place }, place, levels: there };
        match nodes {
            Some(nodes) => divide(whole, &nodes, &mut found),
            None => found.push(whole),
        }
    }
    gather(found)
}

/// Parts of a place in which there is no hundredth of the clients at any level become one.
fn gather(populations: Vec<Population>) -> Vec<Population> {
    let small = |p: &Population| p.levels.iter().all(|(level, there)| *there < 0.01 * *level as f64);
    let mut gathered: Vec<Population> = Vec::new();
    for population in populations {
        let (part, of) = (!matches!(population.what, What::Place { .. }) && small(&population), population.place);
        let others = |other: &&mut Population| part && other.place == of && other.key.starts_with(OTHERS);
        match gathered.iter_mut().find(others) {
            Some(others) => {
                for (level, there) in &population.levels {
                    *others.levels.entry(*level).or_default() += there;
                }
            }
            None if part => {
                let key = format!("{OTHERS}{}", population.key);
                gathered.push(Population { key, what: What::Residual(None), ..population });
            }
            None => gathered.push(population),
        }
    }
    gathered
}

fn key_of(place: Place, nodes: &Option<Vec<&Node>>) -> String {
    let first = nodes.as_ref().filter(|_| place != Place::Client).and_then(|nodes| nodes.first());
    first.map_or_else(|| "client".into(), |node| node.key.clone())
}

/// Divides a population as the nodes of all levels (in their order) divide their times.
fn divide(whole: Population, nodes: &[&Node], found: &mut Vec<Population>) {
    let keys: Vec<&String> = nodes.first().map_or(Vec::new(), |node| node.parts.iter().map(|part| &part.key).collect());
    let same = |key: &str| -> Option<Vec<&Node>> {
        nodes.iter().map(|node| node.parts.iter().find(|part| part.key == key && part.share.is_some())).collect()
    };
    let parts: Vec<Vec<&Node>> =
        keys.iter().filter_map(|key| same(key)).filter(|part| part[0].what.is_part()).collect();
    // Whole only where all levels' parts fill it, and none exceeds it: else something would be left out of the picture.
    let fills = |at: usize| {
        let sum: f64 = parts.iter().filter_map(|part| part[at].per_query()).sum();
        let times = nodes[at].times.unwrap_or(1.0);
        let overlap = nodes[at].overlap().map_or(0.0, |(_, nanos)| nanos * times);
        let whole = nodes[at].per_query().unwrap_or(0.0) + overlap;
        (sum - whole).abs() <= 1e-6 * whole && nodes[at].excess().is_none()
    };
    if parts.is_empty() || !(0..nodes.len()).all(fills) {
        found.push(whole);
        return;
    }
    let there = |part: &[&Node], at: usize| part[at].per_query().unwrap_or(0.0);
    let sums: Vec<f64> = (0..nodes.len()).map(|at| parts.iter().map(|part| there(part, at)).sum()).collect();
    for part in parts {
        let shares = (0..nodes.len()).map(|at| there(&part, at) / sums[at].max(f64::MIN_POSITIVE));
        let levels = whole.levels.iter().zip(shares).map(|((level, all), share)| (*level, all * share)).collect();
        let (key, what) = (part[0].key.clone(), part[0].what.clone());
        divide(Population { key, what, place: whole.place, levels }, &part, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(key: &str, what: What, there: f64) -> Population {
        Population { key: key.into(), what, place: Place::Server, levels: BTreeMap::from([(1, there), (64, 0.1)]) }
    }

    #[test]
    fn small_parts_become_one_and_small_places_stay() {
        let place = What::Place { hop: None, place: Place::Server };
        let found = gather(vec![
            population("server", place, 0.001),
            population("a", What::Measured, 0.004),
            population("b", What::Measured, 0.5),
            population("c", What::Residual(None), 0.005),
        ]);
        let keys: Vec<(&str, i64)> =
            found.iter().map(|p| (p.key.as_str(), (p.levels[&1] * 1e6).round() as i64)).collect();
        assert_eq!(keys, [("server", 1_000), ("others, as a", 9_000), ("b", 500_000)]);
    }
}
