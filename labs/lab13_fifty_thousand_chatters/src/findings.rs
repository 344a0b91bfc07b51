//! Theory beside measurement for lab13.

use lab_kit::{prelude::*, theory::Trend};

use super::{
    Arm, Params,
    cell::{Cell, boxed_beyond},
    gauges,
    premise::asked,
};

/// A page of memory, and what a page of a page table covers: 512 of them.
const PAGE: f64 = 4096.0;
const COVERED: f64 = 512.0 * PAGE;
/// The stack that Linux keeps for each thread in the kernel (x86-64 and arm64).
const KERNEL_STACK: f64 = 16.0 * 1024.0;
/// Mapped beside a thread's stack: its guard page, and a stack for signals of two pages and more
/// with a guard page of its own.
const GUARDS: f64 = 4.0 * PAGE;
/// The least that the kernel keeps for an end of a connection: its `tcp_sock` takes more than 2 KB, and its
/// inode and its file more than the rest.
const AN_END: f64 = 2560.0;
/// What we ask of a task: to start in such a share of a thread's time.
const SWIFT: f64 = 0.1;
/// How close two figures must be, as a share.
const CLOSE: f64 = 0.05;
/// Pages that a process has for reasons of its own, more or fewer from run to run, in bytes. What
/// is not many times as much cannot be told from them.
const HAZE: f64 = 64.0 * 1024.0;

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
    fn points(&self, gauge: Gauge) -> Vec<(f64, f64)> {
        self.conditions
            .iter()
            .flat_map(|k| points(k, gauge))
            .collect()
    }

    fn trend(&self, gauge: Gauge) -> Option<Trend> {
        Trend::fit(&self.points(gauge))
    }

    /// What one more takes of something, in bytes: the slope of a line through all numbers.
    fn each(&self, gauge: Gauge) -> Option<Estimate> {
        let all = self.conditions.iter().map(Condition::origin);
        let from = all.fold(Origin::default(), Origin::and);
        Some(self.trend(gauge)?.each().from(from))
    }

    /// The largest number.
    fn largest(&self) -> Option<&Condition<'a>> {
        self.conditions.last()
    }

    /// The most that were held.
    fn most(&self) -> Option<f64> {
        let numbers = self.points(gauges::NUMBER);
        numbers.into_iter().map(|p| p.1).max_by(f64::total_cmp)
    }

    /// Size of the future.
    fn future(&self) -> Option<f64> {
        let size = self.points(gauges::FUTURE_B).last()?.1;
        (size > 0.0).then_some(size)
    }

    /// The same for theory, which takes it from another number than the one it speaks of.
    fn future_beside(&self, at: usize) -> Option<Given> {
        let other = self.conditions.get((at + 1) % self.conditions.len())?;
        Some(other.gauge(gauges::FUTURE_B)?.into())
    }

    /// Those numbers whose memory, if each takes so much, is many times the process's own pages.
    fn clear_of_haze(&self, each: f64) -> impl Iterator<Item = &Condition<'a>> {
        let clear = move |k: &&Condition| k.x() * each >= HAZE / CLOSE;
        self.conditions.iter().filter(clear)
    }

    /// The memory of so many is many times the process's own pages, by the flags alone: of a thread a page at
    /// the least and how deep it was, of a task a unit of the runtime's and what it holds.
    fn surely_clear(&self, p: &Params, k: &Condition) -> bool {
        let least = match self.arm {
            Arm::Thread => PAGE,
            Arm::DeepThread => p.depth.f(),
            Arm::Inline => buffer(p),
            _ => 128.0,
        };
        k.x() * least >= HAZE / CLOSE
    }

    /// What the kernel keeps for one more. A task is nothing that the kernel knows of: of what it
    /// keeps for all processes together nothing is a task's but the page tables of its memory.
    fn kernel(&self) -> Option<f64> {
        let parts: &[Gauge] = match self.arm {
            Arm::Thread | Arm::DeepThread => &[
                gauges::PAGE_TABLES_B,
                gauges::KERNEL_STACKS_B,
                gauges::SLAB_B,
            ],
            Arm::Socket => &[gauges::PAGE_TABLES_B, gauges::SLAB_B],
            _ => &[gauges::PAGE_TABLES_B],
        };
        let sum = |sum: f64, part: &Gauge| Some(sum + self.each(*part)?.value);
        parts.iter().try_fold(0.0, sum).map(|b| b.max(0.0))
    }

    /// Memory that one more takes, here and in the kernel where it tells.
    fn memory(&self) -> Option<f64> {
        Some(self.each(gauges::RESIDENT_B)?.value + self.kernel().unwrap_or(0.0))
    }

    /// A time for each of them, at the largest number.
    fn time(&self, gauge: Gauge) -> Option<Estimate> {
        self.largest()?.gauge(gauge)
    }
}

