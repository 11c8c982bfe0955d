//! A stream that passes on reads and writes, and lets a hook inspect them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A hook that inspects the bytes of a stream of type `S`; its error is an error of the stream.
pub trait StreamHook<S> {
    /// Called before each read.
    ///
    /// # Errors
    /// Why nothing more may be read.
    fn before_read(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Called with the bytes that were read.
    ///
    /// # Errors
    /// Why these bytes may not be passed on.
    fn read(&mut self, _come: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Called with the result of a write; returns the result to report.
    fn written<T>(&mut self, _stream: &S, written: Poll<io::Result<T>>, _context: &mut Context<'_>) -> Poll<io::Result<T>> {
        written
    }
}

/// A stream under a hook.
#[derive(Debug)]
pub struct HookedStream<S, H> {
    stream: S,
    /// The hook.
    pub hook: H,
}

impl<S, H: StreamHook<S>> HookedStream<S, H> {
    /// `stream` under `hook`.
    pub const fn new(stream: S, hook: H) -> Self {
        Self { stream, hook }
    }
}

impl<S: AsyncRead + Unpin, H: StreamHook<S> + Unpin> AsyncRead for HookedStream<S, H> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.hook.before_read()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.hook.read(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncWrite + Unpin, H: StreamHook<S> + Unpin> AsyncWrite for HookedStream<S, H> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, hook } = self.get_mut();
        let written = Pin::new(&mut *stream).poll_write(context, bytes);
        hook.written(stream, written, context)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { stream, hook } = self.get_mut();
        let written = Pin::new(&mut *stream).poll_write_vectored(context, slices);
        hook.written(stream, written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
