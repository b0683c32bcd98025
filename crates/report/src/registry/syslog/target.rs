//! The receiver of messages: `udp://host:514`, `tcp://host:601` or `unix:///dev/log`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::{Host, Url};

/// A receiver of syslog messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The transport and the address.
    pub transport: Transport,
    /// The facility of the messages, set by `?facility=local3`.
    pub facility: Facility,
}

/// The transport of messages, with the address of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// RFC 5426: one datagram per message, without acknowledgement.
    Udp(String, u16),
    /// RFC 6587, section 3.4.1: each message is preceded by its length.
    Tcp(String, u16),
    /// A local socket, for datagrams or a stream of lines.
    Unix(PathBuf),
}

/// A syslog facility (RFC 5424, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

/// The names of the facilities by number, as configuration files write them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

impl Facility {
    /// Returns the number of the facility.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for Facility {
    /// Returns `local0`.
    fn default() -> Self {
        Facility(16)
    }
}

impl FromStr for Facility {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let number = FACILITIES.iter().position(|known| *known == name);
        let number = number.ok_or_else(|| {
            format!("unknown facility {name:?}: use one of {}", FACILITIES.join(", "))
        })?;
        Ok(Facility(number as u8))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected udp://HOST:514, tcp://HOST:601 or unix:///dev/log";
        let url = Url::parse(text).map_err(|error| format!("{error}: {EXPECTED}"))?;
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(EXPECTED.to_owned());
        }
        let transport = match url.scheme() {
            "udp" => host(&url, 514).map(|(host, port)| Transport::Udp(host, port)),
            "tcp" => host(&url, 601).map(|(host, port)| Transport::Tcp(host, port)),
            "unix" if url.host().is_none() && url.path().len() > 1 => Some(socket(&url)?),
            "tls" => {
                return Err(
                    "TLS is not supported: send to a relay on this machine instead".to_owned()
                );
            }
            _ => None,
        };
        let transport = transport.ok_or(EXPECTED)?;
        let mut facility = Facility::default();
        for (key, value) in url.query_pairs() {
            match &*key {
                "facility" => facility = value.parse()?,
                _ => return Err(format!("unknown parameter {key:?}: only facility is supported")),
            }
        }
        Ok(Target { transport, facility })
    }
}

/// Returns the host and the port of a URL without a path.
fn host(url: &Url, port: u16) -> Option<(String, u16)> {
    // The crate does not parse IPv4 addresses in URLs of unknown schemes.
    let host = match url.host()? {
        Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    let path_is_empty = matches!(url.path(), "" | "/");
    path_is_empty.then(|| (host, url.port().unwrap_or(port)))
}

fn socket(url: &Url) -> Result<Transport, String> {
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8();
    let path = path.map_err(|_| "the path is not UTF-8".to_owned())?;
    Ok(Transport::Unix(PathBuf::from(path.into_owned())))
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |host: &str| match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        match self {
            Self::Udp(host, port) => write!(f, "udp://{}:{port}", shown(host)),
            Self::Tcp(host, port) => write!(f, "tcp://{}:{port}", shown(host)),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_have_their_usual_ports() {
        let read = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(read("udp://log").transport, Transport::Udp("log".to_owned(), 514));
        assert_eq!(read("tcp://127.0.0.1:5514/").transport.to_string(), "tcp://127.0.0.1:5514");
        assert_eq!(read("tcp://[::1]").transport, Transport::Tcp("::1".to_owned(), 601));
        assert_eq!(read("tcp://[::1]").transport.to_string(), "tcp://[::1]:601");
        let local = read("unix:///dev/a%20log?facility=authpriv");
        assert_eq!(local.transport, Transport::Unix(PathBuf::from("/dev/a log")));
        assert_eq!((local.facility.number(), read("udp://log").facility.number()), (10, 16));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in [
            "",
            "log",
            "udp://",
            "http://log",
            "udp://log/path",
            "udp://user@log",
            "udp://log#x",
            "unix://host/dev/log",
            "unix:///",
            "udp://log:70000",
            "tls://log",
            "udp://log?level=3",
            "udp://log?facility=local8",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
