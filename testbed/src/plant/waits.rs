//! The waits of a peek's future. Invariant: each lies in functions of its own that are named `planted_*`, and adds
//! what its callers waited, by the one clock. Their futures are boxed and opaque to the compiler, so that each of them
//! is polled by a function that stands in the stack where the waker is registered.

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};

use super::awaited::Awaited;
use super::delay::DelayQueue;
use super::spin::Spinner;
use super::tally::{Counted, Tally};
use super::work::keep_apart;
use crate::metrics::PlantMetrics;
use crate::precise;
use wireprof::clock::{self, Nanos};

/// No query takes so long.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// One planted wait, ready to be waited for.
pub enum Wait {
    Channel(mpsc::UnboundedSender<oneshot::Sender<()>>, Tally),
    Semaphore(Semaphore, Held),
    Mutex(Mutex<()>, Held),
    StdMutex(StdMutex<()>, Tally, Counted<Duration>),
    Timer(Counted<Duration>),
    Hog(DelayQueue, Tally),
    Join(Arc<DelayQueue>, Tally),
    Select(DelayQueue, Tally),
}

/// Something that is held across an await: what those that want it waited, how long it is held, what that came to.
pub struct Held {
    wanting: Tally,
    queue: DelayQueue,
    holding: Tally,
}

impl Wait {
    /// Starts the tasks and threads that it needs, on the current runtime.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        awaited: Awaited,
        duration: Duration,
        spinner: &Arc<Spinner>,
        metrics: &PlantMetrics,
    ) -> io::Result<Self> {
        let tally = Tally::of(metrics, awaited.name());
        let queue = || DelayQueue::start(duration);
        let holding = |name| Tally::of(metrics, name);
        let held = |name| io::Result::Ok(Held { wanting: tally.clone(), queue: queue()?, holding: holding(name) });
        Ok(match awaited {
            Awaited::Channel => Wait::Channel(serve_channel(Service::Waits(queue()?)), tally),
            Awaited::ChannelCpu => {
                let plant = Counted { size: duration, tally: tally.clone() };
                Wait::Channel(serve_channel(Service::Computes(Arc::clone(spinner), plant)), tally)
            }
            Awaited::Semaphore { permits } => Wait::Semaphore(Semaphore::new(permits), held("semaphore:hold")?),
            Awaited::Mutex => Wait::Mutex(Mutex::default(), held("mutex:hold")?),
            Awaited::StdMutex => {
                let held = Counted { size: duration, tally: holding("std-mutex:hold") };
                Wait::StdMutex(StdMutex::default(), tally, held)
            }
            Awaited::Timer => Wait::Timer(Counted { size: duration, tally }),
            Awaited::Hog { tasks } => {
                for _ in 0..tasks {
                    let plant = Counted { size: duration, tally: tally.clone() };
                    tokio::spawn(apart(planted_hog_task(Arc::clone(spinner), plant)));
                }
                Wait::Hog(DelayQueue::start(Duration::ZERO)?, tally)
            }
            Awaited::Join => Wait::Join(Arc::new(queue()?), tally),
            Awaited::Select => Wait::Select(queue()?, tally),
        })
    }

    /// Waits once, for one peek.
    #[inline(never)]
    pub fn once(&self) -> Apart<'_, ()> {
        match self {
            Wait::Channel(requests, tally) => apart(planted_channel_request(requests, tally)),
            Wait::Semaphore(semaphore, held) => apart(planted_semaphore(semaphore, held)),
            Wait::Mutex(mutex, held) => apart(planted_mutex(mutex, held)),
            Wait::StdMutex(mutex, wanting, plant) => apart(planted_std_mutex(mutex, wanting, plant)),
            Wait::Timer(plant) => apart(planted_timer_sleep(plant)),
            Wait::Hog(waker, tally) => apart(planted_hog_wake_up(waker, tally)),
            Wait::Join(queue, tally) => apart(planted_join(queue, tally)),
            Wait::Select(queue, tally) => apart(planted_select(queue, tally)),
        }
    }
}

/// A future whose `poll` is a function of its own.
type Apart<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The compiler cannot see what is polled, and so cannot inline it into its caller.
fn apart<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Apart<'a, T> {
    let whichever: Apart<'a, T> = Box::pin(future);
    black_box(whichever)
}

fn since(start: Nanos) -> Duration {
    Duration::from_nanos(clock::now() - start)
}

