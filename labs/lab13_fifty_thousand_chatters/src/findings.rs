//! Theory beside measurement for lab13.

use lab_kit::{prelude::*, theory::Trend};

use super::{
    Arm, Params,
    cell::{Cell, boxed_beyond},
    gauges,
    premise::asked,
};

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    Findings {
        headline: view.headline(),
        figures: vec![view.cost(), view.growth(), view.parts(), view.times()],
        tables: vec![view.each_table(), view.whole_table(), view.stack_table()],
        claims: view.claims(),
        answers: view.answers(),
    }
}

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

/// Whether so much is many times what a process has for reasons of its own.
fn is_clear(bytes: f64) -> bool {
    bytes >= HAZE / CLOSE
}

/// One way to hold chatters, at every number tried.
struct Kind<'a> {
    arm: Arm,
    name: String,
    conditions: Vec<Condition<'a>>,
}

impl<'a> Kind<'a> {
    fn of(p: &Params, summary: &Summary<'a>, arm: Arm) -> Kind<'a> {
        Kind { arm, name: name(arm, p), conditions: summary.series(arm.series()) }
    }

    /// A figure over the number of chatters, a point a trial.
    fn points(&self, gauge: Gauge) -> Vec<(f64, f64)> {
        let all = self.conditions.iter();
        all.flat_map(|k| points(k, gauge)).collect()
    }

    /// What one more takes of something, in bytes: the slope of a line through all numbers.
    fn each(&self, gauge: Gauge) -> Option<Estimate> {
        let (line, origin) = line_through(&self.conditions, gauge)?;
        Some(line.each().from(origin))
    }

    /// The same without its interval.
    fn each_b(&self, gauge: Gauge) -> Option<f64> {
        self.each(gauge).map(|each| each.value)
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
    fn future_beside(&self, k: &Condition) -> Option<Given> {
        let at = self.conditions.iter().position(|c| c.x() == k.x())?;
        let other = &self.conditions[(at + 1) % self.conditions.len()];
        Some(other.gauge(gauges::FUTURE_B)?.into())
    }

    /// Those numbers whose memory, if each takes so much, is many times the process's own pages.
    fn clear_of_haze(&self, each: f64) -> impl Iterator<Item = &Condition<'a>> {
        self.conditions.iter().filter(move |k| is_clear(k.x() * each))
    }

    /// The memory of so many is many times the process's own pages, by the flags alone: of a thread a page at
    /// the least and how deep it was, of a task a unit of the runtime's and what it holds.
    fn surely_clear(&self, p: &Params, k: &Condition) -> bool {
        let least = match self.arm {
            Arm::Thread => PAGE,
            Arm::DeepThread => p.depth.f(),
            Arm::Inline => p.buffer.bytes() as f64,
            _ => 128.0,
        };
        is_clear(k.x() * least)
    }

    /// What the kernel keeps for one more. A task is nothing that the kernel knows of: of what it
    /// keeps for all processes together nothing is a task's but the page tables of its memory.
    fn kernel(&self) -> Option<f64> {
        use gauges::{KERNEL_STACKS_B, PAGE_TABLES_B, SLAB_B};
        let parts: &[Gauge] = match self.arm {
            Arm::Thread | Arm::DeepThread => &[PAGE_TABLES_B, KERNEL_STACKS_B, SLAB_B],
            Arm::Socket => &[PAGE_TABLES_B, SLAB_B],
            _ => &[PAGE_TABLES_B],
        };
        let sum = |sum: f64, part: &Gauge| Some(sum + self.each_b(*part)?);
        parts.iter().try_fold(0.0, sum).map(|b| b.max(0.0))
    }

    /// Memory that one more takes, here and in the kernel where it tells.
    fn memory(&self) -> Option<f64> {
        Some(self.each_b(gauges::RESIDENT_B)? + self.kernel().unwrap_or(0.0))
    }

    /// A time for each of them, at the largest number.
    fn time(&self, gauge: Gauge) -> Option<Estimate> {
        self.largest()?.gauge(gauge)
    }

    /// What one more takes of something, in KB, as a bar; `least` is where its interval ends at the left.
    fn bar(&self, label: &str, gauge: Gauge, theory: Option<f64>, least: f64) -> Option<ValueBar> {
        let each = self.each(gauge)?;
        let colour = match gauge {
            gauges::HEAP_B => Colour::Green,
            gauges::RESIDENT_B => Colour::Blue,
            gauges::VIRTUAL_B => Colour::Muted,
            _ => Colour::Orange,
        };
        let ends = |(low, high): (f64, f64)| (low.max(least) / KB, high / KB);
        let bar = ValueBar::measured(label, colour, each.value.max(0.0) / KB);
        Some(ValueBar { interval: each.ci95.map(ends), theory: theory.map(|b| b / KB), ..bar })
    }
}

/// A figure over the number of chatters, a point a trial of one condition.
fn points(k: &Condition, gauge: Gauge) -> Vec<(f64, f64)> {
    let point = |t: &Trial| Some((t.gauge(gauges::NUMBER)?, t.gauge(gauge)?));
    k.trials().iter().filter_map(point).collect()
}

/// A straight line through the trials of some numbers, and where it is from.
fn line_through<'k, 'a: 'k>(
    conditions: impl IntoIterator<Item = &'k Condition<'a>>,
    gauge: Gauge,
) -> Option<(Trend, Origin)> {
    let (mut all, mut origin) = (Vec::new(), Origin::default());
    for k in conditions {
        all.extend(points(k, gauge));
        origin = origin.and(k.origin());
    }
    Some((Trend::fit(&all)?, origin))
}

