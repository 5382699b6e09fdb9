//! A stream that keeps what is written until its owner next reads. The protocol library flushes after each message of
//! the extended protocol, which would be a system call and a packet each. Invariant: a read never waits while output
//! is held back, so a client that waits for a response gets it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Output above this many bytes leaves at once: a large result must not be held whole.
const HOLD_AT_MOST: usize = 64 * 1024;

pub struct DeferredWrites<S> {
    stream: S,
    held: Vec<u8>,
    /// Bytes of `held` that have been written already.
    written: usize,
}

impl<S: AsyncWrite + Unpin> DeferredWrites<S> {
    pub fn new(stream: S) -> Self {
        DeferredWrites { stream, held: Vec::with_capacity(1024), written: 0 }
    }

    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            let pending = &self.held[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.held.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for DeferredWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeferredWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.len() >= HOLD_AT_MOST {
            ready!(self.poll_release(context))?;
        }
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_is_written_and_flushed_leaves_with_the_next_read() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut deferred = DeferredWrites::new(near);
        deferred.write_all(b"one ").await.unwrap();
        deferred.flush().await.unwrap();
        deferred.write_all(b"two").await.unwrap();
        let mut received = [0; 7];
        let too_early = tokio::time::timeout(std::time::Duration::from_millis(20), far.read(&mut received)).await;
        assert!(too_early.is_err());
        far.write_all(b"?").await.unwrap();
        let mut question = [0; 1];
        deferred.read_exact(&mut question).await.unwrap();
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"one two");
    }
}
