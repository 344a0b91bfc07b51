//! The server's answers, without a socket but for the last test.

mod hostile;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const PORT: u16 = 7000;
const HOST: &str = "localhost:7000";
const OWN: &str = "http://localhost:7000";

struct Site {
    app: Arc<App>,
    router: Router,
}

impl Site {
    fn new() -> Site {
        let app = App::new(Stop::default());
        app.doors.add(PORT, tokio::spawn(async {}));
        let door = Door { app: app.clone(), port: PORT };
        Site { app, router: router(door) }
    }

    /// Everything that a request can change, as text.
    fn state(&self) -> String {
        let news = self.app.hall.news();
        let news = news.borrow();
        format!("{:?} {:?} {:?}", news.running, news.settings, news.ended)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[("host", HOST)], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Response {
        let headers = [("host", HOST), ("origin", OWN), ("hx-request", "true")];
        self.ask("POST", path, &headers, body).await
    }
}

async fn bytes(answer: Response) -> Vec<u8> {
    let body = answer.into_body().collect().await.unwrap();
    body.to_bytes().to_vec()
}

async fn text(answer: Response) -> String {
    String::from_utf8(bytes(answer).await).expect("text")
}

#[tokio::test]
async fn pages_and_their_files_are_there_with_the_policy() {
    let site = Site::new();
    for path in [
        "/",
        "/trap",
        "/heartbeat",
        "/pipeline?calm=1",
        "/assets/live.css",
        "/assets/htmx.min.js",
        "/assets/htmx-ext-sse.min.js",
        "/assets/inter-400.woff2",
        "/assets/icon.svg",
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';"));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert!(!bytes(answer).await.is_empty(), "{path}");
    }
    for path in [
        "/nothing",
        "/trap/nothing",
        "/nothing/events",
        "/assets/nothing.js",
        "/assets/..%2fCargo.toml",
        "/a/b/c",
    ] {
        assert_eq!(site.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(site.post("/nothing/start", "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn foreign_hosts_are_refused() {
    let site = Site::new();
    for headers in [
        &[][..],
        &[("host", "evil.example:7000")],
        &[("host", "localhost:7001")],
        &[("host", HOST), ("host", "evil.example")],
    ] {
        for path in ["/", "/trap", "/assets/live.css", "/trap/events"] {
            let answer = site.ask("GET", path, headers, "").await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{headers:?} {path}");
            assert!(answer.headers().contains_key("content-security-policy"));
        }
    }
    let numeric = site.ask("GET", "/", &[("host", "127.0.0.1:7000")], "").await;
    assert_eq!(numeric.status(), StatusCode::OK);
}

#[tokio::test]
async fn foreign_origins_are_refused_and_change_nothing() {
    let site = Site::new();
    let before = site.state();
    for origin in [
        None,
        Some("null"),
        Some(""),
        Some("http://evil.example"),
        Some("https://localhost:7000"),
        Some("http://localhost:7001"),
        Some("http://localhost:7000.evil.example"),
        Some("http://evil.example#localhost:7000"),
    ] {
        let mut headers = vec![("host", HOST)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        for (path, body) in
            [("/trap/start", ""), ("/trap/stop", ""), ("/trap/set", "clients=99&page=1")]
        {
            let answer = site.ask("POST", path, &headers, body).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin:?} {path}");
        }
        if origin.is_some() {
            let events = site.ask("GET", "/trap/events", &headers, "").await;
            assert_eq!(events.status(), StatusCode::FORBIDDEN, "{origin:?}");
        }
    }
    assert_eq!(site.state(), before);
}

#[tokio::test]
async fn nothing_but_post_changes_anything() {
    let site = Site::new();
    let before = site.state();
    let headers = [("host", HOST), ("origin", OWN)];
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in [
            "/trap/start",
            "/trap/stop",
            "/trap/set?clients=99",
            "/trap?clients=99&start=1",
            "/?start=trap",
        ] {
            let answer = site.ask(method, path, &headers, "clients=99").await;
            let is_page = !path[1..].contains('/') && matches!(method, "GET" | "HEAD");
            assert_eq!(answer.status() == StatusCode::OK, is_page, "{method} {path}");
        }
    }
    assert_eq!(site.state(), before);
    assert_eq!(site.get("/trap/start").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn values_are_checked_here() {
    let site = Site::new();
    let before = site.state();
    for (body, status) in [
        ("clients=0&page=1", 422),
        ("clients=251", 422),
        ("clients=zebra", 422),
        ("clients=", 422),
        ("busy=100", 422),
        ("nothing=1", 422),
        ("", 400),
        ("page=1", 400),
        ("clients=1&page=x", 400),
        ("clients=1&slots=2", 400),
        ("clients=1&clients=2", 400),
    ] {
        let answer = site.post("/trap/set", body).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        assert!(!text(answer).await.contains("zebra"), "{body}");
    }
    let long = format!("clients=1&page={}", "1".repeat(2000));
    let answer = site.post("/trap/set", &long).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.state(), before);

    let answer = site.post("/trap/set", "service=120&page=1").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(text(answer).await, "120 ms");
    assert_ne!(site.state(), before);
    assert!(text(site.get("/trap").await).await.contains("value=\"120\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_starts_stops_and_is_shared() {
    let site = Site::new();
    assert_eq!(site.post("/pipeline/start", "").await.status(), StatusCode::NO_CONTENT);
    for _ in 0..2 {
        let page = text(site.get("/pipeline").await).await;
        assert!(page.contains(">Running.<"));
    }
    assert!(text(site.get("/trap").await).await.contains("The pipeline is running"));
    // Without htmx a form leads back to its page.
    let plain = [("host", HOST), ("origin", OWN)];
    let answer = site.ask("POST", "/pipeline/stop", &plain, "").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/pipeline");
    assert!(text(site.get("/pipeline").await).await.contains(">Stopped.<"));
    site.app.hall.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_bring_pictures_and_say_goodbye() {
    let site = Site::new();
    let held = Arc::strong_count(&site.app);
    let answer = site.get("/pipeline/events?page=1").await;
    assert!(Arc::strong_count(&site.app) > held);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    site.post("/pipeline/start", "").await;
    let mut body = answer.into_body();
    let mut heard = String::new();
    while heard.matches("event: frame").count() < 3 {
        let frame = body.frame().await.unwrap().unwrap();
        heard.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(heard.contains("event: status") && heard.contains("event: controls"));
    assert!(heard.contains("data: Running."));
    let hall = site.app.hall.clone();
    blocking(move || hall.close()).await;
    let rest = body.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(rest.contains("The program has ended."));
    assert!(rest.trim_end().ends_with("event: bye\ndata: bye"));
    // The page's seat is free again.
    assert_eq!(Arc::strong_count(&site.app), held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_page_is_sent_to_another_port_and_all_end() {
    let stop = Stop::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App::new(stop.clone());
    let port = app.open(listener).unwrap();
    let site = Site { router: router(Door { app: app.clone(), port }), app: app.clone() };
    let host = format!("127.0.0.1:{port}");
    let headers = [("host", host.as_str())];
    let ask = || site.ask("GET", "/trap?calm=1", &headers, "");
    for _ in 0..4 {
        assert_eq!(ask().await.status(), StatusCode::OK);
    }
    let sent = ask().await;
    assert_eq!(sent.status(), StatusCode::TEMPORARY_REDIRECT);
    let there = sent.headers()["location"].to_str().unwrap().to_owned();
    assert!(there.starts_with("http://127.0.0.1:") && there.ends_with("/trap?calm=1"));
    assert!(!there.contains(&format!(":{port}/")));
    stop.set();
    app.doors.closed().await;
}