fn name(arm: Arm, p: &Params) -> String {
    let (buffer, depth) = (bytes(p.buffer.bytes() as f64), bytes(p.depth.f()));
    match arm {
        Arm::Task => "task".into(),
        Arm::Inline => format!("task that holds {buffer}"),
        Arm::Late => format!("task that makes {buffer} late"),
        Arm::DeepTask => format!("task once {depth} deep"),
        Arm::Socket => "task with a connection".into(),
        Arm::Thread => "thread".into(),
        Arm::DeepThread => format!("thread once {depth} deep"),
        Arm::Nobody => String::new(),
    }
}

/// Those that charts show.
const DRAWN: [Arm; 4] = [Arm::Task, Arm::Inline, Arm::Socket, Arm::Thread];

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
        let slot = self.nobody.estimate(|t| t.gauges.get(&gauges::slot_key(block)).copied());
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

/// "50,000 × thread".
fn held(k: &Condition, what: &str) -> String {
    format!("{} × {what}", thousands(k.x()))
}

fn of_stack(k: &Condition) -> String {
    format!("a stack of {}", bytes(k.x()))
}

/// Page tables of a thread whose addresses lie beside those of others like it: a page of them for
/// each 2 MB in which something is touched, one of the tables above for each 512 times as much, and
/// so on. Threads whose stacks are smaller share one.
fn page_tables(addresses: f64) -> f64 {
    let levels = [1.0, 512.0, 512.0 * 512.0];
    let pages = levels.map(|above| (addresses / COVERED / above).min(1.0));
    PAGE * pages.iter().sum::<f64>()
}

