//! Presets: the parameters of the material that the suite grew from, and what that material printed, beside
//! what is measured here.

use serde_json::Value;

use crate::{
    card::filled,
    findings::Table,
    lab::Experiment,
    record::Record,
    stats::Estimate,
    summary::Summary,
    text::{cell, number, thousands},
};

/// Title of the table that a run with a preset has.
pub const TITLE: &str = "What the original texts printed";

/// Parameters by name: `--preset source`.
#[derive(Debug)]
pub struct Preset {
    /// Its name in `--preset NAME`.
    pub name: &'static str,
    /// What it is, as a phrase: "1000 requests behind a semaphore (lab notes)".
    pub what: &'static str,
    /// Its flags, as they are typed: after those of the scale, and before the user's own.
    pub flags: &'static str,
    /// What differs from the source all the same, in short sentences. `{service}` stands for the value of the
    /// flag `--service`.
    pub differs: &'static str,
    /// What the source printed.
    pub printed: &'static [Printed],
}

/// A figure that the source printed, at one place or at several.
#[derive(Debug)]
pub struct Printed {
    /// What it is of. `{x}` stands for the place.
    pub what: &'static str,
    /// Its unit, which may be nothing.
    pub unit: &'static str,
    /// Place and figure, as the source has them.
    pub at: &'static [(f64, f64)],
    /// The same figure of a run, in the same unit.
    pub read: fn(&Summary, f64) -> Option<Estimate>,
}

impl Preset {
    /// Its flags as words.
    pub fn words(&self) -> Vec<&'static str> {
        self.flags.split_whitespace().collect()
    }

    /// What differs, with the values that the preset gives.
    pub fn differs(&self, lab: &dyn Experiment) -> String {
        let command = lab.flags(clap::Command::new("preset").no_binary_name(true));
        let matches = command.try_get_matches_from(self.words()).ok();
        let prepared = matches.and_then(|matches| lab.prepare(&matches).ok());
        filled(self.differs, &prepared.map_or(Value::Null, |prepared| prepared.params))
    }

    /// What a run with it is told first: what differs as well, where no table tells it.
    pub fn said(&self, params: &Value) -> String {
        let told = match self.printed {
            [] => format!("\n{}", filled(self.differs, params)),
            _ => String::new(),
        };
        format!("\nPreset {}: {}\n  {}{told}", self.name, self.what, self.flags)
    }

    /// What the source printed beside what was measured; `None` where it printed nothing. `own` are the
    /// parameters that the preset's flags give by themselves.
    pub fn table(&self, record: &Record, own: &Value) -> Option<Table> {
        let columns = ["", "original text", "here", "95 %", "here ÷ original"];
        let (mut table, summary) = (Table::new(TITLE, &columns), Summary::of(record));
        for printed in self.printed {
            let Printed { what, unit, read, .. } = printed;
            let written = |text: String| format!("{text} {unit}").trim_end().to_string();
            for (x, figure) in printed.at {
                let here = read(&summary, *x);
                let interval = here.and_then(|here| here.ci95);
                let ratio = here.map(|here| here.value / figure).filter(|r| r.is_finite());
                table.row([
                    what.replace("{x}", &number(*x)),
                    written(long(*figure).unwrap_or(figure.to_string())),
                    cell(here, |value| written(long(value).unwrap_or(number(value)))),
                    interval.map_or("–".into(), |(low, high)| {
                        format!("{} to {}", number(low), number(high))
                    }),
                    ratio.map_or("–".into(), number),
                ]);
            }
        }
        let mut note = filled(self.differs, &record.params);
        let other = self.other_flags(&record.params, own);
        if !other.is_empty() {
            note += &format!(" This run has its own {}.", other.join(", "));
        }
        table.note(note).unless_empty()
    }

    /// The preset's flags that a run had otherwise.
    fn other_flags(&self, params: &Value, own: &Value) -> Vec<&'static str> {
        let of = |params: &Value, flag: &str| params.get(flag.replace('-', "_")).cloned();
        let flags = self.words().into_iter().filter(|word| word.starts_with("--"));
        flags
            .filter(|flag| {
                let name = flag.trim_start_matches('-');
                of(params, name) != of(own, name)
            })
            .collect()
    }
}

/// A number of many digits, which is read in groups.
fn long(value: f64) -> Option<String> {
    (value >= 10_000.0).then(|| thousands(value.round() as u64))
}

/// The preset of this name.
pub fn named(presets: &'static [Preset], name: &str) -> Option<&'static Preset> {
    presets.iter().find(|preset| preset.name == name)
}

/// A share in percent, as sources print it.
pub fn in_percent(share: Option<Estimate>) -> Option<Estimate> {
    share.map(|share| share.scaled(100.0))
}
