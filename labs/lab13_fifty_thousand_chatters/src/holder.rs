//! A process that holds chatters and says what they take.
//!
//! Each number of each kind has a process of its own: an allocator keeps the pages it was given, and
//! what one arm has freed would hide what the next one takes. The process is this program once more.
//! It says what it found line by line, and ends when its work is done or its parent is gone. It looks
//! at what the machine has left before every step, and stops before it runs out.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::Display,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Stdio},
    sync::{Arc, Barrier, atomic::Ordering::SeqCst},
    thread,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use lab_kit::{cli, heap::Heap, host, limits, os, prelude::*};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    task::yield_now,
};

use super::{Arm, Buffer, FiftyThousandChatters, Params, Room, cell, far::Far, gauges};

/// Mappings of memory that a thread takes on Linux: its stack, the guard page below it, and the
/// stack for signals with its guard page.
pub(super) const MAPPINGS: u64 = 4;

/// Connections to one listener: each needs a port of its own to go out from.
const A_LISTENER: usize = 10_000;

/// Listeners for so many connections.
pub(super) fn listeners(connections: usize) -> usize {
    connections.div_ceil(A_LISTENER)
}

/// One trial: starts the process, and writes down what it says.
pub(super) fn measure(
    r: &Recorder,
    p: &Params,
    arm: Arm,
    number: usize,
    stopped: &RefCell<BTreeSet<String>>,
) -> Result<()> {
    let mut child = cli::Ended(start(p, arm, number)?);
    let output = child.0.stdout.take().context("its output was asked for")?;
    let began = Instant::now();
    for line in BufReader::new(output).lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("stopped", why)) => {
                stopped.borrow_mut().insert(format!("{}: stopped {why}", arm.series()));
            }
            Some((key, value)) => {
                let gauge = gauges::printed(key);
                let gauge = gauge.with_context(|| format!("\"{line}\" is no figure"))?;
                r.gauge(gauge, value.parse()?);
            }
            None => bail!("\"{line}\" is no figure"),
        }
    }
    let status = child.0.wait()?;
    if !status.success() {
        bail!("the process that holds them ended with {status}; its message is above");
    }
    r.wall(began.elapsed());
    Ok(())
}

fn start(p: &Params, arm: Arm, number: usize) -> Result<Child> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |v| v.get_name().to_string())
    };
    let flags = [
        ("--hold", name(arm.to_possible_value())),
        ("--number", number.to_string()),
        ("--stack", p.stack.to_string()),
        ("--buffer", name(p.buffer.to_possible_value())),
        ("--depth", p.depth.to_string()),
    ];
    let mut command = cli::again(&<FiftyThousandChatters as Lab>::CARD)?;
    for (flag, value) in flags {
        command.arg(flag).arg(value);
    }
    // Its input is never written to: that it ends tells the child that nobody listens any more.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().context("cannot start a process to hold them")
}

/// A figure, as a line that the parent reads.
fn say(key: impl Display, value: impl Display) {
    println!("{key} {value}");
}

/// Ends this process when its parent has ended.
fn end_with_parent() {
    let ready = Arc::new(Barrier::new(2));
    let here = ready.clone();
    thread::spawn(move || {
        // What it will ever allocate it has allocated before anything is measured.
        let mut input = std::io::stdin().lock();
        here.wait();
        while matches!(input.read(&mut [0]), Ok(1..)) {}
        std::process::exit(1);
    });
    ready.wait();
}

/// Waits until the kernel has cleared up after the process before: for what it frees late would be
/// missing from what this one takes.
fn settle() {
    const STEP: Duration = Duration::from_millis(15);
    const STILL: u64 = 64 << 10;
    let read = || Some(os::slab_bytes()? + os::kernel_stack_bytes()?);
    let mut last = read();
    for _ in 0..20 {
        thread::sleep(STEP);
        let now = read();
        if last.zip(now).is_none_or(|(a, b)| a.abs_diff(b) < STILL) {
            break;
        }
        last = now;
    }
}