/// A figure over the number of chatters, a point a trial of one condition.
fn points(k: &Condition, gauge: Gauge) -> Vec<(f64, f64)> {
    let point = |t: &Trial| Some((t.gauge(gauges::NUMBER)?, t.gauge(gauge)?));
    k.trials().iter().filter_map(point).collect()
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

/// What was measured by itself, with nobody there: what tokio adds to a future, and for a socket besides,
/// and what the allocator takes for a block.
#[derive(Clone, Copy)]
struct Known<'a> {
    cell: Cell,
    registration: f64,
    nobody: Condition<'a>,
}

impl<'a> Known<'a> {
    fn of(summary: &Summary<'a>) -> Option<Known<'a>> {
        let nobody = summary.only("nobody")?;
        let value = |gauge| Some(nobody.gauge(gauge)?.value);
        Some(Known {
            cell: Cell {
                header: value(gauges::HEADER_B)?,
                unit: value(gauges::UNIT_B)?,
                boxed_beyond: boxed_beyond(&summary.host().build),
            },
            registration: value(gauges::REGISTRATION_B)?,
            nobody,
        })
    }

    /// Blocks of the heap that a parked task has.
    fn blocks(&self, arm: Arm, future: f64) -> Vec<f64> {
        let mut blocks = self.cell.blocks(future);
        if arm == Arm::Socket {
            blocks.push(self.registration);
        }
        blocks
    }

    /// Live heap of a parked task, in bytes.
    fn heap(&self, arm: Arm, future: impl Into<Given>) -> Given {
        let future = future.into().and(self.nobody.origin());
        future.map(|future| self.blocks(arm, future).iter().sum())
    }

    /// What the allocator takes for a block of so many bytes.
    fn slot(&self, block: f64) -> Option<f64> {
        let key = gauges::slot_key(block);
        let slot = self.nobody.estimate(|t| t.gauges.get(&key).copied());
        Some(slot?.value)
    }

    /// Resident memory of a parked task, in bytes: what the allocator takes for its blocks.
    fn resident(&self, arm: Arm, future: impl Into<Given>) -> Option<Given> {
        let future = future.into().and(self.nobody.origin());
        let blocks = self.blocks(arm, future.value);
        let slots = blocks.iter().map(|block| self.slot(*block));
        let sum: f64 = slots.sum::<Option<f64>>()?;
        Some(future.map(|_| sum))
    }
}

/// Whether a condition has held as many as it is named after: where the machine stopped before, it tells
/// nothing of them.
fn all_held(k: &Condition, p: &Params) -> bool {
    let number = Some(asked(p, k));
    k.trials().iter().all(|t| t.gauge(gauges::NUMBER) == number)
}

/// What each takes of something at one number, in bytes.
fn at(k: &Condition, p: &Params, gauge: Gauge) -> Option<Estimate> {
    let each = k.estimate(|t| Some(t.gauge(gauge)? / asked(p, k)));
    each.filter(|_| all_held(k, p))
}

/// "50,000 threads".
fn held(k: &Condition, what: &str) -> String {
    format!("{} × {what}", thousands(k.x()))
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
        claims: Claims {
            p,
            kinds: &kinds,
            stacks: &stacks,
            known: Known::of(summary),
            linux: summary.host().system.starts_with("linux"),
        }
        .all(),
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
    let known = Known::of(summary).zip(task.future());
    let predicted = known.and_then(|(known, future)| known.resident(Arm::Task, future));
    let thread = kind(kinds, Arm::Thread);
    let kernel = thread.kernel().unwrap_or(0.0);
    let threads = thread.each(gauges::RESIDENT_B).map(|e| e.shifted(kernel));
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
            task.each(gauges::RESIDENT_B),
            predicted.map_or(f64::NAN, |given| given.value),
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
    let addresses = thread.each(gauges::VIRTUAL_B).map(|e| e.value);
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

/// What claims are made of.
struct Claims<'a, 'b> {
    p: &'a Params,
    kinds: &'a [Kind<'b>],
    stacks: &'a [Condition<'b>],
    known: Option<Known<'b>>,
    /// It tells what its kernel keeps, and lays out threads as we know it.
    linux: bool,
}

