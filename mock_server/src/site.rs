//! A shop to crawl. Every page is made from its number when it is asked for, and nothing is kept: a shop of a million
//! products takes no more memory than one of ten. What a complete and polite crawl finds is known exactly
//! ([`Site::census`]).

use std::fmt::Write;

use crate::ParseError;
use crate::spec::{Asked, Body};

/// Products that a page of a category lists.
pub const PER_LISTING: u64 = 20;
/// The most products allowed.
pub const MAX_PRODUCTS: u64 = 100_000_000;
/// The longest page allowed, in bytes.
pub const MAX_PAGE: usize = 10 << 20;
/// Share of the words of a product that belong to its own category.
pub const OWN: f64 = 0.25;
/// Share of the words of a product that belong to any other category.
pub const FOREIGN: f64 = 0.10;

/// A shop of generated pages, in place of the same bytes for every path.
///
/// | path | what is there |
/// |---|---|
/// | `/` | the first page, with links to the categories |
/// | `/about` | a page that every page links to |
/// | `/c/garden`, `/c/garden/2` | the products of a category, [`PER_LISTING`] a page, and links to other pages of it |
/// | `/p/17` | a product: title, price, description; links to some others, some of which are broken |
/// | `/labelled/3` | a product that is in no listing, with its category written down, to learn from |
/// | `/cart/17` | a page without end: each links to the next. `robots.txt` disallows it |
/// | `/robots.txt` | what visitors are asked to stay away from |
///
/// Anything else is not there: 404. Links come as people write them: relative, with fragments, repeated, to other
/// hosts, in comments and in scripts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site {
    /// Decides about every page.
    pub seed: u64,
    /// Products, numbered from 0, up to [`MAX_PRODUCTS`].
    pub products: u64,
    /// Length of a page at least, up to [`MAX_PAGE`]; what it lacks is filled up with style sheets.
    pub page_bytes: usize,
    /// Share of the products that are slow, 0 to 1.
    pub slow: f64,
    /// What the service time of a slow one is multiplied by, 1 to 1,000.
    pub slow_factor: f64,
    /// Share of the products with a broken link, 0 to 1.
    pub broken: f64,
    /// Share of the products that no page links to, 0 to 1.
    pub withdrawn: f64,
    /// Probability that a request for a page is answered 429 with [`Spec::retry_after`](crate::Spec::retry_after),
    /// 0 to 0.9. Tried again, it may fare better.
    pub busy: f64,
}

/// What a complete and polite crawl of a [`Site`] finds, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Census {
    /// Pages within reach, products among them: what is to be stored.
    pub pages: u64,
    /// Products within reach.
    pub products: u64,
    /// Pages of categories.
    pub listings: u64,
    /// Different urls that are linked to and not there.
    pub broken: u64,
    /// The prices of the products within reach, in cents.
    pub price_cents: u64,
    /// Sum of what the service time of each page and of each broken link is multiplied by.
    pub factors: f64,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Home,
    About,
    Robots,
    Listing { category: u64, page: u64 },
    Product(u64),
    Labelled(u64),
    Cart(u64),
}

/// What a site says to a request, before its content is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reply {
    pub status: u16,
    /// What the service time is multiplied by.
    pub factor: f64,
}

const KINDS: u64 = 8;

// One stream of random numbers for each thing that is decided about a product.
const SLOW: u64 = 1;
const BROKEN: u64 = 2;
const WITHDRAWN: u64 = 3;
const PRICE: u64 = 4;
const WORDS: u64 = 5;
const LINKS: u64 = 6;
const LABELLED: u64 = 7;

