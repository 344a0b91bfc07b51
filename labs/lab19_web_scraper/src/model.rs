//! What theory says of crawls and queues, by the flags.

use lab_crawl::worker::Settings;

use super::Params;

/// Pages that list products, for each product.
pub(super) const LISTED: f64 = 1.0 / mock_server::site::PER_LISTING as f64;

/// What the time of an answer is multiplied by on average.
fn mean_factor(p: &Params) -> f64 {
    1.0 + p.slow * (p.slow_factor - 1.0)
}

/// Seconds that a crawl of so many products takes when the host allows no more: each product, a page
/// that lists it with others, and links that lead nowhere.
pub(super) fn wall(p: &Params, products: usize) -> f64 {
    let each = mean_factor(p) + LISTED + p.broken + p.busy;
    // One after another until there is enough to do at the same time: the first page, a category, its
    // further pages, a product.
    let fill = (products as f64).log2().max(1.0) * p.fetch.s();
    products as f64 * each * p.fetch.s() / p.limit as f64 + fill
}

/// Pages a second that the host allows by the flags alone: of a product, of its part of a listing, of a link
/// that leads nowhere and of being asked to come back.
pub(super) fn allowed_by_flags(p: &Params) -> f64 {
    let pages = 1.0 + LISTED;
    let answers = mean_factor(p) + LISTED + p.broken + p.busy * pages;
    pages / answers * p.limit as f64 / p.fetch.s()
}

/// The most pages between fetches and a computation: the fetches come in rounds, as many at a time as the
/// limit allows; when the last has come, one has left for each computation since the first came.
pub(super) fn backlog(p: &Params, pages: usize) -> f64 {
    let fetched = p.fetch.s() * pages.div_ceil(p.limit) as f64;
    let computed = ((fetched - p.fetch.s()) / p.compute.s()).floor();
    (pages as f64 - computed).max(1.0)
}

/// Tasks that a worker has in hand at most: those it takes, those it has ready, and those in the
/// bridge.
pub(super) fn held(p: &Params) -> usize {
    let s = Settings::for_limit(p.limit);
    2 * s.take + s.fetches + s.queue + p.workers + s.stores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::params;

    #[test]
    fn the_backlog_of_a_slow_computation() {
        let p = params(&["--limit", "40", "--fetch", "16ms", "--compute", "1ms"]);
        // After 8 rounds of 16 ms all 300 have come; 112 ms after the first, 112 have left.
        assert_eq!(backlog(&p, 300), 188.0);
        assert_eq!(backlog(&p, 40), 40.0);
    }

    #[test]
    fn the_host_allows_limit_over_answer() {
        let p = params(&[
            "--limit",
            "40",
            "--fetch",
            "16ms",
            "--slow",
            "0.1",
            "--slow-factor",
            "3",
            "--broken",
            "0",
            "--busy",
            "0",
        ]);
        assert!((mean_factor(&p) - 1.2).abs() < 1e-12);
        // 100,000 products and a twentieth of listings at 2,500/s, and 17 answers to begin with.
        assert!((wall(&p, 100_000) - (1.25 * 40.0 + 16.61 * 0.016)).abs() < 0.01);
    }

    #[test]
    fn what_the_flags_allow_is_what_a_whole_crawl_is_planned_with() {
        let p = params(&["--busy", "0"]);
        let (n, fill) = (1_000_000, 20.0 * p.fetch.s());
        let pages = n as f64 * (1.0 + LISTED);
        let share = allowed_by_flags(&p) * (wall(&p, n) - fill) / pages;
        assert!((share - 1.0).abs() < 1e-3, "{share}");
    }
}
