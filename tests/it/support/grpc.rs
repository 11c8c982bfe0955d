//! A gRPC server that answers health checks, over a real HTTP/2 implementation.

use hyper::body::Bytes;
use hyper::http::{HeaderMap, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How it answers: a status of health v1, or 100 and a `grpc-status` in trailers alone.
#[derive(Debug)]
pub struct Grpc {
    pub port: u16,
    status: Arc<AtomicU8>,
    /// Ends the server when dropped.
    _ending: tokio::sync::oneshot::Sender<()>,
}

impl Grpc {
    pub fn saying(status: u8) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", super::free_port())).expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let port = listener.local_addr().expect("address").port();
        let status = Arc::new(AtomicU8::new(status));
        let shared = Arc::clone(&status);
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
                let serving = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        // As in every gRPC server: answers of several pieces are sent without waiting.
                        stream.set_nodelay(true).expect("nodelay");
                        tokio::spawn(serve(stream, Arc::clone(&shared)));
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = ended => {}
                }
            });
        });
        Self { port, status, _ending: ending }
    }

    pub fn set(&self, status: u8) {
        self.status.store(status, Ordering::Relaxed);
    }
}

async fn serve(stream: tokio::net::TcpStream, status: Arc<AtomicU8>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let status = status.load(Ordering::Relaxed);
        let head = Response::builder().header("content-type", "application/grpc");
        if status >= 100 {
            let head = head.header("grpc-status", (status - 100).to_string()).body(()).expect("head");
            drop(respond.send_response(head, true));
            continue;
        }
        let Ok(mut body) = respond.send_response(head.body(()).expect("head"), false) else { return };
        drop(body.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]), false));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("value"));
        drop(body.send_trailers(trailers));
    }
}
