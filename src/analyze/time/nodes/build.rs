//! A level's tree from its windows: places from the sockets, what the preset has inside them, and what is left of
//! each whole. Invariant: a node is measured only where its source is; the others say why not.

use super::overlap::Overlap;
use super::{ALL_TOGETHER, Known, LATENCY, Node, OwnWork, What, measured, weight_in};
use crate::analyze::cost::quantities::{Inputs, Kind, source};
use crate::analyze::judge::summary::mean_latency;
use crate::analyze::time::places::{HopPlaces, LevelPlaces, load_places};
use crate::analyze::time::uses::Undivided;
use crate::preset::{self, Nested, Pattern, Per, Preset, Timed};
use crate::run::Window;
use crate::wire::Place;

pub(super) struct Building<'a> {
    pub level: usize,
    pub windows: Vec<&'a Window>,
    pub hops: &'a [HopPlaces],
    pub preset: Option<&'a Preset>,
    pub own_work: Option<OwnWork>,
}

impl Building<'_> {
    pub fn tree(&self) -> Node {
        // Of the same interval as its places, where there are any: the window's ends hold its scrapes.
        let at_sockets = load_places(self.hops).and_then(|hop| hop.levels.get(&self.level)?.latency);
        let mean = at_sockets.or_else(|| mean_latency(&self.windows));
        let mut root = Node {
            key: LATENCY.into(),
            what: What::Latency,
            mean,
            per: "query".into(),
            times: Some(1.0),
            share: None,
            known: known(mean, Some(self.queries()), "the driver does not tell it exactly"),
            source: "load.json".into(),
            parts: self.places(None, None),
        };
        root.parts.extend(self.client_calls());
        self.add_residuals(&mut root);
        set_shares(&mut root, mean, 1.0);
        root
    }

    fn queries(&self) -> f64 {
        self.windows.iter().map(|window| window.load.completed as f64).sum()
    }

    /// The places of a hop, without that of its client's; those of the load's where `name` is `None`.
    fn places(&self, name: Option<&str>, of_use: Option<&Pattern>) -> Vec<Node> {
        let hop = match name {
            Some(name) => self.hops.iter().find(|hop| hop.hop == name),
            None => load_places(self.hops),
        };
        let level = hop.and_then(|hop| hop.levels.get(&self.level));
        let passed = hop.map_or_else(|| Place::ALL.to_vec(), HopPlaces::passed);
        let (level, of) = match level {
            Some(level) => of_use_alone(level, of_use),
            None => (Err("the sockets were not followed".into()), ""),
        };
        let places = passed.into_iter().filter(|place| *place != Place::Client);
        places.map(|place| self.place(name, place, level.as_ref(), of)).collect()
    }

    /// The client's system calls, where they are known.
    fn client_calls(&self) -> Option<Node> {
        let hop = load_places(self.hops)?;
        let mean = hop.levels.get(&self.level)?.client_calls?;
        Some(Node {
            key: "client_calls".into(),
            what: What::ClientCalls,
            mean: Some(mean),
            per: "query".into(),
            times: Some(1.0),
            share: None,
            known: Known::Measured { count: Some(self.queries()) },
            source: "wire.json, load.json".into(),
            parts: Vec::new(),
        })
    }

    /// `of`: which round trips of the hop it is a place of, for its source.
    fn place(&self, name: Option<&str>, place: Place, level: Result<&LevelPlaces, &String>, of: &str) -> Node {
        let why = level.err().map_or("no round trip", String::as_str);
        let level = level.ok();
        let mean = level.and_then(|level| level.share(place)?.mean);
        let trips = level.map(|level| level.round_trips);
        let key = name.map_or_else(|| place.to_string(), |hop| format!("{hop}/{place}"));
        // The load's hop has as many round trips as queries, but for those under way at the window's ends.
        let (per, times) = if name.is_none() { ("query", Some(1.0)) } else { ("round trip", trips) };
        let mut parts = self.parts(&key);
        if name.is_none() && place == Place::Server {
            parts.extend(self.phases());
        }
        Node {
            parts,
            what: What::Place { hop: name.map(str::to_string), place },
            mean,
            per: per.into(),
            times: mean.and(times),
            share: None,
            known: known(mean, trips.map(|trips| trips * self.queries()), why),
            source: format!("wire.json{of}"),
            key,
        }
    }

    /// What the sockets say of the server's hands, where they do.
    fn phases(&self) -> Vec<Node> {
        let node = |own: OwnWork| {
            own.phases().map(|(phase, nanos)| Node {
                key: format!("{phase:?}").to_lowercase(),
                what: What::Phase(phase),
                mean: Some(nanos),
                per: "query".into(),
                times: Some(1.0),
                share: None,
                known: Known::Measured { count: Some(own.queries as f64) },
                source: "timelines.json.gz".into(),
                parts: Vec::new(),
            })
        };
        self.own_work.map(node).into_iter().flatten().collect()
    }

    /// What the preset has inside a place or node.
    fn parts(&self, key: &str) -> Vec<Node> {
        let all = self.preset.iter().flat_map(|preset| &preset.node);
        all.filter(|nested| nested.inside == key).map(|nested| self.nested(nested)).collect()
    }

    fn nested(&self, nested: &Nested) -> Node {
        let (found, source, per, what) = match &nested.known {
            preset::Known::Metrics(timed) => {
                (self.by_metrics(timed), source(&timed.expression), nested.per.to_string(), What::Measured)
            }
            preset::Known::Statements(texts) => {
                (self.by_statements(texts), "statements.json".into(), "statement".into(), What::Compared)
            }
        };
        let mut parts = self.parts(&nested.name);
        parts.extend(nested.hop.iter().flat_map(|hop| self.places(Some(hop), nested.of_use.as_ref())));
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
    fn by_metrics(&self, timed: &Timed) -> Result<Mean, String> {
        let each = self.windows.iter().map(|window| {
            let figure = Inputs::of(window).microseconds(timed)?;
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
            // The whole service where the source measures it, else its known parts.
            let time = found.service.unwrap_or(found.exec + found.plan.unwrap_or(0));
            let nanos = time as f64 / found.calls as f64;
            Ok(Mean { nanos, count: Some(found.calls as f64), queries: window.load.completed as f64 })
        });
        pool(each)
    }

    /// Adds to each whole, from the bottom up, what its parts leave of it.
    fn add_residuals(&self, node: &mut Node) {
        node.parts.iter_mut().for_each(|part| self.add_residuals(part));
        let (Some(mean), Some(times)) = (node.mean, node.times) else { return };
        let parts = measured(&node.parts);
        let weighted =
            parts.iter().map(|part| Some(part.mean? * weight_in(part, times)?)).collect::<Option<Vec<f64>>>();
        let Some(weighted) = weighted.filter(|parts| !parts.is_empty()) else { return };
        let words = self.preset.and_then(|preset| preset.residual.get(&node.key));
        let left = mean - weighted.iter().sum::<f64>();
        // One or the other: where the parts exceed their whole, a rest of 0 would be a figure that nobody measured.
        let (key, what) = match left < 0.0 {
            true => ("overlap in", What::Overlap(Overlap::of(node, &parts, -left))),
            false => ("rest of", What::Residual(words.cloned())),
        };
        let beside = Node {
            key: format!("{key} {}", node.key),
            what,
            mean: Some(left.abs()),
            per: node.per.clone(),
            times: Some(times),
            share: None,
            known: Known::Subtraction,
            source: node.source.clone(),
            parts: Vec::new(),
        };
        node.parts.push(beside);
    }
}

/// The places of the round trips that a node consists of, and a remark for their source. Where they were not told apart
/// they are those of all together, which is said.
fn of_use_alone(level: &LevelPlaces, of_use: Option<&Pattern>) -> (Result<LevelPlaces, String>, &'static str) {
    let Some(pattern) = of_use else { return (Ok(level.clone()), "") };
    match level.of_use(&pattern.0) {
        Ok(alone) => (Ok(alone), ": of its statement alone"),
        Err(Undivided::Together) => (Ok(level.clone()), ALL_TOGETHER),
        Err(why) => (Err(why.to_string()), ""),
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

/// Shares of the latency, down to where a part is shared. Of the whole there are `whole` a query; what was not
/// measured is passed through.
fn set_shares(node: &mut Node, latency: Option<f64>, whole: f64) {
    let mut times = whole;
    if matches!(node.what, What::Overlap(_)) {
        return;
    }
    if let Some(mean) = node.mean {
        let (Some(_), Some(own)) = (weight_in(node, whole), node.times) else { return };
        node.share = latency.map(|latency| mean * own / latency);
        times = own;
    }
    node.parts.iter_mut().for_each(|part| set_shares(part, latency, times));
}
