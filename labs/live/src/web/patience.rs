//! Connections that get nowhere.
//!
//! A client that sends its request a byte a minute, or asks and never reads, would keep its connection and its seat
//! for ever. Whatever the client does, a connection on which this server could write nothing for a while is closed:
//! pages that listen are written to every second.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// The longest time without a word to the client.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest time until the first word: a request is a few hundred bytes, and who says nothing keeps others out.
const FIRST: Duration = Duration::from_secs(5);
/// The most connections of one port; further ones wait in the kernel.
const MOST: usize = 64;

/// A listener with so much patience for its connections.
pub(super) struct Patient {
    listener: TcpListener,
    first: Duration,
    patience: Duration,
    places: Arc<Semaphore>,
}

impl Patient {
    pub(super) fn new(listener: TcpListener) -> Patient {
        Patient {
            listener,
            first: FIRST,
            patience: PATIENCE,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }
}

impl Listener for Patient {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore, so there is a place in the end.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            patience: self.patience,
            end: Box::pin(sleep(self.first)),
            _place: place,
        };
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself when it gets nowhere.
pub(super) struct Connection {
    stream: TcpStream,
    patience: Duration,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// What came of a try, unless there is nothing and the patience is over.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match tried {
            Poll::Pending => self.end.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into())),
            ready => ready,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, room);
        self.within(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            let end = Instant::now() + self.patience;
            self.end.as_mut().reset(end);
        }
        self.within(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::routing::{get, post};
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    /// A server with so many places: it takes forms, talks for a while and talks without end.
    async fn server(places: usize) -> SocketAddr {
        patient(places, SHORT, SHORT).await
    }

    async fn patient(places: usize, first: Duration, patience: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patient =
            Patient { listener, first, patience, places: Arc::new(Semaphore::new(places)) };
        let word = |i: u32| async move {
            sleep(SHORT / 4).await;
            (i < 12).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"word")), i + 1))
        };
        let no_end =
            || stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 65536])));
        let router = Router::new()
            .route("/form", post(async |body: Bytes| format!("{} bytes", body.len())))
            .route("/words", get(async move || Body::from_stream(stream::unfold(0, word))))
            .route("/no-end", get(async move || Body::from_stream(no_end())));
        tokio::spawn(async move { axum::serve(patient, router).await });
        address
    }

    async fn heard(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    }

    const WORDS: &[u8] = b"GET /words HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_says_half_a_request_is_left() {
        let address = server(MOST).await;
        for begun in [
            "",
            "GET /words HTTP/1.1\r\nhost:",
            "POST /form HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab",
            "POST /form HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nab",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            let answer = heard(&mut stream).await;
            assert!(!answer.starts_with("HTTP/1.1 2"), "{begun:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn who_says_nothing_keeps_others_out_for_a_moment_only() {
        let address = patient(2, SHORT, Duration::from_secs(3600)).await;
        let silent = [TcpStream::connect(address), TcpStream::connect(address)];
        let [one, other] = silent;
        let _silent = (one.await.unwrap(), other.await.unwrap());
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(WORDS).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), heard(&mut next)).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    }

    /// However long it goes on with it.
    #[tokio::test]
    async fn who_drips_is_left() {
        let address = server(MOST).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /words HTTP/1.1\r\na: ").await.unwrap();
        for _ in 0..1000 {
            if stream.write_all(b"x").await.is_err() {
                return;
            }
            sleep(SHORT / 20).await;
        }
        panic!("it is still heard");
    }

    #[tokio::test]
    async fn who_never_reads_is_left() {
        let address = server(1).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(b"GET /no-end HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The next one gets its only place.
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(WORDS).await.unwrap();
        assert!(heard(&mut next).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn who_listens_is_not() {
        let address = server(MOST).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(WORDS).await.unwrap();
        let answer = heard(&mut stream).await;
        assert_eq!(answer.matches("word").count(), 12, "three times as long: {answer}");
    }
}