/// What the worker task behind a channel does with a request.
enum Service {
    Waits(DelayQueue),
    Computes(Arc<Spinner>, Counted<Duration>),
}

fn serve_channel(service: Service) -> mpsc::UnboundedSender<oneshot::Sender<()>> {
    let (requests, inbox) = mpsc::unbounded_channel();
    tokio::spawn(apart(planted_channel_worker(inbox, service)));
    requests
}

async fn planted_channel_request(requests: &mpsc::UnboundedSender<oneshot::Sender<()>>, tally: &Tally) {
    let start = clock::now();
    let (answer, answered) = oneshot::channel();
    let accepted = requests.send(answer).is_ok();
    debug_assert!(accepted, "the worker task ends only with the runtime");
    // An error would mean that the worker task is gone: then there is nothing to wait for.
    let _ = answered.await;
    tally.add(Duration::ZERO, since(start));
}

/// One request at a time, in the order of their arrival.
async fn planted_channel_worker(mut inbox: mpsc::UnboundedReceiver<oneshot::Sender<()>>, service: Service) {
    while let Some(answer) = inbox.recv().await {
        match &service {
            Service::Waits(queue) => drop(queue.wait().await),
            Service::Computes(spinner, plant) => planted_channel_work(spinner, plant),
        }
        // A caller that went away needs no answer.
        let _ = answer.send(());
    }
}

#[inline(never)]
fn planted_channel_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("channel");
    plant.tally.cpu.inc_by(spinner.burn(plant.size).as_secs_f64());
}

async fn planted_semaphore(semaphore: &Semaphore, held: &Held) {
    let permit = apart(planted_semaphore_acquire(semaphore, &held.wanting)).await;
    apart(planted_semaphore_hold(&held.queue, &held.holding)).await;
    drop(permit);
}

async fn planted_semaphore_acquire<'a>(semaphore: &'a Semaphore, tally: &Tally) -> Option<SemaphorePermit<'a>> {
    let start = clock::now();
    // It is never closed.
    let permit = semaphore.acquire().await.ok();
    tally.add(Duration::ZERO, since(start));
    permit
}

async fn planted_semaphore_hold(queue: &DelayQueue, tally: &Tally) {
    keep_apart("semaphore");
    tally.add(Duration::ZERO, queue.wait().await);
}

async fn planted_mutex(mutex: &Mutex<()>, held: &Held) {
    let guard = apart(planted_mutex_lock(mutex, &held.wanting)).await;
    apart(planted_mutex_hold(&held.queue, &held.holding)).await;
    drop(guard);
}

async fn planted_mutex_lock<'a>(mutex: &'a Mutex<()>, tally: &Tally) -> tokio::sync::MutexGuard<'a, ()> {
    let start = clock::now();
    let guard = mutex.lock().await;
    tally.add(Duration::ZERO, since(start));
    guard
}

async fn planted_mutex_hold(queue: &DelayQueue, tally: &Tally) {
    keep_apart("mutex");
    tally.add(Duration::ZERO, queue.wait().await);
}

/// Never pends: whoever waits keeps the worker thread from everybody else, as the holder does.
async fn planted_std_mutex(mutex: &StdMutex<()>, wanting: &Tally, plant: &Counted<Duration>) {
    let guard = planted_std_mutex_lock(mutex, wanting);
    planted_std_mutex_hold(plant);
    drop(guard);
}

#[inline(never)]
fn planted_std_mutex_lock<'a>(mutex: &'a StdMutex<()>, tally: &Tally) -> std::sync::MutexGuard<'a, ()> {
    let start = clock::now();
    // The guarded value is empty: a panic of another holder leaves nothing inconsistent.
    let guard = mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tally.add(Duration::ZERO, since(start));
    guard
}

#[inline(never)]
fn planted_std_mutex_hold(plant: &Counted<Duration>) {
    let start = clock::now();
    precise::sleep_until(start + plant.size.as_nanos() as u64);
    plant.tally.add(Duration::ZERO, since(start));
}

async fn planted_timer_sleep(plant: &Counted<Duration>) {
    let start = clock::now();
    tokio::time::sleep(plant.size).await;
    plant.tally.add(Duration::ZERO, since(start));
}

/// Computes without end, and yields between. Its calls are those of the peeks that it keeps waiting.
async fn planted_hog_task(spinner: Arc<Spinner>, plant: Counted<Duration>) {
    loop {
        planted_hog_work(&spinner, &plant);
        tokio::task::yield_now().await;
    }
}