/// The process that holds them.
pub(super) fn hold(p: &Params, arm: Arm) -> Result<()> {
    end_with_parent();
    os::raise_open_file_limit();
    let heap = Heap::new();
    let _counted = heap.enter();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let room = Arc::new(Room::default());
    let mut group: Box<dyn Group> = match arm {
        Arm::Nobody => return overhead(p, &runtime, heap),
        Arm::Thread | Arm::DeepThread => Box::new(Threads {
            room,
            stack: p.stack.b(),
            depth: if arm == Arm::Thread { 0 } else { p.depth.b() },
            heap,
            handles: Vec::with_capacity(p.number + warm_up(arm)),
        }),
        Arm::Socket => Box::new(Connections::open(runtime, room, p)?),
        _ => Box::new(Tasks {
            runtime,
            room,
            arm,
            buffer: p.buffer,
            depth: p.depth.b(),
            spawned: 0,
            future: 0,
        }),
    };
    // The first ones make what all share: queues, the allocator's arenas, pages of code.
    let first = warm_up(arm);
    group.add(first)?;
    if (arm.is_thread() || arm == Arm::Socket) && p.number >= 100 {
        settle();
    }
    // The first look makes what looking takes: pages of code, too.
    let _ = Reading::take(heap);
    let _ = limits::for_memory();
    let before = Reading::take(heap);
    let (took, stop) = grow(group.as_mut(), first + p.number);
    let after = Reading::take(heap);
    let count = group.count();
    let number = count - first;
    let start = Instant::now();
    group.wake()?;
    let wake = start.elapsed().as_secs_f64();

    say(gauges::NUMBER, number);
    say(gauges::FUTURE_B, group.future());
    say(gauges::START_EACH_S, took.as_secs_f64() / number.max(1) as f64);
    say(gauges::WAKE_S, wake);
    say(gauges::WAKE_EACH_S, wake / count as f64);
    after.since(&before);
    if let Some(why) = stop {
        println!("stopped at {number} of {}, {why}", p.number);
    }
    Ok(())
}

/// How many are there before the first reading. Each thread has an arena of the allocator until
/// there are eight for each processor (glibc), so that many have theirs already.
fn warm_up(arm: Arm) -> usize {
    match arm {
        Arm::Thread | Arm::DeepThread => (8 * host::cores() + 8).min(1024),
        _ => 32,
    }
}

fn overhead(p: &Params, runtime: &Runtime, heap: Heap) -> Result<()> {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let cell = cell::Cell::of(&cell::probes(runtime, heap), build);
    say(gauges::REGISTRATION_B, cell::registration(runtime, heap)?);
    let Some(cell) = cell else { return Ok(()) };
    say(gauges::HEADER_B, cell.header);
    say(gauges::UNIT_B, cell.unit);
    let room = Arc::new(Room::default());
    let inline = match p.buffer {
        Buffer::K1 => size_of_val(&super::inline::<1024>(room)),
        Buffer::K4 => size_of_val(&super::inline::<4096>(room)),
        Buffer::K8 => size_of_val(&super::inline::<8192>(room)),
        Buffer::K32 => size_of_val(&super::inline::<32768>(room)),
    };
    for (size, slot) in cell::slots(cell, inline) {
        say(gauges::slot_key(size), slot);
    }
    Ok(())
}

/// Adds step by step up to a number, as long as the machine has memory left: the time it took, and
/// why it stopped before.
fn grow(group: &mut dyn Group, number: usize) -> (Duration, Option<String>) {
    let at_first = limits::for_memory().map(|l| l.left);
    let mut took = Duration::ZERO;
    while group.count() < number {
        let now = limits::for_memory();
        if let Some(limit) = now.filter(|l| Some(l.left) < at_first.map(|left| left / 4)) {
            return (took, Some(format!("by {}", limit.what)));
        }
        let more = group.step().min(number - group.count());
        let start = Instant::now();
        let added = group.add(more);
        took += start.elapsed();
        if let Err(error) = added {
            let why = format!("because the system gave no more: {error:#}");
            return (took, Some(why));
        }
    }
    (took, None)
}

