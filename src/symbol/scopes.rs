//! The namespaces and types that a C++ function's declaration lies in, for functions without a mangled name (those of
//! unnamed namespaces). Invariant: what cannot be followed has no scope; it is no error.

use gimli::{AttributeValue, DebugInfoOffset, EndianSlice, LittleEndian, UnitOffset, UnitRef};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Unit<'u, 'a> = UnitRef<'u, Slice<'a>>;

/// References that are followed from a function to its declaration.
const MOST_STEPS: usize = 8;

/// `ns::Type` of the function at `offset`; `None` where it lies in nothing that has a name.
pub(super) fn scope(unit: Unit<'_, '_>, offset: UnitOffset) -> Option<String> {
    let declared = declaration(unit, offset)?;
    let mut tree = unit.entries_tree(None).ok()?;
    let mut names = Vec::new();
    descend(unit, tree.root().ok()?, declared, &mut names)?;
    (!names.is_empty()).then(|| names.join("::"))
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

/// Goes down to `wanted`, whose parents are the last of each level that begin before it.
fn descend<'a>(
    unit: Unit<'_, 'a>,
    node: gimli::EntriesTreeNode<'_, '_, Slice<'a>>,
    wanted: UnitOffset,
    names: &mut Vec<String>,
) -> Option<()> {
    let mut children = node.children();
    while let Some(child) = children.next().ok()? {
        let entry = child.entry();
        if entry.offset() == wanted {
            return Some(());
        }
        let named = match entry.tag() {
            gimli::DW_TAG_namespace => "(anonymous namespace)",
            gimli::DW_TAG_class_type | gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type => "{unnamed}",
            _ => continue,
        };
        let name = entry.attr_value(gimli::DW_AT_name).and_then(|name| unit.attr_string(name).ok());
        let name = name.map_or(named.into(), |name| name.to_string_lossy().into_owned());
        names.push(name);
        if descend(unit, child, wanted, names).is_some() {
            return Some(());
        }
        names.pop();
    }
    None
}
