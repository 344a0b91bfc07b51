//! What runs need is known before they begin: for every lab, at every scale, with whatever flags.

use clap::{Arg, ArgAction, Command};
use lab_kit::{
    card::JUDGED,
    lab::Experiment,
    needs::{Extent, Needs, limit_s},
    preset,
    record::Scale,
    runtimes::{Language, Languages},
};
use labs::{SYLLABUS, records};

const SCALES: [Scale; 3] = [Scale::Smoke, Scale::Quick, Scale::Full];

fn command(lab: &dyn Experiment) -> Command {
    let command = lab.flags(Command::new("lab").no_binary_name(true)).args_override_self(true);
    command.mut_args(|arg| arg.required(false))
}

/// What an experiment cannot do without: a judge somebody to judge.
fn required(lab: &dyn Experiment) -> &'static [&'static str] {
    match lab.card().name {
        "judge_server" => &["--server=http://127.0.0.1:9"],
        name if name.starts_with(JUDGED) => &["--", "true"],
        _ => &[],
    }
}

fn extent(lab: &dyn Experiment, scale: Scale) -> Extent {
    Extent {
        scale,
        trials: lab.card().trials(scale),
        one_at_a_time: scale == Scale::Full,
        with: Languages::NONE,
    }
}

/// What a run with these flags needs; what the parser or the lab says, if it says no.
fn needs(lab: &dyn Experiment, extent: &Extent, words: &[String]) -> Result<Needs, String> {
    let all = words.iter().cloned().chain(self::words(required(lab)));
    let matches = command(lab).try_get_matches_from(all);
    let matches = matches.map_err(|e| e.to_string())?;
    let prepared = lab.prepare(&matches)?;
    Ok((prepared.needs)(extent))
}

fn words(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|word| word.to_string()).collect()
}

fn assert_sensible(what: &str, needs: &Needs) {
    for (name, value) in
        [("seconds", needs.seconds), ("memory", needs.memory), ("disk", needs.disk)]
    {
        assert!(value.is_finite() && value >= 0.0, "{what}: {name} {value}");
    }
    assert!(needs.seconds > 0.0 && !needs.less.is_empty(), "{what}: {needs:?}");
}

#[test]
fn every_lab_runs_as_it_is_at_every_scale() {
    for lab in records() {
        for scale in SCALES {
            let extent = extent(lab, scale);
            let needs = needs(lab, &extent, &words(lab.card().preset(scale))).unwrap();
            let what = format!("{} at {scale} scale", lab.card().id());
            assert_sensible(&what, &needs);
            // With what is measured on, on a slower machine, and some trials more.
            assert!(2.0 * needs.seconds < limit_s(scale), "{what}: {} s", needs.seconds);
            assert!(needs.memory < 1e9 && needs.disk < 1e9, "{what}: {needs:?}");
        }
    }
}

#[test]
fn what_a_lab_tells_its_reader_to_try_may_be_run() {
    for lab in SYLLABUS {
        for (line, _) in lab.card().next {
            let (program, flags) = line.split_once(" -- ").unwrap_or((line, ""));
            let another = !program.contains(&format!("--bin {}", lab.card().id()));
            if another || line.contains("--state") || line.contains("--program") {
                continue;
            }
            let mut extent = extent(*lab, Scale::Quick);
            let mut own = Vec::new();
            let mut flags = split(flags).into_iter();
            while let Some(flag) = flags.next() {
                match flag.as_str() {
                    "--trials" => extent.trials = flags.next().unwrap().parse().unwrap(),
                    "--python" => extent.with = Languages::of(&[Language::Python]),
                    "--with" => extent.with = Languages::read(&flags.next().unwrap()).unwrap(),
                    "--preset" => {
                        let preset = preset::named(lab.presets(), &flags.next().unwrap());
                        own.extend(words(&preset.unwrap_or_else(|| panic!("{line}")).words()));
                    }
                    _ => own.push(flag),
                }
            }
            let needs = needs(*lab, &extent, &own).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_sensible(line, &needs);
            assert!(1.33 * needs.seconds < limit_s(Scale::Quick), "{line}: {} s", needs.seconds);
        }
    }
}

#[test]
fn every_preset_may_be_run_without_more_ado() {
    let mut seen = 0;
    for lab in SYLLABUS {
        for preset in lab.presets() {
            let what = format!("{} --preset {}", lab.card().id(), preset.name);
            let extent = extent(*lab, Scale::Quick);
            let needs = needs(*lab, &extent, &words(&preset.words()));
            let needs = needs.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_sensible(&what, &needs);
            assert!(1.33 * needs.seconds + 1.5 < limit_s(Scale::Quick), "{what}: {needs:?}");
            assert!(!preset.what.is_empty() && !preset.differs.is_empty(), "{what}");
            seen += 1;
        }
        let named = lab.presets().iter().map(|preset| preset.name);
        let names: std::collections::BTreeSet<&str> = named.collect();
        assert_eq!(names.len(), lab.presets().len(), "{}", lab.card().id());
    }
    assert!(seen > 10, "{seen}");
}

