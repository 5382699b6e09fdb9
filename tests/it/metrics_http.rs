//! Scraping over HTTP, against servers that answer well, badly and not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wireprof::metrics::{HttpScraper, ScrapeError, Scraper};

/// Answers every request on every connection with these bytes; `None`: never answers. Counts connections.
async fn serve(answer: Option<String>, close: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                    match &answer {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                    if close {
                        return;
                    }
                }
            });
        }
    });
    (url, connections)
}

fn answer(status: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

async fn error(url: &str) -> (ScrapeError, String) {
    let scraper = HttpScraper::new(url, Duration::from_millis(300), None).unwrap();
    let error = scraper.scrape().await.unwrap_err();
    let text = error.to_string();
    (error, text)
}

#[tokio::test]
async fn scrapes_share_one_connection_and_carry_their_duration() {
    let (url, connections) = serve(answer("200 OK", "# TYPE a counter\na 1\n"), false).await;
    let scraper = HttpScraper::new(&url, Duration::from_secs(5), None).unwrap();
    let first = scraper.scrape().await.unwrap();
    let second = scraper.scrape().await.unwrap();
    assert_eq!(first.text, "# TYPE a counter\na 1\n");
    assert!(first.span.nanos() > 0 && first.span.end <= second.span.start);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(scraper.source(), url);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_opened_again() {
    let (url, connections) = serve(answer("200 OK", "a 1\n"), true).await;
    let scraper = HttpScraper::new(&url, Duration::from_secs(5), None).unwrap();
    scraper.scrape().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    scraper.scrape().await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_absent_endpoint_is_said_to_be_elsewhere() {
    let (url, _) = serve(answer("404 Not Found", "nope"), false).await;
    let (error, text) = error(&url).await;
    assert!(matches!(error, ScrapeError::NotThere { status: 404, .. }));
    assert!(
        text.starts_with(&format!("{url} answers 404: there are no metrics at this path; give the path")),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_error_is_the_servers() {
    let (url, _) = serve(answer("500 Oops", "nope"), false).await;
    assert!(matches!(error(&url).await.0, ScrapeError::Refused { status: 500, .. }));
}

#[tokio::test]
async fn a_closed_port_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:secret@{}/metrics", listener.local_addr().unwrap());
    drop(listener);
    let (error, text) = error(&url).await;
    assert!(matches!(error, ScrapeError::Unreachable { .. }));
    assert!(text.contains("Connection refused") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_server_that_hangs_runs_into_the_timeout() {
    let (url, _) = serve(None, false).await;
    let (error, text) = error(&url).await;
    assert!(matches!(error, ScrapeError::TimedOut { .. }), "{text}");
    assert!(text.contains("did not answer whole within 0.3 s"), "{text}");
    // The head comes, the body does not.
    let (url, _) = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\na 1\n".into()), false).await;
    assert!(matches!(self::error(&url).await.0, ScrapeError::TimedOut { .. }));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_exposition() {
    let (url, _) = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\na 1\n".into()), true).await;
    let (error, text) = error(&url).await;
    assert!(matches!(error, ScrapeError::BrokenOff { .. }), "{text}");
}

#[tokio::test]
async fn a_page_that_is_no_exposition_is_shown() {
    for body in ["<!DOCTYPE html>\n<html>\n<body>Hello there</body>", "{\"error\": 1}", "", "# only a comment\n"] {
        let (url, _) = serve(answer("200 OK", body), false).await;
        let (error, text) = error(&url).await;
        assert!(matches!(error, ScrapeError::NotAnExposition { .. }), "{body}");
        assert!(text.contains("is this the metrics path?"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up_before_it_fills_the_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let block = "a 1\n".repeat(1 << 18);
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
        while stream.write_all(block.as_bytes()).await.is_ok() {}
    });
    let scraper = HttpScraper::new(&url, Duration::from_secs(60), None).unwrap();
    let error = scraper.scrape().await.unwrap_err();
    assert!(error.to_string().contains("answers more than 256 MB; is this the metrics path?"), "{error}");
}
