//! Where a query's latency goes, as a tree: places, and within them what the server's own metrics, the database's round trips and
//! its statement statistics tell. Invariant: what is known only by subtraction is marked so, and a part is subtracted from a
//! whole only where both are of the same weight: each query has its own, or there is one for each of the whole's.

use super::places::{HopPlaces, LevelPlaces};
use super::quantities::{Inputs, Kind, source};
use super::summary::mean_latency;
use crate::preset::{self, Nested, Per, Preset};
use crate::run::{Run, Window};
use crate::wire::Place;
use serde::Serialize;
use std::collections::BTreeMap;

/// Key of the root: the client's own mean latency.
pub const LATENCY: &str = "latency";
/// How far numbers of calls may differ for two things to be of one weight: what is in flight at the window's ends, and the
/// scrapes' skew.
const SAME: f64 = 0.02;

/// One node at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// The preset's name of it; a place's name in `wire.json`, with its hop before where that is not the load's; `rest of KEY`.
    pub key: String,
    pub what: What,
    /// ns of one; `None` where `known` says why.
    pub mean: Option<f64>,
    /// What `mean` is of: `query`, `call`, `batch`, `round trip`, `statement`.
    pub per: String,
    /// How many there are for each query of the client.
    pub times: Option<f64>,
    /// Share of the latency, 0..1. `None` where several queries share one, or it is not measured.
    pub share: Option<f64>,
    pub known: Known,
    /// The stored files and the series in them.
    pub source: String,
    pub parts: Vec<Node>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Latency,
    /// Of the load's hop where `hop` is `None`.
    Place {
        hop: Option<String>,
        place: Place,
    },
    /// By the preset.
    Measured,
    /// What the database's own statistics say of the same time: set against a place, not a part that leaves a rest.
    Compared,
    /// What the parts of a whole leave of it; in words where the preset has some.
    Rest(Option<String>),
}

/// How a node is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    Measured {
        /// How many it is the mean of; `None` where that is not told.
        count: Option<f64>,
    },
    /// Only by what its whole and the other parts leave.
    Subtraction,
    /// Why it is not.
    Not(String),
}

/// A level's tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelNodes {
    pub latency: Node,
}

impl Node {
    /// This node or one below it.
    pub fn find(&self, key: &str) -> Option<&Node> {
        if self.key == key {
            return Some(self);
        }
        self.parts.iter().find_map(|part| part.find(key))
    }

    /// ns a query, where each query has its own.
    pub fn per_query(&self) -> Option<f64> {
        self.share?;
        Some(self.mean? * self.times?)
    }

    /// By how much the parts exceed their whole, as a share of it; `None` where they fit.
    pub fn excess(&self) -> Option<f64> {
        let rest = self.parts.iter().find(|part| part.known == Known::Subtraction)?;
        let excess = -rest.mean? / self.mean.filter(|mean| *mean > 0.0)?;
        (excess > SAME).then_some(excess)
    }

    /// Parts that were not subtracted, because several queries share one: the parts, and how many queries.
    pub fn shared(&self) -> Vec<(&Node, f64)> {
        let Some(own) = self.times.filter(|_| self.known != Known::Subtraction) else { return Vec::new() };
        let other = |part: &&Node| weight_in(part, own).is_none();
        let parts = measured(&self.parts).into_iter().filter(other);
        parts.filter_map(|part| Some((part, own / part.times.filter(|times| *times > 0.0)?))).collect()
    }

    fn walk<'a>(&'a self, found: &mut Vec<&'a Node>) {
        found.push(self);
        self.parts.iter().for_each(|part| part.walk(found));
    }

    /// This node and all below it, each whole before its parts.
    pub fn all(&self) -> Vec<&Node> {
        let mut found = Vec::new();
        self.walk(&mut found);
        found
    }
}

impl LevelNodes {
    /// The node of this key (see [`Node::key`]), measured or not.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.latency.find(key)
    }

    /// What of the latency is known only by subtraction, largest first, with its share of the latency.
    pub fn by_subtraction(&self) -> Vec<(&Node, f64)> {
        let rests = self.latency.all().into_iter().filter(|node| node.known == Known::Subtraction);
        let mut rests: Vec<_> = rests.filter_map(|node| Some((node, node.share?))).collect();
        rests.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        rests
    }

    /// Sum of their sizes, 0..1: what no instrument saw itself. `None` without a latency.
    pub fn unexplained(&self) -> Option<f64> {
        self.latency.mean?;
        Some(self.by_subtraction().iter().map(|(_, share)| share.abs()).sum())
    }
}

