//! lab19: the same as `labs run 19`.

lab_kit::binary!(lab19::WebScraper);
