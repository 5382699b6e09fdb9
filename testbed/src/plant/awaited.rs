//! Which waits a plant can put into a peek, and how they are written. Invariant: a wait's name is what is written
//! without its sizes, so that each is planted once.

use super::{PlantError, parse_count};

/// What every peek waits for, after it has its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A worker task's answer, which is asked for through a channel: one request at a time.
    Channel,
    /// The same, where the worker task uses CPU for each request.
    ChannelCpu,
    /// A permit of a semaphore, which the peek then holds across an await.
    Semaphore { permits: usize },
    /// The runtime's own mutex, which the peek then holds across an await.
    Mutex,
    /// The standard library's mutex, which the peek then holds while its thread sleeps.
    StdMutex,
    /// A timer of the runtime, which counts in whole ms.
    Timer,
    /// A worker thread, while so many tasks that have nothing to do with queries compute between their yields.
    Hog { tasks: usize },
    /// The end of a task that the peek spawned.
    Join,
    /// The first of two futures; the other one is a timer that never comes first.
    Select,
}

/// Written without their own count these have one.
const ALONE: usize = 1;
const MOST_PERMITS: u32 = 1_024;
/// More would leave no worker thread to anybody for long.
const MOST_HOGS: u32 = 64;

impl Awaited {
    /// The kinds as the list of plants has them.
    pub const KINDS: &'static str = "channel=DURATION, channel:cpu=DURATION, semaphore:PERMITS=DURATION, \
                                     mutex=DURATION, std-mutex=DURATION, timer=DURATION, hog:TASKS=DURATION, \
                                     join=DURATION, select=DURATION";

    /// What is written before `=`; `None` if it is no wait.
    ///
    /// # Errors
    /// The count behind a colon is none.
    pub fn parse(name: &str) -> Result<Option<Self>, PlantError> {
        let (kind, count) = match name.split_once(':') {
            Some((kind, count)) => (kind, Some(count)),
            None => (name, None),
        };
        let counted = |most| count.map_or(Ok(ALONE), |count| parse_count(count, most).map(|count| count as usize));
        Ok(Some(match (kind, count) {
            ("semaphore", _) => Awaited::Semaphore { permits: counted(MOST_PERMITS)? },
            ("hog", _) => Awaited::Hog { tasks: counted(MOST_HOGS)? },
            ("channel", Some("cpu")) => Awaited::ChannelCpu,
            ("channel", None) => Awaited::Channel,
            ("mutex", None) => Awaited::Mutex,
            ("std-mutex", None) => Awaited::StdMutex,
            ("timer", None) => Awaited::Timer,
            ("join", None) => Awaited::Join,
            ("select", None) => Awaited::Select,
            _ => return Ok(None),
        }))
    }

    /// The value of the label `plant`.
    pub fn name(self) -> &'static str {
        match self {
            Awaited::Channel => "channel",
            Awaited::ChannelCpu => "channel:cpu",
            Awaited::Semaphore { .. } => "semaphore",
            Awaited::Mutex => "mutex",
            Awaited::StdMutex => "std-mutex",
            Awaited::Timer => "timer",
            Awaited::Hog { .. } => "hog",
            Awaited::Join => "join",
            Awaited::Select => "select",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::Plant;
    use std::time::Duration;

    #[test]
    fn waits_are_read_with_their_durations_and_counts_and_have_names_without() {
        let duration = Duration::from_micros(200);
        for (text, awaited, name) in [
            ("channel=200us", Awaited::Channel, "channel"),
            ("channel:cpu=200us", Awaited::ChannelCpu, "channel:cpu"),
            ("semaphore=200us", Awaited::Semaphore { permits: 1 }, "semaphore"),
            ("semaphore:3=200us", Awaited::Semaphore { permits: 3 }, "semaphore"),
            ("mutex=200us", Awaited::Mutex, "mutex"),
            ("std-mutex=200us", Awaited::StdMutex, "std-mutex"),
            ("timer=0.2ms", Awaited::Timer, "timer"),
            ("hog=200us", Awaited::Hog { tasks: 1 }, "hog"),
            ("hog:2=200us", Awaited::Hog { tasks: 2 }, "hog"),
            ("join=200us", Awaited::Join, "join"),
            ("select=200us", Awaited::Select, "select"),
        ] {
            let plant: Plant = text.parse().unwrap();
            assert_eq!((&plant, plant.name()), (&Plant::Wait { awaited, duration }, name), "{text}");
        }
    }

    #[test]
    fn a_wait_without_a_duration_or_with_a_wrong_count_is_refused() {
        for text in ["semaphore:0=1ms", "semaphore:1025=1ms", "semaphore:=1ms", "hog:65=1ms", "hog:many=1ms"] {
            assert!(matches!(text.parse::<Plant>(), Err(PlantError::Count { .. })), "{text}");
        }
        for text in ["channel=1", "join=0us", "select=1h", "semaphore:2=-1ms"] {
            assert!(matches!(text.parse::<Plant>(), Err(PlantError::Duration { .. })), "{text}");
        }
        for text in ["channel:disk=1ms", "mutex:2=1ms", "timers=1ms"] {
            let error = text.parse::<Plant>().unwrap_err();
            assert!(matches!(error, PlantError::Unknown { .. }), "{text}");
            assert!(error.to_string().contains("semaphore:PERMITS=DURATION"), "{error}");
        }
        assert!(matches!("join".parse::<Plant>(), Err(PlantError::NoValue { .. })));
    }
}
