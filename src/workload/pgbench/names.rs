//! The names of variables, numbered in the order in which a reader meets them. Invariant: one name has one slot, over
//! all scripts of a mix.

/// Names and what is known of them before the load.
#[derive(Debug, Default)]
pub struct Names {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    set: bool,
    used: bool,
}

impl Names {
    fn slot(&mut self, name: &str) -> usize {
        self.known.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.known.push(Known { name: name.to_string(), set: false, used: false });
            self.known.len() - 1
        })
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
        self.known.iter().any(|known| known.name == name && known.used)
    }

    pub fn name(&self, slot: usize) -> &str {
        &self.known[slot].name
    }

    pub fn into_names(self) -> Vec<String> {
        self.known.into_iter().map(|known| known.name).collect()
    }
}
