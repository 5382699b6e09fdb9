//! How the pure operations make a new profile out of an old one: labels and columns carried over, only the frames
//! that are still used.

use super::{Builder, Frame, FrameId, Labels, LabelsId, Profile, Sample, Space, StackId};

/// A frame that is not code, such as `[outside focus]`.
pub fn marker(name: &str) -> Frame {
    Frame {
        name: name.to_string(),
        module: String::new(),
        space: Space::Marker,
        inlined: false,
        file: String::new(),
        miss: None,
    }
}

/// A profile under construction from another one.
pub(super) struct Rebuild<'a> {
    source: &'a Profile,
    frames: Vec<Option<FrameId>>,
    labels: Vec<Option<LabelsId>>,
    pub(super) builder: Builder,
}

impl<'a> Rebuild<'a> {
    pub(super) fn new(source: &'a Profile) -> Self {
        Self::into_builder(source, Builder::new(source.columns.clone()))
    }

    /// Adds `source` to what `builder` already holds.
    pub(super) fn into_builder(source: &'a Profile, builder: Builder) -> Self {
        Rebuild { source, frames: vec![None; source.frames.len()], labels: vec![None; source.labels.len()], builder }
    }

    /// The new stack that has the old profile's `frame` called from `parent`.
    pub(super) fn push(&mut self, parent: Option<StackId>, frame: FrameId) -> StackId {
        let id = match self.frames[frame.index()] {
            Some(id) => id,
            None => self.builder.frame(self.source.frames[frame.index()].clone()),
        };
        self.frames[frame.index()] = Some(id);
        self.builder.push(parent, id)
    }

    /// The new stack that has a frame called from `parent` that the old profile does not have.
    pub(super) fn push_made(&mut self, parent: Option<StackId>, frame: Frame) -> StackId {
        let id = self.builder.frame(frame);
        self.builder.push(parent, id)
    }

    /// The stack made of one marker.
    pub(super) fn stand_in(&mut self, frame: Frame) -> StackId {
        let id = self.builder.frame(frame);
        self.builder.push(None, id)
    }

    fn labels(&mut self, old: LabelsId) -> LabelsId {
        let labels: &Labels = &self.source.labels[old.index()];
        *self.labels[old.index()].get_or_insert_with(|| self.builder.labels(labels.clone()))
    }

    /// Adds the old sample under a new stack.
    pub(super) fn sample(&mut self, old: &Sample, stack: Option<StackId>) {
        let labels = self.labels(old.labels);
        self.builder.sample(stack, labels, old.at, old.values.clone());
    }

    pub(super) fn finish(self) -> Profile {
        self.builder.finish()
    }
}