/// The record, and what was known before.
struct View<'a> {
    p: &'a Params,
    kinds: Vec<Kind<'a>>,
    /// Threads by the stack that they asked for.
    stacks: Vec<Condition<'a>>,
    known: Option<Known<'a>>,
    /// It tells what its kernel keeps, and lays out threads as we know it.
    linux: bool,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        View {
            p,
            kinds: Arm::LINES.map(|arm| Kind::of(p, summary, arm)).into(),
            stacks: summary.series("stack"),
            known: Known::of(summary),
            linux: summary.host().system.starts_with("linux"),
        }
    }

    fn kind(&self, arm: Arm) -> &Kind<'a> {
        let found = self.kinds.iter().find(|kind| kind.arm == arm);
        found.expect("every arm has its kind, if an empty one")
    }

    fn thread(&self) -> &Kind<'a> {
        self.kind(Arm::Thread)
    }

    /// Every number of every kind.
    fn numbers(&self) -> impl Iterator<Item = (&Kind<'a>, &Condition<'a>)> {
        let all = self.kinds.iter();
        all.flat_map(|kind| kind.conditions.iter().map(move |k| (kind, k)))
    }

    /// Those of tasks.
    fn tasks(&self) -> impl Iterator<Item = (&Kind<'a>, &Condition<'a>)> {
        self.numbers().filter(|(kind, _)| !kind.arm.is_thread())
    }

    /// Whether a condition has held as many as it is named after: where the machine stopped before, it tells
    /// nothing of them.
    fn all_held(&self, k: &Condition) -> bool {
        let number = Some(asked(self.p, k));
        k.trials().iter().all(|t| t.gauge(gauges::NUMBER) == number)
    }

    /// What each takes of something at one number, in bytes.
    fn at(&self, k: &Condition, gauge: Gauge) -> Option<Estimate> {
        let each = k.estimate(|t| Some(t.gauge(gauge)? / asked(self.p, k)));
        each.filter(|_| self.all_held(k))
    }

    /// What a thread takes of its own process, at the largest number.
    fn thread_resident(&self) -> Option<Estimate> {
        self.at(self.thread().largest()?, gauges::RESIDENT_B)
    }

    /// Live heap of a task by theory.
    fn heap(&self, kind: &Kind) -> Option<f64> {
        Some(self.known?.heap(kind.arm, kind.future()?).value)
    }

    /// Its resident memory by theory.
    fn resident(&self, kind: &Kind) -> Option<f64> {
        Some(self.known?.resident(kind.arm, kind.future()?)?.value)
    }

    /// Addresses of a thread by theory.
    fn addresses_due(&self) -> f64 {
        self.p.stack.f() + GUARDS
    }

    /// What all of them take, as it is written.
    fn of_all(&self, each: Option<f64>) -> String {
        amount(each.map(|b| b * self.p.tasks as f64))
    }
}

