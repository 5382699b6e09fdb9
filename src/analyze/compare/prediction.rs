//! What the difference between two sides should come to by what was measured of its parts, against what it came to.
//! Invariant: a prediction uses nothing of the other side's throughput or latency, which it is held against.
//!
//! With one client nothing queues, so a part that one side no longer passes through takes its time with it, and all
//! else is expected to stay: where it does not, the places at the sockets tell which part of the latency went
//! otherwise. Where the CPUs are saturated, throughput is capacity over demand (the utilisation law, U = X D / m:
//! Denning and Buzen 1978, ACM Computing Surveys 10(3)), so at equal utilisation it grows as the demand falls.
//! Replicates that were measured one after the other are paired, and intervals are Student's over the pairs.

use super::difference::{Contrast, Mean};
use crate::analyze::cost::quantities::{Inputs, Kind};
use crate::analyze::time::places::level_places;
use crate::metrics::Change;
use crate::preset::{Nested, Preset};
use crate::run::{Run, Window};
use crate::target::{Role, SchedulerDelta};
use crate::wire::Place;
use serde::Serialize;

/// Share of the CPUs that must be busy on both sides for the CPUs to set the throughput. Below it they may be wanted
/// by more threads than there are, and yet one of them idles while threads wait for another: where the scheduler puts
/// them is then the limit.
const SATURATED: f64 = 0.9;

/// Figures of the two sides and what lies between them: times in ns a query, throughputs in queries a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Number of clients.
    pub level: usize,
    /// Which figure is predicted, and from what.
    pub of: Predicted,
    /// The figure of the first side: mean over the pairs.
    pub before: f64,
    /// What the second side should have: mean over the pairs.
    pub predicted: f64,
    /// What the second side has: mean over the pairs.
    pub measured: f64,
    /// 95 % interval of measured minus before; `None` with fewer than two pairs.
    pub change: Option<(f64, f64)>,
    /// 95 % interval of measured minus predicted; `None` with fewer than two pairs.
    pub beyond: Option<(f64, f64)>,
    /// Number of pairs of windows.
    pub pairs: usize,
}

/// Which figure is predicted, and what between the two sides makes it another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicted {
    /// Mean latency less these nodes of the preset, which the second side does not pass through.
    Latency {
        /// Names of those nodes.
        without: Vec<String>,
    },
    /// The part of it that these places take: those nodes less where they lie in it, else as before.
    Places {
        /// The places whose mean times are summed, of the load's hop.
        places: Vec<Place>,
        /// Names of the nodes that lie in these places; empty where none does.
        without: Vec<String>,
    },
    /// Throughput at the first side's utilisation, with less (or more) CPU a query.
    Throughput {
        /// CPU of the server, second side minus first, in ns a query.
        server: f64,
        /// The same of its companions.
        others: f64,
    },
}

impl Prediction {
    /// Whether the change that was predicted lies within the interval of the one that was measured; `None` without
    /// one. `beyond` asks for more: what scatters from pair to pair on both sides alike is not in its interval.
    pub fn holds(&self) -> Option<bool> {
        let predicted = self.predicted - self.before;
        self.change.map(|(low, high)| low <= predicted && predicted <= high)
    }
}

/// Predictions that the two runs permit, by level, and why others are not made.
pub fn predictions(before: &Run, after: &Run, preset: &Preset) -> (Vec<Prediction>, Vec<String>) {
    let (mut made, mut not) = (Vec::new(), Vec::new());
    let after_levels = after.levels();
    for (level, first) in before.levels() {
        let Some(second) = after_levels.get(&level) else { continue };
        let pairs: Vec<(&Window, &Window)> = first
            .into_iter()
            .filter_map(|a| Some((a, *second.iter().find(|b| b.id().replicate == a.id().replicate)?)))
            .collect();
        let found = match level {
            1 => latency(&pairs, preset),
            _ => throughput(level, &pairs).map(|prediction| vec![prediction]),
        };
        match found {
            Ok(predictions) => made.extend(predictions),
            Err(why) => not.push(format!("Level {level}: not predicted: {why}.")),
        }
    }
    (made, not)
}

