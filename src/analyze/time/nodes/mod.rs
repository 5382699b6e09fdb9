//! Where a query's latency goes, as a tree: places, and within them what the server's own metrics, the database's
//! round trips and its statement statistics tell. Invariant: what is known only by subtraction is marked so, and a
//! part is subtracted from a whole only where both are of the same weight: each query has its own, or there is one
//! for each of the whole's.

mod build;
mod overlap;
mod own_work;

pub use overlap::Overlap;
pub use own_work::{OwnWork, Phase};

use super::places::HopPlaces;
use crate::preset::{Nested, Preset};
use crate::run::{Run, Window};
use crate::wire::Place;
use build::Building;
use own_work::own_work;
use serde::Serialize;
use std::collections::BTreeMap;

/// Key of the root: the client's own mean latency, while the sockets were followed where they were.
pub const LATENCY: &str = "latency";
/// How far numbers of calls may differ for two things to be of one weight: what is in flight at the window's ends,
/// and the scrapes' skew.
const SAME: f64 = 0.02;
/// End of the source of places that are of all round trips of a hop, where a preset means those for one statement.
pub const ALL_TOGETHER: &str = ": of all round trips together, not told apart by statement";

/// One node at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// The preset's name of it; a place's name in `wire.json`, with its hop before where that is not the load's;
    /// `rest of KEY`.
    pub key: String,
    /// What the node is.
    pub what: What,
    /// ns of one; `None` where `known` says why.
    pub mean: Option<f64>,
    /// What `mean` is of: `query`, `call`, `batch`, `round trip`, `statement`.
    pub per: String,
    /// How many there are for each query of the client.
    pub times: Option<f64>,
    /// Share of the latency, 0..1. `None` where several queries share one, or it is not measured.
    pub share: Option<f64>,
    /// How the node is known.
    pub known: Known,
    /// The stored files and the series in them.
    pub source: String,
    /// The nodes that it divides into, and those set next to them for comparison; empty for a leaf.
    pub parts: Vec<Node>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The root: the clients' mean latency.
    Latency,
    /// A place on a hop.
    Place {
        /// Name of the hop; `None` for the load's.
        hop: Option<String>,
        /// The place on that hop.
        place: Place,
    },
    /// Of the client, around its own end of the load's hop.
    ClientCalls,
    /// By the preset.
    Measured,
    /// What the database's own statistics say of the same time: set against a place, not a part that leaves a
    /// residual.
    Compared,
    /// The same of what the sockets alone say of the server's hands.
    Phase(Phase),
    /// By how much the parts exceed their whole, and why. Not a part.
    Overlap(Overlap),
    /// What the parts of a whole leave of it; in words where the preset has some.
    #[serde(rename = "rest")]
    Residual(Option<String>),
}

impl What {
    /// A part of its whole; false for what is only set next to the parts, to be compared with them.
    pub fn is_part(&self) -> bool {
        !matches!(self, What::Compared | What::Phase(_) | What::Overlap(_))
    }
}

/// How a node is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Measured itself.
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
    /// The root of the tree.
    pub latency: Node,
    /// What the sockets tell of the server's hands without any metric; `None` where queries overlap.
    pub own_work: Option<OwnWork>,
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
        let (_, overlap) = self.overlap()?;
        let excess = overlap / self.mean.filter(|mean| *mean > 0.0)?;
        (excess > SAME).then_some(excess)
    }

    /// Why its parts exceed it, and by how many ns; `None` where they do not.
    pub fn overlap(&self) -> Option<(Overlap, f64)> {
        self.parts.iter().find_map(|part| match part.what {
            What::Overlap(why) => Some((why, part.mean?)),
            _ => None,
        })
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
    pub fn residuals(&self) -> Vec<(&Node, f64)> {
        self.rests(|node| !self.within_measured(node))
    }

    /// What the means of the server's metrics leave within its hands, likewise, where the sockets measured all that
    /// it did there itself. They say how the measured parts divide further, and are no part of
    /// [`LevelNodes::residual_share`].
    pub fn residuals_within_measured(&self) -> Vec<(&Node, f64)> {
        self.rests(|node| self.within_measured(node))
    }

    fn rests(&self, which: impl Fn(&Node) -> bool) -> Vec<(&Node, f64)> {
        let is_rest = |node: &Node| node.known == Known::Subtraction && node.what.is_part();
        let rests = self.latency.all().into_iter().filter(|node| is_rest(node) && which(node));
        let mut rests: Vec<_> =
            rests.filter_map(|node| Some((node, node.share.filter(|share| *share > 0.0)?))).collect();
        rests.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        rests
    }

    /// It lies within the server's hands, and the sockets measured what the server did there.
    pub fn within_measured(&self, node: &Node) -> bool {
        let server = self.own_work.and_then(|_| self.get("server")).filter(|server| server.mean.is_some());
        server.is_some_and(|server| server.find(&node.key).is_some())
    }

    /// Share of the latency, 0..1, that the sampled queries spent in the server's hands beyond what the sockets saw
    /// of its parts: these are means of a sample, the whole is of all queries. `None` where the parts were not
    /// measured.
    pub fn traced_residual(&self) -> Option<f64> {
        let server = self.get("server").and_then(|server| server.mean);
        let all = self.own_work.zip(server).zip(self.latency.mean);
        all.map(|((own, server), latency)| (server - own.before - own.behind - own.after).abs() / latency)
    }

    /// Share of the latency, 0..1, that no instrument saw itself: what is known only by subtraction, with what the
    /// sampled parts leave of the server's hands. `None` without a latency.
    pub fn residual_share(&self) -> Option<f64> {
        self.latency.mean?;
        let rests: f64 = self.residuals().iter().map(|(_, share)| share.abs()).sum();
        let within: f64 = self.residuals_within_measured().iter().map(|(_, share)| share.abs()).sum();
        // What the metrics explain is no residual, though the means of the sockets' sample differ from it.
        Some(rests + self.traced_residual().map_or(0.0, |left| left.min(within)))
    }
}

/// The trees of all levels. `preset`: `None` where it is not to be had; the places stand alone then.
pub fn nodes(run: &Run, hops: &[HopPlaces], preset: Option<&Preset>) -> BTreeMap<usize, LevelNodes> {
    let level = |(level, windows): (usize, Vec<&Window>)| {
        let own_work = own_work(&windows);
        let latency = Building { level, windows, hops, preset, own_work }.tree();
        (level, LevelNodes { latency, own_work })
    };
    run.levels().into_iter().map(level).collect()
}

/// Nodes of the preset that lie inside nothing that there is, and are therefore nowhere in the trees.
pub fn misplaced<'p>(levels: &BTreeMap<usize, LevelNodes>, preset: &'p Preset) -> Vec<&'p Nested> {
    let nowhere = |nested: &&Nested| levels.values().all(|level| level.get(&nested.name).is_none());
    preset.node.iter().filter(nowhere).collect()
}

/// The parts that are measured; in the stead of one that is not, its own.
fn measured(parts: &[Node]) -> Vec<&Node> {
    let each = parts.iter().filter(|part| part.known != Known::Subtraction && part.what.is_part());
    each.flat_map(|part| if part.mean.is_some() { vec![part] } else { measured(&part.parts) }).collect()
}

/// How many of a part there are for each of its whole, of which there are `times` a query; `None` where several of
/// the whole share one, or one serves others too, so that the means are of different weights.
fn weight_in(part: &Node, times: f64) -> Option<f64> {
    let ratio = part.times? / times;
    let own = matches!(part.per.as_str(), "query" | "call");
    (own || (ratio - 1.0).abs() <= SAME).then_some(ratio)
}
