//! What a site asks of its visitors: robots.txt (RFC 9309, 2022).
//!
//! The group for this visitor's name counts, or else the one for `*`. Of its rules the one with the
//! longest path that fits decides, and of equally long ones the friendlier. `*` stands for anything,
//! `$` at the end for the end. A site without the file allows everything.
//!
//! The crates for this (texting_robots, robotstxt) bring a regular-expression engine or have rested for
//! years; the rules are two pages.

/// The rules of a site for one visitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: String,
    allows: bool,
}

impl Rules {
    /// Everything is allowed.
    pub fn none() -> Rules {
        Rules::default()
    }

    /// Reads the rules for the visitor of this name ("lab-crawler", without a version).
    pub fn parse(text: &str, visitor: &str) -> Rules {
        let (mut own, mut anybody) = (None, None);
        // Whom the group that is being read is for, and whether it has had a rule.
        let (mut for_own, mut for_anybody, mut ruled) = (false, false, true);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if ruled {
                        (for_own, for_anybody, ruled) = (false, false, false);
                    }
                    for_own |= value.eq_ignore_ascii_case(visitor);
                    for_anybody |= value == "*";
                    // A group without rules is one all the same: it allows everything.
                    if for_own {
                        own.get_or_insert_with(Vec::new);
                    }
                    if for_anybody {
                        anybody.get_or_insert_with(Vec::new);
                    }
                }
                "allow" | "disallow" => {
                    ruled = true;
                    let rule = Rule { pattern: value.into(), allows: key == "allow" };
                    // An empty one forbids nothing.
                    if value.is_empty() {
                        continue;
                    }
                    if for_own {
                        own.get_or_insert_with(Vec::new).push(rule.clone());
                    }
                    if for_anybody {
                        anybody.get_or_insert_with(Vec::new).push(rule);
                    }
                }
                _ => {}
            }
        }
        Rules(own.or(anybody).unwrap_or_default())
    }

    /// Whether the visitor may fetch this path (with its query, as it is sent).
    pub fn allows(&self, path: &str) -> bool {
        let fitting = self.0.iter().filter(|rule| fits(&rule.pattern, path));
        let decides = fitting.max_by_key(|rule| (rule.pattern.len(), rule.allows));
        decides.is_none_or(|rule| rule.allows) || path == "/robots.txt"
    }
}

/// Whether a path begins as a pattern says.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    for (i, piece) in pieces.iter().enumerate() {
        // The last piece of a pattern that says where the path ends is at its end; of any other the
        // first place that fits leaves most for those after it.
        if whole && i + 1 == pieces.len() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    !whole || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_fitting_rule_decides() {
        let text = "User-agent: *\nDisallow: /p\nAllow: /p/open\nDisallow: /*.pdf$\nAllow: /p/open/\nDisallow: /p/open/\n";
        let rules = Rules::parse(text, "lab-crawler");
        for (path, allowed) in [
            ("/", true),
            ("/p", false),
            ("/private", false),
            ("/p/open", true),
            ("/p/open/x", true),
            ("/a/b.pdf", false),
            ("/a/b.pdf?x", true),
            ("/robots.txt", true),
        ] {
            assert_eq!(rules.allows(path), allowed, "{path}");
        }
    }

    #[test]
    fn the_group_for_the_visitor_counts_or_else_the_one_for_everybody() {
        let text = "\u{feff}Disallow: /before-any-group
            user-agent: greedy-bot # a comment
            User-Agent: LAB-crawler
            Disallow: /cart/ # and another
            Sitemap: /map
            User-agent: *
            Disallow: /
            User-agent: guest
            Disallow:
            User-agent: lab-crawler
            Disallow: /again";
        let may = |visitor: &str, path: &str| Rules::parse(text, visitor).allows(path);
        assert!(may("lab-crawler", "/p/1") && !may("lab-crawler", "/cart/1"));
        assert!(!may("lab-crawler", "/again"), "groups of one name are one group");
        assert!(!may("greedy-bot", "/cart/1"));
        assert!(!may("somebody", "/p/1"));
        assert!(may("guest", "/cart/1"), "an empty rule forbids nothing");
        assert!(Rules::parse("", "x").allows("/") && Rules::none().allows("/"));
        let shop = mock_server::Site::new(1, 10).page("/robots.txt");
        let rules = Rules::parse(&shop, "lab-crawler");
        assert!(rules.allows("/p/1") && !rules.allows("/cart/1") && rules.allows("/cart/terms"));
    }

    /// The slow and obvious way.
    fn fits_slowly(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            ([], _) => true,
            (b"$", []) => true,
            ([b'*', rest @ ..], _) => (0..=path.len()).any(|i| fits_slowly(rest, &path[i..])),
            ([p, pattern @ ..], [c, path @ ..]) => p == c && fits_slowly(pattern, path),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_the_obvious_way_says(pattern in "/[ab*]{0,6}\\$?", path in "/[ab]{0,7}") {
            prop_assert_eq!(fits(&pattern, &path), fits_slowly(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn any_text_is_read(text in "(?s).{0,200}", path in "/.{0,20}") {
            Rules::parse(&text, "lab-crawler").allows(&path);
        }
    }
}