impl Claims<'_, '_> {
    fn all(&self) -> Vec<Claim> {
        let mut claims = vec![self.heaps(), self.residents(), self.dives()];
        if self.linux {
            claims.extend([self.addresses(), self.page_tables(), self.kernel_stacks()]);
            claims.push(self.connections());
        }
        claims.extend([self.whatever_stack(), self.starts(), self.lines()]);
        claims
    }

    fn kind(&self, arm: Arm) -> &Kind<'_> {
        kind(self.kinds, arm)
    }

    fn tasks(&self) -> impl Iterator<Item = &Kind<'_>> {
        let is_task = |k: &&Kind| !matches!(k.arm, Arm::Thread | Arm::DeepThread | Arm::Nobody);
        self.kinds.iter().filter(is_task)
    }

    fn heaps(&self) -> Claim {
        let cases = self.tasks().flat_map(|k| {
            let case = |(i, condition): (usize, &Condition)| {
                let predicted = self.known?.heap(k.arm, k.future_beside(i)?);
                let measured = at(condition, self.p, gauges::HEAP_B);
                Some(Case::share(
                    held(condition, &name(k.arm, self.p)),
                    predicted,
                    measured,
                    0.01,
                ))
            };
            k.conditions.iter().enumerate().filter_map(case)
        });
        Law::counted("a parked task's live heap is its future and the runtime's header, rounded up to whole units, and a socket's registration", "bytes")
            .within("1 %: the runtime's queue of those that are ready")
            .near(cases)
    }

    fn residents(&self) -> Claim {
        let cases = self.tasks().flat_map(|k| {
            let case = |(i, condition): (usize, &Condition)| {
                let (known, future) = (self.known?, k.future_beside(i)?);
                let clear = condition.x() * known.heap(k.arm, future).value >= HAZE / CLOSE;
                if !clear && !k.surely_clear(self.p, condition) {
                    return None;
                }
                let name = held(condition, &name(k.arm, self.p));
                // Older records do not say what the allocator takes.
                let Some(predicted) = known.resident(k.arm, future) else {
                    return Some(Case::exact(name, f64::NAN, None));
                };
                let tolerance = 0.03 * predicted.value + HAZE / condition.x();
                Some(Case::new(
                    name,
                    predicted,
                    at(condition, self.p, gauges::RESIDENT_B).filter(|_| clear),
                    tolerance,
                ))
            };
            k.conditions.iter().enumerate().filter_map(case)
        });
        Law::counted("a task's resident memory is what the allocator takes for its blocks, however deep its calls once were: nothing of a socket's memory in the kernel is in it", "bytes")
            .within("3 % for scraps between blocks that are used after all, and the 64 KB that a process's own pages come and go by")
            .near(cases)
    }

    fn dives(&self) -> Claim {
        let shallow = self
            .kind(Arm::Thread)
            .largest()
            .and_then(|k| at(k, self.p, gauges::RESIDENT_B));
        let (depth, deep) = (self.p.depth.f(), self.kind(Arm::DeepThread));
        let cases = deep.clear_of_haze(depth).filter_map(|k| {
            let predicted = Given::from(shallow?) + depth;
            let tolerance = PAGE + 0.03 * depth;
            Some(Case::new(
                held(k, "thread"),
                predicted,
                at(k, self.p, gauges::RESIDENT_B),
                tolerance,
            ))
        });
        Law::counted(
            "a thread keeps all the stack it ever touched: a page of memory for each page of depth",
            "bytes",
        )
        .within("a page, since touching begins anywhere in one, and 3 % for what each call adds to the depth")
        .near(cases)
    }

    /// A law of threads at their usual stack, number by number, and at the others.
    fn by_stack(
        &self,
        gauge: Gauge,
        size: f64,
        case: impl Fn(f64, &Condition) -> (f64, f64),
    ) -> Vec<Case> {
        let usual = self.kind(Arm::Thread).clear_of_haze(size);
        let usual = usual.map(|k| (self.p.stack.f(), held(k, "thread"), k));
        let others = self
            .stacks
            .iter()
            .map(|k| (k.x(), format!("a stack of {}", bytes(k.x())), k));
        let all = usual.chain(others).map(|(stack, name, k)| {
            let (predicted, tolerance) = case(stack, k);
            Case::new(name, predicted, at(k, self.p, gauge), tolerance)
        });
        all.collect()
    }

    fn addresses(&self) -> Claim {
        Law::counted("a thread's address space is the stack it asked for and four pages: guards, and a stack for signals", "bytes")
            .within("a page: the heap beside the stacks grows as well")
            .near(self.by_stack(gauges::VIRTUAL_B, self.p.stack.f(), |stack, _| (stack + GUARDS, PAGE)))
    }

    fn page_tables(&self) -> Claim {
        let cases = self.by_stack(gauges::PAGE_TABLES_B, PAGE, |stack, k| {
            let predicted = page_tables(stack + GUARDS);
            let number = asked(self.p, k);
            (predicted, 0.03 * predicted + 4.0 * PAGE / number)
        });
        Law::counted("the page tables of a thread are a page for each 2 MB of addresses in which it touches something, and its share of those above", "bytes")
            .within("3 %, and a page at either end of the stacks and of the heap")
            .near(cases)
    }

    fn whatever_stack(&self) -> Claim {
        let usual = self
            .kind(Arm::Thread)
            .largest()
            .and_then(|k| at(k, self.p, gauges::RESIDENT_B));
        let cases = self.stacks.iter().filter_map(|k| {
            let number = asked(self.p, k);
            let name = format!("a stack of {}", bytes(k.x()));
            match usual.filter(|usual| number * usual.value >= HAZE / CLOSE) {
                Some(usual) => {
                    let measured = at(k, self.p, gauges::RESIDENT_B);
                    Some(Case::share(name, usual, measured, CLOSE))
                }
                // A page each is what they touch at the least.
                None => (number * PAGE >= HAZE / CLOSE).then(|| Case::exact(name, f64::NAN, None)),
            }
        });
        Law::counted(
            "a thread's resident memory does not depend on the stack it asked for",
            "bytes",
        )
        .within("5 %: 64 KB that a process's own pages come and go by")
        .near(cases)
    }

    fn kernel_stacks(&self) -> Claim {
        let threads = self.kind(Arm::Thread).clear_of_haze(KERNEL_STACK);
        let cases = threads.map(|k| {
            Case::share(
                held(k, "thread"),
                KERNEL_STACK,
                at(k, self.p, gauges::KERNEL_STACKS_B),
                CLOSE,
            )
        });
        Law::counted("the kernel keeps a stack of 16 KB for each thread", "bytes")
            .within("5 %: read for the whole machine, where others begin and end threads")
            .near(cases)
    }

    fn connections(&self) -> Claim {
        let sockets = self.kind(Arm::Socket).clear_of_haze(2.0 * AN_END);
        let cases = sockets.map(|k| {
            let slab = at(k, self.p, gauges::SLAB_B);
            Case::exact(held(k, "connection"), 2.0 * AN_END, slab)
        });
        Law::counted("a connection takes 5 KB and more in the kernel, over both ends: a socket of 2 KB and more for either, its inode, its file", "bytes")
            .at_least(cases)
    }

    fn starts(&self) -> Claim {
        let (task, thread) = (self.kind(Arm::Task), self.kind(Arm::Thread));
        let pairs = thread.conditions.iter().zip(&task.conditions);
        let cases = pairs.map(|(thread, task)| {
            let share = task.paired(thread, |task, thread| {
                let time = |t: &Trial| t.gauge(gauges::START_EACH_S).filter(|s| *s > 0.0);
                Some(time(task)? / time(thread)?)
            });
            let name = format!("{} tasks, {}", thousands(task.x()), held(thread, "thread"));
            let all = all_held(task, self.p) && all_held(thread, self.p);
            Case::exact(name, SWIFT, share.filter(|_| all))
        });
        Law::new(
            "a task starts in a tenth of a thread's time or less: a thread makes what a task makes, and asks the kernel for the rest",
            "of a thread's time",
            Disturbed::Either(Resource::Processors),
        )
        .goal()
        .at_most(cases)
    }

    /// What extrapolating rests on: each number, from a line through all the others.
    fn lines(&self) -> Claim {
        let cases = self.kinds.iter().flat_map(|k| {
            let case = |number: &Condition| {
                let others = || k.conditions.iter().filter(|other| other.x() != number.x());
                let points: Vec<(f64, f64)> = others()
                    .flat_map(|k| points(k, gauges::RESIDENT_B))
                    .collect();
                let predicted = Trend::fit(&points)?.at(number.x());
                let from = others()
                    .map(Condition::origin)
                    .fold(Origin::default(), Origin::and);
                let tolerance = CLOSE * predicted + HAZE;
                let clear = predicted >= HAZE / CLOSE;
                let measured = number.gauge(gauges::RESIDENT_B);
                let measured = measured.filter(|_| clear && all_held(number, self.p));
                let name = held(number, &name(k.arm, self.p));
                let case = Case::new(name, Given::new(predicted, from), measured, tolerance);
                (clear || k.surely_clear(self.p, number)).then(|| case.scaled(1.0 / MB))
            };
            k.conditions.iter().filter_map(case)
        });
        Law::counted(
            "a straight line through all other numbers says what a number takes: one more costs as much at any",
            "MB resident",
        )
        .within("5 %, which extrapolating can bear, and the 64 KB that a process's own pages come and go by")
        .near(cases)
    }
}

