//! Async tasks that wait for known times, and that do what a program seldom does: what following the carriers of
//! queries is tried on. A request is one byte, and the answer is how long its wait took: ns, 8 bytes, little-endian.
//! Invariant: it knows nothing of what watches it, and ends with its standard input or by a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long a wait of known length lasts.
const WAIT: Duration = Duration::from_millis(6);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("bound").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream));
        }
    });
}

/// A connection's task.
async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut request = [0];
    while stream.read_exact(&mut request).await.is_ok() {
        let waited = answer(request[0]).await;
        if stream.write_all(&(waited.as_nanos() as u64).to_le_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(request: u8) -> Duration {
    match request {
        b's' => waits_for_timer().await,
        b't' => waits_for_thread().await,
        b'm' => waits_for_mutex().await,
        b'h' => many_by_hand().await,
        b'p' => panics().await,
        b'd' => waits_deep(1_000).await,
        b'r' => recurses().await,
        b'T' => many_threads().await,
        b'x' => becomes_another(),
        _ => std::process::exit(0),
    }
}

#[inline(never)]
async fn waits_for_timer() -> Duration {
    let start = Instant::now();
    tokio::time::sleep(WAIT).await;
    start.elapsed()
}

/// A thread outside the runtime ends the wait.
#[inline(never)]
async fn waits_for_thread() -> Duration {
    static CLERK: OnceLock<Mutex<mpsc::Sender<oneshot::Sender<()>>>> = OnceLock::new();
    let clerk = CLERK.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new().name("clerk".into()).spawn(|| clerk_answers(receiver)).expect("a thread");
        Mutex::new(sender)
    });
    let (sender, receiver) = oneshot::channel();
    clerk.lock().expect("no panic").send(sender).expect("the clerk is there");
    let start = Instant::now();
    receiver.await.expect("the clerk answers");
    start.elapsed()
}

#[inline(never)]
fn clerk_answers(requests: mpsc::Receiver<oneshot::Sender<()>>) {
    for request in requests {
        std::thread::sleep(WAIT);
        let _ = request.send(());
    }
}

/// Another task ends the wait.
#[inline(never)]
async fn waits_for_mutex() -> Duration {
    let (mutex, (held, holds)) = (Arc::new(tokio::sync::Mutex::new(())), oneshot::channel());
    tokio::spawn(holds_mutex(mutex.clone(), held));
    holds.await.expect("it holds");
    let start = Instant::now();
    drop(mutex.lock().await);
    start.elapsed()
}

#[inline(never)]
async fn holds_mutex(mutex: Arc<tokio::sync::Mutex<()>>, held: oneshot::Sender<()>) {
    let guard = mutex.lock().await;
    let _ = held.send(());
    tokio::time::sleep(WAIT).await;
    drop(guard);
}

/// Waits until its waker is used.
struct ByHand {
    wakers: Arc<Mutex<Vec<Waker>>>,
    is_entered: bool,
}

impl Future for ByHand {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_entered {
            return Poll::Ready(());
        }
        self.is_entered = true;
        self.wakers.lock().expect("no panic").push(context.waker().clone());
        Poll::Pending
    }
}

/// 100,000 tasks: a third is woken, each twice, by a thread outside the runtime; a third is aborted while it waits; a
/// third is dropped with the set that it is in.
async fn many_by_hand() -> Duration {
    const THIRD: usize = 33_333;
    let start = Instant::now();
    let set = || (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    let [(wakers, mut woken), (_, mut aborted), (_, mut dropped)] = [set(), set(), set()];
    for _ in 0..THIRD {
        woken.spawn(ByHand { wakers: wakers.clone(), is_entered: false });
        aborted.spawn(ByHand { wakers: Arc::default(), is_entered: false });
        dropped.spawn(ByHand { wakers: Arc::default(), is_entered: false });
        // So that they wait before they are woken.
        tokio::task::consume_budget().await;
    }
    while wakers.lock().expect("no panic").len() < THIRD {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let hand = std::thread::spawn(move || {
        for waker in wakers.lock().expect("no panic").drain(..) {
            waker.wake_by_ref();
            waker.wake();
        }
    });
    aborted.abort_all();
    drop(dropped);
    while aborted.join_next().await.is_some() {}
    while woken.join_next().await.is_some() {}
    hand.join().expect("no panic");
    start.elapsed()
}

/// A poll that panics, which the runtime catches; 0 where it did.
async fn panics() -> Duration {
    async fn panicking() {
        tokio::time::sleep(Duration::from_micros(100)).await;
        panic!("on purpose");
    }
    for _ in 0..20 {
        let ended = tokio::spawn(panicking()).await;
        assert!(ended.is_err_and(|error| error.is_panic()));
    }
    Duration::ZERO
}

/// Registers its waker below so many async functions.
fn waits_deep(depth: u32) -> Pin<Box<dyn Future<Output = Duration> + Send>> {
    Box::pin(async move { if depth == 0 { waits_for_timer().await } else { waits_deep(depth - 1).await } })
}

/// Calls itself 5,000 times within a poll, and wakes a task there.
async fn recurses() -> Duration {
    #[inline(never)]
    fn down(depth: u32, sender: oneshot::Sender<()>) -> u32 {
        if depth == 0 {
            let _ = sender.send(());
            return 0;
        }
        std::hint::black_box(down(depth - 1, sender)) + 1
    }
    let start = Instant::now();
    let (sender, receiver) = oneshot::channel();
    let waiting = tokio::spawn(receiver);
    tokio::task::yield_now().await;
    assert_eq!(down(5_000, sender), 5_000);
    waiting.await.expect("no panic").expect("it was sent");
    start.elapsed()
}

/// 1,000 threads that sleep by turns of 1 ms.
async fn many_threads() -> Duration {
    let start = Instant::now();
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let sleepers: Vec<_> = (0..1_000)
            .map(|_| std::thread::spawn(|| (0..20).for_each(|_| std::thread::sleep(Duration::from_millis(1)))))
            .collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("no panic"));
        let _ = sender.send(());
    });
    receiver.await.expect("all slept");
    start.elapsed()
}

/// The process runs another program.
fn becomes_another() -> Duration {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new("/bin/sleep").arg("30").exec();
    panic!("exec: {error}");
}
