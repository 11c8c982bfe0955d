//! A peer that misbehaves.

use super::{Dir, free_port};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with each connection.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Accepts, and closes.
    Closing,
    /// Accepts and never answers.
    Silent,
    /// Answers at once with what no protocol begins with.
    Garbage,
    /// These words first, then a byte a second for ever.
    Dripping(&'static [u8]),
    /// These words first, then a gibibyte of those.
    Flooding(&'static [u8], &'static [u8]),
    /// Leads to this port, and cuts after so many bytes of its answer.
    Cutting(u16, usize),
}

#[derive(Debug)]
pub struct Hostile {
    pub port: u16,
    ended: Arc<AtomicBool>,
}

impl Hostile {
    pub fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("bind the hostile peer");
        let port = listener.local_addr().expect("address").port();
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let over = Arc::clone(&over);
                std::thread::spawn(move || drop(treat(stream, manner, &over)));
            }
        });
        Self { port, ended }
    }
}

/// A path that leads to a peer on a port.
#[derive(Debug)]
pub struct Socket {
    dir: Dir,
    ended: Arc<AtomicBool>,
}

impl Socket {
    pub fn before(port: u16) -> Self {
        let socket = Self { dir: Dir::new(), ended: Arc::new(AtomicBool::new(false)) };
        let listener = UnixListener::bind(socket.path()).expect("bind the socket");
        let over = Arc::clone(&socket.ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::spawn(move || drop(lead(stream, port)));
            }
        });
        socket
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(self.path()));
    }
}

/// Carries what comes both ways until either side is done.
fn lead(mut client: UnixStream, port: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let (mut requested, mut upstream) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut requested, &mut upstream));
        drop(upstream.shutdown(Shutdown::Both));
    });
    drop(std::io::copy(&mut server, &mut client));
    client.shutdown(Shutdown::Both)
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn treat(mut stream: TcpStream, manner: Manner, ended: &AtomicBool) -> std::io::Result<()> {
    match manner {
        Manner::Closing => stream.shutdown(Shutdown::Both),
        Manner::Silent => hold(&mut stream, ended),
        Manner::Garbage => {
            stream.write_all(b"\xde\xad\xbe\xef garbage \r\n\x00\xff\xff\xff\xff\xff\xff\xff\xff")?;
            hold(&mut stream, ended)
        }
        Manner::Dripping(words) => {
            if words.starts_with(b"HTTP") {
                // An answer before its question is another fault.
                let _ = stream.read(&mut [0; 4096])?;
            }
            stream.write_all(words)?;
            while !ended.load(Ordering::Relaxed) {
                stream.write_all(b"x")?;
                std::thread::park_timeout(Duration::from_secs(1));
            }
            Ok(())
        }
        Manner::Flooding(words, more) => {
            stream.write_all(words)?;
            let piece = more.repeat(64 * 1024 / more.len());
            for _ in 0..(1 << 30) / piece.len() {
                stream.write_all(&piece)?;
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok(())
        }
        Manner::Cutting(port, after) => {
            let mut server = TcpStream::connect(("127.0.0.1", port))?;
            let (mut requested, mut upstream) = (stream.try_clone()?, server.try_clone()?);
            std::thread::spawn(move || drop(std::io::copy(&mut requested, &mut upstream)));
            let mut left = after;
            let mut piece = [0; 4096];
            while left > 0 {
                let most = left.min(piece.len());
                let count = server.read(&mut piece[..most])?;
                if count == 0 {
                    break;
                }
                stream.write_all(&piece[..count])?;
                left -= count;
            }
            for end in [&stream, &server] {
                let _ = end.shutdown(Shutdown::Both);
            }
            Ok(())
        }
    }
}

/// Reads what comes, says nothing.
fn hold(stream: &mut TcpStream, ended: &AtomicBool) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    while stream.read(&mut piece)? > 0 && !ended.load(Ordering::Relaxed) {}
    Ok(())
}

/// A fake server: it answers as the test specifies, and keeps what it receives.
#[derive(Debug)]
pub struct Impostor {
    pub port: u16,
    reported: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    /// Greets where there is a greeting, and answers what it hears by `answer`, which also gets how many times it has heard something, from 1 on.
    pub fn start(greeting: Option<Vec<u8>>, answer: impl Fn(usize, &[u8]) -> Vec<u8> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("bind the impostor");
        let port = listener.local_addr().expect("address").port();
        let reported: Arc<Mutex<Vec<u8>>> = Arc::default();
        let heard = Arc::clone(&reported);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (greeting, answer, heard) = (greeting.clone(), answer.clone(), Arc::clone(&heard));
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    let greeted = greeting.is_none_or(|greeting| stream.write_all(&greeting).is_ok());
                    for count in 1.. {
                        let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
                        heard.lock().expect("impostor").extend_from_slice(&buffer[..length]);
                        if !greeted || stream.write_all(&answer(count, &buffer[..length])).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, reported }
    }

    /// Whether it received this.
    pub fn has_received(&self, text: &str) -> bool {
        self.reported.lock().expect("impostor").windows(text.len()).any(|window| window == text.as_bytes())
    }
}
