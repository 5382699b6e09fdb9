//! The unwinder's tables in the kernel's memory: written through shared mappings, published by a process's entry in
//! `targets`. Invariant: what is published is never written again while programs run; what finds no room is left out
//! and said.

use super::shapes::{KernelMapping, KernelSpace};
use crate::bpf::map_array;
use crate::sample::ModuleId;
use crate::sample::unwind::{Cache, Modules, Placed, Space, Table, TableRule};
use anyhow::Result;
use memmap2::MmapRaw;
use rustc_hash::FxHashMap;
use std::os::fd::BorrowedFd;

/// How many elements each of the kernel's arrays has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub mappings: usize,
    pub pages: usize,
    /// Rows of 4 bytes, an even number.
    pub rows: usize,
    pub rules: usize,
    /// Sums of waits.
    pub waits: usize,
}

impl Room {
    /// Sums that a thread needs: of each place where it waits three (as the stack is known), of preemptions one a
    /// stack. Threads of the testbed and of PostgreSQL have 4 to 20.
    pub const WAITS_A_THREAD: usize = 32;
    /// What is kept free for files that are mapped later: 8 MiB of rows and 1 GiB of code, and, since each of them
    /// that is mapped alone needs all mappings of its process anew, 500 of them one by one; and for threads born later.
    const RESERVE: Room = Room { mappings: 1 << 17, pages: 1 << 18, rows: 2 << 20, rules: 1 << 17, waits: 1 << 16 };

    /// As much again is kept free as there is already, but no more than this.
    const AGAIN: Room = Room { mappings: 0, pages: 1 << 21, rows: 1 << 24, rules: 1 << 19, waits: 1 << 18 };

    pub fn with_reserve(self) -> Room {
        self.with_reserve_by(1)
    }

    /// What must be there so that a recording may begin: with less, half of what is kept free is used already.
    pub fn with_half_of_the_reserve(self) -> Room {
        self.with_reserve_by(2)
    }

    fn with_reserve_by(self, parts: usize) -> Room {
        let with = |used: usize, reserve: usize, again: usize| used + reserve.max(used.min(again)) / parts;
        let (reserve, again) = (Room::RESERVE, Room::AGAIN);
        Room {
            mappings: with(self.mappings, reserve.mappings, again.mappings),
            pages: with(self.pages, reserve.pages, again.pages),
            rows: with(self.rows, reserve.rows, again.rows).next_multiple_of(2),
            rules: with(self.rules, reserve.rules, again.rules),
            waits: with(self.waits, reserve.waits, again.waits),
        }
    }

    fn holds(&self, used: &Room) -> bool {
        let pairs = [
            (self.mappings, used.mappings),
            (self.pages, used.pages),
            (self.rows, used.rows),
            (self.rules, used.rules),
            (self.waits, used.waits),
        ];
        pairs.iter().all(|(own, used)| own >= used)
    }

    fn plus(self, table: &Table) -> Room {
        Room {
            pages: self.pages + table.pages(),
            rows: self.rows + table.rows(),
            rules: self.rules + table.rules(),
            ..self
        }
    }
}

/// Tables of the files met so far, made or read once each.
pub struct Tables {
    pub cache: Cache,
    by_module: FxHashMap<ModuleId, Table>,
}

impl Tables {
    pub fn new(cache: Cache) -> Tables {
        Tables { cache, by_module: FxHashMap::default() }
    }

    /// The table of a module; `None` where it has no file.
    pub fn of(&mut self, module: ModuleId, modules: &mut Modules, building: impl FnOnce(&str, u64)) -> Option<&Table> {
        if !self.by_module.contains_key(&module) {
            let rules = modules.rules(module)?.clone();
            let path = &modules.list[module.0 as usize].path;
            let table = self.cache.table(&rules, |bytes| building(&path.display().to_string(), bytes));
            if table.crowded > 0 {
                modules.notes.push(format!(
                    "{} call-frame rows of {} find no room in a table; stacks through them are copied or cut",
                    table.crowded,
                    path.display()
                ));
            }
            self.by_module.insert(module, table);
        }
        self.by_module.get(&module)
    }

    /// What all tables together need.
    pub fn room(&self) -> Room {
        self.by_module.values().fold(Room::default(), Room::plus)
    }
}

/// Where a module's table lies in the kernel's arrays.
#[derive(Clone, Copy)]
struct Uploaded {
    first_page: u32,
    pages: u32,
    first_rule: u32,
    base: u64,
}

/// The kernel's arrays, mapped.
pub struct Memory {
    room: Room,
    used: Room,
    mappings: MmapRaw,
    pages: MmapRaw,
    rows: MmapRaw,
    rules: MmapRaw,
    /// `None`: there was no room.
    modules: FxHashMap<ModuleId, Option<Uploaded>>,
    /// Runs in `mappings` by number of the user's space.
    spaces: FxHashMap<usize, KernelSpace>,
    users: FxHashMap<KernelSpace, usize>,
    pub notes: Vec<String>,
}

impl Memory {
    /// Maps the arrays `mappings`, `pages`, `rows` and `rules`.
    pub fn new(room: Room, [mappings, pages, rows, rules]: [BorrowedFd; 4]) -> Result<Memory> {
        Ok(Memory {
            room,
            used: Room::default(),
            mappings: map_array(mappings, room.mappings * KernelMapping::SIZE, "mappings")?,
            pages: map_array(pages, room.pages * 8, "pages")?,
            rows: map_array(rows, room.rows * 4, "rows")?,
            rules: map_array(rules, room.rules * TableRule::SIZE, "rules")?,
            modules: FxHashMap::default(),
            spaces: FxHashMap::default(),
            users: FxHashMap::default(),
            notes: Vec::new(),
        })
    }