impl Site {
    /// A shop with so many products, pages of 8 KiB, 2 % slow (5 times), 2 % with a broken link, 1 % withdrawn, and
    /// one request in 500 asked to come back later.
    #[must_use]
    pub fn new(seed: u64, products: u64) -> Self {
        Self {
            seed,
            products,
            page_bytes: 8 << 10,
            slow: 0.02,
            slow_factor: 5.0,
            broken: 0.02,
            withdrawn: 0.01,
            busy: 0.002,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ParseError> {
        let shares = [self.slow, self.broken, self.withdrawn];
        let wrong = if !(1..=MAX_PRODUCTS).contains(&self.products) {
            format!("a site of {} products is not allowed: 1 to {MAX_PRODUCTS} are", self.products)
        } else if self.page_bytes > MAX_PAGE {
            format!("pages of {} bytes are too long: allowed is up to {MAX_PAGE}", self.page_bytes)
        } else if let Some(share) = shares.into_iter().find(|s| !(0.0..=1.0).contains(s)) {
            format!("{share} is no share: 0 to 1 is allowed")
        } else if !(0.0..=0.9).contains(&self.busy) {
            format!("a busy share of {} is not allowed: 0 to 0.9 is", self.busy)
        } else if !(1.0..=1000.0).contains(&self.slow_factor) {
            format!("a slow factor of {} is not allowed: 1 to 1000 is", self.slow_factor)
        } else {
            return Ok(());
        };
        Err(ParseError::new(wrong))
    }

    /// The name of the category of a product.
    #[must_use]
    pub fn category(&self, product: u64) -> &'static str {
        CATEGORIES[(product % KINDS) as usize].0
    }

    /// The name of the category of a labelled product.
    #[must_use]
    pub fn labelled(&self, number: u64) -> &'static str {
        CATEGORIES[(number % KINDS) as usize].0
    }

    /// The number of the product whose page is at this path.
    #[must_use]
    pub fn product_at(&self, path: &str) -> Option<u64> {
        match self.place(path) {
            Some(Place::Product(product)) => Some(product),
            _ => None,
        }
    }

    /// The price of a product in cents.
    #[must_use]
    pub fn price_cents(&self, product: u64) -> u64 {
        // From 1.00 to about 2,000, most of them cheap.
        let draw = self.draw(PRICE, product);
        100 + (200_000.0 * draw * draw * draw) as u64
    }

    /// True when pages link to this product.
    #[must_use]
    pub fn is_within_reach(&self, product: u64) -> bool {
        product < self.products && self.draw(WITHDRAWN, product) >= self.withdrawn
    }

