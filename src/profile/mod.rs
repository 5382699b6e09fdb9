//! Profiles: interned stacks with weighted columns. Pure: no I/O, no file format.
//!
//! Invariants (checked by [`Profile::check`] at every border):
//! - a node's parent has a smaller id, so a stack is a path to a root in a prefix tree without cycles;
//! - every sample has one value per column, and a column's sum is in the range of its values;
//! - stored values are counts or nanoseconds as measured, never rescaled: "per query" is a divisor applied when
//!   rendering.

mod apart;
mod clones;
mod column;
mod focus;
mod fold;
mod kernel;
mod merge;
mod paths;
mod place;
mod prune;
mod rebuild;
mod same;
mod short;
mod within;

pub use apart::{Named, tell_apart};
pub use column::ColumnKind;
pub use focus::{Callers, Focus, OUTSIDE, Split, any_of, frame_matches, split};
pub use fold::{Away, Folded, Folding, RUNTIME, fold_runtime};
pub use kernel::{enters_kernel, group_frame, group_kernel, kernel_groups};
pub use merge::merge;
pub use paths::{complete_names, crate_in, folder_of_crate, is_bare, module_path, within_module};
pub use place::place;
pub use prune::{Pruned, prune};
pub use rebuild::marker;
pub use same::{Rename, lasting_name};
pub use short::{LONGEST, middle, short_name};
pub use within::{name_within, names_within, without_closures};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

macro_rules! handle {
    ($name:ident, $what:literal) => {
        #[doc = concat!("Index of ", $what, " within its own profile.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The handle as an index into the profile's vector.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
handle!(FrameId, "a frame");
handle!(StackId, "a stack (its leaf node in the prefix tree)");
handle!(LabelsId, "a set of labels");

/// Where a frame's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The process's own code and its libraries.
    User,
    /// The kernel.
    Kernel,
    /// The code that the kernel maps into each process (vdso(7)).
    Vdso,
    /// Not code: a stand-in such as `[outside focus]` or `[stack cut: ...]`.
    Marker,
}

/// Why an address has no function name. A miss keeps its module; it never fails anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// The address lies in no mapping that was seen.
    NoModule,
    /// The mapped file could not be opened (deleted, other namespace, permission).
    FileUnreadable,
    /// The file on disk has another build-id than the one that runs.
    FileReplaced,
    /// The file has no symbol that covers the address (stripped static function).
    NoSymbol,
    /// Mapped anonymous memory: code generated at run time.
    Anonymous,
    /// Kernel symbols are hidden (`kptr_restrict`, no permission).
    KernelHidden,
    /// The object file is damaged; said once with the file's name in the run's notes.
    Malformed,
}

/// Module of code that a runtime generates, which no file holds.
pub const GENERATED: &str = "[anonymous]";

/// Module of wireprof's own programs in the kernel, whose functions interrupt what they observe.
pub const OBSERVER: &str = "[wireprof]";

/// One function in one module; inlined and outlined instances are different frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled without hashes; for a miss `module+0xoffset`. May be kilobytes long.
    pub name: String,
    /// Base name of the file that holds the code (`libc.so.6`, `[kernel]`, `[vdso]`), empty for markers.
    pub module: String,
    /// Where the code runs.
    pub space: Space,
    /// Inlined into the next outer frame.
    pub inlined: bool,
    /// Source file of the function, where line tables tell; empty otherwise.
    pub file: String,
    /// Why the frame has no name; `None`: it has one.
    pub miss: Option<Miss>,
}

/// A node of the prefix tree: a frame called from `parent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// The node of the caller; `None`: a root.
    pub parent: Option<StackId>,
    /// The frame that stands at this node.
    pub frame: FrameId,
}

/// What a column holds; pprof's `ValueType`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// What is counted.
    pub kind: ColumnKind,
    /// `count`, `nanoseconds`, `cycles`
    pub unit: String,
}

/// Whose sample it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// The process's name.
    pub process: String,
    /// Process id.
    pub pid: u32,
    /// The thread's name; empty where the source does not tell it.
    pub thread: String,
    /// Thread id; 0 where the source does not tell it.
    pub tid: u32,
    /// `on-cpu` or `off-cpu`.
    pub state: String,
    /// The unwinder reached a root by call-frame information (see [`crate::sample`]); `None` where the source cannot
    /// say.
    pub complete: Option<bool>,
}

