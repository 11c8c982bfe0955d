//! A fake Dify: its service API and its console, as dify-status uses them, with sessions that expire and every kind of failure.

use super::free_port;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub const EMAIL: &str = "admin@example.com";
pub const PASSWORD: &str = "admin-p4ssw0rd";
/// The password as Dify's page sends it.
const IN_BASE64: &str = "YWRtaW4tcDRzc3cwcmQ=";
/// The conversation of every chat app that has one.
pub const CONVERSATION: &str = "0c8f1a2b-0000-4000-8000-5eed5eed5eed";

/// How an endpoint answers in place of its answer.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Status(u16),
    Body(&'static str),
    /// Takes the request, and never answers.
    Silent,
    /// Takes the request, and closes.
    Closes,
    /// An answer that never ends.
    Endless,
    /// This long to answer.
    Slow(Duration),
}

/// Where the tokens of a session stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensIn {
    Body,
    Cookies,
    HostCookies,
}

#[derive(Clone, Debug)]
pub struct App {
    pub id: String,
    pub mode: &'static str,
    pub key: Option<String>,
}

/// What the test may set.
#[derive(Debug)]
pub struct World {
    pub apps: Vec<App>,
    pub dataset_key: Option<String>,
    /// The chat keys whose apps have a conversation.
    pub talks: bool,
    pub tokens_in: TokensIn,
    /// Whether the password that is right is taken.
    pub takes_logins: bool,
    /// The password as it is taken.
    pub password: &'static str,
    pub takes_refreshes: bool,
    /// Faults by what a path begins with.
    pub faults: BTreeMap<&'static str, Fault>,
    /// The number of the session whose token is good.
    session: usize,
    now: usize,
    /// How many requests were in hand at most.
    pub most: usize,
    /// Every request: method, path, and what it bore.
    pub seen: Vec<DifyRequest>,
}

#[derive(Clone, Debug, Default)]
pub struct DifyRequest {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl DifyRequest {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.header("cookie").split("; ").find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='))
    }
}

#[derive(Debug)]
pub struct DifyServer {
    pub port: u16,
    world: Arc<Mutex<World>>,
    ended: Arc<AtomicBool>,
}

impl DifyServer {
    /// One chat app and one workflow, each with a key, the knowledge with one, and a conversation.
    pub fn start() -> Self {
        let app = |id: &str, mode, key: &str| App { id: id.to_owned(), mode, key: Some(key.to_owned()) };
        let world = World {
            apps: vec![app("app-0001", "chat", "app-chat-key-1"), app("app-0002", "workflow", "app-flow-key-1")],
            dataset_key: Some("dataset-key-1".to_owned()),
            talks: true,
            tokens_in: TokensIn::Body,
            takes_logins: true,
            password: IN_BASE64,
            takes_refreshes: true,
            faults: BTreeMap::new(),
            session: 0,
            now: 0,
            most: 0,
            seen: Vec::new(),
        };
        let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("bind the Dify");
        let port = listener.local_addr().expect("address").port();
        let (world, ended) = (Arc::new(Mutex::new(world)), Arc::new(AtomicBool::new(false)));
        let (shared, over) = (Arc::clone(&world), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
                std::thread::spawn(move || drop(serve(stream, &shared, &over)));
            }
        });
        Self { port, world, ended }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world")
    }

    /// The requests so far, as `METHOD path`.
    pub fn requested(&self) -> Vec<String> {
        self.world().seen.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    pub fn count(&self, begins: &str) -> usize {
        self.requested().iter().filter(|line| line.starts_with(begins)).count()
    }

    /// The access token that was given out last is good no more.
    pub fn end_session(&self) {
        self.world().session += 1;
    }
}