/// Of the latency as a whole, and of its places where both sides were followed at the sockets.
fn latency(pairs: &[(&Window, &Window)], preset: &Preset) -> Result<Vec<Prediction>, String> {
    let gone: Vec<&Nested> = preset.node.iter().filter(|node| vanishes(pairs, node)).collect();
    let inside_gone = |node: &&&Nested| gone.iter().any(|other| lies_inside(preset, node, &other.name));
    let topmost: Vec<&Nested> = gone.iter().filter(|node| !inside_gone(node)).copied().collect();
    if topmost.is_empty() {
        return Err(
            "no part of the latency that the server's metrics tell is passed through by the first side only".into()
        );
    }
    let names: Vec<String> = topmost.iter().map(|node| node.name.clone()).collect();
    let gone = |window: &Window| topmost.iter().map(|node| per_query(window, node)).sum::<Option<f64>>();
    let whole = pairs.iter().map(|(a, b)| {
        let before = a.load.mean_latency()?;
        Some((before, before - gone(a)?, b.load.mean_latency()?))
    });
    let whole = conclude(1, Predicted::Latency { without: names }, whole);
    let mut made = vec![whole.ok_or("a window lacks its latency or metrics")?];
    for places in PARTS {
        let inside = |node: &&&Nested| places.iter().any(|place| lies_inside(preset, node, &place.to_string()));
        let own: Vec<&Nested> = topmost.iter().filter(inside).copied().collect();
        let each = pairs.iter().map(|(a, b)| {
            let gone = own.iter().map(|node| per_query(a, node)).sum::<Option<f64>>()?;
            let before = stays(a, places)?;
            Some((before, before - gone, stays(b, places)?))
        });
        let without = own.iter().map(|node| node.name.clone()).collect();
        made.extend(conclude(1, Predicted::Places { places: places.into(), without }, each));
    }
    Ok(made)
}

/// The latency in parts.
const PARTS: [&[Place]; 3] =
    [&[Place::Server], &[Place::ServerBuffer, Place::ClientBuffer], &[Place::Request, Place::Response, Place::Network]];

/// ns a query in these places of the load's hop.
fn stays(window: &Window, places: &[Place]) -> Option<f64> {
    let hop = window.wire.as_ref()?.load()?;
    let found = level_places(&[window], &hop.hop.name)?;
    places.iter().filter_map(|place| found.share(*place)).map(|share| share.mean).sum()
}

/// Whether the first side passes through a node in every window, and the second, whose metrics have it, in none.
fn vanishes(pairs: &[(&Window, &Window)], node: &Nested) -> bool {
    let Some(timed) = node.known.metrics() else { return false };
    let silent = |window: &Window| {
        let Some(metrics) = &window.metrics else { return false };
        let selectors = timed.expression.selectors();
        let mut changes =
            selectors.iter().flat_map(|selector| selector.find(metrics)).map(|(_, change)| change).peekable();
        changes.peek().is_some()
            && changes.all(|change| match change {
                Change::Histogram { count, .. } => *count == 0.0,
                Change::Counter { delta, .. } => *delta == 0.0,
                Change::Untyped { before, after } => *after == before.unwrap_or(0.0),
                Change::Gauge { .. } => false,
            })
    };
    !pairs.is_empty() && pairs.iter().all(|(a, b)| per_query(a, node).is_some_and(|nanos| nanos > 0.0) && silent(b))
}

/// ns a query in a node, by its mean and how often queries pass through it.
fn per_query(window: &Window, node: &Nested) -> Option<f64> {
    let figure = Inputs::of(window).microseconds(node.known.metrics()?).ok()?;
    let Kind::Exact(micros) = figure.kind else { return None };
    (window.load.completed > 0).then(|| Some(micros * 1e3 * figure.count? / window.load.completed as f64))?
}

/// Whether a node lies, however deep, inside another.
fn lies_inside(preset: &Preset, node: &Nested, other: &str) -> bool {
    let mut whole = node.inside.as_str();
    // No chain is longer than there are nodes.
    for _ in 0..preset.node.len() {
        if whole == other {
            return true;
        }
        match preset.node.iter().find(|node| node.name == whole) {
            Some(node) => whole = &node.inside,
            None => return false,
        }
    }
    false
}

fn throughput(level: usize, pairs: &[(&Window, &Window)]) -> Result<Prediction, String> {
    let why = "a window lacks its scheduler statistics, or those of the server";
    let (mut server, mut others, mut each) = (0.0, 0.0, Vec::new());
    for (a, b) in pairs {
        let (first, second) = (Demands::of(a).ok_or(why)?, Demands::of(b).ok_or(why)?);
        if let Some(side) = [&first, &second].into_iter().find(|side| side.busy < SATURATED) {
            return Err(side.unsaturated());
        }
        let (own, companions) = (second.server - first.server, second.others - first.others);
        (server, others) = (server + own, others + companions);
        let predicted = a.load.throughput() * first.all / (first.all + own + companions);
        each.push(Some((a.load.throughput(), predicted, b.load.throughput())));
    }
    let count = pairs.len().max(1) as f64;
    let of = Predicted::Throughput { server: server / count, others: others / count };
    conclude(level, of, each.into_iter()).ok_or_else(|| "no query was completed".into())
}

/// CPU of a window in ns a query.
struct Demands {
    all: f64,
    server: f64,
    others: f64,
    /// Busy share of all CPUs, 0..1, and the same with the threads that waited for one, which may be more than 1.
    busy: f64,
    wanted: f64,
}