/// Who has run a lab is told what to make, and every exercise belongs to a lab that tells of it.
#[test]
fn labs_and_exercises_name_each_other() {
    let named: Vec<(u8, &str)> = SYLLABUS
        .iter()
        .flat_map(|lab| lab.card().next.iter().map(|(line, _)| (lab.card().number, *line)))
        .filter_map(|(number, line)| Some((number, line.split_once(" make next ")?.1)))
        .collect();
    let made: Vec<(u8, &str)> =
        lab_make::EXERCISES.iter().map(|e| (e.card().lab, e.card().name())).collect();
    assert_eq!(named, made);
}

/// A command line in words; only quotes are special.
fn split(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_string).collect(),
        _ => vec![part.to_string()],
    });
    words.collect()
}

/// Values that one or another kind of flag takes, at the ends and in between.
const VALUES: [&str; 40] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "10",
    "16",
    "50",
    "64",
    "100",
    "256",
    "500",
    "1000",
    "1024",
    "5000",
    "20000",
    "65536",
    "100000",
    "1000000",
    "1000000000",
    "4294967295",
    "18446744073709551615",
    "0.001",
    "0.01",
    "0.1",
    "0.5",
    "0.9",
    "0.95",
    "1.02",
    "5.0",
    "1ns",
    "1us",
    "100us",
    "1ms",
    "1s1s",
    "1h",
    "1B",
    "1KB",
    "64MB",
    "1024GB",
];

/// Values that this flag takes: of those above, lists of them, and what it lists itself.
fn values(lab: &dyn Experiment, flag: &Arg) -> Vec<String> {
    let parsed = |value: &String| {
        let words = [format!("--{}={value}", flag.get_long().unwrap())];
        let matches = command(lab).try_get_matches_from(&words);
        matches.is_ok()
    };
    let mut tried: Vec<String> = VALUES.iter().map(|v| v.to_string()).collect();
    if flag.get_value_delimiter().is_some() {
        let lists = VALUES.iter().flat_map(|v| [[*v; 3].join(","), [*v; 60].join(",")]);
        tried.extend(lists.collect::<Vec<_>>());
    }
    let listed = flag.get_possible_values().into_iter();
    tried.extend(listed.map(|v| v.get_name().to_string()));
    tried.retain(parsed);
    tried
}

/// Flags with a value that change an experiment: not those of processes that a lab starts itself.
fn flags(lab: &dyn Experiment) -> Vec<Arg> {
    let command = command(lab);
    let all = command.get_arguments().filter(|flag| {
        let takes = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
        takes && !flag.is_hide_set() && flag.get_long().is_some()
    });
    all.cloned().collect()
}

#[test]
fn no_value_of_a_flag_makes_a_run_of_unknown_length() {
    let mut seen = 0;
    for lab in records() {
        let (mut random, id) = (u64::from(lab.card().number), lab.card().id());
        let mut dice = |sides: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % sides
        };
        let all: Vec<Vec<String>> = flags(lab)
            .iter()
            .map(|flag| {
                let name = flag.get_long().unwrap().to_string();
                let values = values(lab, flag);
                values.into_iter().map(|v| format!("--{name}={v}")).collect()
            })
            .collect();
        let singly = all.iter().flatten().map(|word| vec![word.clone()]);
        let mut tried: Vec<Vec<String>> = singly.collect();
        let some: Vec<&Vec<String>> = all.iter().filter(|words| !words.is_empty()).collect();
        for _ in 0..200 {
            let mut one = || {
                let of = some[dice(some.len())];
                of[dice(of.len())].clone()
            };
            tried.push(vec![one(), one()]);
        }
        for given in tried {
            for scale in [Scale::Smoke, Scale::Quick] {
                // What is given comes in place of the scale's own.
                let preset = lab.card().preset(scale).chunks(2).filter(|pair| {
                    !given.iter().any(|word| word.starts_with(&format!("{}=", pair[0])))
                });
                let mut all: Vec<String> = preset.flatten().map(|word| word.to_string()).collect();
                all.extend(given.iter().cloned());
                if let Ok(needs) = needs(lab, &extent(lab, scale), &all) {
                    assert_sensible(&format!("{id} {all:?}"), &needs);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 4000, "{seen}");
}
