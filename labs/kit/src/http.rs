//! The HTTP client of all labs, and the rules for where it goes.
//!
//! A client that a library makes by default listens to its surroundings: to proxies of the environment, to
//! redirects, to whatever a resolver says, and it reads as much as it is sent. A load must not: it would
//! measure something else, or leave this machine. So labs make their clients here and nowhere else
//! (`clippy.toml` forbids it).

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, ClientBuilder, IntoUrl, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

use crate::{
    address::{self, ServerUrl},
    args::on_this_machine,
};

/// Most bytes of an answer that are read. What the mock server answers is a few kilobytes.
pub const LARGEST: usize = 16 << 20;

/// Longest time that any request may take: far longer than a lab waits on purpose. It ends what a server that
/// never answers would make endless.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same where the server is somebody else's, which may stop answering at any time.
const PATIENCE_ELSEWHERE: Duration = Duration::from_secs(10);

/// Set when the load goes to a server of somebody else's.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Set when the user has allowed addresses beyond this machine.
static ANYWHERE: AtomicBool = AtomicBool::new(false);

/// Allows addresses that are not on this machine, for the rest of this process: the user has said so.
pub fn allow_remote() {
    ANYWHERE.store(true, Relaxed);
}

/// Waits for no answer longer than ten seconds, for the rest of this process: the server is somebody else's.
pub fn wait_less() {
    ELSEWHERE.store(true, Relaxed);
}

/// A client that keeps to itself: no proxy, no redirect, no repeated request, names of this machine only.
pub fn builder() -> ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .timeout(if ELSEWHERE.load(Relaxed) { PATIENCE_ELSEWHERE } else { PATIENCE })
        .dns_resolver(Names)
}

/// A client of [`builder`] with nothing added.
pub fn client() -> Client {
    let client = builder().build();
    client.expect("without TLS there is nothing in it that could fail")
}

/// Names of this machine without asking anybody; others when they are allowed.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_string();
        Box::pin(async move {
            let addresses: Addrs = if is_local_name(&host) {
                // A request's own port takes the place of the 0.
                let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                Box::new(both.map(|ip| SocketAddr::new(ip, 0)).into_iter())
            } else if ANYWHERE.load(Relaxed) {
                let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
                Box::new(found.into_iter())
            } else {
                return Err(format!("{host} is not this machine").into());
            };
            Ok(addresses)
        })
    }
}

fn is_local_name(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

/// An address that a flag names, on which load may be put: HTTP, with a host, on this machine unless others are
/// allowed.
///
/// # Errors
/// The sentence for the user; `flag` is where the address was written.
pub fn site(flag: &str, given: &ServerUrl) -> Result<Url, String> {
    let text = address::shown(given.reveal());
    let url = Url::parse(given.reveal())
        .map_err(|e| format!("{flag} {text}: {e}; write it as http://127.0.0.1:8080"))?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(format!(
            "{flag} {text}: only http:// is supported, because load stays on this machine"
        ));
    }
    if ANYWHERE.load(Relaxed) || on_this_machine(url.host_str().unwrap_or_default()) {
        return Ok(url);
    }
    Err(format!(
        "{flag} {text}: load goes to this machine only, because a load test of a machine that is not yours is an attack. If you may, add --allow-remote-target"
    ))
}

/// Why there is no good answer.
#[derive(Debug)]
pub enum Error {
    /// No answer: no connection, a broken one, or none in time.
    Http(reqwest::Error),
    /// An answer that is no success. A redirect is one of these: an answer, not a journey.
    Status(StatusCode),
    /// More than [`LARGEST`] bytes.
    TooLarge,
    /// A body that is not the mock server's.
    Body,
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Error {
        Error::Http(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Http(error) => error.fmt(f),
            Error::Status(status) if status.is_redirection() => {
                write!(f, "the server answers with a redirect ({status})")
            }
            Error::Status(status) => write!(f, "the server answers {status}"),
            Error::Body => write!(f, "the answer is not that of mock_server"),
            Error::TooLarge => write!(f, "the answer is larger than {} MB", LARGEST >> 20),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Http(error) => error.source(),
            _ => None,
        }
    }
}

/// Fetches what is there.
///
/// # Errors
/// When there is no answer, it is no success, or too large.
pub async fn get(client: &Client, url: impl IntoUrl) -> Result<Bytes, Error> {
    success(client.get(url).send().await?).await
}

/// The body of a successful answer of the mock server, which is the same for every path.
///
/// # Errors
/// As [`success`], or when it is another body.
pub async fn expected(answer: Response) -> Result<Bytes, Error> {
    let body = success(answer).await?;
    if body == mock_server::BODY { Ok(body) } else { Err(Error::Body) }
}

/// The body of a successful answer.
///
/// # Errors
/// When it is no success, breaks off, or is too large.
pub async fn success(answer: Response) -> Result<Bytes, Error> {
    if !answer.status().is_success() {
        return Err(Error::Status(answer.status()));
    }
    body(answer).await
}

