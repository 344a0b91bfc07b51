//! The languages that a lab's experiment may be re-made in, and sets of them.

use std::fmt;

/// A language with a runtime of its own that a lab's experiment may be re-made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// asyncio and aiohttp.
    Python,
    /// The event loop of Node.js, and its worker threads.
    Node,
    /// Goroutines.
    Go,
    /// Virtual threads.
    Java,
}

impl Language {
    /// All of them, in the order in which they are told.
    pub const ALL: [Language; 4] = [Language::Python, Language::Node, Language::Go, Language::Java];

    /// What it is called on the command line and in series of records: "python".
    pub const fn key(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Node => "node",
            Language::Go => "go",
            Language::Java => "java",
        }
    }

    /// What it is called in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Language::Python => "Python",
            Language::Node => "Node",
            Language::Go => "Go",
            Language::Java => "Java",
        }
    }

    /// The series of an arm in it: "python/burst".
    pub fn series(self, arm: &str) -> String {
        format!("{}/{arm}", self.key())
    }

    /// The language of a series, and the arm: of "python/burst/no limit", "burst/no limit". `None` for a series of
    /// Rust's.
    pub fn of_series(series: &str) -> Option<(Language, &str)> {
        let (key, arm) = series.split_once('/')?;
        let language = Language::ALL.into_iter().find(|language| language.key() == key)?;
        Some((language, arm))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of languages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Languages(u8);

impl Languages {
    /// No language.
    pub const NONE: Languages = Languages(0);

    /// These languages.
    pub const fn of(all: &[Language]) -> Languages {
        let (mut set, mut at) = (0, 0);
        while at < all.len() {
            set |= 1 << all[at] as u8;
            at += 1;
        }
        Languages(set)
    }

    /// Reads a list as people write it: "python,go", or "all".
    ///
    /// # Errors
    /// The sentence for the user.
    pub fn read(text: &str) -> Result<Languages, String> {
        let mut set = Languages::NONE;
        for word in text.split(',').map(|word| word.trim().to_lowercase()) {
            let known = Language::ALL.into_iter().find(|language| language.key() == word);
            set = match known {
                Some(language) => set.and(Languages::of(&[language])),
                None if word == "all" => Languages::of(&Language::ALL),
                None => {
                    let keys = Language::ALL.map(Language::key).join(", ");
                    return Err(format!("\"{word}\" is none of {keys} and all"));
                }
            };
        }
        Ok(set)
    }

    /// Those of both.
    pub const fn and(self, other: Languages) -> Languages {
        Languages(self.0 | other.0)
    }

    /// Whether it is one of them.
    pub const fn has(self, language: Language) -> bool {
        self.0 & 1 << language as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They, in the order in which they are told.
    pub fn iter(self) -> impl Iterator<Item = Language> {
        Language::ALL.into_iter().filter(move |language| self.has(*language))
    }
}

impl fmt::Display for Languages {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.iter().map(Language::key).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_people_write_it() {
        let all = Languages::of(&Language::ALL);
        assert_eq!(Languages::read("all"), Ok(all));
        assert_eq!(Languages::read("python,node,go,java"), Ok(all));
        let two = Languages::of(&[Language::Python, Language::Go]);
        assert_eq!(Languages::read(" Go, python"), Ok(two));
        assert_eq!(two.to_string(), "python,go");
        assert!(two.has(Language::Go) && !two.has(Language::Java) && !two.is_empty());
        assert!(Languages::NONE.is_empty() && Languages::NONE.iter().next().is_none());
        for odd in ["", "python,,go", "ruby", "python go"] {
            assert!(Languages::read(odd).is_err_and(|why| why.contains("python, node, go, java")));
        }
    }

    #[test]
    fn a_series_tells_its_language() {
        let of = Language::of_series;
        assert_eq!(of("python/burst/no limit"), Some((Language::Python, "burst/no limit")));
        assert_eq!(of(&Language::Go.series("async")), Some((Language::Go, "async")));
        assert_eq!(of("burst/no limit"), None);
        assert_eq!(of("pythonic/burst"), None);
        assert_eq!(of("python"), None);
    }
}
