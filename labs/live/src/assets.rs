//! The files that the pages load, all in the program. Where they come from: `vendor/VENDORED.md`.

/// Content type and content of a file.
pub fn find(name: &str) -> Option<(&'static str, &'static [u8])> {
    let script = "text/javascript; charset=utf-8";
    Some(match name {
        "live.css" => ("text/css; charset=utf-8", include_bytes!("../assets/live.css")),
        "icon.svg" => ("image/svg+xml", include_bytes!("../assets/icon.svg")),
        "htmx.min.js" => (script, include_bytes!("../vendor/htmx.min.js")),
        "htmx-ext-sse.min.js" => (script, include_bytes!("../vendor/htmx-ext-sse.min.js")),
        "inter-400.woff2" => {
            ("font/woff2", include_bytes!("../../kit/assets/Inter-Regular.subset.woff2"))
        }
        "inter-600.woff2" => {
            ("font/woff2", include_bytes!("../../kit/assets/Inter-SemiBold.subset.woff2"))
        }
        _ => return None,
    })
}
