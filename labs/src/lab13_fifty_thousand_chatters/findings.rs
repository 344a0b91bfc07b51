//! Theory beside measurement for lab13.

use lab_kit::{prelude::*, theory::Trend};

use super::{
    Arm, Params,
    cell::{Cell, boxed_beyond},
};

/// A page of memory, and what a page of a page table covers: 512 of them.
const PAGE: f64 = 4096.0;
const COVERED: f64 = 512.0 * PAGE;
/// The stack that Linux keeps for each thread in the kernel (x86-64 and arm64).
const KERNEL_STACK: f64 = 16.0 * 1024.0;
/// Mapped beside a thread's stack: its guard page, and a stack for signals of two pages and more
/// with a guard page of its own.
const GUARDS: f64 = 4.0 * PAGE;
/// The least that the kernel keeps for an end of a connection: its `tcp_sock` alone is larger.
const AN_END: f64 = 2048.0;
/// How close two figures must be, as a share.
const CLOSE: f64 = 0.05;
/// Pages that a process has for reasons of its own, more or fewer from run to run, in bytes. What
/// is not many times as much says nothing about a line.
const HAZE: f64 = 64.0 * 1024.0;
/// What the source gives each thread, in bytes.
const SOURCE: f64 = 1e6;

const KB: f64 = 1024.0;
const MB: f64 = 1024.0 * KB;
const GB: f64 = 1024.0 * MB;

/// One way to hold chatters, at every number tried.
struct Kind<'a> {
    arm: Arm,
    conditions: Vec<Condition<'a>>,
}

impl<'a> Kind<'a> {
    fn of(summary: &Summary<'a>, arm: Arm) -> Kind<'a> {
        Kind {
            arm,
            conditions: summary.series(arm.series()),
        }
    }

    /// A figure over the number of chatters, a point a trial.
    fn points(&self, gauge: &str) -> Vec<(f64, f64)> {
        let trials = self.conditions.iter().flat_map(|k| k.trials());
        let point = |t: &Trial| Some((*t.gauges.get("number")?, *t.gauges.get(gauge)?));
        trials.filter_map(point).collect()
    }

    fn trend(&self, gauge: &str) -> Option<Trend> {
        Trend::fit(&self.points(gauge))
    }

    /// What one more takes of something, in bytes.
    fn each(&self, gauge: &str) -> Option<Estimate> {
        Some(self.trend(gauge)?.each())
    }

    /// The most that were held.
    fn most(&self) -> Option<f64> {
        let numbers = self.points("number");
        numbers.into_iter().map(|p| p.1).max_by(f64::total_cmp)
    }

    /// Size of the future.
    fn future(&self) -> Option<f64> {
        let size = self.points("future_b").last()?.1;
        (size > 0.0).then_some(size)
    }

    /// What the kernel keeps for one more. A task is nothing that the kernel knows of: of what it
    /// keeps for all processes together nothing is a task's but the page tables of its memory.
    fn kernel(&self) -> Option<f64> {
        let parts: &[&str] = match self.arm {
            Arm::Thread | Arm::DeepThread => &["page_tables_b", "kernel_stacks_b", "slab_b"],
            Arm::Socket => &["page_tables_b", "slab_b"],
            _ => &["page_tables_b"],
        };
        let sum = |sum: f64, part: &&str| Some(sum + self.each(part)?.value);
        parts.iter().try_fold(0.0, sum).map(|b| b.max(0.0))
    }

    /// Memory that one more takes, here and in the kernel where it tells.
    fn memory(&self) -> Option<f64> {
        Some(self.each("resident_b")?.value + self.kernel().unwrap_or(0.0))
    }

    /// A time for each of them, over all trials.
    fn time(&self, gauge: &str) -> Option<Estimate> {
        let times: Vec<f64> = self.points(gauge).into_iter().map(|p| p.1).collect();
        Estimate::of(&times)
    }
}

fn name(arm: Arm, p: &Params) -> String {
    let buffer = bytes(buffer(p));
    match arm {
        Arm::Task => "task".into(),
        Arm::Inline => format!("task that holds {buffer}"),
        Arm::Late => format!("task that makes {buffer} late"),
        Arm::DeepTask => format!("task once {} deep", bytes(p.depth.f())),
        Arm::Socket => "task with a connection".into(),
        Arm::Thread => "thread".into(),
        Arm::DeepThread => format!("thread once {} deep", bytes(p.depth.f())),
        Arm::Nobody => String::new(),
    }
}

fn buffer(p: &Params) -> f64 {
    use super::Buffer::{K1, K4, K8, K32};
    KB * match p.buffer {
        K1 => 1.0,
        K4 => 4.0,
        K8 => 8.0,
        K32 => 32.0,
    }
}

fn colour(arm: Arm) -> Colour {
    match arm {
        Arm::Task | Arm::DeepTask => Colour::Green,
        Arm::Late => Colour::Sky,
        Arm::Inline => Colour::Vermilion,
        Arm::Socket => Colour::Blue,
        Arm::Thread => Colour::Orange,
        Arm::DeepThread | Arm::Nobody => Colour::Purple,
    }
}

/// What tokio adds to a future, and for a socket besides; measured by themselves.
fn calibrated(summary: &Summary) -> Option<(Cell, f64)> {
    let nobody = summary.only("nobody")?;
    let value = |gauge| Some(nobody.gauge(gauge)?.value);
    let cell = Cell {
        header: value("header_b")?,
        unit: value("unit_b")?,
        boxed_beyond: boxed_beyond(&summary.host().build),
    };
    Some((cell, value("registration_b").unwrap_or(0.0)))
}

/// Live heap of a parked task, in bytes.
fn heap_of(kind: &Kind, (cell, registration): (Cell, f64)) -> Option<f64> {
    let socket = if kind.arm == Arm::Socket {
        registration
    } else {
        0.0
    };
    Some(cell.heap(kind.future()?) + socket)
}

/// What the allocator takes for a parked task's blocks: an aligned one has the allocator's header
/// before it, and so the next one begins a unit later; others put it into a larger class.
fn allocator(kind: &Kind, cell: Cell) -> f64 {
    let blocks = if kind.arm == Arm::Socket { 2.0 } else { 1.0 };
    blocks * cell.unit
}

/// Resident memory of a parked task, in bytes.
fn resident_of(kind: &Kind, known: (Cell, f64)) -> Option<f64> {
    Some(heap_of(kind, known)? + allocator(kind, known.0))
}

/// The thread arms at a stack other than the usual one: one number, so a mean instead of a line.
fn at_stack(k: &Condition, gauge: &str) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauges.get(gauge)? / t.gauges.get("number").filter(|n| **n > 0.0)?))
}

