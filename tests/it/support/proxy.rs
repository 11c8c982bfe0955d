//! A TCP proxy that can freeze, thaw and cut its connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    ended: bool,
    streams: Vec<TcpStream>,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// While frozen it accepts, and forwards nothing: existing connections stall, none is closed.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    address: Ipv4Addr,
    shared: Shared,
}

impl Proxy {
    pub fn before(target: u16) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, super::free_port()), target)
    }

    /// One that listens on the address that a program uses for its server, for example a fixed port.
    pub fn at((address, port): (Ipv4Addr, u16), target: u16) -> Self {
        let listener = TcpListener::bind((address, port)).expect("bind the proxy");
        let port = listener.local_addr().expect("address").port();
        let shared = Shared::default();
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.0.lock().expect("proxy").ended {
                    return;
                }
                let state = Arc::clone(&state);
                std::thread::spawn(move || drop(connect(client, target, &state)));
            }
        });
        Self { port, address, shared }
    }

    pub fn freeze(&self) {
        self.shared.0.lock().expect("proxy").frozen = true;
    }

    pub fn thaw(&self) {
        self.shared.0.lock().expect("proxy").frozen = false;
        self.shared.1.notify_all();
    }

    /// Closes every connection that runs through.
    pub fn cut(&self) {
        for stream in self.shared.0.lock().expect("proxy").streams.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.0.lock().expect("proxy");
            state.ended = true;
            state.frozen = false;
        }
        self.shared.1.notify_all();
        self.cut();
        drop(TcpStream::connect((self.address, self.port)));
    }
}

fn connect(client: TcpStream, target: u16, shared: &Shared) -> std::io::Result<()> {
    shared.0.lock().expect("proxy").streams.push(client.try_clone()?);
    wait_for_thaw(shared);
    let server = TcpStream::connect(("127.0.0.1", target))?;
    shared.0.lock().expect("proxy").streams.push(server.try_clone()?);
    let (from, to, state) = (client.try_clone()?, server.try_clone()?, Arc::clone(shared));
    std::thread::spawn(move || pump(from, to, &state));
    pump(server, client, shared);
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        wait_for_thaw(shared);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    wait_for_thaw(shared);
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

fn wait_for_thaw(shared: &Shared) {
    let state = shared.0.lock().expect("proxy");
    drop(shared.1.wait_while(state, |state| state.frozen).expect("proxy"));
}

mod tests {
    use super::*;
    use crate::support::http::ask;
    use crate::support::{Http, secs, wait};
    use std::time::Duration;

    #[test]
    fn a_frozen_proxy_accepts_and_stays_silent_until_the_thaw() {
        let http = Http::answering(200, "here");
        let proxy = Proxy::before(http.port);
        assert_eq!(ask(proxy.port, "GET", "/", "").unwrap().body, "here");
        proxy.freeze();
        let port = proxy.port;
        let answer = std::thread::spawn(move || ask(port, "GET", "/", "").unwrap().body);
        wait::never("answered while frozen", Duration::from_millis(300), || answer.is_finished());
        proxy.thaw();
        assert_eq!(answer.join().unwrap(), "here");
    }

    #[test]
    fn a_cut_ends_the_connections() {
        let http = Http::answering(200, "here");
        let proxy = Proxy::before(http.port);
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        client.set_read_timeout(Some(secs(20))).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut some = [0; 16];
        client.read_exact(&mut some).unwrap();
        proxy.cut();
        let mut rest = Vec::new();
        drop(client.read_to_end(&mut rest));
        assert!(client.write_all(&[0; 1024]).is_err() || client.read(&mut some).is_ok_and(|count| count == 0));
    }
}
