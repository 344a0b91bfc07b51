//! A quantity, said once: how it is read off a condition, what theory says of it there, how near they must be
//! and why, how it is written. Claims, lines, columns and answers are made from it.

use crate::{
    answer::Answer,
    claim::{Case, Claim, Law},
    disturbance::Disturbed,
    figure::{Colour, Line, ValueBar},
    gauge::Gauge,
    given::Given,
    record::Trial,
    stats::Estimate,
    summary::Condition,
    text::cell,
};

/// How far measurement and theory may lie apart.
#[derive(Clone, Copy, Debug)]
pub enum Within {
    /// So much, in the unit of the claim.
    Absolute(f64),
    /// A share of what theory says there.
    Share(f64),
}

type Read<'q> = Box<dyn Fn(&Condition) -> Option<Estimate> + 'q>;
type Theory<'q> = Box<dyn Fn(&Condition) -> Option<Given> + 'q>;

/// What is looked at in conditions.
pub struct Quantity<'q> {
    /// Its unit in claims.
    unit: &'static str,
    write: fn(f64) -> String,
    read: Read<'q>,
    theory: Theory<'q>,
    within: Within,
    why: &'static str,
    disturbed: Disturbed,
    /// Values are so many times as large in claims and answers: shares as percent.
    scale: f64,
}

impl<'q> Quantity<'q> {
    /// Read off a condition, and written so in tables and sentences. `unit` is that of claims.
    pub fn new(
        unit: &'static str,
        write: fn(f64) -> String,
        read: impl Fn(&Condition) -> Option<Estimate> + 'q,
    ) -> Quantity<'q> {
        Quantity {
            unit,
            write,
            read: Box::new(read),
            theory: Box::new(|_| None),
            within: Within::Absolute(0.0),
            why: "",
            disturbed: Disturbed::Never,
            scale: 1.0,
        }
    }

    /// A gauge.
    pub fn gauge(unit: &'static str, write: fn(f64) -> String, gauge: Gauge) -> Quantity<'q> {
        Quantity::new(unit, write, move |k| k.gauge(gauge))
    }

    /// A figure of each trial.
    pub fn of_trials(
        unit: &'static str,
        write: fn(f64) -> String,
        figure: impl Fn(&Trial) -> Option<f64> + 'q,
    ) -> Quantity<'q> {
        Quantity::new(unit, write, move |k| k.estimate(&figure))
    }

    /// What theory says at a condition; `None` where it says nothing.
    pub fn theory<G: Into<Given>>(
        self,
        theory: impl Fn(&Condition) -> Option<G> + 'q,
    ) -> Quantity<'q> {
        let theory: Theory = Box::new(move |k| theory(k).map(Into::into));
        Quantity { theory, ..self }
    }

    /// How near they must be, and why that near, in one line.
    pub fn within(self, within: Within, why: &'static str) -> Quantity<'q> {
        Quantity { within, why, ..self }
    }

    /// What disturbs it; without this nothing does.
    pub fn disturbed(self, disturbed: Disturbed) -> Quantity<'q> {
        Quantity { disturbed, ..self }
    }

    /// In claims and answers so many times as large: 100 for shares that are told in percent. The tolerance is in the
    /// unit of the claim.
    pub fn scaled(self, scale: f64) -> Quantity<'q> {
        Quantity { scale, ..self }
    }

    /// What was measured.
    pub fn measured(&self, k: &Condition) -> Option<Estimate> {
        (self.read)(k)
    }

    /// What theory says.
    pub fn predicted(&self, k: &Condition) -> Option<Given> {
        (self.theory)(k)
    }

    /// What was measured, as it is written.
    pub fn cell(&self, k: &Condition) -> String {
        cell(self.measured(k), self.write)
    }

    /// What theory says, as it is written.
    pub fn theory_cell(&self, k: &Condition) -> String {
        self.predicted(k).map_or("–".into(), |g| (self.write)(g.value))
    }

    /// The condition as a case of a claim. Where theory says nothing, nothing confirms it: who does not mean the
    /// condition leaves it out.
    pub fn case(&self, name: impl Into<String>, k: &Condition) -> Case {
        let predicted = self.predicted(k).unwrap_or(f64::NAN.into()) * self.scale;
        let measured = self.measured(k).map(|m| match self.scale {
            1.0 => m,
            scale => m.scaled(scale),
        });
        match self.within {
            Within::Absolute(apart) => Case::new(name, predicted, measured, apart),
            Within::Share(share) => Case::share(name, predicted, measured, share),
        }
    }

    /// The words of a claim about it.
    pub fn law(&self, text: impl Into<String>) -> Law {
        Law::new(text, self.unit, self.disturbed).within(self.why)
    }

    /// The claim that it is what theory says, at each of these conditions.
    pub fn near<'k, 'r: 'k>(
        &self,
        text: impl Into<String>,
        name: impl Fn(&Condition) -> String,
        conditions: impl IntoIterator<Item = &'k Condition<'r>>,
    ) -> Claim {
        let cases = conditions.into_iter().map(|k| self.case(name(k), k));
        self.law(text).near(cases)
    }

    /// What was measured, as a line over the conditions.
    pub fn line<'k, 'r: 'k>(
        &self,
        label: &str,
        colour: Colour,
        conditions: impl IntoIterator<Item = &'k Condition<'r>>,
    ) -> Line {
        let values = conditions.into_iter().map(|k| (k.x(), self.measured(k)));
        Line::of_estimates(label, colour, values)
    }

    /// What was measured, with its interval, as a bar beside theory.
    pub fn bar(&self, label: &str, colour: Colour, k: &Condition) -> ValueBar {
        let measured = self.measured(k);
        let bar = ValueBar::measured(label, colour, measured.map_or(f64::NAN, |m| m.value));
        ValueBar {
            theory: self.predicted(k).map(|g| g.value),
            ..bar.with_interval(measured.and_then(|m| m.ci95))
        }
    }

    /// The answer to a question about it.
    pub fn answer(&self, key: &'static str, k: Option<&Condition>) -> Answer {
        let measured = k.and_then(|k| self.measured(k));
        let theory = k.and_then(|k| self.predicted(k)).map_or(f64::NAN, |g| g.value);
        Answer::near(key, measured, theory).scaled(self.scale)
    }
}