    /// Whether all these tables fit.
    pub fn holds(&self, wanted: &Room) -> bool {
        self.room.holds(wanted) && self.used.mappings * 2 < self.room.mappings
    }

    /// Forgets the spaces of an earlier recording; nobody may be walking along them.
    pub fn forget_spaces(&mut self) {
        self.used.mappings = 0;
        self.spaces.clear();
        self.users.clear();
    }

    /// The user's number of a space that the kernel names.
    pub fn user_space(&self, space: KernelSpace) -> Option<usize> {
        // Of a process that has just been given another program the kernel knows nothing.
        self.users.get(&space).copied().filter(|_| space.count > 0)
    }

    /// Writes a space with the tables of its files, once; gives where.
    pub fn upload(
        &mut self,
        number: usize,
        space: &Space,
        tables: &mut Tables,
        modules: &mut Modules,
        mut building: impl FnMut(&str, u64),
    ) -> KernelSpace {
        if let Some(known) = self.spaces.get(&number) {
            return *known;
        }
        let placed: Vec<Placed> = space.placed().collect();
        if self.used.mappings + placed.len() > self.room.mappings {
            self.notes.push("no room for more processes' mappings: their stacks are copied".into());
            return KernelSpace::default();
        }
        let first = self.used.mappings;
        for (at, placed) in placed.iter().enumerate() {
            let module = self.module(placed.module, tables, modules, &mut building);
            let mut mapping = KernelMapping {
                start: placed.range.start,
                end: placed.range.end,
                bias: 0,
                first_page: 0,
                pages: 0,
                first_rule: 0,
                padding: 0,
            };
            if let (Some(module), Some(address)) = (module, placed.file_address) {
                mapping.bias = address.wrapping_sub(placed.range.start).wrapping_sub(module.base);
                (mapping.first_page, mapping.pages, mapping.first_rule) =
                    (module.first_page, module.pages, module.first_rule);
            }
            write(&self.mappings, (first + at) * KernelMapping::SIZE, &mapping.bytes());
        }
        self.used.mappings += placed.len();
        let space = KernelSpace { first: first as u32, count: placed.len() as u32 };
        self.spaces.insert(number, space);
        self.users.insert(space, number);
        space
    }

    fn module(
        &mut self,
        id: ModuleId,
        tables: &mut Tables,
        modules: &mut Modules,
        building: impl FnOnce(&str, u64),
    ) -> Option<Uploaded> {
        if let Some(known) = self.modules.get(&id) {
            return *known;
        }
        let path = modules.list[id.0 as usize].path.clone();
        let table = tables.of(id, modules, building)?;
        let after = self.used.plus(table);
        let uploaded = self.room.holds(&after).then(|| self.write_table(table));
        match uploaded {
            Some(_) => self.used = after,
            None => {
                self.notes.push(format!("no room for the table of {}: stacks through it are copied", path.display()));
            }
        }
        self.modules.insert(id, uploaded);
        uploaded
    }

    fn write_table(&self, table: &Table) -> Uploaded {
        let Room { pages, rows, rules, .. } = self.used;
        // The low half of a page's word is the number of its first row; counts stay.
        for (at, word) in table.page_words().enumerate() {
            write(&self.pages, (pages + at) * 8, &(word + rows as u64).to_le_bytes());
        }
        write(&self.rows, rows * 4, table.row_bytes());
        write(&self.rules, rules * TableRule::SIZE, table.rule_bytes());
        Uploaded { first_page: pages as u32, pages: table.pages() as u32, first_rule: rules as u32, base: table.base }
    }
}

/// Writes into a shared mapping. The bounds are the map's own: a table that does not fit is not written at all.
fn write(map: &MmapRaw, at: usize, bytes: &[u8]) {
    assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= map.len()), "within the map");
    // SAFETY: the range lies within the mapping (asserted), which lives as long as `map` and overlaps no slice of ours.
    // Nobody reads these places meanwhile: the kernel's programs come to them only by the entry in `targets` that names
    // them, which bpf(BPF_MAP_UPDATE_ELEM) makes after this. A system call is opaque to the compiler, x86-64 keeps the
    // order of stores, and the kernel publishes an element of a hash map by a store with release
    // (hlist_nulls_add_head_rcu), which the program's look-up acquires: whoever sees the entry sees these bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.as_mut_ptr().add(at), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_thousand_threads_have_room_for_their_waits_and_another_thousand_do_not_load_the_program_anew() {
        let of = |threads: usize| Room { waits: threads * Room::WAITS_A_THREAD, ..Room::default() };
        assert!(of(4_000).with_reserve().holds(&of(5_000)));
        assert!(!Room::default().with_reserve().holds(&of(4_000)), "65,536 sums are not enough for 4,000 threads");
    }

    #[test]
    fn a_process_may_open_400_libraries_one_by_one_and_as_much_code_again_as_it_has() {
        let all = (1..=400).map(|mapped| mapped + 20).sum();
        assert!(Room::default().with_reserve().holds(&Room { mappings: all, ..Room::default() }));
        let of = |libraries: usize| Room { pages: libraries * 50, rows: libraries * 12_001, ..Room::default() };
        let loaded = of(200).with_reserve();
        assert!(loaded.holds(&of(400)) && loaded.rows.is_multiple_of(2));
        assert!(!Room::default().with_reserve().holds(&of(200).with_half_of_the_reserve()), "it is loaded anew");
        assert!(of(200).with_reserve().holds(&of(200).with_half_of_the_reserve()), "and that is enough");
    }
}