/// What the system says of this process, and of its own share where it tells; in bytes.
struct Reading([(Gauge, Option<f64>); 6]);

impl Reading {
    fn take(heap: Heap) -> Reading {
        let known = |bytes: Option<u64>| bytes.map(|b| b as f64);
        Reading([
            (gauges::HEAP_B, Some(heap.live_bytes() as f64)),
            (gauges::RESIDENT_B, known(os::resident_exactly())),
            (gauges::VIRTUAL_B, known(os::virtual_bytes())),
            (gauges::PAGE_TABLES_B, known(os::page_table_bytes())),
            (gauges::KERNEL_STACKS_B, known(os::kernel_stack_bytes())),
            (gauges::SLAB_B, known(os::slab_bytes())),
        ])
    }

    /// Prints what has been added.
    fn since(&self, before: &Reading) {
        for ((name, now), (_, then)) in self.0.iter().zip(&before.0) {
            if let (Some(now), Some(then)) = (now, then) {
                say(name, now - then);
            }
        }
    }
}

/// Chatters of one kind.
trait Group {
    /// Adds so many and waits until all have parked.
    ///
    /// # Errors
    /// When the system refuses; those it gave before are kept.
    fn add(&mut self, more: usize) -> Result<()>;
    /// How many there are.
    fn count(&self) -> usize;
    /// How many to add between two looks at the machine.
    fn step(&self) -> usize;
    /// Wakes all and waits until all have parked again.
    fn wake(&mut self) -> Result<()>;
    /// Size of the future, in bytes.
    fn future(&self) -> usize {
        0
    }
}

struct Tasks {
    runtime: Runtime,
    room: Arc<Room>,
    arm: Arm,
    buffer: Buffer,
    depth: usize,
    spawned: usize,
    future: usize,
}

impl Tasks {
    fn one(&self) -> usize {
        let room = self.room.clone();
        match (self.arm, self.buffer) {
            (Arm::Inline, Buffer::K1) => spawn(super::inline::<1024>(room)),
            (Arm::Inline, Buffer::K4) => spawn(super::inline::<4096>(room)),
            (Arm::Inline, Buffer::K8) => spawn(super::inline::<8192>(room)),
            (Arm::Inline, Buffer::K32) => spawn(super::inline::<32768>(room)),
            (Arm::Late, Buffer::K1) => spawn(super::late::<1024>(room)),
            (Arm::Late, Buffer::K4) => spawn(super::late::<4096>(room)),
            (Arm::Late, Buffer::K8) => spawn(super::late::<8192>(room)),
            (Arm::Late, Buffer::K32) => spawn(super::late::<32768>(room)),
            (Arm::DeepTask, _) => spawn(super::deep_task(room, self.depth)),
            _ => spawn(super::task(room)),
        }
    }
}

/// Spawns a task, and the size of its future in bytes.
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> usize {
    let size = size_of_val(&future);
    tokio::spawn(future);
    size
}

/// Waits until so many have sat down.
async fn seated(room: &Room, number: usize) {
    while room.seated.load(SeqCst) < number {
        yield_now().await;
    }
}

impl Group for Tasks {
    fn add(&mut self, more: usize) -> Result<()> {
        self.future = self.runtime.block_on(async {
            let size = (0..more).map(|_| self.one()).last();
            seated(&self.room, self.spawned + more).await;
            size.unwrap_or(self.future)
        });
        self.spawned += more;
        Ok(())
    }

    fn count(&self) -> usize {
        self.spawned
    }

    // So few that the queue of those that are ready stays small.
    fn step(&self) -> usize {
        32
    }

    fn wake(&mut self) -> Result<()> {
        self.runtime.block_on(async {
            self.room.news.notify_waiters();
            seated(&self.room, 2 * self.spawned).await;
        });
        Ok(())
    }

