//! The plant `deep-stack`: a session is polled at the bottom of a chain of frames of a known size, as in servers
//! whose async functions call each other with kilobytes of locals each. It is not in `plant`, and not named
//! `planted_*`, because the work beneath these frames is the session's and not the plant's. Invariant: while the
//! session's work runs, at least the bytes asked for lie between it and the task's poll, on the stack, and they are
//! neither written nor read.

use std::future::Future;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::plant::Planted;
use wireprof::clock::thread_cpu;

/// Bytes of one frame: below the size from which compilers touch the pages of a new frame in a loop, which would change
/// the frame's rule for finding its caller at every instruction of it.
const FRAME: usize = 16 * 1024;

/// Does the work `size` bytes below the task's poll, at most one frame more; publishes the depth and its own CPU once
/// a poll.
pub async fn beneath<F: Future>(planted: &Planted, size: usize, work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|context| poll(planted, size, work.as_mut(), context)).await
}

fn poll<F: Future>(planted: &Planted, size: usize, mut work: Pin<&mut F>, context: &mut Context) -> Poll<F::Output> {
    let top = black_box(&raw const work).addr();
    let mut answer = Poll::Pending;
    // CPU at the bottom before and after the work, and how deep that is.
    let mut bottom = (0, 0, 0);
    let before = thread_cpu();
    deep_frame(top, size, &mut |depth| {
        let reached = thread_cpu();
        answer = work.as_mut().poll(context);
        bottom = (reached, thread_cpu(), depth);
    });
    let (reached, left, depth) = bottom;
    planted.deepened(Duration::from_nanos(reached - before + thread_cpu() - left), depth);
    answer
}

/// Calls itself until the stack is `size` bytes deep, then `work` with the depth in bytes.
#[inline(never)]
fn deep_frame(top: usize, size: usize, work: &mut dyn FnMut(usize)) {
    let mut held = MaybeUninit::<[u8; FRAME]>::uninit();
    // The stack grows downwards.
    let depth = top.saturating_sub(black_box(&raw mut held).addr());
    if depth >= size {
        work(depth);
    } else {
        deep_frame(top, size, work);
    }
    // Used after the call, so that the frame is there while it runs.
    black_box(&raw mut held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_lies_as_deep_as_asked_and_at_most_a_frame_deeper() {
        for size in [FRAME, 500_000, 1 << 20] {
            let run = move || {
                let top = 0_u8;
                let top = black_box(&raw const top).addr();
                let (mut said, mut seen) = (0, 0);
                deep_frame(top, size, &mut |depth| {
                    let here = 0_u8;
                    (said, seen) = (depth, top - black_box(&raw const here).addr());
                });
                (said, seen)
            };
            // Test threads have 2 MiB.
            let (said, seen) = std::thread::Builder::new().stack_size(4 << 20).spawn(run).unwrap().join().unwrap();
            assert!((size..size + FRAME + 1_000).contains(&said), "{said} bytes said, {size} bytes asked");
            assert!(seen >= said, "{seen} bytes deep, {said} bytes said");
        }
    }
}
