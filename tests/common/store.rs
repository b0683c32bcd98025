//! A small object store of this process: enough of S3 to list and to read ranges, and to do both badly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub bytes: Vec<u8>,
    pub modified: String,
    /// What it says of its SHA-256 to who asks: the checksum and its type, as header lines.
    pub checksum: String,
}

impl Object {
    pub(crate) fn new(bytes: Vec<u8>) -> Object {
        let modified = "2026-01-02T03:04:05.000Z".to_owned();
        Object { bytes, modified, checksum: String::new() }
    }

    fn etag(&self) -> String {
        format!("\"{}\"", &blake3::hash(&self.bytes).to_hex()[..32])
    }
}

/// How it behaves badly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// Answers 503 to so many requests first.
    pub busy: u32,
    /// Cuts so many bodies in the middle.
    pub cuts: u32,
    /// Sends so many bytes more than a range has.
    pub too_long: usize,
    /// Sends so many bytes fewer, and says so.
    pub too_short: usize,
    /// Looks at no If-Match.
    pub ignores_if_match: bool,
    /// Answers a range with the whole object.
    pub ignores_range: bool,
    /// Answers `HEAD` with this status.
    pub refuses_head: Option<&'static str>,
    /// Gives no entity tags in lists.
    pub no_tags_in_lists: bool,
    /// Never answers.
    pub hangs: bool,
    /// Reads of objects after which the first object is another one.
    pub changes_after: Option<u32>,
    /// A page of its lists, whatever is asked.
    pub list: Option<String>,
    /// Keys of a page.
    pub page: Option<usize>,
    /// Reads that were answered.
    pub reads: u32,
}

struct State {
    objects: Mutex<BTreeMap<String, Object>>,
    behaviour: Mutex<Behaviour>,
    /// Request lines, and the ranges that were asked for.
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// The store: it ends with the value.
pub(crate) struct Store {
    address: SocketAddr,
    state: Arc<State>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Store {
    /// With these objects in bucket `models`.
    pub(crate) fn new(objects: impl IntoIterator<Item = (String, Vec<u8>)>) -> Store {
        let objects = objects.into_iter().map(|(key, bytes)| (key, Object::new(bytes)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State {
            objects: Mutex::new(objects.collect()),
            behaviour: Mutex::default(),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                if state.ended.load(Relaxed) {
                    return;
                }
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Store { address, state }
    }

    /// With the files below a directory, below a prefix.
    pub(crate) fn of_directory(root: &Path, prefix: &str) -> Store {
        let mut files = Vec::new();
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                    files.push((format!("{prefix}{name}"), std::fs::read(&path).unwrap()));
                }
            }
        }
        Store::new(files)
    }

    /// What a client is told by its environment.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_ENDPOINT_URL", &format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap());
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Object>)) {
        change(&mut self.state.objects.lock().unwrap());
    }

    /// The first key with this ending.
    pub(crate) fn key_of(&self, ending: &str) -> String {
        let objects = self.state.objects.lock().unwrap();
        objects.keys().find(|key| key.ends_with(ending)).unwrap().clone()
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }
}

struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    range: Option<[usize; 2]>,
    if_match: Option<String>,
    /// Whether checksums are asked for, by a header that is signed if anything is.
    checksum: bool,
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into()
}