fn difference(a: Estimate, b: Estimate) -> Estimate {
    a.minus(b)
}

/// Page tables of a thread whose addresses lie beside those of others like it: a page of them for
/// each 2 MB in which something is touched, one of the tables above for each 512 times as much, and
/// so on. Threads whose stacks are smaller share one.
fn page_tables(addresses: f64) -> f64 {
    let levels = [1.0, 512.0, 512.0 * 512.0];
    let pages = levels.map(|above| (addresses / COVERED / above).min(1.0));
    PAGE * pages.iter().sum::<f64>()
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let kinds: Vec<Kind> = Arm::LINES
        .iter()
        .map(|arm| Kind::of(summary, *arm))
        .collect();
    let stacks = summary.series("stack");
    Findings {
        headline: headline(p, &kinds),
        figures: vec![
            cost(p, &kinds, summary),
            growth(p, &kinds),
            parts(p, &kinds),
            times(p, &kinds),
        ],
        tables: vec![
            each_table(p, &kinds, summary),
            whole_table(p, &kinds),
            stack_table(p, &kinds, &stacks),
        ],
        claims: claims(p, &kinds, &stacks, summary),
        answers: answers(p, &kinds, summary),
    }
}

fn kind<'a, 'b>(kinds: &'a [Kind<'b>], arm: Arm) -> &'a Kind<'b> {
    let found = kinds.iter().find(|k| k.arm == arm);
    found.expect("every arm has its kind, if an empty one")
}

fn answers(p: &Params, kinds: &[Kind], summary: &Summary) -> Vec<Answer> {
    let n = p.tasks as f64;
    let task = kind(kinds, Arm::Task);
    let predicted = calibrated(summary).and_then(|known| resident_of(task, known));
    let thread = kind(kinds, Arm::Thread);
    let kernel = thread.kernel().unwrap_or(0.0);
    let threads = thread.each("resident_b").map(|e| e.shifted(kernel));
    let threads = match thread.kernel() {
        // How much of its stack a thread touches no model says: a page at the least.
        Some(_) => {
            let least = PAGE + KERNEL_STACK + page_tables(p.stack.f() + GUARDS);
            Answer::at_least("threads", threads, least)
        }
        None => Answer::alone(
            "threads",
            threads,
            "this system does not tell what its kernel keeps for a thread",
        ),
    };
    vec![
        Answer::near(
            "tasks",
            task.each("resident_b"),
            predicted.unwrap_or(f64::NAN),
        )
        .scaled(n / MB),
        threads.scaled(n / GB),
    ]
}

