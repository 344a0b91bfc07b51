//! What a program is asked to do, as flags, and how it is told.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use lab_kit::{address, prelude::*};
use serde::{Deserializer, Serializer};

use crate::brief::Brief;

/// Most items, so that the books hold every request of a program that asks for each a hundred times.
const MOST: usize = 1000;

/// What a program is asked to do, what it is asked of, and the program.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// How many items there are, N in the task: the first is item 0
    #[arg(long, default_value_t = 200, value_parser = items)]
    pub n: usize,
    /// Most requests in flight at a time
    #[arg(long, default_value_t = 10, value_parser = items)]
    pub limit: usize,
    /// How long an attempt may take before the program gives it up
    #[arg(long, default_value = "400ms")]
    pub timeout: Time,
    /// Orders, each to be sent once
    #[arg(long, default_value_t = 20, value_parser = items)]
    pub orders: usize,
    /// Most attempts at an item
    #[arg(long, default_value_t = 4, value_parser = tries)]
    pub attempts: usize,
    /// How long to wait before the second attempt; twice as long before the third
    #[arg(long, default_value = "50ms")]
    pub backoff: Time,
    /// Requests that the service serves at a time
    #[arg(long, default_value_t = 10, value_parser = items)]
    pub slots: usize,
    /// How long it takes for one: 50ms, exp:50ms, lognormal:50ms:0.5
    #[arg(long, default_value = "50ms", value_parser = service)]
    pub service: Times,
    /// How long the program may take, each time
    #[arg(long, default_value = "60s")]
    pub patience: Time,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    #[serde(serialize_with = "without_passwords")]
    pub command: Vec<String>,
}

/// A service time as it is typed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Times {
    typed: String,
    /// The service time.
    pub of: ServiceTime,
}

impl TryFrom<String> for Times {
    type Error = String;

    fn try_from(typed: String) -> Result<Times, String> {
        let of: ServiceTime = typed.parse().map_err(|e| format!("{e}"))?;
        Ok(Times { typed, of })
    }
}

impl From<Times> for String {
    fn from(times: Times) -> String {
        times.typed
    }
}

impl Times {
    /// So many times as long.
    pub fn times(&self, factor: u32) -> ServiceTime {
        match &self.of {
            ServiceTime::Constant(time) => ServiceTime::Constant(*time * factor),
            ServiceTime::Exponential { mean } => ServiceTime::Exponential { mean: *mean * factor },
            ServiceTime::LogNormal { mean, cv } => {
                ServiceTime::LogNormal { mean: *mean * factor, cv: *cv }
            }
            ServiceTime::Trace(times) => {
                ServiceTime::Trace(times.iter().map(|time| *time * factor).collect())
            }
        }
    }
}

fn without_passwords<S: Serializer>(words: &[String], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(words.iter().map(|word| address::shown(word)))
}

fn service(text: &str) -> Result<Times, String> {
    text.to_owned().try_into()
}