fn each_table(p: &Params, kinds: &[Kind], summary: &Summary) -> Table {
    let mut table = Table::new(
        "What one more takes",
        &[
            "one more",
            "its future",
            "live heap",
            "theory",
            "resident",
            "theory",
            "in the kernel",
            "addresses",
            "to start",
            "to wake",
        ],
    );
    let known = Known::of(summary);
    for k in kinds {
        let theory = known.zip(k.future());
        let resident = theory.and_then(|(known, future)| known.resident(k.arm, future));
        let each = |gauge| k.each(gauge).map(|e| e.value);
        let text = |value: Option<f64>| value.map_or("–".into(), bytes);
        let time = |gauge| k.time(gauge).map_or("–".into(), |e| brief(e.value));
        table.row([
            name(k.arm, p),
            text(k.future()),
            text(each(gauges::HEAP_B)),
            text(theory.map(|(known, future)| known.heap(k.arm, future).value)),
            text(each(gauges::RESIDENT_B)),
            text(resident.map(|given| given.value)),
            text(k.kernel()),
            text(each(gauges::VIRTUAL_B)),
            time(gauges::START_EACH_S),
            time(gauges::WAKE_EACH_S),
        ]);
    }
    table.note = "Slopes of lines fitted over the numbers tried. The kernel's share of a thread: its stack there, its page tables, and small objects; of a connection: small objects, for both ends. To start a connection is to open and accept it; to wake all of them a byte goes through each. Times: at the largest number.".into();
    if let Some(Known { cell, .. }) = known {
        table.note += &format!(
            " The header that the runtime adds to a future is {} bytes here, the unit {}.",
            cell.header, cell.unit
        );
    }
    let task = known.zip(kind(kinds, Arm::Task).future());
    let block = task.map(|(known, future)| (known, known.heap(Arm::Task, future).value));
    if let Some((block, slot)) = block.and_then(|(known, block)| Some((block, known.slot(block)?)))
    {
        table.note += &format!(
            " For a block of {block} bytes, asked for by itself, the allocator takes {}.",
            slot.round()
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
            all(k.each(gauges::VIRTUAL_B).map(|e| e.value)),
            time(gauges::START_EACH_S),
            time(gauges::WAKE_EACH_S),
        ]);
    }
    table.note = format!(
        "Memory: resident, and in the kernel where it tells. Stacks of {} for {} are {}, all of them addresses. Times: that of one at the largest number, times as many. Where fewer were tried than asked for, a note says which limit was met.",
        bytes(p.stack.f()),
        thousands(n),
        bytes(p.stack.f() * n)
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
    let shown = [gauges::VIRTUAL_B, gauges::RESIDENT_B, gauges::PAGE_TABLES_B];
    let mut rows: Vec<(f64, [Option<Estimate>; 3])> = stacks
        .iter()
        .map(|k| (k.x(), shown.map(|g| at(k, p, g))))
        .collect();
    rows.push((p.stack.f(), shown.map(|g| thread.each(g))));
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
    let known = Known::of(summary);
    let shown = [
        Arm::Task,
        Arm::Inline,
        Arm::Socket,
        Arm::Thread,
        Arm::DeepThread,
    ];
    let groups = shown.iter().map(|arm| {
        let k = kind(kinds, *arm);
        let task = known.zip(k.future());
        let theory = |gauge: Gauge| match (gauge, arm) {
            (gauges::HEAP_B, _) => task.map(|(known, future)| known.heap(k.arm, future).value),
            (gauges::RESIDENT_B, _) => {
                task.and_then(|(known, future)| Some(known.resident(k.arm, future)?.value))
            }
            (gauges::VIRTUAL_B, Arm::Thread | Arm::DeepThread) => Some(p.stack.f() + GUARDS),
            _ => None,
        };
        let bar = |label: &str, gauge: Gauge, colour| {
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
            bar("live heap", gauges::HEAP_B, Colour::Green),
            bar("resident", gauges::RESIDENT_B, Colour::Blue),
            kernel.map(|b| ValueBar::measured("in the kernel", Colour::Orange, b / KB)),
            bar("addresses", gauges::VIRTUAL_B, Colour::Muted),
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
    let text = |value: Option<f64>| value.map_or("–".into(), bytes);
    let each = |k: &Kind, gauge: Gauge| text(k.each(gauge).map(|e| e.value));
    Figure {
        id: "cost".into(),
        title: format!(
            "One more task takes {} resident; one more thread {}, {} in the kernel, and {} of addresses",
            each(task, gauges::RESIDENT_B),
            each(thread, gauges::RESIDENT_B),
            text(thread.kernel()),
            each(thread, gauges::VIRTUAL_B)
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
        let mut points = k.points(gauges::RESIDENT_B);
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
    let addresses = thread.each(gauges::VIRTUAL_B).map(|e| e.value);
    if let (Some(each), Some(most)) = (addresses, thread.most()) {
        let mut points = thread.points(gauges::VIRTUAL_B);
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

/// A part of what one more takes.
fn part(
    k: &Kind,
    label: &str,
    gauge: Gauge,
    colour: Colour,
    theory: Option<f64>,
) -> Option<ValueBar> {
    let each = k.each(gauge)?;
    let ends = |(lo, hi): (f64, f64)| (f64::max(lo, 0.0) / KB, hi / KB);
    let bar = ValueBar::measured(label, colour, each.value.max(0.0) / KB)
        .with_interval(each.ci95.map(ends));
    Some(match theory {
        Some(theory) => bar.with_theory(theory / KB),
        None => bar,
    })
}

/// The parts of a thread.
fn parts_of_thread(p: &Params, k: &Kind, resident: Option<f64>) -> Vec<ValueBar> {
    let tables = Some(page_tables(p.stack.f() + GUARDS));
    let parts = [
        (
            "stack and heap, resident",
            gauges::RESIDENT_B,
            Colour::Blue,
            resident,
        ),
        (
            "stack in the kernel",
            gauges::KERNEL_STACKS_B,
            Colour::Orange,
            Some(KERNEL_STACK),
        ),
        (
            "small objects in the kernel",
            gauges::SLAB_B,
            Colour::Orange,
            None,
        ),
        ("page tables", gauges::PAGE_TABLES_B, Colour::Orange, tables),
    ];
    let bars = parts.map(|(label, gauge, colour, theory)| part(k, label, gauge, colour, theory));
    bars.into_iter().flatten().collect()
}

/// The parts of a connection.
fn parts_of_socket(k: &Kind) -> Vec<ValueBar> {
    let parts = [
        ("task, resident", gauges::RESIDENT_B, Colour::Blue),
        (
            "small objects in the kernel",
            gauges::SLAB_B,
            Colour::Orange,
        ),
    ];
    let bars = parts.map(|(label, gauge, colour)| part(k, label, gauge, colour, None));
    bars.into_iter().flatten().collect()
}

/// Where the memory of a thread and of a connection is.
fn parts(p: &Params, kinds: &[Kind]) -> Figure {
    let (thread, deep) = (kind(kinds, Arm::Thread), kind(kinds, Arm::DeepThread));
    let socket = kind(kinds, Arm::Socket);
    let shallow = thread.each(gauges::RESIDENT_B).map(|e| e.value);
    let group = |label: &str, k: &Kind, bars: Vec<ValueBar>| BarGroup {
        label: label.into(),
        note: k
            .memory()
            .map_or(String::new(), |b| format!("{} together", bytes(b))),
        bars,
    };
    let groups = vec![
        group("A thread", thread, parts_of_thread(p, thread, None)),
        group(
            &format!("A thread that was once {} deep", bytes(p.depth.f())),
            deep,
            parts_of_thread(p, deep, shallow.map(|b| b + p.depth.f())),
        ),
        group(
            "A task with a connection, and its other end",
            socket,
            parts_of_socket(socket),
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
    let group = |label: &str, note: &str, gauge: Gauge| BarGroup {
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
    let time = |arm, gauge| {
        let time = kind(kinds, arm).time(gauge);
        time.map_or("–".into(), |e| brief(e.value))
    };
    Figure {
        id: "times".into(),
        title: format!(
            "To start a task takes {}, a thread {}; to wake one {}, and {}",
            time(Arm::Task, gauges::START_EACH_S),
            time(Arm::Thread, gauges::START_EACH_S),
            time(Arm::Task, gauges::WAKE_EACH_S),
            time(Arm::Thread, gauges::WAKE_EACH_S)
        ),
        subtitle: "Time for each, at the largest number tried, with the 95 % interval".into(),
        desc: "Dots on a logarithmic axis: the time to start and to wake one task, one task with a buffer, one task with a connection, one thread.".into(),
        body: Body::Bars(Bars {
            x: Axis::log("time for each, log scale", Unit::Seconds),
            groups: vec![
                group("To start", "until it waits; a connection is opened and accepted", gauges::START_EACH_S),
                group("To wake", "all at once, until the last one waits again; a byte for each connection", gauges::WAKE_EACH_S),
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
    fn record(threads: &[(f64, &[(Gauge, f64)])]) -> lab_kit::record::Record {
        let points: Vec<_> = threads
            .iter()
            .map(|(number, gauges)| {
                let mut gauges: std::collections::BTreeMap<_, _> =
                    gauges.iter().map(|(k, v)| (k.to_string(), v * number)).collect();
                gauges.insert(gauges::NUMBER.to_string(), *number);
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
            (gauges::RESIDENT_B, 10_000.0),
            (gauges::PAGE_TABLES_B, 4000.0),
            (gauges::KERNEL_STACKS_B, 16_000.0),
            (gauges::SLAB_B, 7000.0),
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
                .all(|c| c.measured().is_none() || c.verdict().word() != "confirmed")
        );
    }
}