fn headline(p: &Params, kinds: &[Kind]) -> String {
    let (task, thread) = (kind(kinds, Arm::Task), kind(kinds, Arm::Thread));
    let n = p.tasks as f64;
    let all = |each: Option<f64>| each.map_or("–".into(), |b| bytes(b * n));
    let one = |each: Option<f64>| each.map_or("–".into(), bytes);
    let addresses = thread.each("virtual_b").map(|e| e.value);
    let kernel = match thread.kernel() {
        Some(kernel) => format!("{} of it the kernel's", bytes(kernel)),
        None => "the kernel's share unknown here".into(),
    };
    format!(
        "{} parked tasks take {} of memory, {} each; as many threads {}, {} each, {kernel}, and {} of addresses, most of which are never touched",
        thousands(n),
        all(task.memory()),
        one(task.memory()),
        all(thread.memory()),
        one(thread.memory()),
        all(addresses),
    )
}

fn claims(p: &Params, kinds: &[Kind], stacks: &[Condition], summary: &Summary) -> Vec<Claim> {
    let mut claims = Vec::new();
    let known = calibrated(summary);
    let tasks = [
        Arm::Task,
        Arm::Late,
        Arm::Inline,
        Arm::DeepTask,
        Arm::Socket,
    ];
    let tasks: Vec<&Kind> = tasks.iter().map(|arm| kind(kinds, *arm)).collect();
    let (thread, deep) = (kind(kinds, Arm::Thread), kind(kinds, Arm::DeepThread));

    let heaps = tasks.iter().filter_map(|k| {
        let predicted = heap_of(k, known?)?;
        Some(Case {
            name: name(k.arm, p),
            predicted: predicted.into(),
            measured: k.each("heap_b"),
            tolerance: 0.01 * predicted,
        })
    });
    claims.extend(Claim::law("a parked task's live heap is its future and the runtime's header, rounded up to whole units, and a socket's registration", Basis::Calibrated, heaps.collect(), "bytes"));

    let residents = tasks.iter().filter_map(|k| {
        let known = known?;
        Some(Case {
            name: name(k.arm, p),
            predicted: (resident_of(k, known)?).into(),
            measured: k.each("resident_b"),
            tolerance: allocator(k, known.0),
        })
    });
    claims.extend(Claim::law("a task's resident memory is its live heap and at most two units a block for the allocator: nothing of a socket's memory in the kernel is in it", Basis::Calibrated, residents.collect(), "bytes"));

    let deeper = |deep: &Kind, shallow: &Kind| {
        Some(difference(
            deep.each("resident_b")?,
            shallow.each("resident_b")?,
        ))
    };
    let task = kind(kinds, Arm::Task);
    let dives = [
        Case {
            name: "thread".into(),
            predicted: (p.depth.f()).into(),
            measured: deeper(deep, thread),
            tolerance: 0.1 * p.depth.f() + PAGE,
        },
        Case {
            name: "task".into(),
            predicted: (0.0).into(),
            measured: deeper(kind(kinds, Arm::DeepTask), task),
            tolerance: known.map_or(128.0, |(cell, _)| cell.unit),
        },
    ];
    claims.extend(Claim::law(
        "a thread keeps all the stack it ever touched, a task none: it was its thread's",
        Basis::Predicted,
        dives.into(),
        "bytes",
    ));

    // The usual stack as a line, the others as a mean.
    let usual = |gauge: &str| (p.stack.f(), thread.each(gauge));
    let others = |gauge: &'static str| stacks.iter().map(move |k| (k.x(), at_stack(k, gauge)));
    let at_stacks = |gauge: &'static str, predicted: &dyn Fn(f64) -> (f64, f64)| -> Vec<Case> {
        let all = std::iter::once(usual(gauge)).chain(others(gauge));
        let case = |(stack, measured): (f64, Option<Estimate>)| {
            let (predicted, tolerance) = predicted(stack);
            Case {
                name: format!("a stack of {}", bytes(stack)),
                predicted: predicted.into(),
                measured,
                tolerance,
            }
        };
        all.map(case).collect()
    };
    let addresses = at_stacks("virtual_b", &|stack| {
        (stack + GUARDS, 2.0 * PAGE + 0.01 * stack)
    });
    claims.extend(Claim::law("a thread's address space is the stack it asked for and four pages: guards, and a stack for signals", Basis::Predicted, addresses, "bytes"));
    let usually = thread.each("resident_b").map_or(f64::NAN, |e| e.value);
    let resident = at_stacks("resident_b", &|_| (usually, PAGE)).split_off(1);
    claims.extend(Claim::law(
        "a thread's resident memory does not depend on the stack it asked for",
        Basis::Calibrated,
        resident,
        "bytes",
    ));
    let tables = at_stacks("page_tables_b", &|stack| {
        let predicted = page_tables(stack + GUARDS);
        (predicted, 0.1 * predicted + 64.0)
    });
    claims.extend(Claim::law("the page tables of a thread are a page for each 2 MB of addresses in which it touches something, and its share of those above", Basis::Predicted, tables, "bytes"));

    if let Some(measured) = thread.each("kernel_stacks_b") {
        let tolerance = CLOSE * KERNEL_STACK;
        claims.push(
            Claim::near(
                "the kernel keeps a stack of 16 KB for each thread",
                Basis::Predicted,
                KERNEL_STACK,
                Some(measured),
                tolerance,
            )
            .unit("bytes"),
        );
    }
    if let Some(measured) = kind(kinds, Arm::Socket).each("slab_b") {
        claims.push(
            Claim::at_least(
                "a connection takes more than 4 KB in the kernel, over both ends: more than its task",
                Basis::Predicted,
                2.0 * AN_END,
                Some(measured),
            )
            .unit("bytes"),
        );
    }
    // In logarithms, in which twice and half as long are equally far.
    let slower = |gauge: &str| {
        let pairs = task.points(gauge).into_iter().zip(thread.points(gauge));
        let ratios: Vec<f64> = pairs
            .map(|(task, thread)| (thread.1 / task.1).ln())
            .collect();
        Some(Estimate::of(&ratios)?.exp())
    };
    claims.push(
        Claim::at_least(
            "starting a thread takes longer than starting a task: it makes what a task makes, and asks the kernel for the rest",
            Basis::Predicted,
            1.0,
            slower("start_each_s"),
        )
        .unit("times"),
    );
    claims.extend(lines(p, kinds, &tasks));
    claims
}

