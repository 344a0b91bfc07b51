//! What a page hears: server-sent events, each with a piece of HTML to put in its place.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use futures_util::{StreamExt, stream};
use lab_kit::draw::escaped;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Answer, App, Door, Problem, asked, known};
use crate::control::{Demo, Settings};
use crate::draw::Frame;
use crate::hall::{News, Seat};
use crate::page;

/// Time between two frames of a page that asked for calm.
const CALM: Duration = Duration::from_secs(1);
/// Silence is broken this often, so that a page that left is noticed.
const ALIVE: Duration = Duration::from_secs(1);

/// The events of a demonstration, until the page leaves or everything ends.
pub(super) async fn events(State(door): State<Door>, Path(name): Path<String>, uri: Uri) -> Answer {
    let demo = known(&name)?;
    let seat = door.app.hall.attend(demo).ok_or(Problem::TooMany)?;
    let page = asked(&uri, "page").unwrap_or(0);
    door.app.doors.listens(door.port, page, true);
    let listener = Listener {
        news: door.app.hall.news(),
        heard: Heard::new(demo, page),
        calm: asked(&uri, "calm") == Some(1),
        next: Instant::now(),
        _place: Listening { app: door.app, port: door.port, page, _seat: seat },
    };
    let batches = stream::unfold(Some(listener), |listener| async {
        let mut listener = listener?;
        let (events, last) = listener.hear().await?;
        Some((stream::iter(events), (!last).then_some(listener)))
    });
    let events = batches.flatten().map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// A page that listens; dropped when it leaves.
struct Listening {
    app: Arc<App>,
    port: u16,
    page: u64,
    _seat: Seat,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.app.doors.listens(self.port, self.page, false);
    }
}

struct Listener {
    news: watch::Receiver<News>,
    heard: Heard,
    calm: bool,
    /// When the next frame may come.
    next: Instant,
    _place: Listening,
}

impl Listener {
    /// Waits for something new; true with the last of all.
    async fn hear(&mut self) -> Option<(Vec<Event>, bool)> {
        loop {
            let now = Instant::now();
            let frame_due = now >= self.next;
            let (pieces, over) = {
                let news = self.news.borrow_and_update();
                (self.heard.pieces(&news, frame_due), news.over)
            };
            if !pieces.is_empty() || over {
                if self.calm && pieces.iter().any(|(name, _)| *name == "frame") {
                    self.next = now + CALM;
                }
                let mut events: Vec<_> = pieces
                    .into_iter()
                    .map(|(name, html)| Event::default().event(name).data(html))
                    .collect();
                if over {
                    events.push(Event::default().event("bye").data("bye"));
                }
                return Some((events, over));
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = sleep_until(self.next), if !frame_due => {}
            }
        }
    }
}

/// What a page has been told.
struct Heard {
    demo: Demo,
    page: u64,
    frame: Option<Arc<Frame>>,
    status: String,
    settings: Option<Settings>,
}

impl Heard {
    fn new(demo: Demo, page: u64) -> Heard {
        Heard { demo, page, frame: None, status: String::new(), settings: None }
    }

    /// What is new: names of events and HTML.
    fn pieces(&mut self, news: &News, frame_due: bool) -> Vec<(&'static str, String)> {
        let i = self.demo.index();
        let mut pieces = Vec::new();
        let status = news.status(self.demo);
        if status != self.status {
            pieces.push(("status", escaped(&status)));
            self.status = status;
        }
        if self.settings != Some(news.settings[i]) {
            // The page that moved a slider has its own position; another picture of it would take
            // it out of the lecturer's hand.
            let ours = self.settings.is_some() && news.changed_by[i] == self.page;
            if !ours {
                pieces.push(("controls", page::controls(&news.settings[i])));
            }
            self.settings = Some(news.settings[i]);
        }
        let frame = &news.frames[i];
        let fresh = self.frame.as_ref().is_none_or(|old| !Arc::ptr_eq(old, frame));
        if frame_due && fresh {
            pieces.push(("frame", frame.html.clone()));
            self.frame = Some(frame.clone());
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hall::{Ended, Hall};

    fn names(pieces: &[(&'static str, String)]) -> Vec<&'static str> {
        pieces.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn a_page_hears_each_thing_once() {
        let hall = Hall::new();
        let news = hall.news();
        let mut mine = Heard::new(Demo::Trap, 1);
        let mut other = Heard::new(Demo::Trap, 2);
        for heard in [&mut mine, &mut other] {
            let all = heard.pieces(&news.borrow(), true);
            assert_eq!(names(&all), ["status", "controls", "frame"]);
            assert!(heard.pieces(&news.borrow(), true).is_empty());
        }
        hall.set(Demo::Trap, "clients", "77", 1).unwrap();
        // Whoever moved the slider gets the picture only.
        assert_eq!(names(&mine.pieces(&news.borrow(), true)), ["frame"]);
        let told = other.pieces(&news.borrow(), true);
        assert_eq!(names(&told), ["controls", "frame"]);
        assert!(told[0].1.contains("value=\"77\""));
        // Another demonstration is no news, and calm keeps a frame for later.
        hall.set(Demo::Pipeline, "embed", "3", 2).unwrap();
        assert!(mine.pieces(&news.borrow(), true).is_empty());
        hall.set(Demo::Trap, "clients", "78", 1).unwrap();
        assert!(mine.pieces(&news.borrow(), false).is_empty());
        assert_eq!(names(&mine.pieces(&news.borrow(), true)), ["frame"]);
    }

    #[test]
    fn an_error_is_text() {
        let mut news = Hall::new().news().borrow().clone();
        news.ended[0] = Ended::Failed("no <port>\r\nleft & more".into());
        let pieces = Heard::new(Demo::Trap, 1).pieces(&news, true);
        assert_eq!(pieces[0].1, "Stopped by an error: no &lt;port&gt;  left &amp; more.");
    }
}
