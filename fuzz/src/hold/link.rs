//! What comes over a link from another host. Invariant: what is read can be written and read again, with the same
//! payload.

use crate::frame::{read_frame, write_frame};
use serde_json::Value;

/// Messages and what belongs to them, one after the other.
pub fn frame(bytes: &[u8]) {
    let mut input = bytes;
    while let Ok(Some(frame)) = read_frame::<Value>(&mut input) {
        let mut written = Vec::new();
        write_frame(&mut written, &frame.message, &frame.payload).expect("what was read is within the bounds");
        let again = read_frame::<Value>(&mut written.as_slice()).expect("what was written is read");
        // Numbers in a message may lose their last digit, which is JSON's.
        assert_eq!(again.map(|again| again.payload), Some(frame.payload));
    }
}
