//! What is sent, and that it arrives: over sockets of this machine.

use super::*;
use crate::registry::sample_registry;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;
use tensorseal_core::record::ModelState;

fn lines(models: &Vec<ModelRecord>) -> Vec<String> {
    let summary = sample_registry::summary(models);
    let origin = Origin { host: "h".to_owned(), process: 1, facility: Default::default() };
    let mut lines = Vec::new();
    messages(&sample_registry::overview(&summary, models), &origin, &mut |message| {
        lines.push(String::from_utf8(message.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    lines
}

/// Priority and kind of each.
fn kinds(lines: &[String]) -> Vec<(u8, &str)> {
    let kind = |line: &String| {
        let line = line.strip_prefix('<').unwrap();
        let priority = line.split('>').next().unwrap().parse().unwrap();
        (priority, line.split(' ').nth(5).unwrap().to_owned())
    };
    let known = ["FINDING", "MODEL", "ERROR", "SCAN"];
    let of = |line| {
        let (priority, name): (u8, String) = kind(line);
        (priority, *known.iter().find(|known| **known == name).unwrap())
    };
    lines.iter().map(of).collect()
}

#[test]
fn what_must_be_looked_at_is_sent_and_the_sum_comes_last() {
    let lines = lines(&sample_registry::models("c"));
    assert_eq!(
        kinds(&lines),
        [
            (130, "FINDING"),
            (130, "FINDING"),
            (132, "MODEL"),
            (132, "MODEL"),
            (131, "ERROR"),
            (132, "SCAN"),
        ]
    );
    assert!(lines[0].contains(" rule=\"integrity/tensor-changed\" severity=\"critical\" uid=\""));
    assert!(
        lines[0].contains(" model=\"b\" state=\"bit-rot\" file=\"model.safetensors\" tensor=\"")
    );
    assert!(lines[2].ends_with("\u{feff}e: missing: its detail is missing"), "{}", lines[2]);
    assert!(lines[4].ends_with("\u{feff}s3://bucket/models/f: timed out"));
    assert!(lines[5].contains("run=\"7\" outcome=\"fail\"] \u{feff}registry  6 models: "));
}

#[test]
fn a_flood_is_counted() {
    let mut model = sample_registry::model("/models", "a", ModelState::Modified);
    model.findings =
        vec![sample_registry::finding(Severity::High, "integrity/tensor-changed"); 1000];
    let lines = lines(&vec![model]);
    assert_eq!(lines.len(), SENT + 1 + 2);
    assert!(lines[SENT].ends_with("… and 980 more findings of this model"));
}

fn sent(target: &str, name: &str) -> Result<u64, SyslogError> {
    let models = sample_registry::models(name);
    let summary = sample_registry::summary(&models);
    send(&sample_registry::overview(&summary, &models), &target.parse().unwrap())
}

#[test]
fn datagrams_arrive() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let target = format!("udp://{}", socket.local_addr().unwrap());
    assert_eq!(sent(&target, "c").unwrap(), 6);
    let mut buffer = [0; 4096];
    for _ in 0..6 {
        let length = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"<13"));
    }
}

#[test]
fn a_stream_has_the_length_before_each_message() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(sent(&target, "größe \n]\"").unwrap(), 6);
    let all = receiver.join().unwrap();
    let (mut rest, mut frames) = (&all[..], 0);
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
        let message = &rest[space + 1..space + 1 + length];
        assert!(message.starts_with(b"<13") && std::str::from_utf8(message).is_ok());
        rest = &rest[space + 1 + length..];
        frames += 1;
    }
    assert_eq!(frames, 6);
}

#[test]
#[cfg(unix)]
fn local_sockets_take_datagrams_or_lines() {
    use std::os::unix::net::{UnixDatagram, UnixListener};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(sent(&format!("unix://{}", path.display()), "c").unwrap(), 6);
    let mut buffer = [0; 4096];
    assert!(socket.recv(&mut buffer).unwrap() > 100);

    let path = directory.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let receiver = std::thread::spawn(move || {
        let mut all = String::new();
        listener.accept().unwrap().0.read_to_string(&mut all).unwrap();
        all
    });
    assert_eq!(sent(&format!("unix://{}", path.display()), "a\nb").unwrap(), 6);
    assert_eq!(receiver.join().unwrap().lines().count(), 6);
}

#[test]
fn nobody_there_is_an_error_that_names_the_receiver() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = sent(&format!("tcp://127.0.0.1:{port}"), "c").unwrap_err();
    assert_eq!((error.sent, error.cause.kind()), (0, io::ErrorKind::ConnectionRefused));
    assert!(
        error.to_string().starts_with(&format!("cannot send to tcp://127.0.0.1:{port}: ")),
        "{error}"
    );
    assert!(sent("unix:///nonexistent/log", "c").is_err());
    // Of a datagram it is told where the system tells it: it does on this machine.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(sent(&format!("udp://127.0.0.1:{port}"), "c").is_err());
}

#[test]
fn a_receiver_that_hangs_up_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        // Closed with unread data: the connection is reset.
    });
    let outcome = sent(&target, "c");
    receiver.join().unwrap();
    assert!(outcome.is_err());
}
