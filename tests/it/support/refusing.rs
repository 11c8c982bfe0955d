//! A proxy before a PostgreSQL: refuses statements by their content, like servers with its protocol that lack some of its features.

use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// What a statement holds that is refused, and the SQLSTATE of the refusal.
pub type Rule = (&'static str, &'static str);

/// Listens on a port of its own until this process ends.
#[derive(Clone, Copy, Debug)]
pub struct Refusing {
    pub port: u16,
}

impl Refusing {
    pub fn before(target: u16, rules: &'static [Rule]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        spawn(move || {
            for client in listener.incoming().flatten() {
                spawn(move || drop(serve(client, target, rules)));
            }
        });
        Self { port }
    }
}

fn serve(mut client: TcpStream, target: u16, rules: &[Rule]) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", target))?;
    let back = Arc::new(Mutex::new(client.try_clone()?));
    let (mut from, to) = (server.try_clone()?, Arc::clone(&back));
    spawn(move || {
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if to.lock().expect("client").write_all(&piece[..count]).is_err() {
                return;
            }
        }
        drop(to.lock().expect("client").shutdown(std::net::Shutdown::Both));
    });
    // The request for TLS, which is denied here, and the start.
    loop {
        let (head, body) = message(&mut client, 0)?;
        if body == [0x04, 0xd2, 0x16, 0x2f] {
            back.lock().expect("client").write_all(b"N")?;
            continue;
        }
        server.write_all(&[head, body].concat())?;
        break;
    }
    loop {
        let (head, body) = message(&mut client, 1)?;
        let statement = String::from_utf8_lossy(&body);
        match rules.iter().find(|(words, _)| head[0] == b'Q' && statement.contains(words)) {
            Some((words, state)) => back.lock().expect("client").write_all(&refusal(state, words))?,
            None => server.write_all(&[head, body].concat())?,
        }
    }
}

/// A message whose length stands behind `kind` bytes: its head and what follows.
fn message(from: &mut TcpStream, kind: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut head = vec![0; kind + 4];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head[kind..].try_into().expect("four bytes"));
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body)?;
    Ok((head, body))
}

/// An error and that the server is ready for the next statement.
fn refusal(state: &str, held: &str) -> Vec<u8> {
    let words = format!("SERROR\0VERROR\0C{state}\0M{held} is not supported\0\0");
    let length = u32::try_from(words.len() + 4).expect("short").to_be_bytes();
    [b"E", length.as_slice(), words.as_bytes(), b"Z\0\0\0\x05I"].concat()
}