/// Claims about the lines themselves: what extrapolating rests on.
fn lines(p: &Params, kinds: &[Kind], tasks: &[&Kind]) -> Vec<Claim> {
    let mut claims = Vec::new();
    // The largest number, from a line through all the smaller ones.
    let ahead = kinds.iter().filter_map(|k| {
        let (points, most) = (k.points("resident_b"), k.most()?);
        let (last, rest): (Vec<_>, Vec<_>) = points.into_iter().partition(|p| p.0 == most);
        let predicted = Trend::fit(&rest)?.at(most);
        let last: Vec<f64> = last.into_iter().map(|p| p.1).collect();
        Some(Case {
            name: format!("{} × {}", thousands(most), name(k.arm, p)),
            predicted: (predicted / MB).into(),
            measured: Estimate::of(&last).map(|e| e.scaled(1.0 / MB)),
            tolerance: (CLOSE * predicted + HAZE) / MB,
        })
    });
    claims.extend(Claim::law(
        "a line through the smaller numbers says what the largest one takes",
        Basis::Calibrated,
        ahead.collect(),
        "MB resident",
    ));
    let mut worst = |text: &str, basis, figure: &dyn Fn(&Trend) -> Option<f64>, kinds: &[&Kind]| {
        let found = kinds.iter().filter_map(|k| {
            let trend = k.trend("resident_b")?;
            if trend.at(trend.range.1) < HAZE / CLOSE {
                return None;
            }
            let share = figure(&trend)?;
            Some((name(k.arm, p), 100.0 * share))
        });
        if let Some((name, share)) = found.max_by(|a, b| a.1.total_cmp(&b.1)) {
            let measured = Some(Estimate::exact(share));
            let claim = Claim::at_most(text, basis, 100.0 * CLOSE, measured).unit("%");
            let _ = name;
            claims.push(claim);
        }
    };
    let all: Vec<&Kind> = kinds.iter().collect();
    worst(
        "resident memory grows in a straight line: no number is off by 5 % of the whole",
        Basis::Fitted,
        &|t| (t.points > 2).then(|| t.bend()),
        &all,
    );
    worst(
        "the bytes of a task are known within 5 %",
        Basis::Fitted,
        &|t| {
            let (lo, hi) = t.each().ci95?;
            Some((hi - lo) / 2.0 / t.slope.abs())
        },
        tasks,
    );
    claims
}

