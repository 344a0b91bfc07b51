//! From HTML to what is wanted of it: title, price, label, the words of the main part, links.
//!
//! The tokenizer is html5gum's: it follows the standard's state machine (WHATWG HTML, section 13.2.5),
//! so that a link in a comment or in a script is none and `&euro;` is one character, and it borrows
//! what it reports instead of building a tree. A parser that builds the tree (scraper) or one with
//! selectors (lol_html) brings twenty to forty crates for what is a dozen lines here: the pages are
//! read once, from the beginning to the end, and only a few tags matter.

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};
use reqwest::Url;

/// What was found on a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The content of `<title>`, blanks tidied.
    pub title: String,
    /// The price, from the element of class `price`.
    pub price_cents: Option<i64>,
    /// The category, where the page says so in an element of class `category`.
    pub label: Option<String>,
    /// The visible text of `<main>`, without price and label.
    pub text: String,
    /// Where its links lead: absolute, normalised, of the same site, each once, in order.
    pub links: Vec<String>,
}

/// Whose text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Body,
    Title,
    Price,
    Category,
    /// Not visible: scripts and style sheets.
    Hidden,
}

#[derive(Default)]
struct Reader {
    found: Extracted,
    inside: Inside,
    main: bool,
    /// What is known of the tag that is being read.
    link: bool,
    class: bool,
    href: bool,
    hrefs: Vec<String>,
    price: String,
    label: String,
}

impl Reader {
    fn event(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.link = *name == b"a";
                (self.class, self.href) = (false, false);
                self.inside = match *name {
                    b"title" => Inside::Title,
                    b"script" | b"style" | b"template" | b"noscript" => Inside::Hidden,
                    _ => Inside::Body,
                };
                self.main |= *name == b"main";
            }
            CallbackEvent::AttributeName { name } => {
                self.href = self.link && *name == b"href";
                self.class = *name == b"class";
            }
            CallbackEvent::AttributeValue { value } if self.href => {
                self.hrefs.push(String::from_utf8_lossy(value).into_owned());
            }
            CallbackEvent::AttributeValue { value } if self.class => match *value {
                b"price" => self.inside = Inside::Price,
                b"category" => self.inside = Inside::Category,
                _ => {}
            },
            CallbackEvent::EndTag { name } => {
                self.main &= *name != b"main";
                self.inside = Inside::Body;
            }
            CallbackEvent::String { value } => {
                let text = String::from_utf8_lossy(value);
                match self.inside {
                    Inside::Title => self.found.title.push_str(&text),
                    Inside::Price => self.price.push_str(&text),
                    Inside::Category => self.label.push_str(&text),
                    Inside::Body if self.main => {
                        self.found.text.push_str(&text);
                        self.found.text.push(' ');
                    }
                    Inside::Body | Inside::Hidden => {}
                }
            }
            _ => {}
        }
    }
}

/// Reads a page that came from `base`.
pub fn extract(html: &[u8], base: &Url) -> Extracted {
    let mut reader = Reader::default();
    let callback = |event: CallbackEvent<'_>, _: Span<()>| -> Option<()> {
        reader.event(&event);
        None
    };
    let mut emitter = CallbackEmitter::new(callback);
    // What is inside a script is not HTML.
    emitter.naively_switch_states(true);
    for Ok(()) in Tokenizer::new_with_emitter(html, emitter) {}

    let mut found = reader.found;
    found.title = tidy(&found.title);
    found.text = tidy(&found.text);
    found.price_cents = cents(&reader.price);
    found.label = Some(tidy(&reader.label)).filter(|label| !label.is_empty());
    for href in &reader.hrefs {
        if let Some(link) = normalised(base, href)
            && !found.links.contains(&link)
        {
            found.links.push(link);
        }
    }
    found
}

/// The address that a link leads to, written in the one way in which it is remembered: absolute,
/// without `..`, without its fragment (which never reaches the server). `None` for other sites and for
/// what is no page.
pub fn normalised(base: &Url, href: &str) -> Option<String> {
    let mut url = base.join(href.trim()).ok()?;
    url.set_fragment(None);
    let same_site = url.origin() == base.origin();
    (same_site && matches!(url.scheme(), "http" | "https")).then(|| url.into())
}