    /// What a complete and polite crawl finds. It looks at every product once: some 20 ns each.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for category in 0..KINDS {
            census.listings += self.listings(category);
        }
        for product in (0..self.products).filter(|n| self.is_within_reach(*n)) {
            census.products += 1;
            census.broken += u64::from(self.has_broken_link(product));
            census.price_cents += self.price_cents(product);
            census.factors += self.factor(product);
        }
        let others = 2 + census.listings;
        census.pages = census.products + others;
        census.factors += (others + census.broken) as f64;
        census
    }

    /// Share of products whose words point to their own category more than to any other, from `sample` of them: what
    /// somebody who knows how the words are drawn would classify correctly, and nobody more (every word of a category
    /// is as likely as another, so the category with the most words is the most likely one). A tie counts as the share
    /// of the time in which a guess is right.
    #[must_use]
    pub fn best_accuracy(seed: u64, sample: u64) -> f64 {
        let site = Self::new(seed, sample.max(1));
        let right = (0..site.products).map(|product| {
            let mut counts = [0u32; KINDS as usize];
            site.words(product, WORDS, &mut |_, from| {
                if let Some(category) = from {
                    counts[category] += 1;
                }
            });
            let most = counts.iter().max().copied().unwrap_or(0);
            let tied = counts.iter().filter(|n| **n == most).count();
            let own = counts[(product % KINDS) as usize] == most;
            if own { 1.0 / tied as f64 } else { 0.0 }
        });
        right.sum::<f64>() / site.products as f64
    }

    pub(crate) fn reply(&self, path: &str, draw: f64) -> Reply {
        let place = self.place(path);
        let factor = match place {
            Some(Place::Product(product)) => self.factor(product),
            _ => 1.0,
        };
        let status = match place {
            None => 404,
            // The other end of the draw than that of [`Faults`](crate::Faults).
            Some(Place::Robots | Place::Labelled(_)) => 200,
            Some(_) if 1.0 - draw < self.busy => 429,
            Some(_) => 200,
        };
        Reply { status, factor }
    }

    pub(crate) fn body(self, path: &str) -> Body {
        let mime = match self.place(path) {
            Some(Place::Robots) => "text/plain",
            _ => "text/html; charset=utf-8",
        };
        Body::made(mime, move |asked: &Asked<'_>| self.page(asked.path).into_bytes())
    }

    /// The content of a page; empty where there is none.
    #[must_use]
    pub fn page(&self, path: &str) -> String {
        let mut page = String::with_capacity(self.page_bytes + 1024);
        match self.place(path) {
            Some(Place::Robots) => page.push_str(ROBOTS),
            Some(place) => self.write(&mut page, place),
            None => {}
        }
        page
    }

    fn place(&self, path: &str) -> Option<Place> {
        match path {
            "/" => return Some(Place::Home),
            "/about" => return Some(Place::About),
            "/robots.txt" => return Some(Place::Robots),
            _ => {}
        }
        let (kind, rest) = path.strip_prefix('/')?.split_once('/')?;
        match kind {
            "p" => whole(rest).filter(|n| *n < self.products).map(Place::Product),
            "labelled" => whole(rest).map(Place::Labelled),
            "cart" => whole(rest).map(Place::Cart),
            "c" => {
                let (name, page) = match rest.split_once('/') {
                    None => (rest, 1),
                    Some((name, page)) => (name, whole(page).filter(|page| *page > 1)?),
                };
                let category = CATEGORIES.iter().position(|(known, _)| *known == name)? as u64;
                (page <= self.listings(category)).then_some(Place::Listing { category, page })
            }
            _ => None,
        }
    }

    /// Pages that the listing of a category takes. There is always a first one.
    fn listings(&self, category: u64) -> u64 {
        let products = (self.products + KINDS - 1 - category) / KINDS;
        products.div_ceil(PER_LISTING).max(1)
    }

    fn factor(&self, product: u64) -> f64 {
        let slow = self.draw(SLOW, product) < self.slow;
        if slow { self.slow_factor } else { 1.0 }
    }

    fn has_broken_link(&self, product: u64) -> bool {
        self.draw(BROKEN, product) < self.broken
    }

    /// From 0 to 1, the same whenever it is asked for.
    fn draw(&self, stream: u64, number: u64) -> f64 {
        unit(self.dice(stream, number).0)
    }

    fn dice(&self, stream: u64, number: u64) -> Dice {
        let mut dice = Dice(self.seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        dice.0 = dice.roll() ^ number;
        dice.0 = dice.roll();
        dice
    }

    fn write(&self, page: &mut String, place: Place) {
        let title = match place {
            Place::Home => "The shop &amp; its shelves".to_string(),
            Place::About => "About us".to_string(),
            Place::Cart(_) => "Your cart".to_string(),
            Place::Listing { category, page } => {
                format!("{}, page {page}", CATEGORIES[category as usize].0)
            }
            Place::Product(n) => format!("Product &#35;{n} &amp; more"),
            Place::Labelled(n) => format!("Sample &#35;{n}"),
            Place::Robots => String::new(),
        };
        page.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        page.push_str(&title);
        page.push_str("</title>\n<!-- <a href=\"/cart/0\">not a link</a> -->\n");
        page.push_str(
            "<script>var more = '<a href=\"/cart/1\">nor this</a>';</script>\n</head><body>\n<nav>",
        );
        page.push_str(
            "<a href=\"/\">Home</a> <a href='/about#team'>About</a> <a href=/cart/1>Cart</a>",
        );
        for (name, _) in CATEGORIES {
            let _ = write!(page, " <a class=\"shelf\" href=\"/c/{name}\">{name}</a>");
        }
        page.push_str("</nav>\n<main>\n<h1>");
        page.push_str(&title);
        page.push_str("</h1>\n");
        match place {
            Place::Listing { category, page: number } => self.write_listing(page, category, number),
            Place::Product(n) => self.write_product(page, n),
            Place::Labelled(n) => {
                let _ = writeln!(page, "<p class=\"category\">{}</p>", self.labelled(n));
                self.write_words(page, n, LABELLED);
            }
            Place::Cart(n) => {
                let _ = writeln!(page, "<a href=\"/cart/{}\">add one more</a>", n.wrapping_add(1));
            }
            Place::Home | Place::About | Place::Robots => page.push_str("<p>Welcome.</p>\n"),
        }
        page.push_str("</main>\n<a href=\"http://elsewhere.invalid/\">a friend</a> <a href=\"mailto:shop@shop.invalid\">write</a>\n<style>");
        const RULE: &str = ".shelf { margin: 0 1px 2px 3px; color: #123456 }\n";
        while page.len() + RULE.len() + 24 < self.page_bytes {
            page.push_str(RULE);
        }
        page.push_str("</style>\n</body></html>\n");
    }

    fn write_listing(&self, page: &mut String, category: u64, number: u64) {
        let name = CATEGORIES[category as usize].0;
        let last = self.listings(category);
        // The next one, and two far ahead: every page is within reach in as many steps as its number has bits.
        for other in [number + 1, 2 * number, 2 * number + 1] {
            if other <= last {
                let _ = write!(page, "<a href=\"/c/{name}/{other}\">page {other}</a> ");
            }
        }
        page.push_str("\n<ul>\n");
        let first = (number - 1) * PER_LISTING;
        for product in (first..first + PER_LISTING).map(|i| category + KINDS * i) {
            if self.is_within_reach(product) {
                let _ = writeln!(page, "<li><a href=\"/p/{product}\">no. {product}</a>");
            }
        }
        page.push_str("</ul>\n");
    }

    fn write_product(&self, page: &mut String, product: u64) {
        let cents = self.price_cents(product);
        let (whole, cents) = (cents / 100, cents % 100);
        let grouped = if whole >= 1000 {
            format!("{},{:03}", whole / 1000, whole % 1000)
        } else {
            whole.to_string()
        };
        let _ = writeln!(page, "<span class=\"price\">&euro;&nbsp;{grouped}.{cents:02}</span>");
        self.write_words(page, product, WORDS);
        page.push_str("<h2 id=\"more\">See also</h2>\n");
        let mut dice = self.dice(LINKS, product);
        for i in 0..3 {
            let other = dice.roll() % self.products;
            if self.is_within_reach(other) {
                let href = match i {
                    0 => format!("../p/{other}"),
                    1 => format!("/p/{other}#more"),
                    _ => format!("{other}"),
                };
                let _ = write!(page, "<a href=\"{href}\">no. {other}</a> ");
            }
        }
        if self.has_broken_link(product) {
            let _ = write!(page, "<a href=\"/gone/{product}\">our best offer</a>");
        }
        page.push('\n');
    }

    fn write_words(&self, page: &mut String, number: u64, stream: u64) {
        page.push_str("<p class=\"description\">");
        self.words(number, stream, &mut |word, _| {
            page.push_str(word);
            page.push(' ');
        });
        page.push_str("</p>\n");
    }

    /// The words of a description, each with its category if it has one: drawn one by one, each independent of the
    /// others, which is what naive Bayes takes for granted.
    fn words(&self, number: u64, stream: u64, each: &mut dyn FnMut(&'static str, Option<usize>)) {
        let mut dice = self.dice(stream, number);
        let own = number % KINDS;
        let length = 16 + dice.roll() % 33;
        for _ in 0..length {
            let which = unit(dice.roll());
            let category = if which < OWN {
                Some(own)
            } else if which < OWN + FOREIGN {
                Some((own + 1 + dice.roll() % (KINDS - 1)) % KINDS)
            } else {
                None
            };
            let words: &[&'static str] = category.map_or(COMMON, |c| &CATEGORIES[c as usize].1);
            let word = words[(dice.roll() % words.len() as u64) as usize];
            each(word, category.map(|c| c as usize));
        }
    }
}

/// A number as it is written in one way only: not 007, not +7.
fn whole(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    let leading = text.len() > 1 && text.starts_with('0');
    (text.bytes().all(|b| b.is_ascii_digit()) && !leading).then_some(number)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

const ROBOTS: &str = "# A shop of the labs.
User-agent: *
Disallow: /cart/
Allow: /cart/terms$

User-agent: greedy-bot
Disallow: /
";

/// The categories, each with words of its own.
static CATEGORIES: [(&str, [&str; 16]); KINDS as usize] = [
    (
        "garden",
        [
            "soil",
            "rake",
            "seed",
            "hose",
            "lawn",
            "hedge",
            "spade",
            "compost",
            "mulch",
            "pruner",
            "trellis",
            "bulb",
            "greenhouse",
            "sprinkler",
            "fertiliser",
            "wheelbarrow",
        ],
    ),
    (
        "kitchen",
        [
            "pan",
            "whisk",
            "oven",
            "kettle",
            "knife",
            "ladle",
            "grater",
            "spatula",
            "colander",
            "saucepan",
            "toaster",
            "blender",
            "apron",
            "cutlery",
            "teapot",
            "casserole",
        ],
    ),
    (
        "music",
        [
            "guitar",
            "drum",
            "violin",
            "chord",
            "amplifier",
            "flute",
            "piano",
            "string",
            "trumpet",
            "metronome",
            "cello",
            "tuner",
            "bass",
            "ukulele",
            "cymbal",
            "songbook",
        ],
    ),
    (
        "office",
        [
            "stapler",
            "printer",
            "folder",
            "desk",
            "toner",
            "envelope",
            "binder",
            "notepad",
            "ink",
            "shredder",
            "whiteboard",
            "marker",
            "calendar",
            "laminator",
            "paperclip",
            "ruler",
        ],
    ),
    (
        "sports",
        [
            "racket",
            "ball",
            "goal",
            "jersey",
            "helmet",
            "dumbbell",
            "treadmill",
            "skate",
            "paddle",
            "whistle",
            "net",
            "bicycle",
            "trainer",
            "yoga",
            "climbing",
            "ski",
        ],
    ),
    (
        "toys",
        [
            "puzzle",
            "doll",
            "kite",
            "dice",
            "robot",
            "teddy",
            "blocks",
            "marbles",
            "puppet",
            "yoyo",
            "rattle",
            "playdough",
            "dinosaur",
            "train",
            "crayon",
            "balloon",
        ],
    ),
    (
        "books",
        [
            "novel",
            "author",
            "chapter",
            "poetry",
            "paperback",
            "thriller",
            "biography",
            "atlas",
            "dictionary",
            "essay",
            "fairytale",
            "bookmark",
            "anthology",
            "memoir",
            "comic",
            "hardcover",
        ],
    ),
    (
        "lighting",
        [
            "lamp",
            "bulbholder",
            "lumen",
            "candle",
            "lantern",
            "dimmer",
            "chandelier",
            "spotlight",
            "torch",
            "shade",
            "fixture",
            "glow",
            "led",
            "sconce",
            "filament",
            "beam",
        ],
    ),
];

/// Words that say nothing about the category.
const COMMON: &[&str] = &[
    "the",
    "and",
    "with",
    "for",
    "new",
    "our",
    "best",
    "price",
    "quality",
    "made",
    "from",
    "set",
    "small",
    "large",
    "blue",
    "red",
    "green",
    "black",
    "white",
    "light",
    "strong",
    "easy",
    "use",
    "home",
    "every",
    "day",
    "year",
    "gift",
    "order",
    "now",
    "free",
    "delivery",
    "box",
    "includes",
    "two",
    "three",
    "pack",
    "size",
    "colour",
    "material",
    "steel",
    "wood",
    "cotton",
    "plastic",
    "durable",
    "classic",
    "modern",
    "design",
    "customer",
    "favourite",
    "guarantee",
    "warranty",
    "weight",
    "height",
    "width",
    "clean",
    "soft",
    "hard",
    "safe",
    "children",
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    /// The links of a page within the site, found the simple way: the pages are our own.
    fn links(page: &str, path: &str) -> Vec<String> {
        let body = page.split("<nav>").nth(1).unwrap_or_default();
        let hrefs = body.split("href=").skip(1).map(|rest| {
            rest.trim_start_matches(['"', '\''])
                .split(['"', '\'', '>', ' ', '#'])
                .next()
                .unwrap_or_default()
        });
        hrefs
            .filter(|href| !href.contains(':'))
            .map(|href| match href.strip_prefix("..") {
                Some(rest) => rest.to_string(),
                None if href.starts_with('/') => href.to_string(),
                None => format!("{}/{href}", path.rsplit_once('/').unwrap().0),
            })
            .collect()
    }

    /// Follows every link that robots.txt allows.
    fn walk(site: &Site) -> Census {
        let mut seen = BTreeSet::from(["/".to_string()]);
        let mut todo = VecDeque::from(["/".to_string()]);
        let mut found = Census::default();
        while let Some(path) = todo.pop_front() {
            let reply = site.reply(&path, 0.0);
            found.factors += reply.factor;
            if reply.status == 404 {
                found.broken += 1;
                continue;
            }
            found.pages += 1;
            if let Some(product) = site.product_at(&path) {
                found.products += 1;
                found.price_cents += site.price_cents(product);
            }
            found.listings += u64::from(path.starts_with("/c/"));
            for link in links(&site.page(&path), &path) {
                if !link.starts_with("/cart/") && seen.insert(link.clone()) {
                    todo.push_back(link);
                }
            }
        }
        found
    }

    #[test]
    fn the_census_is_what_a_walk_finds() {
        for (seed, products) in [(1, 1), (1, 7), (2, 160), (3, 161), (4, 1000), (5, 4321)] {
            let site =
                Site { broken: 0.1, withdrawn: 0.05, slow: 0.1, ..Site::new(seed, products) };
            let (census, walked) = (site.census(), walk(&site));
            assert_eq!(census.factors.round(), walked.factors.round(), "{products}");
            assert_eq!(
                Census { factors: 0.0, ..census },
                Census { factors: 0.0, ..walked },
                "{products}"
            );
        }
    }

    #[test]
    fn pages_are_as_long_as_asked_for_and_the_same_each_time() {
        let site = Site::new(9, 500);
        for path in ["/", "/about", "/c/garden", "/c/toys/2", "/p/3", "/labelled/5", "/cart/9"] {
            let page = site.page(path);
            assert_eq!(page, site.page(path));
            assert!(
                (8 << 10) - 100 < page.len() && page.len() <= 8 << 10,
                "{path}: {}",
                page.len()
            );
        }
        assert_ne!(site.page("/p/3"), Site::new(10, 500).page("/p/3"));
        let short = Site { page_bytes: 0, ..site };
        assert!(short.page("/p/3").ends_with("</html>\n"));
    }

    #[test]
    fn paths_are_written_in_one_way_only() {
        let site = Site::new(1, 500);
        for path in [
            "/p/500",
            "/p/007",
            "/p/+7",
            "/p/",
            "/c/garden/1",
            "/c/garden/99",
            "/c/cars",
            "/gone/3",
            "/x",
            "",
        ] {
            assert_eq!(site.reply(path, 0.0).status, 404, "{path}");
            assert_eq!(site.page(path), "");
        }
        assert_eq!(site.reply("/p/499", 0.0).status, 200);
        assert_eq!(site.product_at("/p/499"), Some(499));
    }

    #[test]
    fn a_share_is_busy_slow_broken_and_withdrawn() {
        let site = Site { busy: 0.25, ..Site::new(1, 20_000) };
        assert_eq!(site.reply("/p/1", 0.76).status, 429);
        assert_eq!(site.reply("/p/1", 0.74).status, 200);
        assert_eq!(site.reply("/robots.txt", 0.99).status, 200);
        let census = site.census();
        let share = |n: u64| n as f64 / 20_000.0;
        assert!((share(census.broken) - 0.02).abs() < 0.005, "{census:?}");
        assert!((share(census.products) - 0.99).abs() < 0.005, "{census:?}");
        let mean = census.factors / (census.pages + census.broken) as f64;
        assert!((mean - 1.08).abs() < 0.02, "{mean}");
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let good = Site::new(1, 10);
        good.check().unwrap();
        for (bad, part) in [
            (Site { products: 0, ..good }, "products"),
            (Site { page_bytes: usize::MAX, ..good }, "too long"),
            (Site { slow: -0.1, ..good }, "share"),
            (Site { broken: f64::NAN, ..good }, "share"),
            (Site { busy: 1.0, ..good }, "busy"),
            (Site { slow_factor: 0.5, ..good }, "factor"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn no_word_belongs_to_two_categories() {
        let mut seen = BTreeSet::new();
        let all = CATEGORIES.iter().flat_map(|(_, words)| words).chain(COMMON);
        for word in all {
            assert!(seen.insert(word), "{word}");
        }
    }
}