fn items(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn tries(text: &str) -> Result<usize, String> {
    whole(text, 1..=20)
}

impl Asked {
    /// Mean service time in seconds.
    pub fn service_s(&self) -> f64 {
        self.service.of.mean().as_secs_f64()
    }

    /// After how long an attempt is given up, where a brief asks for it.
    pub fn gives_up<B: Brief>(&self) -> Option<Duration> {
        B::has("timeout").then(|| self.timeout.duration())
    }

    /// Everything that a program can be told, by name: each stands in braces in its command.
    fn placeholders(&self, url: &str) -> [(&'static str, String); 7] {
        [
            (URL, url.to_owned()),
            ("n", self.n.to_string()),
            ("limit", self.limit.to_string()),
            ("timeout", self.timeout.s().to_string()),
            ("orders", self.orders.to_string()),
            ("attempts", self.attempts.to_string()),
            ("backoff", self.backoff.s().to_string()),
        ]
    }

    /// What a brief tells: the address, and those of its flags that are no affair of the service alone.
    fn told<B: Brief>(&self, url: &str) -> Vec<(&'static str, String)> {
        let all = self.placeholders(url).into_iter();
        all.filter(|(name, _)| *name == URL || B::has(name)).collect()
    }

    /// Why a command cannot be told what it asks for.
    ///
    /// # Errors
    /// When there is a placeholder of another brief in it.
    pub(crate) fn tells_all<B: Brief>(&self) -> Result<(), String> {
        let told = self.told::<B>("");
        let in_command = |name: &str| self.command.iter().any(|word| word.contains(&braced(name)));
        let is_told = |name: &str| told.iter().any(|(told, _)| *told == name);
        let all = self.placeholders("").into_iter();
        match all.map(|(name, _)| name).find(|name| in_command(name) && !is_told(name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "{} is not told here; these are: {}",
                braced(name),
                told.iter().map(|(name, _)| braced(name)).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// The words of the command, with what is told filled in.
    pub fn words<B: Brief>(&self, url: &str) -> Vec<String> {
        let told = self.told::<B>(url);
        self.command.iter().map(|word| filled(word, &told)).collect()
    }

    /// What is set in the program's environment: `JUDGE_URL`, `JUDGE_N` and so on, and what is there already
    /// with a placeholder in it.
    pub fn environment<B: Brief>(&self, url: &str) -> Vec<(String, String)> {
        let told = self.told::<B>(url);
        let inherited = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let filled = filled(&value, &told);
            (filled != value).then_some((name, filled))
        });
        let inherited: Vec<_> = inherited.collect();
        let own = told.into_iter().map(|(name, value)| (variable(name), value));
        inherited.into_iter().chain(own).collect()
    }
}

/// The service's address.
const URL: &str = "url";

fn braced(name: &str) -> String {
    format!("{{{name}}}")
}

fn variable(name: &str) -> String {
    format!("JUDGE_{}", name.to_uppercase())
}

fn filled(text: &str, told: &[(&'static str, String)]) -> String {
    told.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&braced(name), value))
}

/// What every program has to know about its judge.
fn terms<B: Brief>() -> String {
    let names = ["n", "limit", "timeout", "orders", "attempts", "backoff"];
    let told: Vec<&str> =
        std::iter::once(URL).chain(names.into_iter().filter(|name| B::has(name))).collect();
    let list = |write: &dyn Fn(&str) -> String| {
        told.iter().map(|name| write(name)).collect::<Vec<_>>().join(", ")
    };
    format!(
        "What the program has to do:\n{}\n\n\
         What the program is told, in its command and in its environment:\n{}\n{}\n\
         Times are in seconds. The address is another one each time, and ends without a slash.\n\n\
         What counts: an item is answered when the whole of a 2xx answer has come. A request is given up when its \
         connection is closed before that. The clock runs from the first request to the end of the last one.\n\
         What does not count: what the program prints, its exit code, its start, how many connections it opens, \
         headers, bodies, what comes after a `?`. The program runs once for each trial.",
        B::TASK,
        list(&|name| braced(name).replace("{n}", N)),
        list(&variable),
    )
}

/// `{n}` in a text of clap's, which would make it the end of a line: a change of style in it, to the same style, is
/// taken out where there are no styles.
const N: &str = "{\u{1b}[0mn}";

/// The flags of a lab's judge: those of [`Asked`] that its brief names, with the brief's defaults.
pub struct For<B> {
    /// The flags.
    pub asked: Asked,
    brief: PhantomData<B>,
}

impl<B> For<B> {
    fn of(asked: Asked) -> For<B> {
        For { asked, brief: PhantomData }
    }
}

impl<B: Brief> Args for For<B> {
    fn augment_args(command: Command) -> Command {
        let mut command = Asked::augment_args(command);
        for name in ["n", "limit", "timeout", "orders", "attempts", "backoff", "slots", "service"] {
            let default = B::FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, value)| *value);
            command = command.mut_arg(name, |arg| match default {
                Some(value) => arg.default_value(value),
                None => arg.hide(true),
            });
        }
        command.before_help(terms::<B>())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<B: Brief> FromArgMatches for For<B> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Asked::from_arg_matches(matches).map(For::of)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.asked.update_from_arg_matches(matches)
    }
}

impl<B> Serialize for For<B> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.asked.serialize(to)
    }
}

impl<'de, B> Deserialize<'de> for For<B> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Asked::deserialize(from).map(For::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::briefs::{Resilient, Trap};

    #[test]
    fn placeholders_are_filled_in_everywhere_and_nothing_else_is() {
        let command = Asked::augment_args(Command::new("test").no_binary_name(true));
        let words =
            ["--n", "7", "--timeout", "1500ms", "--", "c", "{url}/x?n={n}", "{N}", "{timeout}"];
        let matches = command.try_get_matches_from(words).unwrap();
        let asked = Asked::from_arg_matches(&matches).unwrap();
        assert_eq!(asked.words::<Resilient>("http://h:1"), ["c", "http://h:1/x?n=7", "{N}", "1.5"]);
        let environment = asked.environment::<Resilient>("http://h:1");
        let own = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(own("JUDGE_URL"), Some("http://h:1"));
        assert_eq!(own("JUDGE_LIMIT"), Some("10"));
        // The trap is that nobody says how many.
        assert_eq!(asked.tells_all::<Trap>(), Ok(()));
        let environment = asked.environment::<Trap>("http://h:1");
        assert!(environment.iter().all(|(name, _)| name != "JUDGE_LIMIT"));
        let asked = Asked { command: vec!["--limit={limit}".into()], ..asked };
        assert!(asked.tells_all::<Trap>().is_err_and(|why| why.contains("{url}, {n}, {timeout}")));
    }

    #[test]
    fn times_are_multiplied_and_vary_as_before() {
        for (typed, thrice) in [
            ("20ms", "60ms"),
            ("exp:20ms", "exp:60ms"),
            ("lognormal:20ms:0.5", "lognormal:60ms:0.5"),
            ("trace:20ms,5ms", "trace:60ms,15ms"),
        ] {
            assert_eq!(service(typed).unwrap().times(3).to_string(), thrice);
        }
    }
}