/// The body of an answer, whatever its status.
///
/// # Errors
/// When it breaks off or is too large: then the rest is not read.
pub async fn body(mut answer: Response) -> Result<Bytes, Error> {
    if answer.content_length().is_some_and(|n| n > LARGEST as u64) {
        return Err(Error::TooLarge);
    }
    let Some(first) = answer.chunk().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = answer.chunk().await? else {
        // Most come in one piece, which need not be copied.
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if whole.len() + piece.len() > LARGEST {
            return Err(Error::TooLarge);
        }
        whole.extend_from_slice(&piece);
        next = answer.chunk().await?;
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers everybody with these bytes, repeated for as long as they are read.
    fn server(head: &'static str, piece: &'static [u8], times: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..times {
                    if stream.write_all(piece).is_err() {
                        break;
                    }
                }
            }
        });
        url
    }

    /// Addresses changed at random: what passes is on this machine, by another rule than the one that let it pass.
    #[test]
    fn an_address_of_any_bytes_leads_to_this_machine_or_nowhere() {
        let samples = [
            "http://127.0.0.1:8080",
            "http://localhost:8080/path?query#fragment",
            "http://[::1]:9000/",
            "http://anna:hunter2@127.0.0.1:80",
            "http://[::ffff:127.0.0.1]:1",
            "https://example.com",
            "http://10.0.0.1@127.0.0.1",
            "redis://:hunter2@h:6379/0",
        ];
        let words = [
            "@",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "localhost.",
            "%31",
            "\\",
            "//",
            "\t",
            "。",
            "１２７",
            "::",
            "[",
            "]",
            ":",
            "#",
            "?",
            ".nip.io",
            "0.0.0.0",
            "http:",
            "\0",
            "\n",
            "LOCALHOST",
        ];
        let mut passed = 0;
        lab_testing::fuzz(&samples, &words, |bytes, _| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(url) = site("--target", &ServerUrl::from(&*text)) else {
                return;
            };
            passed += 1;
            let host = url.host_str().unwrap_or_default();
            let here = match host.trim_matches(['[', ']']).parse() {
                Ok(std::net::IpAddr::V4(ip)) => ip.octets()[0] == 127,
                Ok(std::net::IpAddr::V6(ip)) => {
                    ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
                }
                Err(_) => ["localhost", "localhost."].contains(&host),
            };
            assert!(here && url.scheme() == "http", "{text:?} passed as {url}");
            // What is asked is what was looked at.
            let again = Url::parse(url.as_str()).unwrap();
            assert_eq!(again.host_str(), url.host_str(), "{text:?}");
        });
        assert!(passed > 0, "nothing passed");
    }

    #[tokio::test]
    async fn bodies_are_bounded_whether_their_length_is_told_or_not() {
        static PIECE: [u8; 65536] = [b'x'; 65536];
        let endless = server("HTTP/1.1 200 OK\r\n\r\n", &PIECE, usize::MAX);
        let promised = server("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", &PIECE, 1);
        for url in [endless, promised] {
            let answer = get(&client(), &url).await;
            assert!(matches!(answer, Err(Error::TooLarge)), "{answer:?}");
        }
        let large = server("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &PIECE, 100);
        assert_eq!(get(&client(), &large).await.unwrap().len(), 6_553_600);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_a_journey() {
        let elsewhere = server("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", b"x", 1);
        let head =
            format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
        let from = server(head.leak(), b"", 0);
        let answer = get(&client(), &from).await;
        assert!(matches!(answer, Err(Error::Status(StatusCode::FOUND))), "{answer:?}");
    }

    #[tokio::test]
    async fn only_names_of_this_machine_are_looked_up() {
        let url = server("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", b"x", 1);
        let port = url.rsplit(':').next().unwrap();
        for host in ["localhost", "LOCALHOST", "localhost."] {
            let answer = get(&client(), format!("http://{host}:{port}")).await;
            assert_eq!(answer.unwrap(), "x", "{host}");
        }
        let error = get(&client(), format!("http://localhost.example:{port}")).await;
        assert!(format!("{:?}", error.unwrap_err()).contains("not this machine"));
    }

    #[test]
    fn addresses_lead_to_this_machine() {
        let ask = |text: &str| site("--target", &text.into());
        for good in
            ["http://127.0.0.1:1", "http://localhost", "http://[::1]:80/a", "http://127.9.9.9"]
        {
            assert!(ask(good).is_ok(), "{good}");
        }
        for bad in [
            "http://192.0.2.1",
            "https://127.0.0.1",
            "ftp://127.0.0.1",
            "127.0.0.1:80",
            "http://",
            "http:",
            "http://127.0.0.1@192.0.2.1",
            "http://localhost.example",
            "http://[2001:db8::1]",
            "file:///etc",
            "",
            "http://0.0.0.0",
            "http://3232235777",
            "http://①②⑦.0.0.2.example",
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
        assert!(ask("http://192.0.2.1").unwrap_err().contains("--allow-remote-target"));
    }
}