/// One blank for each stretch of them.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !tidy.is_empty() {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

/// "€ 1,299.99" in cents. `None` where there is no number in this form.
fn cents(text: &str) -> Option<i64> {
    let number: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let (whole, cents) = number.split_once('.').unwrap_or((&number, "00"));
    let whole: i64 = whole.parse().ok()?;
    let cents: i64 = (cents.len() == 2).then(|| cents.parse().ok())??;
    whole.checked_mul(100)?.checked_add(cents)
}

#[cfg(test)]
mod tests {
    use mock_server::Site;
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        Url::parse("http://shop:8080/c/garden/3").unwrap()
    }

    #[test]
    fn fields_links_and_words_are_found_and_nothing_else_is() {
        let html = "<!DOCTYPE html><title> Pots &amp;\n pans </title>
            <!-- <a href='/comment'>x</a> --><script>'<a href=\"/script\">'</script>
            <nav><a href=/about#team>About</a><a href='../garden/3#top'>this page</a></nav>
            <main><h1>Pots</h1><p class=\"category\">kitchen</p>
            <span class=\"price\">&euro;&nbsp;1,299.50</span><p>Heavy <b>iron</b>&shy;pots</p>
            <style>p { color: red }</style><a href=\"../../p/7\">seven</a> <A HREF='HTTP://SHOP:8080/p/./7'>7</A></main>
            <a href=\"http://elsewhere/\">x</a><a href=\"mailto:me@shop\">x</a><a name='x'>no link</a> outside";
        let found = extract(html.as_bytes(), &base());
        assert_eq!(found.title, "Pots & pans");
        assert_eq!(found.price_cents, Some(129_950));
        assert_eq!(found.label.as_deref(), Some("kitchen"));
        assert_eq!(found.text, "Pots Heavy iron \u{ad}pots seven 7");
        let links = ["about", "c/garden/3", "p/7"].map(|path| format!("http://shop:8080/{path}"));
        assert_eq!(found.links, links);
    }

    #[test]
    fn every_product_of_the_shop_has_its_price_and_its_links() {
        let site = Site::new(3, 300);
        for product in 0..300 {
            let path = format!("/p/{product}");
            let url = Url::parse(&format!("http://shop{path}")).unwrap();
            let found = extract(site.page(&path).as_bytes(), &url);
            assert_eq!(found.price_cents, Some(site.price_cents(product) as i64));
            assert_eq!(found.title, format!("Product #{product} & more"));
            assert_eq!(found.label, None);
            assert!(found.links.len() >= 11 && found.text.len() > 50, "{found:?}");
        }
        let url = Url::parse("http://shop/labelled/9").unwrap();
        let found = extract(site.page("/labelled/9").as_bytes(), &url);
        assert_eq!(found.label.as_deref(), Some(site.labelled(9)));
    }

    #[test]
    fn prices_are_read_or_left() {
        for (text, price) in [
            ("€ 12.99", Some(1299)),
            ("1,000,000.00", Some(100_000_000)),
            ("7", Some(700)),
            ("", None),
            ("free", None),
            ("1.5", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(cents(text), price, "{text}");
        }
    }

    proptest! {
        /// Whatever a server sends, the reader survives, and its links lead to the same site.
        #[test]
        fn any_bytes_are_read(html in prop::collection::vec(any::<u8>(), 0..400), href in ".{0,40}") {
            let mut page = html;
            page.extend(format!("<a href=\"{href}\">x</a>").into_bytes());
            for link in extract(&page, &base()).links {
                prop_assert!(link.starts_with("http://shop:8080/"), "{link}");
                prop_assert!(!link.contains('#'));
                // Normalised is normalised.
                let again = normalised(&base(), &link);
                prop_assert_eq!(again, Some(link));
            }
        }
    }
}