/// The claims and the answers.
impl<'a> View<'a> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.heaps(), self.residents(), self.dives()];
        if self.linux {
            claims.extend([self.addresses(), self.page_tables(), self.kernel_stacks()]);
            claims.push(self.connections());
        }
        claims.extend([self.whatever_stack(), self.starts(), self.lines()]);
        claims
    }

    fn heaps(&self) -> Claim {
        let cases = self.tasks().filter_map(|(kind, k)| {
            let predicted = self.known?.heap(kind.arm, kind.future_beside(k)?);
            let measured = self.at(k, gauges::HEAP_B);
            Some(Case::share(held(k, &kind.name), predicted, measured, 0.01))
        });
        Law::counted("a parked task's live heap is its future and the runtime's header, rounded up to whole units, and a socket's registration", "bytes")
            .within("1 %: the runtime's queue of those that are ready")
            .near(cases)
    }

    fn residents(&self) -> Claim {
        let cases = self.tasks().filter_map(|(kind, k)| {
            let (known, future) = (self.known?, kind.future_beside(k)?);
            let clear = is_clear(k.x() * known.heap(kind.arm, future).value);
            let name = held(k, &kind.name);
            let case = match known.resident(kind.arm, future) {
                Some(predicted) => {
                    let measured = self.at(k, gauges::RESIDENT_B).filter(|_| clear);
                    let tolerance = 0.03 * predicted.value + HAZE / k.x();
                    Case::new(name, predicted, measured, tolerance)
                }
                // Older records do not say what the allocator takes.
                None => Case::exact(name, f64::NAN, None),
            };
            (clear || kind.surely_clear(self.p, k)).then_some(case)
        });
        Law::counted("a task's resident memory is what the allocator takes for its blocks, however deep its calls once were: nothing of a socket's memory in the kernel is in it", "bytes")
            .within("3 % for scraps between blocks that are used after all, and the 64 KB that a process's own pages come and go by")
            .near(cases)
    }

    fn dives(&self) -> Claim {
        let (shallow, depth) = (self.thread_resident(), self.p.depth.f());
        let deep = self.kind(Arm::DeepThread).clear_of_haze(depth);
        let cases = deep.filter_map(|k| {
            let predicted = Given::from(shallow?) + depth;
            let measured = self.at(k, gauges::RESIDENT_B);
            let tolerance = PAGE + 0.03 * depth;
            Some(Case::new(held(k, "thread"), predicted, measured, tolerance))
        });
        Law::counted("a thread keeps all the stack it ever touched: a page of memory for each page of depth", "bytes")
            .within("a page, since touching begins anywhere in one, and 3 % for what each call adds to the depth")
            .near(cases)
    }

    /// Threads at their usual stack, number by number, if each takes so much, and at the others: the name, the
    /// stack, the condition.
    fn by_stack(&self, each: f64) -> impl Iterator<Item = (String, f64, &Condition<'a>)> {
        let usual = self.thread().clear_of_haze(each);
        let usual = usual.map(|k| (held(k, "thread"), self.p.stack.f(), k));
        let others = self.stacks.iter().map(|k| (of_stack(k), k.x(), k));
        usual.chain(others)
    }

    fn addresses(&self) -> Claim {
        let cases = self.by_stack(self.p.stack.f()).map(|(name, stack, k)| {
            let measured = self.at(k, gauges::VIRTUAL_B);
            Case::new(name, stack + GUARDS, measured, PAGE)
        });
        Law::counted("a thread's address space is the stack it asked for and four pages: guards, and a stack for signals", "bytes")
            .within("a page: the heap beside the stacks grows as well")
            .near(cases)
    }

    fn page_tables(&self) -> Claim {
        let cases = self.by_stack(PAGE).map(|(name, stack, k)| {
            let predicted = page_tables(stack + GUARDS);
            let tolerance = 0.03 * predicted + 4.0 * PAGE / asked(self.p, k);
            let measured = self.at(k, gauges::PAGE_TABLES_B);
            Case::new(name, predicted, measured, tolerance)
        });
        Law::counted("the page tables of a thread are a page for each 2 MB of addresses in which it touches something, and its share of those above", "bytes")
            .within("3 %, and a page at either end of the stacks and of the heap")
            .near(cases)
    }

    fn whatever_stack(&self) -> Claim {
        let usual = self.thread_resident();
        let cases = self.stacks.iter().filter_map(|k| {
            let number = asked(self.p, k);
            let clear = usual.filter(|usual| is_clear(number * usual.value));
            let measured = self.at(k, gauges::RESIDENT_B);
            let case = match clear {
                Some(usual) => Case::share(of_stack(k), usual, measured, CLOSE),
                None => Case::exact(of_stack(k), f64::NAN, None),
            };
            // A page each is what they touch at the least.
            (clear.is_some() || is_clear(number * PAGE)).then_some(case)
        });
        let text = "a thread's resident memory does not depend on the stack it asked for";
        Law::counted(text, "bytes")
            .within("5 %: 64 KB that a process's own pages come and go by")
            .near(cases)
    }

    fn kernel_stacks(&self) -> Claim {
        let threads = self.thread().clear_of_haze(KERNEL_STACK);
        let cases = threads.map(|k| {
            let measured = self.at(k, gauges::KERNEL_STACKS_B);
            Case::share(held(k, "thread"), KERNEL_STACK, measured, CLOSE)
        });
        Law::counted("the kernel keeps a stack of 16 KB for each thread", "bytes")
            .within("5 %: read for the whole machine, where others begin and end threads")
            .near(cases)
    }

    fn connections(&self) -> Claim {
        let both_ends = 2.0 * AN_END;
        let sockets = self.kind(Arm::Socket).clear_of_haze(both_ends);
        let cases = sockets.map(|k| {
            let slab = self.at(k, gauges::SLAB_B);
            Case::exact(held(k, "connection"), both_ends, slab)
        });
        Law::counted("a connection takes 5 KB and more in the kernel, over both ends: a socket of 2 KB and more for either, its inode, its file", "bytes")
            .at_least(cases)
    }

    fn starts(&self) -> Claim {
        let pairs = self.thread().conditions.iter();
        let pairs = pairs.zip(&self.kind(Arm::Task).conditions);
        let cases = pairs.map(|(thread, task)| {
            let share = task.paired(thread, |task, thread| {
                let time = |t: &Trial| t.gauge(gauges::START_EACH_S).filter(|s| *s > 0.0);
                Some(time(task)? / time(thread)?)
            });
            let name = format!("{} tasks, {}", thousands(task.x()), held(thread, "thread"));
            let all = self.all_held(task) && self.all_held(thread);
            Case::exact(name, SWIFT, share.filter(|_| all))
        });
        let text = "a task starts in a tenth of a thread's time or less: a thread makes what a task makes, and asks the kernel for the rest";
        Law::new(text, "of a thread's time", Disturbed::Either(Resource::Processors))
            .goal()
            .at_most(cases)
    }

    /// What extrapolating rests on: each number, from a line through all the others.
    fn lines(&self) -> Claim {
        let cases = self.numbers().filter_map(|(kind, k)| {
            let others = kind.conditions.iter().filter(|other| other.x() != k.x());
            let (line, origin) = line_through(others, gauges::RESIDENT_B)?;
            let predicted = line.at(k.x());
            let clear = is_clear(predicted);
            let measured = k.gauge(gauges::RESIDENT_B);
            let measured = measured.filter(|_| clear && self.all_held(k));
            let tolerance = CLOSE * predicted + HAZE;
            let predicted = Given::new(predicted, origin);
            let case = Case::new(held(k, &kind.name), predicted, measured, tolerance);
            (clear || kind.surely_clear(self.p, k)).then(|| case.scaled(1.0 / MB))
        });
        Law::counted("a straight line through all other numbers says what a number takes: one more costs as much at any", "MB resident")
            .within("5 %, which extrapolating can bear, and the 64 KB that a process's own pages come and go by")
            .near(cases)
    }

    fn answers(&self) -> Vec<Answer> {
        let n = self.p.tasks as f64;
        let (task, thread) = (self.kind(Arm::Task), self.thread());
        let resident = self.resident(task).unwrap_or(f64::NAN);
        let tasks = Answer::near("tasks", task.each(gauges::RESIDENT_B), resident);
        let alone = thread.each(gauges::RESIDENT_B);
        let threads = match thread.kernel() {
            // How much of its stack a thread touches no model says: a page at the least.
            Some(kernel) => {
                let least = PAGE + KERNEL_STACK + page_tables(self.addresses_due());
                Answer::at_least("threads", alone.map(|e| e.shifted(kernel)), least)
            }
            None => {
                let why = "this system does not tell what its kernel keeps for a thread";
                Answer::alone("threads", alone, why)
            }
        };
        vec![tasks.scaled(n / MB), threads.scaled(n / GB)]
    }
}