#[inline(never)]
fn planted_hog_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("hog");
    plant.tally.cpu.inc_by(spinner.burn(plant.size).as_secs_f64());
}

/// A thread outside the runtime wakes the peek at once. What counts is the time from then on, until a worker thread
/// goes on with the peek: in the run queue, that is, where the hogs are too.
async fn planted_hog_wake_up(waker: &DelayQueue, tally: &Tally) {
    tally.add(Duration::ZERO, waker.time_to_go_on().await);
}

async fn planted_join(queue: &Arc<DelayQueue>, tally: &Tally) {
    let start = clock::now();
    let spawned = tokio::spawn(apart(planted_join_task(Arc::clone(queue))));
    // An error would mean that the runtime ends.
    let _ = spawned.await;
    tally.add(Duration::ZERO, since(start));
}

async fn planted_join_task(queue: Arc<DelayQueue>) {
    keep_apart("join");
    queue.wait().await;
}

async fn planted_select(queue: &DelayQueue, tally: &Tally) {
    let start = clock::now();
    tokio::select! {
        _ = queue.wait() => {}
        () = tokio::time::sleep(NEVER) => {}
    }
    tally.add(Duration::ZERO, since(start));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use futures::future::join_all;

    const SIZE: Duration = Duration::from_micros(500);

    /// Calls, and how long each waited and then held in s, after four waited at once, thrice.
    async fn waited(awaited: Awaited, spinner: &Arc<Spinner>) -> (u64, f64, f64) {
        let metrics = Metrics::new().unwrap();
        let wait = Wait::start(awaited, SIZE, spinner, &metrics.plants).unwrap();
        for _ in 0..3 {
            join_all((0..4).map(|_| wait.once())).await;
        }
        let tally = Tally::of(&metrics.plants, awaited.name());
        let held = Tally::of(&metrics.plants, &format!("{}:hold", awaited.name()));
        let calls = tally.calls.get();
        (calls, tally.wait.get() / calls as f64, held.wait.get() / calls as f64)
    }

    #[tokio::test]
    async fn each_wait_takes_what_was_asked_and_counts_each_of_its_callers() {
        let (asked, spinner) = (SIZE.as_secs_f64(), Arc::new(Spinner::calibrate()));
        for (awaited, wanting, holding) in [
            // Four are served one after the other: the first waits once, the last four times.
            (Awaited::Channel, 2.5 * asked, 0.0),
            (Awaited::Semaphore { permits: 1 }, 1.5 * asked, asked),
            (Awaited::Semaphore { permits: 2 }, 0.5 * asked, asked),
            (Awaited::Semaphore { permits: 4 }, 0.0, asked),
            (Awaited::Mutex, 1.5 * asked, asked),
            // Of one thread nobody waits for another.
            (Awaited::StdMutex, 0.0, asked),
            (Awaited::Timer, asked, 0.0),
            (Awaited::Hog { tasks: 1 }, 0.0, 0.0),
            (Awaited::Join, asked, 0.0),
            (Awaited::Select, asked, 0.0),
        ] {
            let (calls, wanted, held) = waited(awaited, &spinner).await;
            assert_eq!(calls, 12, "{awaited:?}");
            assert!(wanted >= wanting * 0.99, "{awaited:?}: {wanted} s waited, {wanting} s asked");
            assert!(held >= holding, "{awaited:?}: {held} s held, {holding} s asked");
        }
    }

    #[tokio::test]
    async fn a_worker_task_and_a_hog_compute_and_say_how_long() {
        // The worker task once a call; the hog whenever the thread is free, so once at the least.
        let spinner = Arc::new(Spinner::calibrate());
        for (awaited, bursts) in [(Awaited::ChannelCpu, 20.0), (Awaited::Hog { tasks: 1 }, 1.0)] {
            let metrics = Metrics::new().unwrap();
            let wait = Wait::start(awaited, SIZE, &spinner, &metrics.plants).unwrap();
            for _ in 0..20 {
                wait.once().await;
            }
            tokio::time::sleep(2 * SIZE).await;
            let cpu = Tally::of(&metrics.plants, awaited.name()).cpu.get();
            assert!(cpu > 0.5 * bursts * SIZE.as_secs_f64(), "{awaited:?}: {cpu} s of CPU");
        }
    }
}
