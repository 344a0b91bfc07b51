//! The server: loopback only, for pages of its own only.

mod doors;
mod events;
mod guard;
mod patience;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use lab_kit::stop::Stop;
use tokio::net::TcpListener;
use tokio::time::{interval, timeout};

use crate::assets;
use crate::control::Demo;
use crate::hall::{Ended, Hall};
use crate::page;
use doors::{Doors, Place};
use patience::Patient;

/// Largest form that is read, in bytes.
const LARGEST: usize = 512;
/// How often it is looked whether the run should end.
const LOOK: Duration = Duration::from_millis(500);
/// How long the last answers may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// What all requests share.
pub(crate) struct App {
    hall: Arc<Hall>,
    doors: Doors,
    stop: Stop,
}

/// One of the ports, and everything behind it.
#[derive(Clone)]
pub(crate) struct Door {
    app: Arc<App>,
    port: u16,
}

/// Serves until `stop`; then ends the run and tells the pages.
///
/// # Errors
/// A listener that does not know its own address.
pub async fn serve(listener: TcpListener, stop: Stop) -> Result<()> {
    let app = App::new(stop.clone());
    app.open(listener)?;
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = look.tick() => {}
        }
        if let Some((demo, how)) = app.hall.overdue(Instant::now()) {
            let hall = app.hall.clone();
            blocking(move || hall.stop(demo, how)).await;
        }
    }
    let hall = app.hall.clone();
    blocking(move || hall.close()).await;
    // Pages that do not take their last event are left behind.
    let _ = timeout(LAST, app.doors.closed()).await;
    Ok(())
}

/// Runs what waits for a run to end. An error would be a panic, which the terminal shows.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl App {
    fn new(stop: Stop) -> Arc<App> {
        Arc::new(App { hall: Hall::new(), doors: Doors::default(), stop })
    }

    /// Serves at one more port, and returns it.
    fn open(self: &Arc<Self>, listener: TcpListener) -> Result<u16> {
        let port = listener.local_addr()?.port();
        let router = router(Door { app: self.clone(), port });
        let stop = self.stop.clone();
        let ended = async move { stop.wait().await };
        let server = tokio::spawn(async move {
            let served = axum::serve(Patient::new(listener), router).with_graceful_shutdown(ended);
            let _ = served.await;
        });
        self.doors.add(port, server);
        Ok(port)
    }
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/assets/{file}", get(asset))
        .route("/{demo}", get(demonstration))
        .route("/{demo}/events", get(events::events))
        .route("/{demo}/start", post(start))
        .route("/{demo}/stop", post(stop))
        .route("/{demo}/set", post(set))
        .fallback(async || Problem::NotFound)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(from_fn_with_state(door.port, guard::guard))
        .with_state(door)
}

/// What is answered instead.
enum Problem {
    NotFound,
    TooMany,
    Form(&'static str),
    Value(String),
    Broken(String),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, what) = match self {
            Problem::NotFound => (StatusCode::NOT_FOUND, "There is no such page.".to_owned()),
            Problem::TooMany => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many pages are open. Close one and load this again.".to_owned(),
            ),
            Problem::Form(what) => (StatusCode::BAD_REQUEST, what.to_owned()),
            Problem::Value(what) => (StatusCode::UNPROCESSABLE_ENTITY, what),
            Problem::Broken(what) => (StatusCode::INTERNAL_SERVER_ERROR, what),
        };
        (status, Html(page::error(&what))).into_response()
    }
}

type Answer = Result<Response, Problem>;

fn known(name: &str) -> Result<Demo, Problem> {
    Demo::named(name).ok_or(Problem::NotFound)
}

/// The value of a field of a query.
fn asked(uri: &Uri, field: &str) -> Option<u64> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == field)?.1.parse().ok()
}

async fn index(State(door): State<Door>) -> Response {
    let news = door.app.hall.news();
    let html = page::index(&news.borrow());
    Html(html).into_response()
}

async fn asset(Path(file): Path<String>) -> Answer {
    let (kind, bytes) = assets::find(&file).ok_or(Problem::NotFound)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

async fn demonstration(
    State(door): State<Door>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let demo = known(&name)?;
    let page = match door.app.doors.place(door.port, Instant::now()) {
        Place::Here(page) => page,
        Place::There(port) => return Ok(elsewhere(&headers, port, &uri)),
        Place::Nowhere => return Err(Problem::TooMany),
        Place::NewDoor => {
            let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await;
            let port = listener.map_err(anyhow::Error::from).and_then(|l| door.app.open(l));
            let port = port.map_err(|e| Problem::Broken(format!("No further port: {e:#}.")))?;
            return Ok(elsewhere(&headers, port, &uri));
        }
    };
    // A wish in the address counts more than that of the system.
    let calm = match asked(&uri, "calm") {
        Some(wish) => wish == 1,
        None => headers
            .get("sec-ch-prefers-reduced-motion")
            .is_some_and(|wish| wish.as_bytes().windows(6).any(|part| part == b"reduce")),
    };
    let html = page::demo(demo, &door.app.hall.news().borrow(), page, calm);
    let hint = "Sec-CH-Prefers-Reduced-Motion";
    Ok(([("accept-ch", hint), ("critical-ch", hint)], Html(html)).into_response())
}

/// The same page at another port.
fn elsewhere(headers: &HeaderMap, port: u16, uri: &Uri) -> Response {
    // The guard has seen that the name is one of ours.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.unwrap_or("127.0.0.1");
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => name,
    };
    // A target may name a host before its path.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Redirect::temporary(&format!("http://{name}:{port}{path}")).into_response()
}

async fn start(State(door): State<Door>, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let demo = known(&name)?;
    let hall = door.app.hall.clone();
    match blocking(move || hall.start(demo)).await {
        Some(Ok(())) => Ok(done(demo, &headers)),
        Some(Err(error)) => Err(Problem::Broken(format!("{error:#}."))),
        None => Err(Problem::Broken("The terminal says what happened.".into())),
    }
}

async fn stop(State(door): State<Door>, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let demo = known(&name)?;
    let hall = door.app.hall.clone();
    blocking(move || hall.stop(demo, Ended::Asked)).await;
    Ok(done(demo, &headers))
}

/// Nothing to show for htmx; back to the page for a plain form.
fn done(demo: Demo, headers: &HeaderMap) -> Response {
    if headers.contains_key("hx-request") {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Redirect::to(&format!("/{}", demo.name())).into_response()
    }
}

/// One control, by its name, and the number of the page that sends it.
async fn set(State(door): State<Door>, Path(name): Path<String>, body: Bytes) -> Answer {
    let demo = known(&name)?;
    let (mut control, mut page) = (None, 0);
    for (key, value) in form_urlencoded::parse(&body) {
        if key == "page" {
            page = value.parse().map_err(|_| Problem::Form("page must be a number"))?;
        } else if control.replace((key, value)).is_some() {
            return Err(Problem::Form("one control at a time"));
        }
    }
    let (key, value) = control.ok_or(Problem::Form("which control?"))?;
    let set = door.app.hall.set(demo, &key, &value, page);
    let text = set.map_err(|refused| Problem::Value(refused.to_string()))?;
    Ok(Html(text).into_response())
}
