//! What the database says of its sessions: the statements that were prepared before the sockets were followed.
//! Invariant: it is asked outside the window only, and only where some statement is known by its name alone.

use super::Sources;
use crate::wire::WireSnapshot;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is asked at most at each end of a window: connections that do several things are met at one after the
/// other, and one that is busy must do the same thing from before it is asked until after it.
const ROUNDS: usize = 20;
const BETWEEN: Duration = Duration::from_millis(10);
/// One reading may take this long.
const LIMIT: Duration = Duration::from_secs(5);

/// The statements that were learnt, by where their times are in the snapshots.
#[derive(Default)]
pub struct Learnt(BTreeMap<u16, String>);

impl Learnt {
    /// Asks what sessions execute that use statements prepared before. What cannot be had stays untold: the round
    /// trips say so themselves. `at_start` of a window, nothing may have been sent since following began.
    pub async fn ask(&mut self, sources: &Sources, at_start: bool) {
        let (Some(wire), Some(statements), Some(hop)) = (&sources.wire, &sources.statements, database(sources)) else {
            return;
        };
        let snapshot = || tokio::task::block_in_place(|| wire.snapshot().ok());
        for _ in 0..ROUNDS {
            let Some(mut before) = snapshot() else { return };
            before.tell(hop, &self.0);
            if before.has_named(hop) {
                let Ok(Ok(told)) = tokio::time::timeout(LIMIT, statements.activity()).await else { return };
                // The connection that asks may be missed once: something was under way on it when following began.
                self.0.extend(snapshot().and_then(|after| before.learn(&after, hop, &told)).unwrap_or_default());
            } else if !at_start || !self.0.is_empty() {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Tells them where they were known by their names.
    pub fn tell(&self, sources: &Sources, snapshot: &mut WireSnapshot) {
        if let Some(hop) = database(sources) {
            snapshot.tell(hop, &self.0);
        }
    }
}

/// Which of the hops leads to the database that is asked.
fn database(sources: &Sources) -> Option<usize> {
    let hops = sources.wire.as_ref()?.hops();
    hops.iter().position(|hop| hop.name == super::instruments::DATABASE)
}