impl Demands {
    /// Why the CPUs do not set the throughput.
    fn unsaturated(&self) -> String {
        let placed = match self.wanted >= 1.0 {
            true => "; threads waited for one while another idled: more threads of the load (--load-threads) fill them",
            false => "",
        };
        format!(
            "the CPUs do not set the throughput of both sides: {:.0} % of them were busy in a window (at least {:.0} \
                % needed){placed}",
            100.0 * self.busy,
            100.0 * SATURATED
        )
    }

    fn of(window: &Window) -> Option<Demands> {
        let scheduler: &SchedulerDelta = window.scheduler.as_ref().filter(|s| s.span.nanos() > 0)?;
        let machine = scheduler.machine.as_ref()?;
        let queries = window.load.throughput() * scheduler.span.seconds();
        let each = |nanos: u64| nanos as f64 / queries;
        let capacity = (machine.busy + machine.idle + machine.steal).max(1) as f64;
        let waited: u64 = scheduler.threads.iter().map(|thread| thread.runnable).sum();
        let server = scheduler.cpu(Role::Target)?;
        (queries > 0.0).then(|| Demands {
            all: each(machine.busy),
            server: each(server),
            // What nobody watches is not predicted by.
            others: each(scheduler.cpu(Role::Other).unwrap_or(0)),
            busy: machine.busy as f64 / capacity,
            wanted: (machine.busy + waited) as f64 / capacity,
        })
    }
}

/// From (before, predicted, measured) of each pair.
fn conclude(level: usize, of: Predicted, pairs: impl Iterator<Item = Option<(f64, f64, f64)>>) -> Option<Prediction> {
    let pairs: Vec<(f64, f64, f64)> = pairs.collect::<Option<_>>()?;
    (!pairs.is_empty()).then_some(())?;
    let values = |value: &dyn Fn(&(f64, f64, f64)) -> f64| pairs.iter().map(value).collect::<Vec<f64>>();
    let mean = |value: &dyn Fn(&(f64, f64, f64)) -> f64| values(value).iter().sum::<f64>() / pairs.len() as f64;
    Some(Prediction {
        level,
        of,
        before: mean(&|p| p.0),
        predicted: mean(&|p| p.1),
        measured: mean(&|p| p.2),
        change: interval(&values(&|p| p.2 - p.0)),
        beyond: interval(&values(&|p| p.2 - p.1)),
        pairs: pairs.len(),
    })
}

