//! The namespaces and types that a C++ function's declaration lies in, for functions without a mangled name (those of
//! unnamed namespaces). Invariant: a unit is gone through once, however many of its functions are asked for; what
//! cannot be followed has no scope, and is no error.

use gimli::{AttributeValue, DebugInfoOffset, EndianSlice, LittleEndian, UnitOffset, UnitRef};
use rustc_hash::FxHashMap;
use std::sync::Arc;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Unit<'u, 'a> = UnitRef<'u, Slice<'a>>;

/// References that are followed from a function to its declaration.
const MOST_STEPS: usize = 8;

/// What the functions of a unit lie in, by the offsets of their declarations.
pub(super) struct Scopes(FxHashMap<usize, Arc<str>>);

impl Scopes {
    /// Goes through the unit's namespaces and types, as far as it can be read.
    pub(super) fn read(unit: Unit<'_, '_>) -> Scopes {
        let mut scopes = Scopes(FxHashMap::default());
        if let Ok(mut tree) = unit.entries_tree(None)
            && let Ok(root) = tree.root()
        {
            // What was found before damage is true.
            let _ = scopes.descend(unit, root, None);
        }
        scopes
    }

    /// `ns::Type` of the function at `offset`; `None` where it lies in nothing that has a name.
    pub(super) fn of(&self, unit: Unit<'_, '_>, offset: UnitOffset) -> Option<Arc<str>> {
        self.0.get(&declaration(unit, offset)?.0).cloned()
    }

    fn descend<'a>(
        &mut self,
        unit: Unit<'_, 'a>,
        node: gimli::EntriesTreeNode<'_, '_, Slice<'a>>,
        scope: Option<&Arc<str>>,
    ) -> Result<(), gimli::Error> {
        let mut children = node.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            let unnamed = match entry.tag() {
                gimli::DW_TAG_subprogram => {
                    self.0.extend(scope.map(|scope| (entry.offset().0, scope.clone())));
                    continue;
                }
                gimli::DW_TAG_namespace => "(anonymous namespace)",
                gimli::DW_TAG_class_type | gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type => "{unnamed}",
                _ => continue,
            };
            let name = entry.attr_value(gimli::DW_AT_name).and_then(|name| unit.attr_string(name).ok());
            let name = name.map_or(unnamed.into(), |name| name.to_string_lossy().into_owned());
            let inner = scope.map_or_else(|| name.clone(), |outer| format!("{outer}::{name}"));
            self.descend(unit, child, Some(&inner.into()))?;
        }
        Ok(())
    }
}

/// Follows an inlined copy to the function, and a function to its declaration in a type.
fn declaration(unit: Unit<'_, '_>, mut offset: UnitOffset) -> Option<UnitOffset> {
    for _ in 0..MOST_STEPS {
        let entry = unit.entry(offset).ok()?;
        let reference = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification];
        match reference.into_iter().find_map(|name| entry.attr_value(name)) {
            None => return Some(offset),
            Some(AttributeValue::UnitRef(next)) => offset = next,
            Some(AttributeValue::DebugInfoRef(DebugInfoOffset(next))) => {
                offset = DebugInfoOffset(next).to_unit_offset(&unit.header)?;
            }
            Some(_) => return None,
        }
    }
    None
}
