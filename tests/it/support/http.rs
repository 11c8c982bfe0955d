//! A minimal HTTP implementation: a client that reads one response, and a server whose response the test sets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub code: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl HttpResponse {
    /// A header by its lower-case name, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

fn exchange(mut stream: impl Read + Write, head: &str) -> std::io::Result<HttpResponse> {
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    // Some servers keep the connection, whatever the request says.
    while !is_whole(&bytes) {
        match stream.read(&mut piece)? {
            0 => break,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no whole head"))?;
    let mut lines = head.split("\r\n");
    let code = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(HttpResponse {
        code: code.ok_or_else(|| std::io::Error::other("no status"))?,
        headers: headers.map(|(key, value)| (key.to_lowercase(), value.trim().to_owned())).collect(),
        body: body.to_owned(),
    })
}

/// Whether an answer with a length is there to its last byte.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= head.len() + 4 + length)
}

fn request(method: &str, path: &str, extra: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{extra}Connection: close\r\n\r\n")
}

/// Asks a loopback port; `extra` holds whole header lines.
pub fn ask(port: u16, method: &str, path: &str, extra: &str) -> std::io::Result<HttpResponse> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    exchange(stream, &request(method, path, extra))
}

/// Sends a body of JSON to a loopback port.
pub fn send(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<HttpResponse> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let extra = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    exchange(stream, &(request(method, path, &extra) + body))
}

/// Asks an abstract unix socket, named without its leading `@`.
pub fn ask_abstract(name: &str, path: &str) -> std::io::Result<HttpResponse> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    exchange(stream, &request("GET", path, ""))
}

#[derive(Debug)]
struct Script {
    code: u16,
    body: String,
    seen: Vec<String>,
}

/// A server on a free loopback port; each request is answered with what the test last set.
#[derive(Debug)]
pub struct Http {
    pub port: u16,
    script: Arc<Mutex<Script>>,
    ended: Arc<AtomicBool>,
}

impl Http {
    pub fn answering(code: u16, body: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::free_port())).expect("bind the http target");
        let port = listener.local_addr().expect("address").port();
        let script = Arc::new(Mutex::new(Script { code, body: body.to_owned(), seen: Vec::new() }));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, over) = (Arc::clone(&script), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, script, ended }
    }

    pub fn set(&self, code: u16, body: &str) {
        let mut script = self.script.lock().expect("script");
        script.code = code;
        body.clone_into(&mut script.body);
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.script.lock().expect("script").seen.clone()
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(stream: TcpStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let last = head.to_lowercase().contains("connection: close");
        let answer = {
            let mut script = script.lock().expect("script");
            script.seen.push(head);
            let Script { code, body, .. } = &*script;
            format!("HTTP/1.1 {code} Said\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}", body.len())
        };
        writer.write_all(answer.as_bytes())?;
        if last {
            return Ok(());
        }
    }
}