/// 95 % interval of the mean.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let Mean { value, variance, freedom } = Mean::of(values)?;
    Some(Contrast { estimate: value, error: variance.sqrt(), freedom }.interval(0.05))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::compare::difference::constructed::run;
    use crate::clock::Span;
    use crate::metrics::{MetricsDelta, Scrape};
    use crate::run::build;
    use crate::target::MachineDelta;
    use crate::wire::WireDelta;

    /// Metrics of a window in which `read_ts` was observed so often, 100 us each.
    fn with_metrics(mut run: Run, observed: u64) -> Run {
        let scrape = |at: u64, count: u64| Scrape {
            span: Span::new(at, at + 1),
            text: format!(
                "# TYPE read_ts histogram\nread_ts_bucket{{le=\"+Inf\"}} {count}\nread_ts_sum {}\nread_ts_count \
                    {count}\n",
                count as f64 * 100e-6
            ),
        };
        for window in &mut run.windows {
            window.metrics = Some(MetricsDelta::between(&scrape(0, 0), &scrape(5_000_000_000, observed)));
        }
        run
    }

    fn preset() -> Preset {
        let text = "description = 'p'\n[[node]]\nname = 'read_ts'\ninside = 'server'\nper = 'call'\nexpression = \
                    'mean(read_ts) * 1e6'\n\
                    [[node]]\nname = 'part'\ninside = 'read_ts'\nper = 'call'\nexpression = 'mean(read_ts) * 1e6'\n";
        Preset::parse("p", text).unwrap()
    }

    #[test]
    fn with_one_client_the_latency_falls_by_the_part_that_is_gone_and_by_no_part_of_that_again() {
        let before = with_metrics(run("b", 1, &[(1000, 150_000, 50), (1000, 152_000, 50), (1000, 148_000, 50)]), 1000);
        let after = with_metrics(run("a", 1, &[(3000, 50_500, 50), (3000, 51_500, 50), (3000, 48_500, 50)]), 0);
        let (made, not) = predictions(&before, &after, &preset());
        assert_eq!((made.len(), not.len()), (1, 0), "{not:?}");
        assert_eq!(made[0].of, Predicted::Latency { without: vec!["read_ts".into()] });
        assert!((made[0].predicted / 50_000.0 - 1.0).abs() < 0.01 && made[0].holds() == Some(true), "{:?}", made[0]);
        let slower = with_metrics(run("a", 1, &[(3000, 70_500, 50), (3000, 71_500, 50), (3000, 68_500, 50)]), 0);
        assert_eq!(predictions(&before, &slower, &preset()).0[0].holds(), Some(false));
    }

    /// us a query in each place, in the order of the path.
    fn followed(mut run: Run, micros: [u64; 6]) -> Run {
        for window in &mut run.windows {
            let queries = window.load.completed;
            let hop = build::hop("", queries, 0, micros.map(|micros| micros as f64));
            window.wire = Some(WireDelta { span: window.load.span, hops: vec![hop], sends_seen: true });
        }
        run
    }

    #[test]
    fn what_goes_otherwise_is_found_in_its_place() {
        let before = with_metrics(run("b", 1, &[(1000, 150_000, 50), (1000, 152_000, 50), (1000, 148_000, 50)]), 1000);
        // 100 us of the server's hands are gone, and the buffers hold a message for 20 us longer.
        let after = with_metrics(run("a", 1, &[(3000, 70_500, 50), (3000, 71_500, 50), (3000, 68_500, 50)]), 0);
        let (before, after) = (followed(before, [1, 3, 10, 120, 3, 14]), followed(after, [1, 3, 21, 20, 3, 23]));
        let (made, _) = predictions(&before, &after, &preset());
        let found: Vec<_> = made.iter().map(|p| ((p.predicted / 1e3).round(), p.holds())).collect();
        assert_eq!(found, [(50.0, Some(false)), (20.0, Some(true)), (24.0, Some(false)), (6.0, Some(true))]);
        let buffers = vec![Place::ServerBuffer, Place::ClientBuffer];
        assert_eq!(made[2].of, Predicted::Places { places: buffers, without: Vec::new() });
        assert_eq!((made[2].measured, made[2].beyond), (44_000.0, Some((20_000.0, 20_000.0))));
    }

    #[test]
    fn a_part_that_is_still_there_or_not_among_the_metrics_is_not_gone() {
        let before = with_metrics(run("b", 1, &[(1000, 150_000, 50), (1000, 152_000, 50)]), 1000);
        let still = with_metrics(run("a", 1, &[(1000, 150_000, 50), (1000, 152_000, 50)]), 7);
        let without = run("a", 1, &[(1000, 50_000, 50), (1000, 52_000, 50)]);
        for after in [still, without] {
            let (made, not) = predictions(&before, &after, &preset());
            assert!(made.is_empty() && not[0].starts_with("Level 1: not predicted: no part of"), "{made:?} {not:?}");
        }
    }

    /// The machine of a run's windows: all of two CPUs' time busy but for `idle` ns a window.
    fn on_machine(mut run: Run, idle: u64) -> Run {
        for window in &mut run.windows {
            let scheduler = window.scheduler.as_mut().unwrap();
            let capacity = 2 * scheduler.span.nanos();
            scheduler.machine = Some(MachineDelta { cpus: 2, busy: capacity - idle, idle, ..MachineDelta::default() });
        }
        run
    }

    #[test]
    fn on_saturated_cpus_throughput_grows_as_the_demand_falls() {
        // Two CPUs for 5 s: 10 s of CPU. 200 us a query of all, 120 of them the server's; then 60 us fewer.
        let before = on_machine(run("b", 16, &[(50_000, 100, 120_000), (50_100, 100, 120_000)]), 0);
        let after = on_machine(run("a", 16, &[(71_400, 100, 60_000), (71_500, 100, 60_000)]), 0);
        let (made, _) = predictions(&before, &after, &preset());
        let Predicted::Throughput { server, others } = made[0].of else { panic!("{made:?}") };
        assert!((server + 60_000.0).abs() < 1.0 && others == 0.0);
        assert!(
            (made[0].predicted / (10_000.0 / 0.7) - 1.0).abs() < 0.01
                && (made[0].measured / made[0].predicted - 1.0).abs() < 0.01,
            "{made:?}"
        );
        let idle = on_machine(run("a", 16, &[(71_400, 100, 60_000), (71_500, 100, 60_000)]), 2_000_000_000);
        let (made, not) = predictions(&before, &idle, &preset());
        assert!(
            made.is_empty() && not[0].ends_with("80 % of them were busy in a window (at least 90 % needed)."),
            "{not:?}"
        );
        let waiting = |mut run: Run, nanos: u64| {
            run.windows.iter_mut().for_each(|w| w.scheduler.as_mut().unwrap().threads[0].runnable = nanos);
            run
        };
        let (made, not) = predictions(&before, &waiting(idle, 2_000_000_000), &preset());
        assert!(made.is_empty() && not[0].contains("threads waited for one while another idled"), "{not:?}");
    }
}