/// The trees of all levels. `preset`: `None` where it is not to be had; the places stand alone then.
pub fn nodes(run: &Run, hops: &[HopPlaces], preset: Option<&Preset>) -> BTreeMap<usize, LevelNodes> {
    let level = |(level, windows): (usize, Vec<&Window>)| {
        let building = Building { level, windows, hops, preset };
        (level, LevelNodes { latency: building.tree() })
    };
    run.levels().into_iter().map(level).collect()
}

/// Nodes of the preset that lie inside nothing that there is, and are therefore nowhere in the trees.
pub fn misplaced<'p>(levels: &BTreeMap<usize, LevelNodes>, preset: &'p Preset) -> Vec<&'p Nested> {
    let nowhere = |nested: &&Nested| levels.values().all(|level| level.get(&nested.name).is_none());
    preset.node.iter().filter(nowhere).collect()
}

struct Building<'a> {
    level: usize,
    windows: Vec<&'a Window>,
    hops: &'a [HopPlaces],
    preset: Option<&'a Preset>,
}

impl Building<'_> {
    fn tree(&self) -> Node {
        let mean = mean_latency(&self.windows);
        let mut root = Node {
            key: LATENCY.into(),
            what: What::Latency,
            mean,
            per: "query".into(),
            times: Some(1.0),
            share: None,
            known: known(mean, Some(self.queries()), "the driver does not tell it exactly"),
            source: "load.json".into(),
            parts: self.places(None),
        };
        self.add_rests(&mut root);
        set_shares(&mut root, mean, 1.0);
        root
    }

    fn queries(&self) -> f64 {
        self.windows.iter().map(|window| window.load.completed as f64).sum()
    }

    /// The places of a hop, without that of its client's; those of the load's where `name` is `None`.
    fn places(&self, name: Option<&str>) -> Vec<Node> {
        let hop = self.hops.iter().find(|hop| name.map_or(hop.of_load, |name| hop.hop == name));
        let level = hop.and_then(|hop| hop.levels.get(&self.level));
        let places = Place::ALL.into_iter().filter(|place| *place != Place::Client);
        places.map(|place| self.place(name, place, level)).collect()
    }

    fn place(&self, name: Option<&str>, place: Place, level: Option<&LevelPlaces>) -> Node {
        let mean = level.and_then(|level| level.places[place.index()].mean);
        let trips = level.map(|level| level.round_trips);
        let own = place_key(place);
        let key = name.map_or(own.into(), |hop| format!("{hop}/{own}"));
        // The load's hop has as many round trips as queries, but for those under way at the window's ends.
        let (per, times) = if name.is_none() { ("query", Some(1.0)) } else { ("round trip", trips) };
        Node {
            parts: self.parts(&key),
            what: What::Place { hop: name.map(str::to_string), place },
            mean,
            per: per.into(),
            times: mean.and(times),
            share: None,
            known: known(mean, trips.map(|trips| trips * self.queries()), "the sockets were not followed"),
            source: "wire.json".into(),
            key,
        }
    }

    /// What the preset has inside a place or node.
    fn parts(&self, key: &str) -> Vec<Node> {
        let all = self.preset.iter().flat_map(|preset| &preset.node);
        all.filter(|nested| nested.inside == key).map(|nested| self.nested(nested)).collect()
    }

    fn nested(&self, nested: &Nested) -> Node {
        let (found, source, per, what) = match &nested.known {
            preset::Known::Expression(expression) => {
                (self.by_metrics(expression), source(expression), nested.per.to_string(), What::Measured)
            }
            preset::Known::Statements(texts) => {
                (self.by_statements(texts), "statements.json".into(), "statement".into(), What::Compared)
            }
        };
        let mut parts = self.parts(&nested.name);
        parts.extend(nested.hop.iter().flat_map(|hop| self.places(Some(hop))));
        let (mean, times, known) = match found {
            Ok(Mean { nanos, count, queries }) => {
                let times = count.map(|count| count / queries).or((nested.per == Per::Query).then_some(1.0));
                (Some(nanos), times, Known::Measured { count })
            }
            Err(why) => (None, None, Known::Not(why)),
        };
        let key = nested.name.clone();
        Node { key, what, mean, per, times, share: None, known, source, parts }
    }

    /// Over the windows that have it, weighted by its own count.
    fn by_metrics(&self, expression: &preset::Expression) -> Result<Mean, String> {
        let each = self.windows.iter().map(|window| {
            let figure = Inputs::of(window).evaluate(expression)?;
            let Kind::Exact(micros) = figure.kind else { return Err("known only within bounds".to_string()) };
            Ok(Mean { nanos: micros * 1e3, count: figure.count, queries: window.load.completed as f64 })
        });
        pool(each)
    }

    fn by_statements(&self, texts: &[String]) -> Result<Mean, String> {
        let each = self.windows.iter().map(|window| {
            let statements = window.statements.as_ref().ok_or("no statement statistics were read")?;
            let found = texts.iter().find_map(|text| statements.statement(text));
            let found = found.ok_or("the statement was not called")?;
            let nanos = (found.exec + found.plan.unwrap_or(0)) as f64 / found.calls as f64;
            Ok(Mean { nanos, count: Some(found.calls as f64), queries: window.load.completed as f64 })
        });
        pool(each)
    }

    /// Adds to each whole, from the bottom up, what its parts leave of it.
    fn add_rests(&self, node: &mut Node) {
        node.parts.iter_mut().for_each(|part| self.add_rests(part));
        let (Some(mean), Some(times)) = (node.mean, node.times) else { return };
        let parts = measured(&node.parts);
        let weighted =
            parts.iter().map(|part| Some(part.mean? * weight_in(part, times)?)).collect::<Option<Vec<f64>>>();
        let Some(weighted) = weighted.filter(|parts| !parts.is_empty()) else { return };
        let words = self.preset.and_then(|preset| preset.rest.get(&node.key));
        node.parts.push(Node {
            key: format!("rest of {}", node.key),
            what: What::Rest(words.cloned()),
            mean: Some(mean - weighted.iter().sum::<f64>()),
            per: node.per.clone(),
            times: Some(times),
            share: None,
            known: Known::Subtraction,
            source: node.source.clone(),
            parts: Vec::new(),
        });
    }
}