    fn future(&self) -> usize {
        self.future
    }
}

/// Tasks with a connection each, whose other ends are in another process.
struct Connections {
    // Dropped first: this end closes, without leaving anything behind.
    runtime: Runtime,
    listeners: Vec<(SocketAddr, TcpListener)>,
    far: Far,
    room: Arc<Room>,
    buffer: Buffer,
    opened: usize,
    future: usize,
}

impl Connections {
    fn open(runtime: Runtime, room: Arc<Room>, p: &Params) -> Result<Connections> {
        let far = Far::start()?;
        let number = listeners(p.number + warm_up(Arm::Socket));
        let listeners = runtime.block_on(async {
            let one = || {
                let socket = TcpSocket::new_v4()?;
                socket.bind("127.0.0.1:0".parse().expect("an address"))?;
                let listener = socket.listen(1024)?;
                Ok((listener.local_addr()?, listener))
            };
            (0..number).map(|_| one()).collect::<Result<Vec<_>>>()
        })?;
        Ok(Connections { runtime, listeners, far, room, buffer: p.buffer, opened: 0, future: 0 })
    }
}

impl Group for Connections {
    fn add(&mut self, more: usize) -> Result<()> {
        let mut left = more;
        while left > 0 {
            let which = (self.opened / A_LISTENER).min(self.listeners.len() - 1);
            let (address, listener) = &self.listeners[which];
            // They wait in the listener's queue until they are accepted: no more than fit.
            let (came, refused) = self.far.connect(*address, left.min(64))?;
            let (room, before, buffer) = (&self.room, self.opened, self.buffer);
            self.future = self.runtime.block_on(async {
                let mut size = self.future;
                for _ in 0..came {
                    let (stream, _) = listener.accept().await?;
                    // Closed at once and for good: nothing of it waits for latecomers.
                    stream.set_zero_linger()?;
                    let room = room.clone();
                    size = match buffer {
                        Buffer::K1 => spawn(super::connected::<1024>(room, stream)),
                        Buffer::K4 => spawn(super::connected::<4096>(room, stream)),
                        Buffer::K8 => spawn(super::connected::<8192>(room, stream)),
                        Buffer::K32 => spawn(super::connected::<32768>(room, stream)),
                    };
                }
                seated(room, before + came).await;
                Result::<usize>::Ok(size)
            })?;
            self.opened += came;
            left -= came;
            if let Some(why) = refused {
                bail!("the next connection was refused: {why}");
            }
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.opened
    }

    fn step(&self) -> usize {
        512
    }

    fn wake(&mut self) -> Result<()> {
        self.far.speak()?;
        self.runtime.block_on(seated(&self.room, 2 * self.opened));
        self.far.answer()?;
        Ok(())
    }

    fn future(&self) -> usize {
        self.future
    }
}

struct Threads {
    room: Arc<Room>,
    stack: usize,
    depth: usize,
    heap: Heap,
    handles: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    fn seated(&self, number: usize) {
        while self.room.seated.load(SeqCst) < number {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Group for Threads {
    fn add(&mut self, more: usize) -> Result<()> {
        let mut refused = None;
        for _ in 0..more {
            let (room, depth, heap) = (self.room.clone(), self.depth, self.heap);
            let wait = move || {
                heap.join();
                super::thread(&room, depth);
            };
            match thread::Builder::new().stack_size(self.stack).spawn(wait) {
                Ok(handle) => self.handles.push(handle),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        self.seated(self.handles.len());
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    fn count(&self) -> usize {
        self.handles.len()
    }

    fn step(&self) -> usize {
        100
    }

    fn wake(&mut self) -> Result<()> {
        self.room.round.fetch_add(1, SeqCst);
        for handle in &self.handles {
            handle.thread().unpark();
        }
        self.seated(2 * self.handles.len());
        Ok(())
    }
}