fn read_request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, rest) = line.split_once(' ')?;
    let target = rest.split(' ').next()?.to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    };
    let mut signed = true;
    let mut asked = Asked {
        method: method.to_owned(),
        path: decoded(path),
        query: query.split('&').map(pair).collect(),
        range: None,
        if_match: None,
        checksum: false,
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(": ") else {
            asked.checksum &= signed;
            return Some(asked);
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                asked.range = Some([from.parse().ok()?, to.parse::<usize>().ok()? + 1]);
            }
            "if-match" => asked.if_match = Some(value.to_owned()),
            "x-amz-checksum-mode" => asked.checksum = value == "ENABLED",
            "authorization" => signed = value.contains(";x-amz-checksum-mode;"),
            _ => {}
        }
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(asked) = read_request(&mut reader) {
            let Asked { method, path, query, range, .. } = &asked;
            let line = format!("{method} {path} {query:?} {range:?}");
            self.asked.lock().unwrap().push(line);
            if self.answer(&asked, &mut stream).is_none() {
                return;
            }
        }
    }

    /// `None`: the connection ends.
    fn answer(&self, asked: &Asked, stream: &mut TcpStream) -> Option<()> {
        let behaviour = {
            let mut behaviour = self.behaviour.lock().unwrap();
            let before = behaviour.clone();
            behaviour.busy = behaviour.busy.saturating_sub(1);
            before
        };
        if behaviour.hangs {
            while !self.ended.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return None;
        }
        let error = "<Error><Code>X</Code><Message>hunter2</Message></Error>";
        if behaviour.busy > 0 {
            return respond(stream, "503 Slow Down", "Retry-After: 0\r\n", error.as_bytes());
        }
        let Some(key) = asked.path.strip_prefix("/models").map(|key| key.trim_start_matches('/'))
        else {
            return respond(stream, "404 Not Found", "", error.as_bytes());
        };
        if asked.query.contains_key("list-type") {
            let page = behaviour.list.clone().unwrap_or_else(|| self.list(asked, &behaviour));
            return respond(stream, "200 OK", "", page.as_bytes());
        }
        let found = self.objects.lock().unwrap().get(key).cloned();
        let Some(object) = found else {
            return respond(stream, "404 Not Found", "", error.as_bytes());
        };
        let if_match = asked.if_match.as_ref().filter(|_| !behaviour.ignores_if_match);
        if if_match.is_some_and(|tag| *tag != object.etag()) {
            return respond(stream, "412 Precondition Failed", "", error.as_bytes());
        }
        self.read(asked, &object, &behaviour, stream)
    }

    fn read(
        &self,
        asked: &Asked,
        object: &Object,
        behaviour: &Behaviour,
        stream: &mut TcpStream,
    ) -> Option<()> {
        let modified = "Fri, 02 Jan 2026 03:04:05 GMT";
        let mut headers = format!("ETag: {}\r\nLast-Modified: {modified}\r\n", object.etag());
        if asked.method == "HEAD" {
            // Of a part of an object no checksum is told.
            headers += if asked.checksum { &object.checksum } else { "" };
            let status = behaviour.refuses_head.unwrap_or("200 OK");
            return stream.write_all(head(status, &headers, object.bytes.len()).as_bytes()).ok();
        }
        let Some([from, to]) = asked.range.filter(|_| !behaviour.ignores_range) else {
            return respond(stream, "200 OK", &headers, &object.bytes);
        };
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, object.bytes.len());
        let mut body = object.bytes.get(from..to)?.to_vec();
        body.extend(vec![7; behaviour.too_long]);
        body.truncate(body.len() - behaviour.too_short.min(body.len()));
        let cut = {
            let mut now = self.behaviour.lock().unwrap();
            now.reads += 1;
            if now.changes_after == Some(now.reads) {
                let mut objects = self.objects.lock().unwrap();
                if let Some(first) = objects.values_mut().find(|o| o.bytes.len() > 1000) {
                    first.bytes[500] ^= 1;
                }
            }
            let cut = now.cuts > 0;
            now.cuts = now.cuts.saturating_sub(1);
            cut
        };
        let headers = format!("{headers}{range}");
        if !cut {
            return respond(stream, "206 Partial Content", &headers, &body);
        }
        let head = head("206 Partial Content", &headers, body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body[..body.len() / 2]).ok()?;
        let _ = stream.shutdown(std::net::Shutdown::Both);
        None
    }

    fn list(&self, asked: &Asked, behaviour: &Behaviour) -> String {
        let get = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
        let (prefix, after, delimiter) =
            (get("prefix"), get("continuation-token"), get("delimiter"));
        let objects = self.objects.lock().unwrap();
        let (mut items, mut last, mut count) = (String::new(), String::new(), 0);
        let mut truncated = false;
        for (key, object) in objects.range(prefix.clone().max(after.clone())..) {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            let common = match rest.find('/') {
                Some(end) if !delimiter.is_empty() => Some(format!("{prefix}{}", &rest[..=end])),
                _ => None,
            };
            let shown = common.clone().unwrap_or_else(|| key.clone());
            if shown <= after || shown == last {
                continue;
            }
            if count == behaviour.page.unwrap_or(1000) {
                truncated = true;
                break;
            }
            count += 1;
            let text = quick_xml::escape::escape(&shown).into_owned();
            let tag = match behaviour.no_tags_in_lists {
                true => String::new(),
                false => format!("<ETag>{}</ETag>", object.etag().replace('"', "&quot;")),
            };
            items += &match common {
                Some(_) => format!("<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>"),
                None => format!(
                    "<Contents><Key>{text}</Key><LastModified>{}</LastModified>{tag}<Size>{}</Size></Contents>",
                    object.modified,
                    object.bytes.len()
                ),
            };
            last = shown;
        }
        let next = match truncated {
            true => format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                quick_xml::escape::escape(&last)
            ),
            false => String::new(),
        };
        format!(
            "<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}{items}</ListBucketResult>"
        )
    }
}

fn head(status: &str, headers: &str, len: usize) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n")
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    // In one piece: two would wait for each other.
    let answer = [head(status, headers, body.len()).as_bytes(), body].concat();
    stream.write_all(&answer).ok()
}
