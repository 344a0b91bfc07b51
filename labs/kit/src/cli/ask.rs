//! Predictions: by flag, and by question on a terminal.

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
};

use anyhow::Result;
use serde_json::Value;

use super::{Common, Failed};
use crate::{
    card::Sketch,
    lab::{Card, Experiment},
    prediction,
    text::number,
};

type Predictions = BTreeMap<String, f64>;

/// Refuses keys that none of these labs asks for.
pub(super) fn check_keys(common: &Common, labs: &[&'static dyn Experiment]) -> Result<(), Failed> {
    let asks = |key: &str| labs.iter().any(|lab| key_of(*lab, key).is_some());
    let Some((key, _)) = common.predict.iter().find(|(key, _)| !asks(key)) else {
        return Ok(());
    };
    let questions = labs.iter().flat_map(|l| l.card().predict);
    let curves = labs.iter().flat_map(|l| l.sketches());
    let known: Vec<String> = questions
        .map(|q| q.key.to_string())
        .chain(curves.map(|s| format!("{}@X", s.key)))
        .collect();
    Err(Failed::Usage(format!(
        "--predict {key}=…: there is no such question; there are {}",
        known.join(", ")
    )))
}

/// The key under which the record keeps it, if the lab asks for it.
fn key_of(lab: &dyn Experiment, key: &str) -> Option<String> {
    if lab.card().predict.iter().any(|q| q.key == key) {
        return Some(key.into());
    }
    let (curve, x) = prediction::place(key)?;
    let sketch = lab.sketches().iter().find(|s| s.key == curve)?;
    Some(sketch.key_at(x))
}

/// The keys of a lab, for its help.
pub(super) fn keys(card: &Card, sketches: &[Sketch]) -> String {
    let questions = card
        .predict
        .iter()
        .map(|q| format!("\n  {}: {} ({}, {})", q.key, q.asked(&Value::Null), q.unit, q.hint));
    let curves = sketches.iter().map(|s| {
        format!(
            "\n  {}@X: {}, at X {} ({}, {}); once for each point",
            s.key, s.ask, s.x, s.unit, s.hint
        )
    });
    questions.chain(curves).collect()
}

/// What the reader predicts: the flags, and the rest by question where there is a terminal.
pub(super) fn predictions(
    common: &Common,
    lab: &dyn Experiment,
    params: &Value,
) -> Result<Predictions> {
    let given = common.predict.iter();
    let mut known: Predictions =
        given.filter_map(|(key, value)| Some((key_of(lab, key)?, *value))).collect();
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    let silent = common.no_predict || common.json;
    if !silent && stdin.is_terminal() && stderr.is_terminal() {
        by_question(lab, params, &mut known, &mut stdin.lock(), &mut stderr)?;
    }
    Ok(known)
}

/// Asks for what is not known yet. The end of input skips all the rest.
fn by_question(
    lab: &dyn Experiment,
    params: &Value,
    known: &mut Predictions,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<()> {
    let open = lab.card().predict.iter();
    let open: Vec<_> = open.filter(|q| !known.contains_key(q.key)).collect();
    // Whoever gave points of a curve by flag has drawn it.
    let drawn = |s: &Sketch| {
        let mut places = known.keys().filter_map(|key| prediction::place(key));
        places.any(|(key, _)| key == s.key)
    };
    let curves: Vec<(&Sketch, Vec<f64>)> = lab
        .sketches()
        .iter()
        .filter(|s| !drawn(s))
        .map(|s| (s, s.asked(params)))
        .filter(|(_, places)| !places.is_empty())
        .collect();
    if open.is_empty() && curves.is_empty() {
        return Ok(());
    }
    writeln!(output, "\nPredict first (Enter skips a question):")?;
    for q in open {
        let prompt = format!("  {} [{}; {}] ", q.asked(params), q.unit, q.hint);
        match number_from(&prompt, q.unit, input, output)? {
            Answer::Value(value) => known.insert(q.key.into(), value),
            Answer::Skipped => None,
            Answer::End => return Ok(()),
        };
    }
    for (sketch, places) in curves {
        writeln!(
            output,
            "  Draw a curve, a point at a time: {} [{}; {}]",
            sketch.ask, sketch.unit, sketch.hint
        )?;
        for x in places {
            let prompt = format!("    at {} {}: ", number(x), sketch.x);
            match number_from(&prompt, sketch.unit, input, output)? {
                Answer::Value(value) => known.insert(sketch.key_at(x), value),
                Answer::Skipped => None,
                Answer::End => return Ok(()),
            };
        }
    }
    Ok(())
}

enum Answer {
    Value(f64),
    Skipped,
    End,
}

fn number_from(
    prompt: &str,
    unit: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<Answer> {
    for _ in 0..3 {
        write!(output, "{prompt}")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(Answer::End);
        }
        if line.trim().is_empty() {
            return Ok(Answer::Skipped);
        }
        match read_number(&line, unit) {
            Some(value) => return Ok(Answer::Value(value)),
            None => writeln!(output, "  a plain number, please, in {unit}")?,
        }
    }
    Ok(Answer::Skipped)
}

/// A number, with its unit or without.
fn read_number(text: &str, unit: &str) -> Option<f64> {
    let text = text.trim();
    let short: &[&str] = match unit {
        "times" => &["×", "x"],
        unit if unit.ends_with("/s") => &["/s"],
        _ => &[],
    };
    let mut units = std::iter::once(unit).chain(short.iter().copied());
    let bare = units.find_map(|unit| text.strip_suffix(unit));
    let value: f64 = bare.unwrap_or(text).trim().parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        findings::Findings,
        lab::{Lab, Question, Sizes, entry},
        needs::{Extent, Needs},
        session::Session,
        summary::Summary,
    };

    #[derive(clap::Args, serde::Serialize, serde::Deserialize)]
    struct Params {
        #[arg(long)]
        level: u8,
    }

    struct Trap;

    impl Lab for Trap {
        type Params = Params;
        const CARD: Card = Card {
            number: 3,
            name: "trap",
            title: "Trap",
            question: "Why?",
            predict: &[Question {
                key: "success",
                ask: "What share succeeds?",
                unit: "%",
                hint: "0 to 100",
            }],
            next: &[],
            sources: &[],
            answers: "",
            sizes: Sizes { smoke: &[], full: &[], trials: (1, 1) },
        };
        const SKETCHES: &'static [Sketch] = &[Sketch {
            key: "goodput",
            ask: "Goodput",
            unit: "requests/s",
            hint: "0 to 2000",
            x: "clients",
            places: "levels",
            figure: "trap",
            panel: 0,
            line: "goodput",
        }];
        fn needs(_: &Params, _: &Extent) -> Needs {
            Needs::default()
        }
        fn measure(_: &Params, _: &mut Session) -> Result<()> {
            Ok(())
        }
        fn explain(_: &Params, _: &Summary) -> Findings {
            Findings::default()
        }
    }

    fn dialogue(known: &[(&str, f64)], typed: &str) -> (Predictions, String) {
        let mut predictions: Predictions = known.iter().map(|(k, v)| (k.to_string(), *v)).collect();
        let params = serde_json::json!({"levels": [1, 10, 100]});
        let mut told = Vec::new();
        let lab = entry::<Trap>();
        by_question(lab, &params, &mut predictions, &mut typed.as_bytes(), &mut told).unwrap();
        (predictions, String::from_utf8(told).unwrap())
    }

    #[test]
    fn numbers_and_points_are_asked_for_with_unit_and_range() {
        let (said, told) = dialogue(&[], "12 %\n20\n\n 300/s\n");
        let expected = [("goodput@1", 20.0), ("goodput@100", 300.0), ("success", 12.0)];
        assert_eq!(said, expected.map(|(k, v)| (k.to_string(), v)).into());
        for part in ["[%; 0 to 100]", "[requests/s; 0 to 2000]", "at 10 clients"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_is_known_is_not_asked_for_and_the_end_of_input_ends_it() {
        let (said, told) = dialogue(&[("success", 5.0), ("goodput@7", 1.0)], "9\n");
        assert_eq!((said.len(), told.as_str()), (2, ""));
        let (said, told) = dialogue(&[], "many\nlots\nhalf\n1\n");
        assert_eq!(told.matches("a plain number, please, in %").count(), 3);
        assert_eq!(said, [("goodput@1".to_string(), 1.0)].into());
    }

    #[test]
    fn a_number_may_have_its_own_unit_and_no_other() {
        assert_eq!(read_number(" 5 ms\n", "ms"), Some(5.0));
        assert_eq!(read_number("5×", "times"), Some(5.0));
        assert_eq!(read_number("800 requests/s", "requests/s"), Some(800.0));
        for (text, unit) in [("5 s", "ms"), ("5%", "times"), ("inf", "ms"), ("NaN", "ms")] {
            assert_eq!(read_number(text, unit), None, "{text} in {unit}");
        }
    }
}