/// A law over conditions, if there are any.
fn each_table(p: &Params, kinds: &[Kind], summary: &Summary) -> Table {
    let mut table = Table::new(
        "What one more takes",
        &[
            "one more",
            "its future",
            "live heap",
            "theory",
            "resident",
            "in the kernel",
            "addresses",
            "to start",
            "to wake",
        ],
    );
    let known = calibrated(summary);
    for k in kinds {
        let each = |gauge| k.each(gauge).map(|e| e.value);
        let text = |value: Option<f64>| value.map_or("–".into(), bytes);
        let time = |gauge| k.time(gauge).map_or("–".into(), |e| brief(e.value));
        table.row([
            name(k.arm, p),
            text(k.future()),
            text(each("heap_b")),
            text(known.and_then(|known| heap_of(k, known))),
            text(each("resident_b")),
            text(k.kernel()),
            text(each("virtual_b")),
            time("start_each_s"),
            time("wake_each_s"),
        ]);
    }
    table.note = "Slopes of lines fitted over the numbers tried. The kernel's share of a thread: its stack there, its page tables, and small objects; of a connection: small objects, for both ends. To start a connection is to open and accept it; to wake all of them a byte goes through each.".into();
    if let Some((cell, _)) = known {
        table.note += &format!(
            " The header that the runtime adds to a future is {} bytes here, the unit {}.",
            cell.header, cell.unit
        );
    }
    table
}

fn whole_table(p: &Params, kinds: &[Kind]) -> Table {
    let n = p.tasks as f64;
    let mut table = Table::new(
        &format!("What {} would take", thousands(n)),
        &[
            "of",
            "tried up to",
            "memory",
            "addresses",
            "to start all",
            "to wake all",
        ],
    );
    for k in kinds {
        let all = |each: Option<f64>| each.map_or("–".into(), |b| bytes(b * n));
        let time = |gauge| k.time(gauge).map_or("–".into(), |e| seconds(e.value * n));
        let most = k.most().unwrap_or(0.0);
        let tried = if most >= n {
            thousands(most)
        } else {
            format!("{}, then extrapolated", thousands(most))
        };
        table.row([
            name(k.arm, p),
            tried,
            all(k.memory()),
            all(k.each("virtual_b").map(|e| e.value)),
            time("start_each_s"),
            time("wake_each_s"),
        ]);
    }
    table.note = format!(
        "Memory: resident, and in the kernel where it tells. The source: {} × 1 MB = {} GB, all of them addresses. Where fewer were tried than asked for, a note says which limit was met.",
        thousands(n),
        number(SOURCE * n / 1e9)
    );
    table
}

fn stack_table(p: &Params, kinds: &[Kind], stacks: &[Condition]) -> Table {
    let thread = kind(kinds, Arm::Thread);
    let mut table = Table::new(
        "A thread by the stack it asked for",
        &[
            "stack",
            "addresses",
            "theory",
            "resident",
            "page tables",
            "theory",
        ],
    );
    let gauges = ["virtual_b", "resident_b", "page_tables_b"];
    let mut rows: Vec<(f64, [Option<Estimate>; 3])> = stacks
        .iter()
        .map(|k| (k.x(), gauges.map(|g| at_stack(k, g))))
        .collect();
    rows.push((p.stack.f(), gauges.map(|g| thread.each(g))));
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (stack, [addresses, resident, tables]) in rows {
        let text = |value: Option<Estimate>| value.map_or("–".into(), |e| bytes(e.value));
        table.row([
            bytes(stack),
            text(addresses),
            bytes(stack + GUARDS),
            text(resident),
            text(tables),
            bytes(page_tables(stack + GUARDS)),
        ]);
    }
    table
}

/// What one more takes, by kind of memory.
fn cost(p: &Params, kinds: &[Kind], summary: &Summary) -> Figure {
    let known = calibrated(summary);
    let shown = [
        Arm::Task,
        Arm::Inline,
        Arm::Socket,
        Arm::Thread,
        Arm::DeepThread,
    ];
    let groups = shown.iter().map(|arm| {
        let k = kind(kinds, *arm);
        let theory = |gauge: &str| match (gauge, arm) {
            ("heap_b", _) => known.and_then(|known| heap_of(k, known)),
            ("virtual_b", Arm::Thread | Arm::DeepThread) => Some(p.stack.f() + GUARDS),
            _ => None,
        };
        let bar = |label: &str, gauge: &str, colour| {
            let each = k.each(gauge).filter(|e| e.value > 0.0)?;
            let ci95 = each.ci95.map(|(lo, hi)| (lo.max(1.0) / KB, hi / KB));
            let bar = ValueBar::measured(label, colour, each.value / KB).with_interval(ci95);
            Some(match theory(gauge) {
                Some(theory) => bar.with_theory(theory / KB),
                None => bar,
            })
        };
        let kernel = k.kernel().filter(|b| *b > 64.0);
        let bars = [
            bar("live heap", "heap_b", Colour::Green),
            bar("resident", "resident_b", Colour::Blue),
            kernel.map(|b| ValueBar::measured("in the kernel", Colour::Orange, b / KB)),
            bar("addresses", "virtual_b", Colour::Muted),
        ];
        let note = match arm {
            Arm::Task => "waits for news",
            Arm::Inline => "a buffer held across an await is part of the future",
            Arm::Socket => {
                "waits until there is something to read; the kernel's part is for both ends"
            }
            Arm::Thread => "parked",
            _ => "and parked again: what was touched stays",
        };
        BarGroup {
            label: capital(&name(*arm, p)),
            note: note.into(),
            bars: bars.into_iter().flatten().collect(),
        }
    });
    let (task, thread) = (kind(kinds, Arm::Task), kind(kinds, Arm::Thread));
    let one = |k: &Kind| k.memory().map_or("–".into(), bytes);
    let addresses = thread.each("virtual_b").map(|e| e.value);
    Figure {
        id: "cost".into(),
        title: format!(
            "One more task takes {}, one more thread {} and {} of addresses",
            one(task),
            one(thread),
            addresses.map_or("–".into(), bytes)
        ),
        subtitle: "Slope of a line over the numbers tried, with its 95 % interval. Dashed: theory".into(),
        desc: "Dots on a logarithmic axis: live heap, resident memory, memory in the kernel and address space of one more task, task with a buffer, task with a connection, and thread. A task takes some hundred bytes, a thread tens of kilobytes and megabytes of addresses.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("KB for each one more, log scale", Unit::Number),
            groups: groups.filter(|g| !g.bars.is_empty()).collect(),
        }),
    }
}

