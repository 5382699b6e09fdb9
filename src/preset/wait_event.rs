//! Wait events: numbers by which each thread of a server says what it waits for, and their names. Invariant: a number
//! has the name that the server's own version gives it; where that is not known the number stands for it, and
//! [`WaitEvents::without_names`] says so. Nothing here asks anybody.

use super::load::WAIT_EVENT_NAMES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Names of events by their class; the place of a name is its number, from 0, and an empty one is no event.
type Names = BTreeMap<String, Vec<String>>;

/// `[wait_events]` of a preset: where a thread says what it waits for, and how that is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct WaitEventTable {
    /// The symbol that the server's executable exports: a pointer to an unsigned number of 32 bits, which is 0 while
    /// the thread waits for nothing.
    pub variable: String,
    /// What to ask the server for its own names: rows of class and event. `None`: it does not tell them.
    pub told: Option<String>,
    written: Written,
}

/// As it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    variable: String,
    /// The bits of the number that are its class.
    class: u32,
    /// The bits that are the event's number in its class.
    event: u32,
    /// Which of the compiled-in lists of names are this server's.
    names: Option<String>,
    told: Option<String>,
    /// Classes whose events the server tells in the order of their numbers, none left out.
    #[serde(default)]
    in_order: Vec<String>,
    /// The classes' bits by their names.
    classes: BTreeMap<String, u32>,
}

impl TryFrom<Written> for WaitEventTable {
    type Error = String;
    fn try_from(written: Written) -> Result<WaitEventTable, String> {
        let Written { class, event, .. } = written;
        if class & event != 0 || event & event.wrapping_add(1) != 0 {
            return Err(format!(
                "[wait_events] class {class:#010x} and event {event:#010x}: the event is the low bits"
            ));
        }
        if let Some((name, bits)) = written.classes.iter().find(|(_, bits)| **bits & !class != 0) {
            return Err(format!("[wait_events] class `{name}`: {bits:#010x} is not within {class:#010x}"));
        }
        if let Some(name) = written.in_order.iter().find(|name| !written.classes.contains_key(*name)) {
            return Err(format!("[wait_events] in_order: there is no class `{name}`"));
        }
        let known = |name: &&String| WAIT_EVENT_NAMES.iter().any(|(server, ..)| server == name);
        if let Some(name) = written.names.as_ref().filter(|name| !known(name)) {
            return Err(format!("[wait_events] names: no names of `{name}` are compiled in"));
        }
        Ok(WaitEventTable { variable: written.variable.clone(), told: written.told.clone(), written })
    }
}

impl WaitEventTable {
    /// The wait events of a server of this major version.
    pub fn for_version(&self, major: u32) -> WaitEvents {
        let of_server = |server: &str| self.written.names.as_deref() == Some(server);
        let found = WAIT_EVENT_NAMES.iter().find(|(server, version, _)| of_server(server) && *version == major);
        let read = |(.., text): &(_, _, &str)| toml::from_str(text).expect("compiled-in names, which a test reads");
        let mut names: Names = found.map(read).unwrap_or_default();
        let class = |(name, bits): (&String, &u32)| (*bits, Class { events: names.remove(name), name: name.clone() });
        WaitEvents {
            major,
            known: found.is_some(),
            class: self.written.class,
            event: self.written.event,
            classes: self.written.classes.iter().map(class).collect(),
            in_order: self.written.in_order.clone(),
        }
    }
}

/// The wait events of one version of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitEvents {
    major: u32,
    /// Names of this version are compiled in.
    known: bool,
    class: u32,
    event: u32,
    classes: BTreeMap<u32, Class>,
    in_order: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    name: String,
    /// `None`: not known.
    events: Option<Vec<String>>,
}

/// What a thread waits for, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WaitEventName {
    /// `IO`; `class 0x0c000000` where the class has no name.
    pub class: String,
    /// `DataFileRead`; `number 17` where the event has no name.
    pub event: String,
}

impl fmt::Display for WaitEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.class, self.event)
    }
}

