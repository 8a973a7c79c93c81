//! A stream of which only so many bytes are read until it is lifted: what a socket may send before it has
//! connected, however it is cut into frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the file's head.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    left: Option<usize>,
}

impl<S> Bounded<S> {
    /// At most so many bytes; no bound without a number.
    pub(super) const fn new(inner: S, left: Option<usize>) -> Self {
        Self { inner, left }
    }

    /// Takes the bound away.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }

    /// Sets another bound, from here on.
    pub(super) fn allow(&mut self, more: usize) {
        self.left = Some(more);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == Some(0) {
            return Poll::Ready(Err(io::Error::other("too many bytes before the connect")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        this.left = this.left.map(|left| left.saturating_sub(read));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