/// Memory over the number of chatters, up to all of them.
fn growth(p: &Params, kinds: &[Kind]) -> Figure {
    let n = p.tasks as f64;
    let shown = [Arm::Task, Arm::Inline, Arm::Socket, Arm::Thread];
    let mut layers = Vec::new();
    for arm in shown {
        let k = kind(kinds, arm);
        let (Some(each), Some(most)) = (k.memory(), k.most()) else {
            continue;
        };
        // What each number took, with the kernel's share from its own line.
        let kernel = k.kernel().unwrap_or(0.0);
        let mut points = k.points("resident_b");
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let measured = points
            .into_iter()
            .map(|(x, y)| (x, (y + kernel * x) / MB))
            .collect();
        let label = name(arm, p);
        let here = if most < n { "" } else { &label };
        layers.push(Layer::Line(Line::measured(here, colour(arm), measured)));
        if most < n {
            let ahead = [most, n].map(|x| (x, each * x / MB));
            layers.push(Layer::Line(Line::theory(&label, colour(arm), ahead.into())));
        }
    }
    let thread = kind(kinds, Arm::Thread);
    let addresses = thread.each("virtual_b").map(|e| e.value);
    if let (Some(each), Some(most)) = (addresses, thread.most()) {
        let mut points = thread.points("virtual_b");
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let points = points.into_iter().map(|(x, y)| (x, y / MB)).collect();
        let (label, colour) = ("addresses of threads", Colour::Purple);
        let here = if most < n { "" } else { label };
        layers.push(Layer::Line(Line::measured(here, colour, points)));
        if most < n {
            let ahead = [most, n].map(|x| (x, each * x / MB));
            layers.push(Layer::Line(Line::theory(label, colour, ahead.into())));
        }
    }
    let all = |each: Option<f64>| each.map_or("–".into(), |b| bytes(b * n));
    Figure {
        id: "growth".into(),
        title: format!(
            "{} threads: {} of memory, not the {} of their addresses; tasks: {}",
            thousands(n),
            all(thread.memory()),
            all(addresses),
            all(kind(kinds, Arm::Task).memory())
        ),
        subtitle: "Resident memory and the kernel's share, above what the process had before. Dashed, where the dots end: the fitted line, extrapolated".into(),
        desc: "Memory over the number of chatters, both logarithmic: straight lines for tasks, tasks with a buffer, tasks with a connection and threads, far below the address space of the threads.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("chatters, log scale", Unit::Number),
            panels: vec![Panel {
                title: "Memory".into(),
                note: "MB, log scale".into(),
                y: Axis::log("", Unit::Number),
                layers,
                height: 1.8,
            }],
            marks: vec![],
        }),
    }
}

