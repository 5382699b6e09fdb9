//! The names of variables, numbered in the order in which a reader meets them. Invariant: one name has one slot, over
//! all scripts of a mix.

use std::collections::HashMap;

/// Names and what is known of them before the load.
#[derive(Debug, Default)]
pub struct Names {
    known: Vec<Known>,
    slots: HashMap<String, usize>,
}

#[derive(Debug)]
struct Known {
    name: String,
    set: bool,
    used: bool,
}

impl Names {
    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        self.known.push(Known { name: name.to_string(), set: false, used: false });
        self.slots.insert(name.to_string(), self.known.len() - 1);
        self.known.len() - 1
    }

    /// The slot of a variable that is read.
    pub fn used(&mut self, name: &str) -> usize {
        let slot = self.slot(name);
        self.known[slot].used = true;
        slot
    }

    /// The slot of a variable that something sets.
    pub fn set(&mut self, name: &str) -> usize {
        let slot = self.slot(name);
        self.known[slot].set = true;
        slot
    }

    /// Whether anything sets it by name.
    pub fn is_set(&self, slot: usize) -> bool {
        self.known[slot].set
    }

    /// Whether anything reads it.
    pub fn is_used(&self, name: &str) -> bool {
        self.slots.get(name).is_some_and(|slot| self.known[*slot].used)
    }

    pub fn name(&self, slot: usize) -> &str {
        &self.known[slot].name
    }

    pub fn into_names(self) -> Vec<String> {
        self.known.into_iter().map(|known| known.name).collect()
    }
}
