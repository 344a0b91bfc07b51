//! The address of a server, with a password that stays where it is.

use std::{convert::Infallible, fmt, str::FromStr};

use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// The URL of a server, as it was typed. Whatever shows, logs or records it gets it without the
/// password; only [`reveal`](ServerUrl::reveal) hands it out.
///
/// Taking it from text never fails: a parser that refuses a URL quotes it in its message, and clap is
/// no exception. What is wrong with it is said where it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL with its password, for the client that connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What comes before `://`; empty if nothing does.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Takes the parameters after `?` that `ours` names out of the URL: the URL without them, and them.
    /// Clients refuse parameters they do not know, and some of ours they do not.
    pub fn without(&self, ours: &[&str]) -> (ServerUrl, Vec<(String, String)>) {
        let Some((base, query)) = self.0.split_once('?') else {
            return (self.clone(), Vec::new());
        };
        let (mine, theirs): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| ours.contains(&pair.split('=').next().unwrap_or_default()));
        let mut rest = base.to_string();
        if !theirs.is_empty() {
            rest = format!("{rest}?{}", theirs.join("&"));
        }
        // Any URL will do to have the parameters decoded.
        let decoded = Url::parse(&format!("any:?{}", mine.join("&")));
        let taken = decoded.iter().flat_map(|url| url.query_pairs().into_owned()).collect();
        (ServerUrl(rest), taken)
    }
}

impl From<&str> for ServerUrl {
    fn from(text: &str) -> ServerUrl {
        ServerUrl(text.trim().to_string())
    }
}

impl FromStr for ServerUrl {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<ServerUrl, Infallible> {
        Ok(text.into())
    }
}

/// Rather too little is shown than too much: a password with an unencoded `/`, `?` or `@` in it is
/// hidden as well, and so is all of what is no URL.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str(HIDDEN);
        };
        write!(f, "{scheme}://")?;
        let rest = match rest.rsplit_once('@') {
            Some((login, rest)) => {
                // A redis login without a colon is a user without a password, or a slip.
                let user = match login.split_once(':') {
                    Some((user, _)) => format!("{user}:{HIDDEN}"),
                    None if scheme.starts_with("postgres") => login.to_string(),
                    None => HIDDEN.to_string(),
                };
                write!(f, "{user}@")?;
                rest
            }
            None => rest,
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        f.write_str(place)?;
        for (i, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = [
                "prefix",
                "lease",
                "deliveries",
                "sslmode",
                "sslrootcert",
                "application_name",
                "connect_timeout",
                "dbname",
                "host",
                "port",
                "user",
            ];
            let shown = if known.contains(&key) { value } else { HIDDEN };
            write!(f, "{}{key}={shown}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// Into a record it goes without the password.
impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ServerUrl, D::Error> {
        String::deserialize(deserializer).map(|text| text.as_str().into())
    }
}

/// A word of a command line as it may be shown: an address in it without its password, and nothing of what
/// may have been meant as one.
pub fn shown(word: &str) -> String {
    let Some(scheme) = word.find("://") else {
        return if word.contains('@') { HIDDEN } else { word }.to_string();
    };
    let start = word[..scheme].rfind('=').map_or(0, |at| at + 1);
    let (flag, url) = word.split_at(start);
    format!("{flag}{}", ServerUrl::from(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    #[test]
    fn a_password_never_shows() {
        for (url, shown) in [
            ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
            ("rediss://anna:hunter2@h", "rediss://anna:***@h"),
            ("redis://hunter2@h", "redis://***@h"),
            ("postgres://anna:hunter2@h:5432/labs", "postgres://anna:***@h:5432/labs"),
            ("postgres://anna@h/labs?sslmode=require", "postgres://anna@h/labs?sslmode=require"),
            ("postgres://anna@h/labs?password=hunter2", "postgres://anna@h/labs?password=***"),
            (
                "postgres://h/labs?port=1&sslpassword=hunter2",
                "postgres://h/labs?port=1&sslpassword=***",
            ),
            // Typed without encoding, as people do.
            ("redis://:a/hunter2@h", "redis://:***@h"),
            ("redis://:a?hunter2@h", "redis://:***@h"),
            ("redis://:a@hunter2@h", "redis://:***@h"),
            ("redis://:#hunter2@h", "redis://:***@h"),
            // No URL at all.
            ("host=h password=hunter2", "***"),
            ("hunter2", "***"),
            ("", "***"),
        ] {
            let parsed: ServerUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parsed.reveal(), url);
            let everywhere = format!("{parsed:?} {}", serde_json::to_string(&parsed).unwrap());
            assert!(!everywhere.contains(SECRET), "{everywhere}");
        }
    }

    #[test]
    fn what_was_recorded_reads_back_without_the_password() {
        let url = ServerUrl::from("redis://anna:hunter2@h/0?prefix=x");
        let text = serde_json::to_string(&url).unwrap();
        let back: ServerUrl = serde_json::from_str(&text).unwrap();
        assert_eq!(back.reveal(), "redis://anna:***@h/0?prefix=x");
    }

    #[test]
    fn our_parameters_are_taken_out_and_decoded() {
        let url = ServerUrl::from("redis://h/0?prefix=a%20b&protocol=resp3&lease=10s");
        let (rest, ours) = url.without(&["prefix", "lease"]);
        assert_eq!(rest.reveal(), "redis://h/0?protocol=resp3");
        let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
        assert_eq!(ours, [pair("prefix", "a b"), pair("lease", "10s")]);
        let (rest, ours) = ServerUrl::from("redis://h?prefix=x").without(&["prefix"]);
        assert_eq!((rest.reveal(), ours.len()), ("redis://h", 1));
    }

    #[test]
    fn words_of_a_command_are_shown_without_passwords() {
        for (word, as_shown) in [
            ("--target=http://anna:hunter2@h:1/x", "--target=http://anna:***@h:1/x"),
            ("http://anna:hunter2@h", "http://anna:***@h"),
            ("http://hunter2@h", "http://***@h"),
            ("http://h/?key=hunter2", "http://h/?key=***"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("anna:hunter2@h", "***"),
            ("nonsense", "nonsense"),
            ("--slots=37", "--slots=37"),
            ("note=a=b", "note=a=b"),
        ] {
            assert_eq!(shown(word), as_shown);
        }
    }
}