/// One sample, or several alike where the source aggregates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `None`: a sample without any frame.
    pub stack: Option<StackId>,
    /// Index of the labels in [`Profile::labels`].
    pub labels: LabelsId,
    /// Nanoseconds after the start of the profile's span; `None` where the source keeps no time (folded stacks).
    pub at: Option<u64>,
    /// One value per column.
    pub values: Vec<i64>,
}

/// A set of samples with their stacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What the values of each sample are, in order.
    pub columns: Vec<Column>,
    /// Frames, by [`FrameId`].
    pub frames: Vec<Frame>,
    /// Nodes of the prefix tree, by [`StackId`]; a parent stands before its children.
    pub nodes: Vec<Node>,
    /// Sets of labels, by [`LabelsId`].
    pub labels: Vec<Labels>,
    /// Samples, as the source gave them.
    pub samples: Vec<Sample>,
}

/// What is wrong with a profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// A sample has more or fewer values than there are columns.
    #[error("sample {sample} has {found} values, the profile {columns} columns")]
    Values {
        /// Index of the sample.
        sample: usize,
        /// Number of its values.
        found: usize,
        /// Number of the profile's columns.
        columns: usize,
    },
    /// A reference leads to nothing.
    #[error("{what} {index} refers to {target} {to}, of which there are {count}")]
    Dangling {
        /// Kind of what refers: `node` or `sample`.
        what: &'static str,
        /// Its index.
        index: usize,
        /// Kind of what it refers to: `frame`, `stack` or `labels`.
        target: &'static str,
        /// The index that is referred to.
        to: usize,
        /// How many of those there are.
        count: usize,
    },
    /// The stack node of this index stands before its parent, or is its own.
    #[error("stack node {0} does not come after its parent")]
    Order(usize),
    /// The sum of the column of this kind overflows an `i64`.
    #[error("the sum of its {0} is beyond the range of pprof (64 bits)")]
    Sum(ColumnKind),
}

impl Profile {
    /// The column of this kind, if the profile has it.
    pub fn column(&self, kind: &ColumnKind) -> Option<usize> {
        self.columns.iter().position(|c| c.kind == *kind)
    }

    /// Sum of a column over all samples.
    pub fn total(&self, column: usize) -> i64 {
        self.samples.iter().map(|s| s.values[column]).sum()
    }

    /// The frames of a stack, leaf first.
    pub fn walk(&self, stack: Option<StackId>) -> impl Iterator<Item = FrameId> + '_ {
        let mut at = stack;
        std::iter::from_fn(move || {
            let node = self.nodes[at?.index()];
            at = node.parent;
            Some(node.frame)
        })
    }

    /// The frames of a stack, root first.
    pub fn path(&self, stack: Option<StackId>) -> Vec<FrameId> {
        let mut frames: Vec<_> = self.walk(stack).collect();
        frames.reverse();
        frames
    }

    /// Checks the invariants of this module.
    ///
    /// # Errors
    /// The first invariant that does not hold, with the index of what breaks it.
    pub fn check(&self) -> Result<(), Invalid> {
        let dangling = |what, index, target, to, count| Err(Invalid::Dangling { what, index, target, to, count });
        for (i, node) in self.nodes.iter().enumerate() {
            if node.frame.index() >= self.frames.len() {
                return dangling("node", i, "frame", node.frame.index(), self.frames.len());
            }
            if node.parent.is_some_and(|p| p.index() >= i) {
                return Err(Invalid::Order(i));
            }
        }
        for (i, sample) in self.samples.iter().enumerate() {
            if sample.values.len() != self.columns.len() {
                return Err(Invalid::Values { sample: i, found: sample.values.len(), columns: self.columns.len() });
            }
            if let Some(stack) = sample.stack.filter(|s| s.index() >= self.nodes.len()) {
                return dangling("sample", i, "stack", stack.index(), self.nodes.len());
            }
            if sample.labels.index() >= self.labels.len() {
                return dangling("sample", i, "labels", sample.labels.index(), self.labels.len());
            }
        }
        let sum =
            |column: usize| self.samples.iter().try_fold(0i64, |sum, sample| sum.checked_add(sample.values[column]));
        match (0..self.columns.len()).find(|column| sum(*column).is_none()) {
            Some(column) => Err(Invalid::Sum(self.columns[column].kind.clone())),
            None => Ok(()),
        }
    }
}