/// Where the memory of a thread and of a connection is.
fn parts(p: &Params, kinds: &[Kind]) -> Figure {
    let part = |k: &Kind, label: &str, gauge: &str, colour, theory: Option<f64>| {
        let each = k.each(gauge)?;
        let ends = |(lo, hi): (f64, f64)| (f64::max(lo, 0.0) / KB, hi / KB);
        let bar = ValueBar::measured(label, colour, each.value.max(0.0) / KB)
            .with_interval(each.ci95.map(ends));
        Some(match theory {
            Some(theory) => bar.with_theory(theory / KB),
            None => bar,
        })
    };
    let (thread, deep) = (kind(kinds, Arm::Thread), kind(kinds, Arm::DeepThread));
    let socket = kind(kinds, Arm::Socket);
    let tables = Some(page_tables(p.stack.f() + GUARDS));
    let of_thread = |k: &Kind, resident: Option<f64>| -> Vec<ValueBar> {
        let bars = [
            part(
                k,
                "stack and heap, resident",
                "resident_b",
                Colour::Blue,
                resident,
            ),
            part(
                k,
                "stack in the kernel",
                "kernel_stacks_b",
                Colour::Orange,
                Some(KERNEL_STACK),
            ),
            part(
                k,
                "small objects in the kernel",
                "slab_b",
                Colour::Orange,
                None,
            ),
            part(k, "page tables", "page_tables_b", Colour::Orange, tables),
        ];
        bars.into_iter().flatten().collect()
    };
    let shallow = thread.each("resident_b").map(|e| e.value);
    let of_socket = [
        part(socket, "task, resident", "resident_b", Colour::Blue, None),
        part(
            socket,
            "small objects in the kernel",
            "slab_b",
            Colour::Orange,
            None,
        ),
    ];
    let group = |label: &str, k: &Kind, bars: Vec<ValueBar>| BarGroup {
        label: label.into(),
        note: k
            .memory()
            .map_or(String::new(), |b| format!("{} together", bytes(b))),
        bars,
    };
    let groups = vec![
        group("A thread", thread, of_thread(thread, None)),
        group(
            &format!("A thread that was once {} deep", bytes(p.depth.f())),
            deep,
            of_thread(deep, shallow.map(|b| b + p.depth.f())),
        ),
        group(
            "A task with a connection, and its other end",
            socket,
            of_socket.into_iter().flatten().collect(),
        ),
    ];
    let share = thread.kernel().zip(thread.memory());
    let title = match share {
        Some((kernel, memory)) if memory > 0.0 => format!(
            "Of the {} of a thread {:.0} % are in the kernel, where the process does not see them",
            bytes(memory),
            100.0 * kernel / memory
        ),
        _ => "What a thread takes in the kernel is unknown on this system".into(),
    };
    Figure {
        id: "parts".into(),
        title,
        subtitle: format!("A stack of {} asked for. Dashed: theory. The kernel's stacks and small objects are read for the whole machine", bytes(p.stack.f())),
        desc: "Bars of the parts of a thread's memory: resident stack and heap, kernel stack, small kernel objects, page tables; the same for a thread that was deep in its calls, whose resident part is larger; and for a task with a connection.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear("KB for each one more", Unit::Number),
            groups: groups.into_iter().filter(|g| !g.bars.is_empty()).collect(),
        }),
    }
}

/// Time to start and to wake.
fn times(p: &Params, kinds: &[Kind]) -> Figure {
    let shown = [Arm::Task, Arm::Inline, Arm::Socket, Arm::Thread];
    let group = |label: &str, note: &str, gauge: &str| BarGroup {
        label: label.into(),
        note: note.into(),
        bars: shown
            .iter()
            .filter_map(|arm| {
                let time = kind(kinds, *arm).time(gauge)?;
                let ends = time.ci95.map(|(lo, hi)| (lo.max(1e-9), hi));
                let bar = ValueBar::measured(&name(*arm, p), colour(*arm), time.value);
                Some(bar.with_interval(ends))
            })
            .collect(),
    };
    let wake = |arm| {
        kind(kinds, arm)
            .time("wake_each_s")
            .map(|e| e.value * p.tasks as f64)
    };
    let text = |time: Option<f64>| time.map_or("–".into(), seconds);
    Figure {
        id: "times".into(),
        title: format!(
            "To wake {} takes tasks {}, threads {}",
            thousands(p.tasks as f64),
            text(wake(Arm::Task)),
            text(wake(Arm::Thread))
        ),
        subtitle: "Time for each, over all numbers tried, with the 95 % interval".into(),
        desc: "Dots on a logarithmic axis: the time to start and to wake one task, one task with a buffer, one task with a connection, one thread.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("time for each, log scale", Unit::Seconds),
            groups: vec![
                group("To start", "until it waits; a connection is opened and accepted", "start_each_s"),
                group("To wake", "all at once, until the last one waits again; a byte for each connection", "wake_each_s"),
            ],
        }),
    }
}

/// Seconds as people write them, down to nanoseconds.
fn brief(value: f64) -> String {
    match value.abs() {
        s if s < 1e-6 => format!("{} ns", number((value * 1e9).round())),
        s if s < 1e-3 => format!("{} µs", number((value * 1e7).round() / 10.0)),
        _ => seconds(value),
    }
}