/// The tables.
impl View<'_> {
    fn each_table(&self) -> Table {
        let mut note = "Slopes of lines fitted over the numbers tried. The kernel's share of a thread: its stack there, its page tables, and small objects; of a connection: small objects, for both ends. To start a connection is to open and accept it; to wake all of them a byte goes through each. Times: at the largest number.".to_string();
        if let Some(Known { cell, .. }) = self.known {
            note += &format!(
                " The header that the runtime adds to a future is {} bytes here, the unit {}.",
                cell.header, cell.unit
            );
        }
        let block = self.heap(self.kind(Arm::Task));
        let slot = self.known.zip(block).and_then(|(known, b)| known.slot(b));
        if let Some((block, slot)) = block.zip(slot) {
            note += &format!(
                " For a block of {block} bytes, asked for by itself, the allocator takes {}.",
                slot.round()
            );
        }
        Table::of("What one more takes", &self.kinds)
            .column("one more", |kind| kind.name.clone())
            .column("its future", |kind| amount(kind.future()))
            .cells("live heap", bytes, |kind| kind.each(gauges::HEAP_B))
            .column("theory", |kind| amount(self.heap(kind)))
            .cells("resident", bytes, |kind| kind.each(gauges::RESIDENT_B))
            .column("theory", |kind| amount(self.resident(kind)))
            .column("in the kernel", |kind| amount(kind.kernel()))
            .cells("addresses", bytes, |kind| kind.each(gauges::VIRTUAL_B))
            .cells("to start", brief, |kind| kind.time(gauges::START_EACH_S))
            .cells("to wake", brief, |kind| kind.time(gauges::WAKE_EACH_S))
            .note(note)
    }

    fn whole_table(&self) -> Table {
        let (p, n) = (self.p, self.p.tasks as f64);
        let tried = |kind: &Kind| match kind.most().unwrap_or(0.0) {
            most if most >= n => thousands(most),
            most => format!("{}, then extrapolated", thousands(most)),
        };
        let all_s = |each: f64| seconds(each * n);
        Table::of(format!("What {} would take", thousands(n)), &self.kinds)
            .column("of", |kind| kind.name.clone())
            .column("tried up to", |kind| tried(kind))
            .column("memory", |kind| self.of_all(kind.memory()))
            .column("addresses", |kind| self.of_all(kind.each_b(gauges::VIRTUAL_B)))
            .cells("to start all", all_s, |kind| kind.time(gauges::START_EACH_S))
            .cells("to wake all", all_s, |kind| kind.time(gauges::WAKE_EACH_S))
            .note(format!(
                "Memory: resident, and in the kernel where it tells. Stacks of {} for {} are {}, all of them addresses. Times: that of one at the largest number, times as many. Where fewer were tried than asked for, a note says which limit was met.",
                bytes(p.stack.f()),
                thousands(n),
                bytes(p.stack.f() * n)
            ))
    }

    fn stack_table(&self) -> Table {
        let (usual, thread) = (self.p.stack.f(), self.thread());
        let shown = [gauges::VIRTUAL_B, gauges::RESIDENT_B, gauges::PAGE_TABLES_B];
        let others = self.stacks.iter();
        let others = others.map(|k| (k.x(), shown.map(|gauge| self.at(k, gauge))));
        let mut rows: Vec<_> = others.collect();
        rows.push((usual, shown.map(|gauge| thread.each(gauge))));
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        Table::of("A thread by the stack it asked for", rows)
            .column("stack", |(stack, _)| bytes(*stack))
            .cells("addresses", bytes, |(_, takes)| takes[0])
            .column("theory", |(stack, _)| bytes(stack + GUARDS))
            .cells("resident", bytes, |(_, takes)| takes[1])
            .cells("page tables", bytes, |(_, takes)| takes[2])
            .column("theory", |(stack, _)| bytes(page_tables(stack + GUARDS)))
            .done()
    }
}