/// A mean over windows.
struct Mean {
    nanos: f64,
    count: Option<f64>,
    queries: f64,
}

/// The mean over the windows that have one, or why the first has none.
fn pool(windows: impl Iterator<Item = Result<Mean, String>>) -> Result<Mean, String> {
    let (mut sum, mut weight, mut why) = (Mean { nanos: 0.0, count: Some(0.0), queries: 0.0 }, 0.0, None);
    for found in windows {
        match found {
            Ok(Mean { nanos, count, queries }) => {
                let own = count.unwrap_or(queries);
                sum.nanos += nanos * own;
                sum.count = sum.count.zip(count).map(|(a, b)| a + b);
                sum.queries += queries;
                weight += own;
            }
            Err(error) => why = why.or(Some(error)),
        }
    }
    if weight == 0.0 {
        return Err(why.unwrap_or_else(|| "no query was completed".into()));
    }
    Ok(Mean { nanos: sum.nanos / weight, ..sum })
}

fn known(mean: Option<f64>, count: Option<f64>, why: &str) -> Known {
    mean.map_or_else(|| Known::Not(why.into()), |_| Known::Measured { count })
}

/// As `wire.json` names it.
fn place_key(place: Place) -> &'static str {
    match place {
        Place::Client => "client",
        Place::Request => "request",
        Place::ServerBuffer => "server_buffer",
        Place::Server => "server",
        Place::Response => "response",
        Place::ClientBuffer => "client_buffer",
    }
}

/// The parts that are measured; in the stead of one that is not, its own.
fn measured(parts: &[Node]) -> Vec<&Node> {
    let each = parts.iter().filter(|part| part.known != Known::Subtraction && part.what != What::Compared);
    each.flat_map(|part| if part.mean.is_some() { vec![part] } else { measured(&part.parts) }).collect()
}

/// How many of a part there are for each of its whole, of which there are `times` a query; `None` where several of the whole
/// share one, or one serves others too, so that the means are of different weights.
fn weight_in(part: &Node, times: f64) -> Option<f64> {
    let ratio = part.times? / times;
    let own = matches!(part.per.as_str(), "query" | "call");
    (own || (ratio - 1.0).abs() <= SAME).then_some(ratio)
}

/// Shares of the latency, down to where a part is shared. Of the whole there are `whole` a query; what was not measured is
/// passed through.
fn set_shares(node: &mut Node, latency: Option<f64>, whole: f64) {
    let mut times = whole;
    if let Some(mean) = node.mean {
        let (Some(_), Some(own)) = (weight_in(node, whole), node.times) else { return };
        node.share = latency.map(|latency| mean * own / latency);
        times = own;
    }
    node.parts.iter_mut().for_each(|part| set_shares(part, latency, times));
}