/// Bytes as people write them, in steps of 1024.
fn bytes(value: f64) -> String {
    let (unit, text) = match value.abs() {
        b if !b.is_finite() => return "–".into(),
        b if b < 1000.0 => (1.0, "B"),
        b if b < 1000.0 * KB => (KB, "KB"),
        b if b < 1000.0 * MB => (MB, "MB"),
        _ => (GB, "GB"),
    };
    let value = value / unit;
    let rounded = match value.abs() {
        v if v >= 100.0 || unit == 1.0 => value.round(),
        v if v >= 10.0 => (value * 10.0).round() / 10.0,
        _ => (value * 100.0).round() / 100.0,
    };
    format!("{rounded} {text}")
}

/// 50000 as "50,000".
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written() {
        for (value, text) in [
            (384.0, "384 B"),
            (0.4, "0 B"),
            (1000.0, "0.98 KB"),
            (4352.0, "4.25 KB"),
            (65_536.0, "64 KB"),
            (2.0 * MB, "2 MB"),
            (2.345 * GB, "2.35 GB"),
            (97.66 * GB, "97.7 GB"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(
            ["0", "999", "50,000", "1,234,567"],
            [0.0, 999.0, 50_000.0, 1_234_567.0]
                .map(thousands)
                .each_ref()
                .map(String::as_str)
        );
    }

    #[test]
    fn small_stacks_share_a_page_of_the_page_table() {
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
        assert!(near(
            page_tables(0.5 * MB),
            PAGE / 4.0 * (1.0 + 1.0 / 512.0)
        ));
        // Four stacks of 256 MB share one of the tables above.
        assert!(near(page_tables(256.0 * MB), PAGE * 1.25));
    }

    #[test]
    fn times_down_to_nanoseconds() {
        for (value, text) in [
            (3.02e-7, "302 ns"),
            (4.72e-6, "4.7 µs"),
            (0.0145, "14.5 ms"),
        ] {
            assert_eq!(brief(value), text);
        }
    }

    /// A record with what a thread takes at each number.
    fn record(threads: &[(f64, &[(&str, f64)])]) -> lab_kit::record::Record {
        let points: Vec<_> = threads
            .iter()
            .map(|(number, gauges)| {
                let mut gauges: std::collections::BTreeMap<_, _> =
                    gauges.iter().map(|(k, v)| (k.to_string(), v * number)).collect();
                gauges.insert("number".into(), *number);
                serde_json::json!({"series": "thread", "x": number, "trials": [{
                    "wall_s": 1.0, "offered": 0, "ok": 0, "rejected": 0, "timed_out": 0, "failed": 0,
                    "aborted": 0, "never_sent": 0, "gauges": gauges}]})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "schema": 1, "lab": "lab13", "params": {}, "scale": "quick", "seed": 1,
            "started_at": "", "interrupted": false, "points": points,
            "host": {"system": "", "cpu": null, "cores": 2, "memory_bytes": null,
                "open_files": null, "build": "release", "effective_parallelism": [1.0, 2.0],
                "timer_late_ms": 1.0, "timer_late_p99_ms": 1.0, "spin_jitter_ms": 0.1,
                "upstream_ceiling_per_s": 1e4, "request_overhead_ms": 0.1}
        }))
        .unwrap()
    }

    fn params() -> Params {
        use clap::FromArgMatches;
        let command = <Params as clap::Args>::augment_args(clap::Command::new("lab13"));
        Params::from_arg_matches(&command.get_matches_from(["lab13"])).unwrap()
    }

    #[test]
    fn the_kernels_share_is_counted_where_it_is_known() {
        let known = [
            ("resident_b", 10_000.0),
            ("page_tables_b", 4000.0),
            ("kernel_stacks_b", 16_000.0),
            ("slab_b", 7000.0),
        ];
        let of = |gauges| {
            let record = record(&[(100.0, gauges), (200.0, gauges), (300.0, gauges)]);
            let findings = explain(&params(), &Summary::of(&record));
            let threads = findings.answer("threads").and_then(|a| a.measured);
            (threads.unwrap().value * GB / 50_000.0, findings.headline)
        };
        let (all, headline) = of(&known);
        assert!(
            (all - 37_000.0).abs() < 1e-6 && headline.contains("1.72 GB"),
            "{headline}"
        );
        let (resident, headline) = of(&known[..1]);
        assert!((resident - 10_000.0).abs() < 1e-6 && headline.contains("unknown here"));
    }

    #[test]
    fn a_record_without_anything_says_so() {
        let findings = explain(&params(), &Summary::of(&record(&[])));
        assert!(findings.answers.iter().all(|a| a.measured.is_none()));
        assert!(findings.headline.contains('–'));
        assert!(
            findings
                .claims
                .iter()
                .all(|c| c.measured.is_none() || c.verdict().word() != "confirmed")
        );
    }
}
