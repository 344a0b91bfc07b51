//! Who may ask: pages that this server itself has sent, on this machine.
//!
//! Every page in a browser can send requests to loopback. A foreign name that resolves to it (DNS
//! rebinding) shows in `Host`, a foreign page in `Origin` or `Sec-Fetch-Site`. What changes something needs the right
//! `Origin`, which browsers send with every POST.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Refuses what comes from elsewhere, and adds to every answer what it may do.
pub(super) async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    let mut answer = match refused(port, &request) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        // Not only once so much has come.
        None if promises_too_much(&request) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    answer
}

/// Why a request is refused, if it is.
fn refused(port: u16, request: &Request) -> Option<&'static str> {
    let (method, headers) = (request.method(), request.headers());
    // A target may name a host before its path, and that is then the one that is meant (RFC 9112, 3.2.2).
    let named = request.uri().authority();
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().and_then(|value| value.to_str().ok());
        first.filter(|_| values.next().is_none())
    };
    let ours = |host: &str| is_ours(host, port);
    if !one(header::HOST).is_some_and(ours) || !named.is_none_or(|host| ours(host.as_str())) {
        return Some("This server answers only to 127.0.0.1, localhost and [::1].\n");
    }
    if is_part_of_another_page(headers) {
        return Some("This server is no part of other pages.\n");
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = one(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if !origin.is_some_and(ours) {
            return Some("This server answers only its own pages.\n");
        }
    } else if !matches!(*method, Method::GET | Method::HEAD) {
        return Some("What changes something needs the Origin of one of this server's pages.\n");
    }
    None
}

/// True for a body that says itself that it is larger than any form.
fn promises_too_much(request: &Request) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > super::LARGEST as u64)
}

/// True for what a foreign page loads as a picture or a script: that has no `Origin`, but would take a seat. Browsers
/// say so; other clients say nothing.
fn is_part_of_another_page(headers: &HeaderMap) -> bool {
    let says = |name, what| headers.get_all(name).iter().any(|value| value == what);
    let foreign = ["cross-site", "same-site"].iter().any(|site| says("sec-fetch-site", *site));
    foreign && !says("sec-fetch-mode", "navigate")
}

/// True for a loopback name with the port of this door.
fn is_ours(host: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        let (Some(start), Some(rest)) = (host.get(..name.len()), host.get(name.len()..)) else {
            return false;
        };
        let port_is_ours = match rest.strip_prefix(':') {
            Some(digits) => digits == port.to_string(),
            None => rest.is_empty() && port == 80,
        };
        start.eq_ignore_ascii_case(name) && port_is_ours
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_with_the_right_port() {
        for host in ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000"] {
            assert!(is_ours(host, 8000), "{host}");
            assert!(!is_ours(host, 8001), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:",
            "localhost:08000",
            "localhost:8000.evil.example",
            "localhost.evil.example:8000",
            "evil.example:8000",
            "127.0.0.1.nip.io:8000",
            "evil.example@127.0.0.1:8000",
            "127.0.0.1:8000/",
        ] {
            assert!(!is_ours(host, 8000), "{host}");
        }
        assert!(is_ours("localhost", 80) && !is_ours("localhost", 8000));
    }
}
