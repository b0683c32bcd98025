//! Sends messages. A message that cannot be sent is an error, so that silence never looks like success.

use super::target::{Target, Transport};
use super::{Origin, Overview, messages};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// Timeout for a connection, and for sending a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time for a receiver to reset the connection after the last message.
const FAREWELL: Duration = Duration::from_secs(1);

/// The messages could not be sent completely.
#[derive(Debug, thiserror::Error)]
#[error("cannot send to {target}: {cause} (after {sent} messages)")]
pub struct SyslogError {
    /// The receiver.
    pub target: String,
    /// Number of messages that were sent before the error.
    pub sent: u64,
    /// The cause. It is part of the message and therefore not the `source` of the error.
    pub cause: io::Error,
}

/// Sends the messages of a scan and returns their number.
///
/// # Errors
/// Returns an error if the receiver cannot be reached or refuses the messages, or if the models cannot be read.
pub fn send(overview: &Overview<'_>, target: &Target) -> Result<u64, SyslogError> {
    let mut sent = 0;
    match hand_over(overview, target, &mut sent) {
        Ok(()) => Ok(sent),
        Err(cause) => Err(SyslogError { target: target.transport.to_string(), sent, cause }),
    }
}

fn hand_over(overview: &Overview<'_>, target: &Target, sent: &mut u64) -> io::Result<()> {
    let mut link = Link::open(&target.transport)?;
    messages(overview, &Origin::here(target.facility), &mut |message| {
        link.send(message)?;
        *sent += 1;
        Ok(())
    })?;
    link.close()
}

/// A connection to a receiver.
enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
    #[cfg(unix)]
    Datagrams(std::os::unix::net::UnixDatagram),
    #[cfg(unix)]
    Lines(std::os::unix::net::UnixStream),
}

impl Link {
    fn open(transport: &Transport) -> io::Result<Link> {
        match transport {
            Transport::Udp(host, port) => udp(host, *port),
            Transport::Tcp(host, port) => tcp(host, *port),
            #[cfg(unix)]
            Transport::Unix(path) => local(path),
            #[cfg(not(unix))]
            Transport::Unix(_) => {
                Err(io::Error::new(ErrorKind::Unsupported, "this system has no Unix sockets"))
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            // An error also reports that an earlier datagram was refused.
            Link::Udp(socket) => whole(socket.send(message)?, message),
            Link::Tcp(stream) => {
                let mut frame = format!("{} ", message.len()).into_bytes();
                frame.extend_from_slice(message);
                stream.write_all(&frame)
            }
            #[cfg(unix)]
            Link::Datagrams(socket) => whole(socket.send(message)?, message),
            #[cfg(unix)]
            Link::Lines(stream) => {
                // A message has no line feed of its own.
                let mut frame = message.to_vec();
                frame.push(b'\n');
                stream.write_all(&frame)
            }
        }
    }

    /// Ends it in order, and hears what the receiver has to say to that.
    fn close(self) -> io::Result<()> {
        match self {
            Link::Tcp(mut stream) => {
                stream.shutdown(Shutdown::Write)?;
                stream.set_read_timeout(Some(FAREWELL))?;
                heard(&mut stream)
            }
            Link::Udp(socket) => {
                socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                match socket.recv(&mut [0; 1]) {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error),
                    _ => Ok(()),
                }
            }
            #[cfg(unix)]
            Link::Datagrams(_) => Ok(()),
            #[cfg(unix)]
            Link::Lines(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// Reads from a receiver. Syslog has no replies, but a read reports a broken connection.
fn heard(stream: &mut impl Read) -> io::Result<()> {
    match stream.read(&mut [0; 64]) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error),
    }
}

fn whole(sent: usize, message: &[u8]) -> io::Result<()> {
    match sent == message.len() {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::WriteZero,
            "the receiver accepted only part of a message",
        )),
    }
}

fn udp(host: &str, port: u16) -> io::Result<Link> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => return Ok(Link::Udp(socket)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

fn tcp(host: &str, port: u16) -> io::Result<Link> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(Link::Tcp(stream));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

fn no_address() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the host name has no address")
}

/// Connects to a local socket. Most systems use datagrams, some a stream.
#[cfg(unix)]
fn local(path: &std::path::Path) -> io::Result<Link> {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Link::Datagrams(socket))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Link::Lines(stream))
        }
        Err(error) => Err(error),
    }
}
