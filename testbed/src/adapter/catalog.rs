//! Tables in memory. Invariant: a table's rows are an immutable snapshot behind a pointer; a write replaces it, so that
//! a peek holds no lock while it reads. Rows are only ever appended, so the state at a timestamp is a prefix of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::SqlError;
use crate::timestamp_oracle::Timestamp;

/// The cluster in which an index must be for the fast path.
pub const CLUSTER: &str = "quickstart";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    Int4,
    Int8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Text(String),
    Int4(i32),
    Int8(i64),
}

pub type Row = Vec<Value>;

pub struct Table {
    pub name: String,
    pub columns: Arc<Vec<Column>>,
    history: RwLock<History>,
    index_cluster: RwLock<Option<String>>,
}

/// A table's rows, and how many of them there were when.
#[derive(Default)]
struct History {
    rows: Arc<Vec<Row>>,
    /// Each write's timestamp and the number of rows before it, ascending.
    writes: Vec<(Timestamp, usize)>,
}

impl History {
    fn with(rows: Vec<Row>) -> Self {
        History { rows: Arc::new(rows), writes: Vec::new() }
    }

    /// Rows written at this timestamp or before.
    fn count_at(&self, timestamp: Timestamp) -> usize {
        let visible = self.writes.partition_point(|(written, _)| *written <= timestamp);
        self.writes.get(visible).map_or(self.rows.len(), |(_, before)| *before)
    }
}

impl Table {
    /// The rows as of a timestamp; the newest there are for `None`.
    #[inline(never)]
    pub fn peek(&self, as_of: Option<Timestamp>) -> Arc<Vec<Row>> {
        let history = self.history.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = as_of.map_or(history.rows.len(), |timestamp| history.count_at(timestamp));
        if count == history.rows.len() {
            return Arc::clone(&history.rows);
        }
        Arc::new(history.rows[..count].to_vec())
    }

    /// True if an index in the cluster of the sessions lets a peek take the fast path.
    pub fn is_indexed(&self) -> bool {
        let cluster = self.index_cluster.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        cluster.as_deref() == Some(CLUSTER)
    }

    /// Timestamps must not descend from one call to the next.
    fn append(&self, new: Vec<Row>, timestamp: Timestamp) -> Result<usize, SqlError> {
        let count = new.len();
        let new = new.into_iter().map(|row| self.coerce(row)).collect::<Result<Vec<_>, _>>()?;
        let mut history = self.history.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all = history.rows.to_vec();
        history.writes.push((timestamp, all.len()));
        all.extend(new);
        history.rows = Arc::new(all);
        Ok(count)
    }

    /// Literals arrive as text or int8; here they become what the columns hold.
    fn coerce(&self, row: Row) -> Result<Row, SqlError> {
        if row.len() != self.columns.len() {
            let message =
                format!("INSERT has {} values but table {} {} columns", row.len(), self.name, self.columns.len());
            return Err(SqlError::new("42601", message));
        }
        row.into_iter().zip(self.columns.iter()).map(|(value, column)| coerce_value(value, column)).collect()
    }
}

fn coerce_value(value: Value, column: &Column) -> Result<Value, SqlError> {
    let number = |text: &str| {
        let message = format!("invalid input for column {}: {text:?}", column.name);
        text.parse::<i64>().map_err(|_| SqlError::new("22P02", message))
    };
    let integer = |wide: i64| match column.kind {
        ColumnType::Int4 => i32::try_from(wide)
            .map(Value::Int4)
            .map_err(|_| SqlError::new("22003", format!("{wide} is out of range of int4"))),
        ColumnType::Int8 => Ok(Value::Int8(wide)),
        ColumnType::Text => Ok(Value::Text(wide.to_string())),
    };
    match value {
        Value::Null => Ok(Value::Null),
        Value::Text(text) if column.kind == ColumnType::Text => Ok(Value::Text(text)),
        Value::Text(text) => integer(number(&text)?),
        Value::Int4(narrow) => integer(i64::from(narrow)),
        Value::Int8(wide) => integer(wide),
    }
}

pub struct Catalog {
    tables: RwLock<BTreeMap<String, Arc<Table>>>,
    /// Grows with every change of a definition: plans made under another version are void.
    version: AtomicU64,
}

impl Catalog {
    pub fn empty() -> Self {
        Catalog { tables: RwLock::default(), version: AtomicU64::new(1) }
    }