/// Builds a profile, interning frames, stacks and labels.
#[derive(Default)]
pub struct Builder {
    profile: Profile,
    frames: FxHashMap<Frame, FrameId>,
    nodes: FxHashMap<Node, StackId>,
    labels: FxHashMap<Labels, LabelsId>,
}

impl Builder {
    /// Begins a profile without samples.
    pub fn new(columns: Vec<Column>) -> Self {
        Builder { profile: Profile { columns, ..Profile::default() }, ..Builder::default() }
    }

    /// Interns a frame: equal frames have one id.
    pub fn frame(&mut self, frame: Frame) -> FrameId {
        if let Some(&id) = self.frames.get(&frame) {
            return id;
        }
        let id = FrameId(self.profile.frames.len() as u32);
        self.profile.frames.push(frame.clone());
        self.frames.insert(frame, id);
        id
    }

    /// The stack that has `frame` called from `parent`.
    pub fn push(&mut self, parent: Option<StackId>, frame: FrameId) -> StackId {
        let node = Node { parent, frame };
        *self.nodes.entry(node).or_insert_with(|| {
            self.profile.nodes.push(node);
            StackId(self.profile.nodes.len() as u32 - 1)
        })
    }

    /// As [`Builder::push`], for a reader that meets each stack once: it is not looked for, and `push` would not find
    /// it.
    pub fn push_distinct(&mut self, parent: Option<StackId>, frame: FrameId) -> StackId {
        self.profile.nodes.push(Node { parent, frame });
        StackId(self.profile.nodes.len() as u32 - 1)
    }

    /// Interns a whole stack given root first.
    pub fn stack(&mut self, root_first: impl IntoIterator<Item = FrameId>) -> Option<StackId> {
        root_first.into_iter().fold(None, |parent, frame| Some(self.push(parent, frame)))
    }

    /// Interns a set of labels: equal sets have one id.
    pub fn labels(&mut self, labels: Labels) -> LabelsId {
        if let Some(&id) = self.labels.get(&labels) {
            return id;
        }
        let id = LabelsId(self.profile.labels.len() as u32);
        self.profile.labels.push(labels.clone());
        self.labels.insert(labels, id);
        id
    }

    /// Adds a sample; `at` is in ns after the start of the profile's span, `values` has one value per column.
    pub fn sample(&mut self, stack: Option<StackId>, labels: LabelsId, at: Option<u64>, values: Vec<i64>) {
        debug_assert_eq!(values.len(), self.profile.columns.len());
        self.profile.samples.push(Sample { stack, labels, at, values });
    }

    /// The profile as built; [`Profile::check`] is the caller's to call.
    pub fn finish(self) -> Profile {
        self.profile
    }
}

/// The two columns of an on-CPU profile: samples taken, and the CPU time they stand for.
pub fn on_cpu_columns() -> Vec<Column> {
    vec![
        Column { kind: ColumnKind::Samples, unit: "count".into() },
        Column { kind: ColumnKind::Cpu, unit: "nanoseconds".into() },
    ]
}

/// The columns of an off-CPU profile: waits that ended, and the time blocked and runnable.
pub fn off_cpu_columns() -> Vec<Column> {
    let column = |kind, unit: &str| Column { kind, unit: unit.into() };
    vec![
        column(ColumnKind::Switches, "count"),
        column(ColumnKind::Blocked, "nanoseconds"),
        column(ColumnKind::Runnable, "nanoseconds"),
    ]
}

/// The columns of what carried the queries: waits of the carriers, and how long they waited.
pub fn carried_columns() -> Vec<Column> {
    let column = |kind, unit: &str| Column { kind, unit: unit.into() };
    vec![column(ColumnKind::Switches, "count"), column(ColumnKind::Waited, "nanoseconds")]
}