impl Drop for DifyServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(stream: TcpStream, world: &Mutex<World>, ended: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let Some(request) = read(&mut reader)? else { return Ok(()) };
    let fault = {
        let mut world = world.lock().expect("the world");
        world.seen.push(request.clone());
        world.now += 1;
        world.most = world.most.max(world.now);
        let of = |begins: &&str| request.path.starts_with(begins);
        world.faults.iter().filter(|(begins, _)| of(begins)).max_by_key(|(begins, _)| begins.len()).map(|(_, fault)| *fault)
    };
    let (code, cookies, body) = match fault {
        Some(Fault::Status(code)) => (code, Vec::new(), r#"{"message":"foreign words"}"#.to_owned()),
        Some(Fault::Body(body)) => (200, Vec::new(), body.to_owned()),
        Some(Fault::Silent) => {
            let mut piece = [0; 64];
            while reader.read(&mut piece)? > 0 && !ended.load(Ordering::Relaxed) {}
            world.lock().expect("the world").now -= 1;
            return Ok(());
        }
        Some(Fault::Closes) => {
            world.lock().expect("the world").now -= 1;
            return writer.shutdown(Shutdown::Both);
        }
        Some(Fault::Endless) => {
            world.lock().expect("the world").now -= 1;
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"data\":[")?;
            while !ended.load(Ordering::Relaxed) {
                writer.write_all(&[b' '; 8 * 1024])?;
            }
            return Ok(());
        }
        Some(Fault::Slow(time)) => {
            std::thread::park_timeout(time);
            answer(&request, &mut world.lock().expect("the world"))
        }
        None => answer(&request, &mut world.lock().expect("the world")),
    };
    // Counted before it is answered, so that the next request does not overlap with it.
    world.lock().expect("the world").now -= 1;
    let cookies: Vec<String> = cookies.iter().map(|cookie| format!("Set-Cookie: {cookie}; Path=/; HttpOnly\r\n")).collect();
    let cookies = cookies.concat();
    let head = format!("HTTP/1.1 {code} Said\r\nContent-Type: application/json\r\n{cookies}Content-Length: {}\r\n\r\n", body.len());
    writer.write_all((head + &body).as_bytes())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<DifyRequest>> {
    let mut request = DifyRequest::default();
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    (request.method, request.path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

type DifyResponse = (u16, Vec<String>, String);

fn reply(code: u16, body: &Value) -> DifyResponse {
    (code, Vec::new(), body.to_string())
}

fn answer(request: &DifyRequest, world: &mut World) -> DifyResponse {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/console/api/login") => login(request, world),
        ("POST", "/console/api/refresh-token") => refresh(request, world),
        ("GET", _) if !request.body.is_empty() => reply(400, &json!({ "message": "a GET with a body" })),
        ("GET", path) if path.starts_with("/console/") => console(request, path, world),
        ("GET", path) if path.starts_with("/v1/") => service(request, path, world),
        _ => reply(405, &json!({})),
    }
}

fn login(request: &DifyRequest, world: &mut World) -> DifyResponse {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let keys: BTreeSet<&str> = body.as_object().map(|body| body.keys().map(String::as_str).collect()).unwrap_or_default();
    if keys != BTreeSet::from(["email", "password", "language", "remember-me"]) || body["remember-me"] != true {
        return reply(400, &json!({ "code": "invalid_param" }));
    }
    if !world.takes_logins || body["email"] != EMAIL || body["password"] != world.password {
        return reply(401, &json!({ "code": "authentication_failed", "message": "Invalid email or password." }));
    }
    given(world)
}

fn refresh(request: &DifyRequest, world: &mut World) -> DifyResponse {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let known = |token: &str| token.starts_with("refresh-token-");
    let by_body = body["refresh_token"].as_str().is_some_and(known);
    let by_cookie = ["refresh_token", "__Host-refresh_token"].iter().all(|name| request.cookie(name).is_some_and(known));
    if !world.takes_refreshes || !by_body || !by_cookie {
        return reply(401, &json!({ "code": "unauthorized" }));
    }
    given(world)
}

/// A new session, with its tokens where they stand in this version.
fn given(world: &mut World) -> DifyResponse {
    world.session += 1;
    let number = world.session;
    let tokens = [("access_token", "access"), ("refresh_token", "refresh"), ("csrf_token", "csrf")];
    let tokens = tokens.map(|(name, kind)| (name, format!("{kind}-token-{number}")));
    let before = match world.tokens_in {
        TokensIn::Body => {
            let data: serde_json::Map<String, Value> = tokens.into_iter().map(|(name, token)| (name.to_owned(), token.into())).collect();
            return reply(200, &json!({ "result": "success", "data": data }));
        }
        TokensIn::Cookies => "",
        TokensIn::HostCookies => "__Host-",
    };
    let cookies = tokens.iter().map(|(name, token)| format!("{before}{name}={token}")).collect();
    (200, cookies, json!({ "result": "success" }).to_string())
}

fn console(request: &DifyRequest, path: &str, world: &World) -> DifyResponse {
    let number = world.session;
    let (access, csrf) = (format!("access-token-{number}"), format!("csrf-token-{number}"));
    let both = |name: &str, value: &str| [name.to_owned(), format!("__Host-{name}")].iter().all(|name| request.cookie(name) == Some(value));
    let is_bearer = request.header("authorization") == format!("Bearer {access}");
    if !is_bearer || request.header("x-csrf-token") != csrf || !both("access_token", &access) || !both("csrf_token", &csrf) {
        return reply(401, &json!({ "code": "unauthorized" }));
    }
    let keys = |key: Option<&String>| json!({ "data": key.map(|key| json!({ "id": "1", "type": "app", "token": key })).into_iter().collect::<Vec<_>>() });
    if path == "/console/api/datasets/api-keys" {
        return reply(200, &keys(world.dataset_key.as_ref()));
    }
    if let Some(id) = path.strip_prefix("/console/api/apps/").and_then(|rest| rest.strip_suffix("/api-keys")) {
        let app = world.apps.iter().find(|app| app.id == id);
        return app.map_or_else(|| reply(404, &json!({})), |app| reply(200, &keys(app.key.as_ref())));
    }
    let query = path.strip_prefix("/console/api/apps?page=").and_then(|query| query.split_once("&limit="));
    let number = |text: &str| text.parse::<usize>().ok().filter(|number| (1..=100).contains(number));
    let Some((Some(page), Some(limit))) = query.map(|(page, limit)| (number(page), number(limit))) else { return reply(404, &json!({})) };
    let listed = world.apps.iter().skip((page - 1) * limit).take(limit);
    let data: Vec<Value> = listed.map(|app| json!({ "id": app.id, "name": "an app", "mode": app.mode, "icon": null })).collect();
    let has_more = page * limit < world.apps.len();
    reply(200, &json!({ "page": page, "limit": limit, "total": world.apps.len(), "has_more": has_more, "data": data }))
}

fn service(request: &DifyRequest, path: &str, world: &World) -> DifyResponse {
    let key = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
    let app = world.apps.iter().find(|app| app.key.as_deref() == Some(key));
    let mode = app.map(|app| app.mode);
    let is_dataset = world.dataset_key.as_deref() == Some(key);
    let of_chat = [
        "/v1/parameters".to_owned(),
        "/v1/info".to_owned(),
        "/v1/meta".to_owned(),
        "/v1/site".to_owned(),
        format!("/v1/messages?conversation_id={CONVERSATION}&limit=1"),
        "/v1/app/feedbacks?page=1&limit=1".to_owned(),
        "/v1/apps/annotations?page=1&limit=1".to_owned(),
        format!("/v1/conversations/{CONVERSATION}/variables?user="),
    ];
    let of_dataset = [
        "/v1/datasets?page=1&limit=1",
        "/v1/workspaces/current/models/model-types/text-embedding",
        "/v1/workspaces/current/models/model-types/rerank",
        "/v1/datasets/tags",
    ];
    let allowed = match path {
        "/v1/conversations?sort_by=-updated_at&limit=1" if mode.is_some_and(|mode| mode != "workflow") => {
            let data = if world.talks { vec![json!({ "id": CONVERSATION, "name": "words of a user" })] } else { Vec::new() };
            return reply(200, &json!({ "limit": 1, "has_more": false, "data": data }));
        }
        path if of_chat.iter().any(|one| one == path) => mode.is_some_and(|mode| mode != "workflow"),
        path if of_dataset.contains(&path) => is_dataset,
        "/v1/workflows/logs?page=1&limit=1" => mode == Some("workflow"),
        "/v1/conversations?sort_by=-updated_at&limit=1" => false,
        _ => return reply(404, &json!({})),
    };
    if allowed { reply(200, &json!({ "data": [] })) } else { reply(401, &json!({ "message": "Access token is invalid" })) }
}
