//! The pages as HTML. What comes from outside are whole numbers and a system's errors.

use std::fmt::Write;

use lab_kit::draw::escaped;

use crate::control::{Control, Demo, Kind, Settings};
use crate::hall::News;

/// A page of a demonstration as it is now. `page` is its number; a calm one gets a frame a second.
pub fn demo(demo: Demo, news: &News, page: u64, calm: bool) -> String {
    let name = demo.name();
    let i = demo.index();
    let rate = if calm {
        format!("<a href=\"/{name}?calm=0\">Show every change</a> (now: one picture a second)")
    } else {
        format!("<a href=\"/{name}?calm=1\">One picture a second</a> (now: eight)")
    };
    let main = format!(
        "<main id=\"main\" hx-ext=\"sse\" sse-connect=\"/{name}/events?page={page}&amp;calm={}\" \
         sse-close=\"bye\" hx-vals='{{\"page\":\"{page}\"}}'>\
         <h1>{}</h1><p class=\"question\">{}</p>\
         <div class=\"bench\">\
         <section class=\"frame\" aria-label=\"What is measured\" sse-swap=\"frame\">{}</section>\
         <section class=\"desk\" aria-label=\"What can be set\">\
         <div class=\"buttons\">{}{}</div>\
         <p class=\"status\" role=\"status\" sse-swap=\"status\">{}</p>\
         <div sse-swap=\"controls\">{}</div>\
         <noscript><p>The sliders need JavaScript; Start and Stop do not.</p></noscript>\
         </section></div>\
         <details><summary>What is run here</summary><p>{}</p>\
         <p>Dashed lines are theory. <code>labs run {}</code> measures the same with repetitions and \
         intervals.</p></details>\
         <p class=\"calm\">{rate}</p></main>",
        u8::from(calm),
        demo.title(),
        demo.question(),
        news.frames[i].html,
        button(name, "start", "Start"),
        button(name, "stop", "Stop"),
        escaped(&news.status(demo)),
        controls(&news.settings[i]),
        demo.apparatus(),
        demo.lab(),
    );
    document(demo.title(), Some(demo), &main)
}

/// The first page: what there is.
pub fn index(news: &News) -> String {
    let mut cards = String::new();
    for demo in Demo::ALL {
        let _ = write!(
            cards,
            "<li><h2><a href=\"/{}\">{}</a></h2><p>{}</p><p class=\"status\">{}</p></li>",
            demo.name(),
            demo.title(),
            demo.question(),
            if news.running == Some(demo) { "Running." } else { "" }
        );
    }
    let main = format!(
        "<main id=\"main\"><h1>Live demonstrations</h1>\
         <p class=\"question\">Each one is measured while it runs. Ask the room first what it expects, \
         then move a slider.</p><ul class=\"cards\">{cards}</ul></main>"
    );
    document("Live demonstrations", None, &main)
}

/// A page that says what went wrong.
pub fn error(what: &str) -> String {
    let main =
        format!("<main id=\"main\"><h1>This did not work</h1><p>{}</p></main>", escaped(what));
    document("This did not work", None, &main)
}

fn document(title: &str, here: Option<Demo>, main: &str) -> String {
    let mut links = String::new();
    for demo in Demo::ALL {
        let current = if here == Some(demo) { " aria-current=\"page\"" } else { "" };
        let _ = write!(links, "<a href=\"/{}\"{current}>{}</a>", demo.name(), demo.title());
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"htmx-config\" content='{{\"includeIndicatorStyles\":false,\"allowEval\":false,\
         \"historyEnabled\":false}}'>\
         <title>{title} · Concurrency labs</title>\
         <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/assets/live.css\">\
         <script src=\"/assets/htmx.min.js\" defer></script>\
         <script src=\"/assets/htmx-ext-sse.min.js\" defer></script></head>\
         <body><a class=\"skip\" href=\"#main\">Skip to the content</a>\
         <header><nav aria-label=\"Demonstrations\"><a class=\"home\" href=\"/\">Concurrency labs</a>\
         {links}</nav></header>{main}</body></html>\n"
    )
}