    /// A catalog with the table `t (id text, value int4)` of so many rows, indexed for the fast path.
    pub fn with_table_t(row_count: u32) -> Self {
        let columns = vec![
            Column { name: "id".to_owned(), kind: ColumnType::Text },
            Column { name: "value".to_owned(), kind: ColumnType::Int4 },
        ];
        let row = |number: u32| vec![Value::Text(format!("id-{number}")), Value::Int4(number as i32)];
        let table = Table {
            name: "t".to_owned(),
            columns: Arc::new(columns),
            history: RwLock::new(History::with((1..=row_count).map(row).collect())),
            index_cluster: RwLock::new(Some(CLUSTER.to_owned())),
        };
        let tables = BTreeMap::from([("t".to_owned(), Arc::new(table))]);
        Catalog { tables: RwLock::new(tables), version: AtomicU64::new(1) }
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn table(&self, name: &str) -> Result<Arc<Table>, SqlError> {
        let tables = self.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let table = tables.get(name).cloned();
        table.ok_or_else(|| SqlError::new("42P01", format!("unknown catalog item '{name}'")))
    }

    pub fn create_table(&self, name: &str, columns: Vec<Column>, if_not_exists: bool) -> Result<(), SqlError> {
        let mut tables = self.tables.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if tables.contains_key(name) {
            let exists = SqlError::new("42P07", format!("table \"{name}\" already exists"));
            return if if_not_exists { Ok(()) } else { Err(exists) };
        }
        let table = Table {
            name: name.to_owned(),
            columns: Arc::new(columns),
            history: RwLock::default(),
            index_cluster: RwLock::new(None),
        };
        tables.insert(name.to_owned(), Arc::new(table));
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub fn drop_table(&self, name: &str, if_exists: bool) -> Result<(), SqlError> {
        let mut tables = self.tables.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if tables.remove(name).is_none() && !if_exists {
            return Err(SqlError::new("42P01", format!("unknown catalog item '{name}'")));
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub fn create_index(&self, table: &str, cluster: &str) -> Result<(), SqlError> {
        let table = self.table(table)?;
        *table.index_cluster.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(cluster.to_owned());
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Appends rows; reads see them from `timestamp` on, which must not descend from one call to the next.
    pub fn insert(&self, table: &str, rows: Vec<Row>, timestamp: Timestamp) -> Result<usize, SqlError> {
        self.table(table)?.append(rows, timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_values_take_the_columns_types_or_are_refused() {
        let catalog = Catalog::with_table_t(1);
        let row = vec![Value::Int8(7), Value::Text("8".to_owned())];
        assert_eq!(catalog.insert("t", vec![row], 1), Ok(1));
        let rows = catalog.table("t").unwrap().peek(None);
        assert_eq!(rows[0], [Value::Text("id-1".to_owned()), Value::Int4(1)]);
        assert_eq!(rows[1], [Value::Text("7".to_owned()), Value::Int4(8)]);
        let wide = vec![Value::Null, Value::Int8(1 << 40)];
        assert_eq!(catalog.insert("t", vec![wide], 2).unwrap_err().code, "22003");
        assert_eq!(catalog.insert("t", vec![vec![Value::Null]], 2).unwrap_err().code, "42601");
        assert_eq!(catalog.table("t").unwrap().peek(None).len(), 2);
    }

    #[test]
    fn a_read_sees_what_was_written_up_to_its_timestamp() {
        let catalog = Catalog::with_table_t(1);
        let row = || vec![vec![Value::Text("a".to_owned()), Value::Int8(1)]];
        catalog.insert("t", row(), 10).unwrap();
        catalog.insert("t", [row(), row()].concat(), 20).unwrap();
        let table = catalog.table("t").unwrap();
        let counts = [9, 10, 19, 20, 21].map(|timestamp| table.peek(Some(timestamp)).len());
        assert_eq!((counts, table.peek(None).len()), ([1, 2, 2, 4, 4], 4));
    }

    #[test]
    fn only_an_index_in_the_sessions_cluster_makes_a_table_fast() {
        let catalog = Catalog::with_table_t(1);
        catalog.create_table("u", vec![], false).unwrap();
        assert!(!catalog.table("u").unwrap().is_indexed());
        catalog.create_index("u", "elsewhere").unwrap();
        assert!(!catalog.table("u").unwrap().is_indexed());
        catalog.create_index("u", CLUSTER).unwrap();
        assert!(catalog.table("u").unwrap().is_indexed());
    }
}