impl WaitEvents {
    /// What a thread waits for by its number; `None`: 0, it waits for nothing.
    pub fn name(&self, info: u32) -> Option<WaitEventName> {
        if info == 0 {
            return None;
        }
        let (bits, number) = (info & self.class, info & self.event);
        let class = self.classes.get(&bits);
        let event = class.and_then(|class| class.events.as_ref()?.get(number as usize));
        Some(WaitEventName {
            class: class.map_or_else(|| format!("class {bits:#010x}"), |class| class.name.clone()),
            event: event.filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| format!("number {number}")),
        })
    }

    /// Takes the names that the server told, rows of class and event in its order. Only where that order is the one of
    /// the numbers they replace what is known of the version.
    pub fn take_told(&mut self, rows: &[(String, String)]) {
        for class in self.classes.values_mut().filter(|class| self.in_order.contains(&class.name)) {
            let told = rows.iter().filter(|(name, _)| *name == class.name).map(|(_, event)| event.clone());
            let told: Vec<String> = told.collect();
            class.events = Some(told).filter(|told| !told.is_empty()).or_else(|| class.events.take());
        }
    }

    /// Where numbers stand for the events of whole classes, as a sentence; `None`: names of this version are known.
    pub fn without_names(&self) -> Option<String> {
        let unnamed = self.classes.values().filter(|class| class.events.is_none()).map(|class| class.name.as_str());
        let unnamed: Vec<&str> = unnamed.collect();
        (!self.known && !unnamed.is_empty()).then(|| {
            format!(
                "no names of wait events of version {} are known in the classes {}; their numbers stand for them",
                self.major,
                unnamed.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::{Preset, WaitKind};

    const VERSIONS: [u32; 5] = [14, 15, 16, 17, 18];

    fn postgres() -> Preset {
        Preset::built_in("postgres").unwrap()
    }

    fn named(major: u32, info: u32) -> String {
        let events = postgres().wait_events.unwrap().for_version(major);
        events.name(info).map_or("none".into(), |name| name.to_string())
    }

    #[test]
    fn every_compiled_in_list_is_read_and_its_classes_are_the_presets() {
        for (server, major, text) in WAIT_EVENT_NAMES {
            let table = Preset::built_in(server).unwrap().wait_events.unwrap();
            let names: Names = toml::from_str(text).unwrap();
            assert!(names.values().map(Vec::len).sum::<usize>() > 200, "{server} {major}");
            assert!(names.keys().all(|class| table.written.classes.contains_key(class)), "{server} {major}");
            assert_eq!(table.for_version(major).without_names(), None);
        }
    }

    #[test]
    fn a_number_has_the_name_that_its_own_version_gives_it() {
        // LogicalLauncherMain moved as PgStatMain went (15) and others came; WALSync was written otherwise before 17.
        for (info, names) in [
            (0, ["none"; 5]),
            (0x0500_0000, ["Activity:ArchiverMain"; 5]),
            (0x0300_0005, ["Lock:transactionid"; 5]),
            (0x0300_0004, ["Lock:tuple"; 5]),
            (0x0300_000a, ["Lock:advisory"; 5]),
            (0x0100_0008, ["LWLock:WALWrite"; 5]),
            (0x0600_0000, ["Client:ClientRead"; 5]),
            (0x0400_0000, ["BufferPin:BufferPin"; 5]),
            (
                0x0500_0007,
                [
                    "Activity:PgStatMain",
                    "Activity:RecoveryWalStream",
                    "Activity:LogicalParallelApplyMain",
                    "Activity:LogicalParallelApplyMain",
                    "Activity:LogicalApplyMain",
                ],
            ),
            (0x0900_0002, ["Timeout:RecoveryApplyDelay", PG_SLEEP, PG_SLEEP, PG_SLEEP, PG_SLEEP]),
            (0x0100_000a, ["LWLock:number 10"; 5]),
            (0x0c00_0001, ["class 0x0c000000:number 1"; 5]),
        ] {
            assert_eq!(VERSIONS.map(|major| named(major, info)), names, "{info:#010x}");
        }
    }

    const PG_SLEEP: &str = "Timeout:PgSleep";

    #[test]
    fn of_a_version_without_names_the_numbers_are_shown_and_it_is_said_until_the_server_tells_them() {
        let mut events = postgres().wait_events.unwrap().for_version(99);
        let shown = |events: &WaitEvents, info| events.name(info).unwrap().to_string();
        assert_eq!(shown(&events, 0x0900_0001), "Timeout:number 1");
        let said = events.without_names().unwrap();
        assert!(said.contains("version 99") && said.contains("LWLock, Lock") && said.contains("Timeout"), "{said}");
        let row = |class: &str, event: &str| (class.to_string(), event.to_string());
        events.take_told(&[row("Timeout", "A"), row("Lock", "advisory"), row("Timeout", "B"), row("IO", "C")]);
        assert_eq!(shown(&events, 0x0900_0001), "Timeout:B");
        assert_eq!(shown(&events, 0x0300_0000), "Lock:number 0", "the server tells locks in another order");
        let said = events.without_names().unwrap();
        assert!(said.contains("LWLock, Lock") && !said.contains("Timeout"), "{said}");
        let mut known = postgres().wait_events.unwrap().for_version(15);
        known.take_told(&[]);
        assert_eq!(shown(&known, 0x0900_0002), PG_SLEEP, "nothing told changes nothing");
    }

    #[test]
    fn events_that_clients_wait_in_belong_to_the_kinds_that_their_stacks_tell() {
        let preset = postgres();
        let kind = |event: &str| {
            let (class, event) = event.split_once(':').unwrap();
            let event = WaitEventName { class: class.into(), event: event.into() };
            preset.wait_of_event(&event).map(|wait| (wait.name.as_str(), wait.kind))
        };
        for (event, name, of) in [
            ("Lock:transactionid", "row or table lock", WaitKind::RowLock),
            ("Lock:tuple", "row or table lock", WaitKind::RowLock),
            ("LWLock:BufferContent", "LWLock", WaitKind::LightweightLock),
            ("LWLock:WALWrite", "WAL flush", WaitKind::Flush),
            ("IO:WALSync", "WAL flush", WaitKind::Flush),
            ("IO:WalSync", "WAL flush", WaitKind::Flush),
            ("IO:WALInitWrite", "WAL flush", WaitKind::Flush),
            ("IPC:SyncRep", "synchronous replica", WaitKind::Flush),
            ("IO:DataFileRead", "data files", WaitKind::Disk),
            ("IPC:BufferIo", "a page that another backend reads", WaitKind::Disk),
            ("Client:ClientRead", "the client", WaitKind::Client),
            ("Timeout:PgSleep", "sleep in SQL", WaitKind::Sleep),
            ("Timeout:SpinDelay", "spinlock", WaitKind::LightweightLock),
            ("BufferPin:BufferPin", "buffer pin", WaitKind::LightweightLock),
            ("Activity:WalWriterMain", "the server's own processes without work", WaitKind::Work),
        ] {
            assert_eq!(kind(event), Some((name, of)), "{event}");
        }
        assert_eq!(kind("Extension:Extension"), None);
    }

    #[test]
    fn a_table_that_cannot_be_is_refused_with_what_is_wrong() {
        let read = |text: &str| {
            let text = format!("[wait_events]\nvariable = 'v'\n{text}");
            Preset::parse("own", &text).map(|_| ()).unwrap_err().to_string()
        };
        for (text, why) in [
            ("class = 0xff\nevent = 0x1ff\nclasses = {}", "the event is the low bits"),
            ("class = 0xff00\nevent = 0xff\nclasses = { a = 0x10000 }", "class `a`: 0x00010000 is not within"),
            ("class = 0xff00\nevent = 0xff\nclasses = {}\nin_order = ['b']", "there is no class `b`"),
            ("class = 0xff00\nevent = 0xff\nclasses = {}\nnames = 'x'", "no names of `x` are compiled in"),
        ] {
            assert!(read(text).contains(why), "{}", read(text));
        }
    }
}
