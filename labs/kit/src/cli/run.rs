//! Running labs: predictions, progress, the record, and what follows from it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Args, FromArgMatches, parser::ValueSource};

use super::{Common, Failed, MORE, Outcome, ask, ask::check_keys, find, pretty, print, say, show};
use crate::{
    address::{self, ServerUrl},
    claim::Verdict,
    contain,
    host::Host,
    http,
    lab::{Card, Experiment, Measure, Prepared},
    limits, more,
    needs::{self, Extent, Needs},
    os,
    prediction::YOUR_CURVE,
    preset,
    progress::Progress,
    record::{Point, Record, SCHEMA, Scale},
    report::{self, Entry},
    runtimes::{BESIDE, Language, Languages},
    scratch,
    session::Session,
    stop::Stop,
    store,
};

/// `labs run …`: the words up to the first option name labs.
pub(super) fn from_words(syllabus: &[&'static dyn Experiment], words: &[OsString]) -> Outcome {
    let is_option = |w: &OsString| w.to_string_lossy().starts_with('-');
    let names: Vec<String> = words
        .iter()
        .take_while(|w| !is_option(w))
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    let options: Vec<OsString> = words[names.len()..].to_vec();
    let labs: Vec<_> = names
        .iter()
        .map(|name| find(syllabus, name))
        .collect::<Result<_>>()
        .map_err(|e| Failed::Usage(e.to_string()))?;
    match labs.as_slice() {
        [lab] => one(*lab, syllabus, &format!("labs run {}", lab.card().number), options, false),
        [] => {
            let mut command = Common::augment_args(clap::Command::new("labs run"))
                .override_usage("labs run <LAB>... [OPTIONS] [LAB'S OWN OPTIONS]")
                .after_help(
                    "`labs list` shows the labs; `labs run 3 --help` the options of lab 3.",
                );
            match command.try_get_matches_from_mut(with_name("labs run", &options)) {
                Err(error) => quit(&error),
                Ok(_) => Err(Failed::Usage("which lab? `labs list` shows them".into())),
            }
        }
        several => {
            let command = Common::augment_args(clap::Command::new("labs run"));
            match command.try_get_matches_from(with_name("labs run", &options)) {
                Err(error) => quit(&error),
                Ok(matches) => many(several, syllabus, &common_of(&matches)?),
            }
        }
    }
}

/// `labs all`; its report is of whatever makes records.
pub(super) fn all(
    syllabus: &[&'static dyn Experiment],
    of_records: &[&'static dyn Experiment],
    common: &Common,
) -> Outcome {
    let result = many(syllabus, syllabus, common);
    if !matches!(result, Err(Failed::Interrupted | Failed::Usage(_))) {
        match show::write_report(of_records, &common.out) {
            Ok((report, _)) if !common.json => print(format!("\nReport: {}\n", report.display()))?,
            Ok(_) => {}
            // Why a lab failed matters more than that there is nothing to report on.
            Err(error) if result.is_err() => say(format!("no report: {error:#}")),
            Err(error) => return Err(error.into()),
        }
    }
    result
}

/// A run that takes so many seconds or more says first how long it takes.
const LONG_S: f64 = 15.0;

/// One lab of these with its own flags; with `--check` where it is checked anyway.
pub(super) fn one(
    lab: &'static dyn Experiment,
    syllabus: &[&'static dyn Experiment],
    name: &str,
    options: Vec<OsString>,
    checked: bool,
) -> Outcome {
    let matches = match parse(lab, name, &options) {
        Ok(matches) => matches,
        Err(error) => return quit(&error),
    };
    let mut common = common_of(&matches)?;
    common.check |= checked;
    check_preset(&common, &[lab], syllabus)?;
    if let Some(done) = lab.instead(&matches).map_err(Failed::Usage)? {
        return Ok(done?);
    }
    check_keys(&common, &[lab])?;
    if common.target.is_some() && !lab.takes_target() {
        return Err(Failed::Usage(format!(
            "{} runs against servers of its own only, or against none: leave out --target",
            lab.card().id()
        )));
    }
    let mut bench = Bench::new(&common)?;
    let result = bench.run(lab, &matches, &options);
    bench.print_json()?;
    result
}

/// Several labs with their defaults; goes on when one fails.
fn many(
    labs: &[&'static dyn Experiment],
    syllabus: &[&'static dyn Experiment],
    common: &Common,
) -> Outcome {
    check_keys(common, labs)?;
    check_preset(common, labs, syllabus)?;
    in_time(labs, common)?;
    let mut bench = Bench::new(common)?;
    let (mut failed, mut refuted) = (Vec::new(), false);
    for lab in labs {
        let name = format!("labs run {}", lab.card().number);
        let options = common.flags_of(*lab);
        let matches = parse(*lab, &name, &options).map_err(|e| anyhow!("{name}: {e}"))?;
        // A lab that panics is a lab that failed; the others still count.
        let result = catch_unwind(AssertUnwindSafe(|| bench.run(*lab, &matches, &options)));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(Failed::Refuted)) => refuted = true,
            Ok(Err(Failed::Interrupted)) => return Err(Failed::Interrupted),
            Ok(Err(Failed::Usage(text))) => failed.push((lab.card().id(), text)),
            Ok(Err(Failed::Error(error))) => failed.push((lab.card().id(), format!("{error:#}"))),
            Err(_) => failed.push((lab.card().id(), "it panicked (see above)".to_string())),
        }
        if let Some((id, why)) = failed.last().filter(|(id, _)| *id == lab.card().id()) {
            say(format!("{id} failed: {why}"));
        }
    }
    bench.print_json()?;
    if !failed.is_empty() {
        let list: Vec<String> = failed.iter().map(|(id, why)| format!("{id}: {why}")).collect();
        return Err(anyhow!(
            "{} of {} labs failed:\n  {}",
            failed.len(),
            labs.len(),
            list.join("\n  ")
        )
        .into());
    }
    if refuted { Err(Failed::Refuted) } else { Ok(()) }
}

/// Looks how long each lab takes, so that none is refused after others have taken minutes.
fn in_time(labs: &[&'static dyn Experiment], common: &Common) -> Outcome {
    let mut refused = Vec::new();
    for lab in labs {
        let name = format!("labs run {}", lab.card().number);
        let matches =
            parse(*lab, &name, &common.flags_of(*lab)).map_err(|e| anyhow!("{name}: {e}"))?;
        // What else speaks against a lab costs it alone, when it has its turn.
        let Ok(prepared) = lab.prepare(&matches) else {
            continue;
        };
        let needs = common.needs(lab.card(), &prepared);
        if let Err(Failed::Usage(why)) = common.in_time(lab.card(), &needs) {
            refused.push(why);
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failed::Usage(refused.join("\n  ")))
}

fn with_name(name: &str, options: &[OsString]) -> Vec<OsString> {
    std::iter::once(name.into()).chain(options.iter().cloned()).collect()
}

fn common_of(matches: &ArgMatches) -> Result<Common, Failed> {
    let common = Common::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    if common.allow_remote_target {
        http::allow_remote();
    }
    Ok(common)
}

/// clap has said all there is to say.
fn quit(error: &clap::Error) -> Outcome {
    let _ = error.print();
    match error.exit_code() {
        0 => Ok(()),
        code => std::process::exit(code),
    }
}

/// Refuses a preset that none of these labs has, and says which of the others do, or that some go without.
fn check_preset(
    common: &Common,
    labs: &[&'static dyn Experiment],
    syllabus: &[&'static dyn Experiment],
) -> Outcome {
    let Some(name) = &common.preset else {
        return Ok(());
    };
    let has = |lab: &&&'static dyn Experiment| preset::named(lab.presets(), name).is_some();
    let ids = |labs: Vec<&&'static dyn Experiment>| -> String {
        let ids: Vec<String> = labs.into_iter().map(|lab| lab.card().id()).collect();
        ids.join(", ")
    };
    let without: Vec<_> = labs.iter().filter(|lab| !has(lab)).collect();
    if without.is_empty() {
        return Ok(());
    }
    if without.len() < labs.len() {
        say(format!("no preset {name}, run as usual: {}", ids(without)));
        return Ok(());
    }
    let known: Vec<&str> = labs.iter().flat_map(|lab| lab.presets()).map(|p| p.name).collect();
    let known = match known.as_slice() {
        [] => format!("{} has no preset", ids(without)),
        known => format!("{} has {}", ids(without), known.join(", ")),
    };
    let others = match ids(syllabus.iter().filter(has).collect()) {
        none if none.is_empty() => String::new(),
        some => format!("; there is one for {some}"),
    };
    Err(Failed::Usage(format!("--preset {name}: {known}{others}")))
}

/// Reads the options: first for scale and preset, then again with the flags of these before them.
fn parse(
    lab: &dyn Experiment,
    name: &str,
    options: &[OsString],
) -> Result<ArgMatches, clap::Error> {
    let card = lab.card();
    let about = format!("{}: {}\n\n{}", card.id(), card.title, card.question);
    let sized = [("smoke", card.sizes.smoke), ("full", card.sizes.full)]
        .iter()
        .filter(|(_, flags)| !flags.is_empty())
        .map(|(scale, flags)| format!("\n  --scale {scale}: {}", flags.join(" ")))
        .collect::<String>();
    let keys = ask::keys(card, lab.sketches());
    let presets = lab.presets().iter();
    let presets = presets
        .map(|p| {
            format!(
                "\n\n  --preset {}, {}:\n    {}\n    {}",
                p.name,
                p.what,
                p.flags,
                p.differs(lab)
            )
        })
        .collect::<String>();
    let of_presets = match presets.as_str() {
        "" => "",
        _ => "\n\nA preset changes defaults, too, after the scale:",
    };
    let to_predict = match keys.as_str() {
        "" => String::new(),
        keys => format!("To predict, by key:{keys}\n\n"),
    };
    let after = format!("{to_predict}A scale changes these defaults:{sized}{of_presets}{presets}");
    let base = clap::Command::new(name.to_string())
        .bin_name(name.to_string())
        .version(env!("CARGO_PKG_VERSION"));
    let own = lab.flags(base.next_help_heading("This experiment"));
    let command = Common::augment_args(own.next_help_heading("Every run"))
        .about(about)
        .after_help(after)
        .args_override_self(true);
    let command = without_what_it_lacks(command, lab);
    let matches = command.clone().try_get_matches_from(with_name(name, options))?;
    let common = Common::from_arg_matches(&matches)?;
    let chosen = common.preset.and_then(|name| preset::named(lab.presets(), &name));
    let of_preset = chosen.map_or_else(Vec::new, preset::Preset::words);
    // Each list without the flags that a later one gives: a list would else be added to.
    let given = |flag: &str| {
        let id = flag.trim_start_matches('-').replace('-', "_");
        matches.try_contains_id(&id).is_ok()
            && matches.value_source(&id) == Some(ValueSource::CommandLine)
    };
    let (mut words, mut skip) = (Vec::new(), false);
    let of_scale = card.preset(common.scale).iter().filter(|word| {
        let replaced = word.starts_with("--").then(|| of_preset.contains(*word));
        skip = replaced.unwrap_or(skip);
        !skip
    });
    let before: Vec<&str> = of_scale.chain(&of_preset).copied().collect();
    skip = false;
    for word in before {
        skip = if word.starts_with("--") { given(word) } else { skip };
        if !skip {
            words.push(OsString::from(word));
        }
    }
    words.extend(options.iter().cloned());
    command.try_get_matches_from(with_name(name, &words))
}

/// Does not list the flags that are of no use with a lab.
fn without_what_it_lacks(command: clap::Command, lab: &dyn Experiment) -> clap::Command {
    let languages = lab.programs().languages();
    let predicts = !(lab.card().predict.is_empty() && lab.sketches().is_empty());
    [
        (lab.takes_target(), "target"),
        (lab.takes_target(), "allow_remote_target"),
        (!lab.presets().is_empty(), "preset"),
        (!languages.is_empty(), "with"),
        (languages.has(Language::Python), "python"),
        (predicts, "predict"),
        (predicts, "no_predict"),
    ]
    .into_iter()
    .filter(|(is_of_use, _)| !is_of_use)
    .fold(command, |command, (_, flag)| command.mut_arg(flag, |arg| arg.hide(true)))
}

impl Common {
    /// The same as words for one of several labs.
    fn flags_of(&self, lab: &dyn Experiment) -> Vec<OsString> {
        let name = self.preset.as_ref();
        let name = name.filter(|name| preset::named(lab.presets(), name).is_some());
        let preset = name.into_iter().flat_map(|name| ["--preset", name.as_str()]);
        self.flags().into_iter().chain(preset.map(OsString::from)).collect()
    }

    /// The options that change what is measured, as words.
    fn flags(&self) -> Vec<OsString> {
        let mut words = vec!["--scale".to_string(), self.scale.to_string()];
        words.extend(["--seed".to_string(), self.seed.to_string()]);
        words.extend(self.trials.into_iter().flat_map(|t| ["--trials".to_string(), t.to_string()]));
        if self.more != MORE {
            words.extend(["--more".to_string(), self.more.to_string()]);
        }
        if self.one_at_a_time {
            words.push("--one-at-a-time".into());
        }
        let with = self.with();
        if !with.is_empty() {
            words.extend(["--with".to_string(), with.to_string()]);
        }
        words.extend(self.long.then(|| "--long".to_string()));
        words.into_iter().map(OsString::from).collect()
    }

    /// Share of a run's time that may go into measuring on what is uncertain. None at smoke scale, which
    /// decides nothing, nor where the number of trials is given.
    fn more(&self) -> f64 {
        if self.scale == Scale::Smoke || self.trials.is_some() {
            return 0.0;
        }
        f64::from(self.more) / 100.0
    }

    /// The languages that a comparison is asked for with.
    fn with(&self) -> Languages {
        let python = if self.python { Languages::of(&[Language::Python]) } else { Languages::NONE };
        self.with.unwrap_or_default().and(python)
    }

    fn trials(&self, card: &Card) -> usize {
        self.trials.map_or(card.trials(self.scale), usize::from)
    }

    /// What a run of the lab needs.
    fn needs(&self, card: &Card, prepared: &Prepared) -> Needs {
        let needs = (prepared.needs)(&Extent {
            scale: self.scale,
            trials: self.trials(card),
            one_at_a_time: self.scale == Scale::Full || self.one_at_a_time || self.target.is_some(),
            with: self.with(),
        });
        needs.of_a_run(self.scale, self.more())
    }

    /// Refuses a run that takes longer than its scale allows.
    fn in_time(&self, card: &Card, needs: &Needs) -> Outcome {
        let why = needs.too_long(card, self.scale).filter(|_| !self.long);
        why.map_or(Ok(()), |why| Err(Failed::Usage(why)))
    }

    fn target(&self) -> Result<Option<ServerUrl>, Failed> {
        let Some(given) = &self.target else {
            return Ok(None);
        };
        http::site("--target", given).map_err(Failed::Usage)?;
        Ok(Some(given.reveal().trim_end_matches('/').into()))
    }
}

/// What the runs of one invocation share: the wish to stop, the results.
struct Bench {
    common: Common,
    target: Option<ServerUrl>,
    stop: Stop,
    rows: Vec<crate::claim::VerdictRow>,
    /// What measuring took as planned, and what it took beyond that, while something was uncertain.
    as_planned: Duration,
    measured_on: Duration,
}

impl Bench {
    fn new(common: &Common) -> Result<Bench, Failed> {
        let target = common.target()?;
        if let Some(url) = &target {
            http::wait_less();
            answers(url)?;
        }
        os::raise_open_file_limit();
        limits::for_a_run()?;
        store::prepare(&common.out)?;
        scratch::sweep();
        scratch::folder().with_context(|| {
            format!(
                "no temporary folder can be made in {}: set TMPDIR to a folder that may be written to",
                std::env::temp_dir().display()
            )
        })?;
        let stop = Stop::at_once()?;
        Ok(Bench {
            common: common.clone(),
            target,
            stop,
            rows: Vec::new(),
            as_planned: Duration::ZERO,
            measured_on: Duration::ZERO,
        })
    }

    fn run(
        &mut self,
        lab: &'static dyn Experiment,
        matches: &ArgMatches,
        options: &[OsString],
    ) -> Outcome {
        let card = lab.card();
        let common = self.common.clone();
        let prepared = lab.prepare(matches).map_err(Failed::Usage)?;
        (prepared.ready)().map_err(Failed::Usage)?;
        let needs = common.needs(card, &prepared);
        common.in_time(card, &needs)?;
        if let Some(why) = needs.too_large(card) {
            return Err(Failed::Usage(why));
        }
        if !common.json {
            let length = match needs.seconds {
                ..LONG_S => String::new(),
                seconds => format!("\nAbout {}.", needs::words(seconds)),
            };
            let preset = common.preset.as_ref();
            let preset = preset.and_then(|name| preset::named(lab.presets(), name));
            let preset = preset.map_or_else(String::new, |p| p.said(&prepared.params));
            print(format!("\n{}: {}\n{}{preset}{length}\n", card.id(), card.title, card.question))?;
        }
        let predictions = ask::predictions(&common, lab, &prepared.params)?;
        let record = self.measure(lab, prepared, predictions, options)?;
        let path = save(&common.out, &record)?;
        // The fresh run goes through the file like any other.
        let record = store::load(&path)?;
        let findings = lab.explain(&record)?;
        let entry = Entry { card, record, findings };
        let charts = show::write_charts(&common.out, std::slice::from_ref(&entry)).with_context(|| {
            format!(
                "the record is in {}, but its charts are not drawn; `labs charts {}` draws them once they can be",
                path.display(),
                common.out.display()
            )
        })?;
        let claims = &entry.findings.claims;
        self.rows.extend(claims.iter().map(|c| c.row(&card.id())));
        if !common.json {
            print(after_run(&entry, &path, &charts))?;
        }
        if entry.record.interrupted {
            return Err(Failed::Interrupted);
        }
        if common.check && claims.iter().any(|c| c.verdict() == Verdict::Refuted) {
            for claim in claims.iter().filter(|c| c.verdict() == Verdict::Refuted) {
                say(format!("refuted: {}: {}", card.id(), claim.text));
            }
            return Err(Failed::Refuted);
        }
        Ok(())
    }

    /// With `--json`, all verdicts as one array.
    fn print_json(&self) -> Outcome {
        if self.common.json { pretty(&self.rows) } else { Ok(()) }
    }

    fn measure(
        &mut self,
        lab: &'static dyn Experiment,
        prepared: Prepared,
        predictions: BTreeMap<String, f64>,
        options: &[OsString],
    ) -> Result<Record, Failed> {
        let (card, common) = (lab.card(), self.common.clone());
        let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let host = calibrated(common.scale)?;
        let progress = if common.json { Progress::hidden() } else { Progress::shown(&card.id()) };
        let mut session = Session::new(
            common.scale,
            common.seed,
            common.trials(card),
            host.clone(),
            self.stop.clone(),
            progress,
        );
        // Of several labs, some have no use for it.
        let target = self.target.as_ref().filter(|_| lab.takes_target());
        session.target = target.map(|url| url.reveal().to_string());
        session.with = common.with();
        session.one_at_a_time |= common.one_at_a_time || target.is_some();
        let Prepared { params, measure, .. } = prepared;
        let blank = Record {
            schema: SCHEMA,
            lab: card.id(),
            params,
            command: command(card, options),
            preset: common.preset.filter(|name| preset::named(lab.presets(), name).is_some()),
            scale: common.scale,
            seed: common.seed,
            started_at,
            interrupted: false,
            target: target.map(ServerUrl::to_string),
            predictions,
            notes: Vec::new(),
            host,
            points: Vec::new(),
        };
        let so_far = session.so_far();
        let rescue = {
            let (blank, so_far, out) = (blank.clone(), so_far.clone(), common.out.clone());
            move || rescue(&out, blank, so_far.complete())
        };
        let stop = self.stop.clone();
        let done = stop.measuring(rescue, || {
            let work = || self.until_decided(lab, &mut session, &blank, &measure);
            let done = catch_unwind(AssertUnwindSafe(work));
            // Mostly the system refuses a thread.
            done.unwrap_or_else(|why| Err(anyhow!("the run broke off: {}", contain::reason(&*why))))
        });
        // What fails while everything stops is part of the end, and takes nothing with it.
        if let Err(error) = done
            && !self.stop.is_set()
        {
            return Err(error.into());
        }
        let (points, notes) = session.finish();
        let interrupted = self.stop.is_set();
        if points.is_empty() {
            if interrupted {
                return Err(Failed::Interrupted);
            }
            return Err(anyhow!("nothing could be measured: {}", notes.join("; ")).into());
        }
        Ok(Record { interrupted, notes, points, ..blank })
    }

    /// Measures as planned, and on while it is uncertain.
    fn until_decided(
        &mut self,
        lab: &'static dyn Experiment,
        session: &mut Session,
        blank: &Record,
        measure: &Measure,
    ) -> Result<()> {
        let start = Instant::now();
        measure(session)?;
        let explain = |session: &Session| {
            let points = session.so_far().lock().clone();
            lab.explain(&Record { points, ..blank.clone() })
        };
        // What labs before this one did not need of their share is there for this one.
        self.as_planned += start.elapsed();
        let budget = self.as_planned.mul_f64(self.common.more());
        let left = budget.saturating_sub(self.measured_on);
        if !left.is_zero() && !self.stop.is_set() {
            let (spent, said) = more::measure_on(session, left, measure, &explain)?;
            self.measured_on += spent;
            said.into_iter().for_each(|said| session.note(said));
        }
        Ok(())
    }
}

/// Asks a target once, before a minute of load finds out what one request can tell. It may fail now and then,
/// since an upstream may be told to.
fn answers(url: &ServerUrl) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Each time on a connection of its own: one that the server closed after its answer says nothing of the next.
    let client = http::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build()?;
    let mut last = String::new();
    for _ in 0..3 {
        last = match runtime.block_on(http::get(&client, url.reveal())) {
            Ok(body) if body == mock_server::BODY => return Ok(()),
            Ok(body) => format!("its answer of {} bytes is not that of mock_server", body.len()),
            Err(http::Error::Http(error)) if error.is_timeout() => {
                format!("no answer within {} s", PATIENCE.as_secs())
            }
            Err(http::Error::Http(error)) if error.is_connect() => {
                "found no upstream; is it still running, and is its address right?".into()
            }
            Err(http::Error::Http(_)) => "its answer broke off".into(),
            Err(error) => error.to_string(),
        };
        if last.starts_with("no answer") {
            break;
        }
    }
    bail!(
        "--target {url}: {last}. A target is a `mock_server`, or a server that answers every path as it does"
    )
}

/// Saves what is complete of a run that did not end when it was asked to.
fn rescue(out: &Path, blank: Record, points: Vec<Point>) {
    let text = if points.is_empty() {
        format!("{}: no trial was complete", blank.lab)
    } else {
        let lab = blank.lab.clone();
        let record = Record { interrupted: true, points, ..blank };
        match save(out, &record) {
            Ok(path) => format!(
                "{lab}: ended in the middle of a trial; the others are in {}",
                path.display()
            ),
            Err(error) => format!("{lab}: {error:#}"),
        }
    };
    say(text);
}

/// The machine, calibrated anew for each lab: what it gives changes within minutes where others share it.
fn calibrated(scale: Scale) -> Result<Host> {
    let host = Host::calibrate(scale).context("cannot calibrate this machine")?;
    for complaint in host.complaints() {
        say(format!("note: {complaint}"));
    }
    Ok(host)
}

/// The command that repeats a run. Where results went, what was predicted and passwords are left out.
fn command(card: &Card, options: &[OsString]) -> String {
    let verb = if card.judges() { "judge" } else { "run" };
    let mut words = vec![format!("labs {verb} {}", card.number)];
    let mut options = options.iter().map(|o| o.to_string_lossy());
    while let Some(option) = options.next() {
        if option == "--" {
            // A program of somebody's, whose words are none of ours.
            let program = options.by_ref().map(|word| quoted(&address::shown(&word)));
            words.push("--".into());
            words.extend(program);
            break;
        }
        match option.split('=').next().unwrap_or_default() {
            "--no-predict" | "--check" | "--json" => {}
            name @ ("--out" | "--predict") => {
                if name == option {
                    options.next();
                }
            }
            _ => words.push(address::shown(&option)),
        }
    }
    words.join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%{}".contains(c);
    // A shell expands braces that have a comma between them.
    let expands = word.contains('{') && word.contains(',');
    if !word.is_empty() && !expands && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Stores the record; where that fails, a minute of measuring is rescued into the temporary folder.
fn save(out: &Path, record: &Record) -> Result<PathBuf> {
    let error = match store::save(out, record) {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    let rescue = std::env::temp_dir().join(format!("{}-{}.json", record.lab, std::process::id()));
    match serde_json::to_vec(record)
        .map_err(anyhow::Error::from)
        .and_then(|json| store::write_whole(&rescue, &json))
    {
        Ok(()) => Err(error.context(format!("the run is kept in {}", rescue.display()))),
        Err(_) => bail!(error),
    }
}

fn after_run(entry: &Entry, path: &Path, charts: &[PathBuf]) -> String {
    let mut text = format!("\n{}\n\n", entry.findings.headline);
    // The first table, and what was asked for besides.
    let tables = entry.findings.tables.iter().enumerate();
    let asked = |title: &str| {
        title.ends_with(BESIDE)
            || title.contains("Python")
            || title.starts_with(YOUR_CURVE)
            || title == preset::TITLE
    };
    for (_, table) in tables.filter(|(i, table)| *i == 0 || asked(&table.title)) {
        text += &report::text_table(table);
        text.push('\n');
    }
    for why in report::unfit_lines(&entry.record) {
        text += &format!("{why}\n\n");
    }
    let claims = &entry.findings.claims;
    text += &format!(
        "Theory against measurement: {}\n{}",
        report::score(claims),
        report::verdict_lines(claims)
    );
    let predictions = report::prediction_lines(entry.card, &entry.record, &entry.findings);
    if !predictions.is_empty() {
        text += "\nYour predictions\n";
        predictions.iter().for_each(|line| text += &format!("  {line}\n"));
    }
    text += &format!("\nRecord  {}\n", path.display());
    let svg = charts.iter().filter(|c| c.extension().is_some_and(|e| e == "svg"));
    svg.for_each(|chart| text += &format!("Chart   {}\n", chart.display()));
    let is_made = |next: &&(&str, &str)| next.0.contains(" make next ");
    let (made, tried): (Vec<_>, Vec<_>) = entry.card.next.iter().partition(is_made);
    for (command, shows) in tried.iter().take(1).chain(&made) {
        text += &format!("Next    {command}\n        {shows}\n");
    }
    text
}
