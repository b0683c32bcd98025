//! A small HTTP server on loopback that answers as a test tells it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Path and query.
    pub target: String,
    /// Headers by lower-case names.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// The range that is asked for, half-open.
    pub(crate) fn range(&self) -> Option<[usize; 2]> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some([first.parse().unwrap(), last.parse::<usize>().unwrap() + 1])
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The length that is told, where it is not that of the body: the connection ends too early.
    pub told: Option<usize>,
}

impl Answer {
    /// All is well.
    pub(crate) fn of(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// No more than a status.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// With a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The part of a file that is asked for, or all of it.
    pub(crate) fn part(request: &Request, file: &[u8]) -> Self {
        let Some([first, end]) = request.range() else { return Self::of(file) };
        if first >= file.len() {
            return Self::status(416);
        }
        let end = end.min(file.len());
        let range = format!("bytes {first}-{}/{}", end - 1, file.len());
        Self { status: 206, ..Self::of(&file[first..end]) }.with("Content-Range", range)
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Server {
    /// Answers every request by `handler`.
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, until, kept): (Arc<Handler>, _, _) =
            (Arc::new(handler), Arc::clone(&ended), Arc::clone(&log));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&kept));
                thread::spawn(move || serve(connection, &*handler, &log));
            }
        });
        Self { address, ended, log }
    }

    /// What was asked for, and how many bytes were given, since the last time.
    pub(crate) fn asked(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// One request of a connection, which then ends.
fn serve(connection: TcpStream, handler: &Handler, log: &Mutex<Vec<(String, usize)>>) {
    let mut reader = BufReader::new(&connection);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap_or_default();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let request = Request { target, headers };
    let answer = handler(&request);
    log.lock().unwrap().push((request.target, answer.body.len()));
    let mut head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status,
        answer.told.unwrap_or(answer.body.len())
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut connection = &connection;
    let _ = connection.write_all(format!("{head}\r\n").as_bytes());
    let _ = connection.write_all(&answer.body);
}