fn button(demo: &str, what: &str, label: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/{demo}/{what}\" hx-post=\"/{demo}/{what}\" hx-swap=\"none\">\
         <button class=\"{what}\">{label}</button></form>"
    )
}

/// The controls with their values.
pub fn controls(settings: &Settings) -> String {
    let demo = settings.demo.name();
    settings
        .each()
        .map(|(control, value)| match control.kind {
            Kind::Slider { min, max, step } => slider(demo, control, value, (min, max, step)),
            Kind::Choice(names) => choice(demo, control, value, names),
        })
        .collect()
}

fn slider(demo: &str, control: &Control, value: u32, (min, max, step): (u32, u32, u32)) -> String {
    let key = control.key;
    let unit = if control.unit.is_empty() {
        String::new()
    } else {
        format!("<span class=\"away\"> in {}</span>", control.unit)
    };
    // Throttled, not delayed: the curve follows while the slider moves. The last value of all comes
    // with `change`, and one request at a time keeps them in order.
    format!(
        "<div class=\"control\"><label for=\"c-{key}\">{}{unit}</label>\
         <output id=\"o-{key}\" for=\"c-{key}\">{}</output>\
         <input type=\"range\" id=\"c-{key}\" name=\"{key}\" min=\"{min}\" max=\"{max}\" step=\"{step}\" \
         value=\"{value}\" autocomplete=\"off\" hx-post=\"/{demo}/set\" \
         hx-trigger=\"input changed throttle:80ms, change\" hx-sync=\"this:queue last\" \
         hx-target=\"#o-{key}\" hx-swap=\"innerHTML\"></div>",
        control.label,
        control.text(value),
    )
}

fn choice(demo: &str, control: &Control, value: u32, names: &[&str]) -> String {
    let key = control.key;
    let mut html = format!("<fieldset class=\"control\"><legend>{}</legend>", control.label);
    for (i, name) in names.iter().enumerate() {
        let checked = if i as u32 == value { " checked" } else { "" };
        let _ = write!(
            html,
            "<label><input type=\"radio\" id=\"c-{key}-{i}\" name=\"{key}\" value=\"{i}\"{checked} \
             autocomplete=\"off\" hx-post=\"/{demo}/set\" hx-trigger=\"change\" \
             hx-swap=\"none\">{name}</label>"
        );
    }
    html + "</fieldset>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hall::Hall;

    #[test]
    fn every_control_has_a_label_and_its_value() {
        for demo in Demo::ALL {
            let settings = Settings::new(demo);
            let html = controls(&settings);
            for (control, value) in settings.each() {
                let key = control.key;
                match control.kind {
                    Kind::Slider { .. } => {
                        assert!(html.contains(&format!("<label for=\"c-{key}\">")));
                        assert!(html.contains(&format!(">{}</output>", control.text(value))));
                        assert!(html.contains(&format!("value=\"{value}\"")));
                    }
                    Kind::Choice(_) => {
                        assert!(html.contains(&format!("value=\"{value}\" checked")));
                    }
                }
            }
        }
    }

    #[test]
    fn pages_hold_no_script_and_no_style_of_their_own() {
        let news = Hall::new().news().borrow().clone();
        for html in [
            index(&news),
            error("no"),
            demo(Demo::Trap, &news, 1, false),
            demo(Demo::Pipeline, &news, 2, true),
        ] {
            assert!(!html.contains("style=") && !html.contains("<style"), "{html}");
            assert!(!html.contains(" onclick") && !html.contains("javascript:"));
            assert_eq!(html.matches("<script src=\"/assets/").count(), 2);
            assert_eq!(html.matches("<script").count(), 2);
            assert!(!html.contains("http://") && !html.contains("https://"));
        }
    }
}
