//! Where requests go, and what a right answer is.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hyper::Uri;

/// What makes an answer with a 2xx status a success.
#[derive(Clone, Debug)]
pub enum Expect {
    /// Nothing more: the body is read and not looked at.
    Status,
    /// A body of so many bytes.
    Length(u64),
    /// This body.
    Body(Bytes),
}

/// A server and what is asked of it: GET, over plain HTTP/1.1.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) address: SocketAddr,
    /// The whole request, as it is sent.
    pub(crate) request: Bytes,
    pub(crate) expect: Expect,
}

impl Target {
    /// A target on this machine, such as `http://127.0.0.1:8080/page`.
    ///
    /// # Errors
    /// When it is no such URL, or not on the loopback interface: load belongs on one's own machine.
    pub fn new(url: &str, expect: Expect) -> Result<Target> {
        let uri: Uri = url.parse().with_context(|| format!("\"{url}\" is not a URL"))?;
        ensure!(uri.scheme_str() == Some("http"), "\"{url}\" must start with http://");
        let authority = uri.authority().context("a URL needs a host")?.as_str();
        let Ok(address) = authority.parse::<SocketAddr>() else {
            bail!("\"{url}\" needs an address and a port, such as http://127.0.0.1:8080/");
        };
        ensure!(
            address.ip().is_loopback(),
            "{address} is not on this machine: load goes to loopback only"
        );
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        Ok(Target {
            address,
            request: format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n").into(),
            expect,
        })
    }
}

/// Looks at a body as it comes.
pub(crate) struct Reading<'a> {
    expect: &'a Expect,
    length: u64,
    differs: bool,
}

impl Expect {
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading { expect: self, length: 0, differs: false }
    }
}

impl Reading<'_> {
    pub(crate) fn take(&mut self, part: &[u8]) {
        if let Expect::Body(body) = self.expect {
            let rest = body.get(self.length as usize..).unwrap_or_default();
            self.differs |= !rest.starts_with(part);
        }
        self.length += part.len() as u64;
    }

    /// True when the body, now complete, is the one expected.
    pub(crate) fn is_right(&self) -> bool {
        match self.expect {
            Expect::Status => true,
            Expect::Length(length) => self.length == *length,
            Expect::Body(body) => !self.differs && self.length == body.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine() {
        let target = Target::new("http://127.0.0.1:80/a?b=c", Expect::Status).unwrap();
        assert_eq!(&target.request[..], b"GET /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n");
        let bare = Target::new("http://[::1]:80", Expect::Status).unwrap();
        assert!(bare.request.starts_with(b"GET / HTTP/1.1\r\n"));
        for (url, why) in [
            ("http://192.0.2.1:80/", "loopback"),
            ("https://127.0.0.1:80/", "http://"),
            ("http://localhost/", "address and a port"),
            ("127.0.0.1:80", "http://"),
            ("no url", "not a URL"),
        ] {
            let error = Target::new(url, Expect::Status).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_body_is_compared_part_by_part() {
        let body = Expect::Body(Bytes::from_static(b"abcd"));
        let read = |expect: &Expect, parts: &[&str]| {
            let mut reading = expect.reading();
            parts.iter().for_each(|p| reading.take(p.as_bytes()));
            reading.is_right()
        };
        assert!(read(&body, &["abcd"]) && read(&body, &["a", "", "bcd"]));
        for wrong in [&["abc"][..], &["abcde"], &["ab", "cx"], &["abcd", "e"], &[], &["bcda"]] {
            assert!(!read(&body, wrong), "{wrong:?}");
        }
        assert!(read(&Expect::Length(3), &["x", "yz"]) && !read(&Expect::Length(3), &["x"]));
        assert!(read(&Expect::Status, &["whatever"]));
    }
}
