//! A tiny server of the PostgreSQL protocol on an old tokio: a task for each connection. It answers every statement
//! with one row, by the simple and the extended protocol, and does one thing of known size for it.
//!
//!     old-tokio PORT none|cpu|sleep|mutex|channel
//!
//! cpu: 100 us in `price_order`; sleep: 2 ms in `fetch_rates`; mutex: 300 us of CPU under an async mutex that
//! `book_order` takes; channel: `ask_clerk` waits until the one task of `run_clerk` has computed 300 us in `add_up`.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, Mutex};

type Clerk = mpsc::UnboundedSender<oneshot::Sender<()>>;

#[derive(Clone)]
struct Shop {
    work: String,
    clerk: Clerk,
    orders: Arc<Mutex<u64>>,
}

#[inline(always)]
fn spend(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn price_order() {
    spend(Duration::from_micros(100));
}

#[inline(never)]
fn add_up() {
    spend(Duration::from_micros(300));
}

async fn fetch_rates() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

async fn book_order(orders: &Mutex<u64>) {
    let mut orders = orders.lock().await;
    *orders += 1;
    add_up();
}

async fn ask_clerk(clerk: &Clerk) {
    let (answer, answered) = oneshot::channel();
    let _ = clerk.send(answer);
    let _ = answered.await;
}

async fn run_clerk(mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>) {
    while let Some(answer) = asked.recv().await {
        add_up();
        let _ = answer.send(());
    }
}

impl Shop {
    async fn execute(&self) {
        match self.work.as_str() {
            "cpu" => price_order(),
            "sleep" => fetch_rates().await,
            "mutex" => book_order(&self.orders).await,
            "channel" => ask_clerk(&self.clerk).await,
            _ => {}
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
}

fn describe(out: &mut Vec<u8>) {
    put(out, b'T', b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
}

async fn answer(shop: &Shop, out: &mut Vec<u8>) {
    shop.execute().await;
    put(out, b'D', b"\0\x01\0\0\0\x011");
    put(out, b'C', b"SELECT 1\0");
}

/// One message; false where the client goes.
async fn handle(shop: &Shop, kind: u8, out: &mut Vec<u8>) -> bool {
    match kind {
        b'Q' => {
            describe(out);
            answer(shop, out).await;
            put(out, b'Z', b"I");
        }
        b'P' => put(out, b'1', b""),
        b'B' => put(out, b'2', b""),
        b'D' => {
            put(out, b't', b"\0\0");
            describe(out);
        }
        b'E' => answer(shop, out).await,
        b'C' => put(out, b'3', b""),
        b'S' => put(out, b'Z', b"I"),
        _ => {}
    }
    kind != b'X'
}

/// The first message; requests for encryption are refused.
async fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let (length, code) = (stream.read_u32().await?, stream.read_u32().await?);
        if code == 80877103 || code == 80877104 {
            stream.write_all(b"N").await?;
            continue;
        }
        stream.read_exact(&mut vec![0; length as usize - 8]).await?;
        let mut out = Vec::new();
        put(&mut out, b'R', &[0; 4]);
        put(&mut out, b'S', b"server_version\x0015.0\0");
        put(&mut out, b'S', b"client_encoding\0UTF8\0");
        put(&mut out, b'K', b"\0\0\0\x01\0\0\0\x01");
        put(&mut out, b'Z', b"I");
        return stream.write_all(&out).await;
    }
}

async fn serve(shop: Shop, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    begin(&mut stream).await?;
    let (mut read, mut out) = (Vec::with_capacity(8192), Vec::new());
    while stream.read_buf(&mut read).await? > 0 {
        while read.len() >= 5 {
            let length = u32::from_be_bytes(read[1..5].try_into().unwrap()) as usize + 1;
            if read.len() < length {
                break;
            }
            let kind = read[0];
            read.drain(..length);
            if !handle(&shop, kind, &mut out).await {
                return Ok(());
            }
        }
        stream.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let (clerk, asked) = mpsc::unbounded_channel();
        tokio::spawn(run_clerk(asked));
        let shop = Shop { work: arguments[2].clone(), clerk, orders: Arc::default() };
        let listener = TcpListener::bind(format!("127.0.0.1:{}", arguments[1])).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(shop.clone(), stream));
        }
    });
}