/// The charts.
impl View<'_> {
    fn headline(&self) -> String {
        let (task, thread) = (self.kind(Arm::Task), self.thread());
        let kernel = match thread.kernel() {
            Some(kernel) => format!("{} of it the kernel's", bytes(kernel)),
            None => "the kernel's share unknown here".into(),
        };
        format!(
            "{} parked tasks take {} of memory, {} each; as many threads {}, {} each, {kernel}, and {} of addresses, most of which are never touched",
            thousands(self.p.tasks as f64),
            self.of_all(task.memory()),
            amount(task.memory()),
            self.of_all(thread.memory()),
            amount(thread.memory()),
            self.of_all(thread.each_b(gauges::VIRTUAL_B)),
        )
    }

    /// What one more takes, by kind of memory.
    fn cost(&self) -> Figure {
        let note = |arm| match arm {
            Arm::Task => "waits for news",
            Arm::Inline => "a buffer held across an await is part of the future",
            Arm::Socket => {
                "waits until there is something to read; the kernel's part is for both ends"
            }
            Arm::Thread => "parked",
            _ => "and parked again: what was touched stays",
        };
        let shown = DRAWN.into_iter().chain([Arm::DeepThread]);
        let groups = shown.map(|arm| {
            let kind = self.kind(arm);
            let bar = |label, gauge, theory| {
                let bar = kind.bar(label, gauge, theory, 1.0);
                bar.filter(|bar| bar.value > 0.0)
            };
            let kernel = kind.kernel().filter(|b| *b > 64.0);
            let addresses = arm.is_thread().then(|| self.addresses_due());
            let bars = [
                bar("live heap", gauges::HEAP_B, self.heap(kind)),
                bar("resident", gauges::RESIDENT_B, self.resident(kind)),
                kernel.map(|b| ValueBar::measured("in the kernel", Colour::Orange, b / KB)),
                bar("addresses", gauges::VIRTUAL_B, addresses),
            ];
            BarGroup::new(capital(&kind.name), bars.into_iter().flatten()).note(note(arm))
        });
        let (task, thread) = (self.kind(Arm::Task), self.thread());
        let title = format!(
            "One more task takes {} resident; one more thread {}, {} in the kernel, and {} of addresses",
            amount(task.each_b(gauges::RESIDENT_B)),
            amount(thread.each_b(gauges::RESIDENT_B)),
            amount(thread.kernel()),
            amount(thread.each_b(gauges::VIRTUAL_B))
        );
        Figure::new("cost", title)
            .subtitle("Slope of a line over the numbers tried, with its 95 % interval. Dashed: theory")
            .desc("Dots on a logarithmic axis: live heap, resident memory, memory in the kernel and address space of one more task, task with a buffer, task with a connection, and thread. A task takes some hundred bytes, a thread tens of kilobytes and megabytes of addresses.")
            .bars(Axis::log("KB for each one more, log scale", Unit::Number), with_bars(groups))
    }

    /// Memory over the number of chatters, up to all of them.
    fn growth(&self) -> Figure {
        let kinds = DRAWN.map(|arm| self.kind(arm));
        let memory = kinds.into_iter().flat_map(|kind| {
            // What each number took, with the kernel's share from its own line.
            let took = (gauges::RESIDENT_B, kind.kernel().unwrap_or(0.0));
            self.grows(kind, took, kind.memory(), &kind.name, colour(kind.arm))
        });
        let thread = self.thread();
        let addresses = thread.each_b(gauges::VIRTUAL_B);
        let title = format!(
            "{} threads: {} of memory, not the {} of their addresses; tasks: {}",
            thousands(self.p.tasks as f64),
            self.of_all(thread.memory()),
            self.of_all(addresses),
            self.of_all(self.kind(Arm::Task).memory())
        );
        let (took, label) = ((gauges::VIRTUAL_B, 0.0), "addresses of threads");
        let addresses = self.grows(thread, took, addresses, label, Colour::Purple);
        Figure::new("growth", title)
            .subtitle("Resident memory and the kernel's share, above what the process had before. Dashed, where the dots end: the fitted line, extrapolated")
            .desc("Memory over the number of chatters, both logarithmic: straight lines for tasks, tasks with a buffer, tasks with a connection and threads, far below the address space of the threads.")
            .over(Axis::log("chatters, log scale", Unit::Number), [
                Panel::new("Memory", Axis::log("", Unit::Number))
                    .note("MB, log scale")
                    .layers(memory.chain(addresses))
                    .height(1.8),
            ])
    }

    /// What each number took, in MB, of a gauge and of so much besides for each; and, where the dots end before all
    /// chatters are there, what a line says that takes so much for each.
    fn grows(
        &self,
        kind: &Kind,
        (gauge, besides): (Gauge, f64),
        each: Option<f64>,
        label: &str,
        colour: Colour,
    ) -> Vec<Line> {
        let n = self.p.tasks as f64;
        let Some((each, most)) = each.zip(kind.most()) else {
            return vec![];
        };
        let mut points = kind.points(gauge);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let took = points.iter().map(|(x, y)| (*x, (y + besides * x) / MB));
        let took = took.collect();
        if most >= n {
            return vec![Line::measured(label, colour, took)];
        }
        let ahead = [most, n].map(|x| (x, each * x / MB));
        vec![Line::measured("", colour, took), Line::theory(label, colour, ahead.into())]
    }

    /// Where the memory of a thread and of a connection is.
    fn parts(&self) -> Figure {
        let (thread, deep) = (self.thread(), self.kind(Arm::DeepThread));
        let socket = self.kind(Arm::Socket);
        let depth = self.p.depth.f();
        let touched = thread.each_b(gauges::RESIDENT_B).map(|b| b + depth);
        let once_deep = format!("A thread that was once {} deep", bytes(depth));
        let group = |label: &str, kind: &Kind, parts: &[(&str, Gauge, Option<f64>)]| {
            let bars = parts.iter();
            let bars = bars.filter_map(|(part, gauge, due)| kind.bar(part, *gauge, *due, 0.0));
            let together = kind.memory().map(|b| format!("{} together", bytes(b)));
            BarGroup::new(label, bars).note(together.unwrap_or_default())
        };
        let tables = page_tables(self.addresses_due());
        let small = ("small objects in the kernel", gauges::SLAB_B, None);
        let of_thread = |resident| {
            [
                ("stack and heap, resident", gauges::RESIDENT_B, resident),
                ("stack in the kernel", gauges::KERNEL_STACKS_B, Some(KERNEL_STACK)),
                small,
                ("page tables", gauges::PAGE_TABLES_B, Some(tables)),
            ]
        };
        let of_socket = [("task, resident", gauges::RESIDENT_B, None), small];
        let both_ends = "A task with a connection, and its other end";
        let groups = [
            group("A thread", thread, &of_thread(None)),
            group(&once_deep, deep, &of_thread(touched)),
            group(both_ends, socket, &of_socket),
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
        Figure::new("parts", title)
            .subtitle(format!("A stack of {} asked for. Dashed: theory. The kernel's stacks and small objects are read for the whole machine", bytes(self.p.stack.f())))
            .desc("Bars of the parts of a thread's memory: resident stack and heap, kernel stack, small kernel objects, page tables; the same for a thread that was deep in its calls, whose resident part is larger; and for a task with a connection.")
            .bars(Axis::linear("KB for each one more", Unit::Number), with_bars(groups))
    }

    /// Time to start and to wake.
    fn times(&self) -> Figure {
        let kinds = DRAWN.map(|arm| self.kind(arm));
        let group = |label: &str, note: &str, gauge: Gauge| {
            let bars = kinds.iter().filter_map(|kind| {
                let time = kind.time(gauge)?;
                let ends = time.ci95.map(|(low, high)| (low.max(1e-9), high));
                let bar = ValueBar::measured(&kind.name, colour(kind.arm), time.value);
                Some(bar.with_interval(ends))
            });
            BarGroup::new(label, bars).note(note)
        };
        let time = |arm, gauge| cell(self.kind(arm).time(gauge), brief);
        let title = format!(
            "To start a task takes {}, a thread {}; to wake one {}, and {}",
            time(Arm::Task, gauges::START_EACH_S),
            time(Arm::Thread, gauges::START_EACH_S),
            time(Arm::Task, gauges::WAKE_EACH_S),
            time(Arm::Thread, gauges::WAKE_EACH_S)
        );
        Figure::new("times", title)
            .subtitle("Time for each, at the largest number tried, with the 95 % interval")
            .desc("Dots on a logarithmic axis: the time to start and to wake one task, one task with a buffer, one task with a connection, one thread.")
            .bars(Axis::log("time for each, log scale", Unit::Seconds), [
                group("To start", "until it waits; a connection is opened and accepted", gauges::START_EACH_S),
                group("To wake", "all at once, until the last one waits again; a byte for each connection", gauges::WAKE_EACH_S),
            ])
    }
}

/// Those in which something was measured.
fn with_bars(groups: impl IntoIterator<Item = BarGroup>) -> impl Iterator<Item = BarGroup> {
    groups.into_iter().filter(|group| !group.bars.is_empty())
}

/// Bytes that may be unknown.
fn amount(value: Option<f64>) -> String {
    value.map_or("–".into(), bytes)
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
            [0.0, 999.0, 50_000.0, 1_234_567.0].map(thousands).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn small_stacks_share_a_page_of_the_page_table() {
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
        assert!(near(page_tables(0.5 * MB), PAGE / 4.0 * (1.0 + 1.0 / 512.0)));
        // Four stacks of 256 MB share one of the tables above.
        assert!(near(page_tables(256.0 * MB), PAGE * 1.25));
    }

    #[test]
    fn times_down_to_nanoseconds() {
        for (value, text) in [(3.02e-7, "302 ns"), (4.72e-6, "4.7 µs"), (0.0145, "14.5 ms")] {
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
        lab_kit::lab::params::<crate::FiftyThousandChatters>(&[])
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
        assert!((all - 37_000.0).abs() < 1e-6 && headline.contains("1.72 GB"), "{headline}");
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
