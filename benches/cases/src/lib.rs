//! What is benched, once for all who ask: criterion times it (`benches/cases.rs`), and the gate counts
//! and pairs what is held (`examples/work.rs`).
//!
//! A module is a question, and its first case is the one that the others are compared with. The
//! question itself stands in `benches::catalogue`, for the charts.
//!
//! A case that comes to mean something else gets another name: the gate would take a change of the
//! work for a change of its cost.

mod bridging;
mod copying;
mod handing_over;
mod kit;
mod limiting;
mod sharing;
mod spawning;

use tokio::runtime::{Builder, Runtime};

/// Cases that answer one question together.
pub struct Group {
    /// Its name, as in `benches::catalogue`.
    pub name: &'static str,
    /// The first is the one that the others are compared with.
    pub cases: Vec<Case>,
}

/// Something to do.
pub struct Case {
    /// Short name within its group.
    pub name: String,
    /// How often a call does it: times are told for once.
    pub operations: u64,
    /// On one thread and each time the same: the gate holds its cost.
    pub held: bool,
    /// Gets everything ready and returns the call.
    pub make: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

impl Case {
    /// The same case, held by the gate.
    fn held(self) -> Case {
        Case { held: true, ..self }
    }
}

fn case<W: FnMut() + 'static>(
    name: impl Into<String>,
    operations: u64,
    make: impl Fn() -> W + 'static,
) -> Case {
    Case { name: name.into(), operations, held: false, make: Box::new(move || Box::new(make())) }
}

/// A case that is a future, driven to its end by the thread that calls. Nothing else runs it, so the gate
/// holds it.
fn on_one_thread<F: Future>(
    name: impl Into<String>,
    operations: u64,
    call: impl Fn() -> F + Clone + 'static,
) -> Case {
    let all = case(name, operations, move || {
        let (runtime, call) = (current(), call.clone());
        move || {
            runtime.block_on(call());
        }
    });
    all.held()
}

/// Every group, in the order of the catalogue.
pub fn all() -> Vec<Group> {
    let mut groups = vec![
        spawning::group(),
        handing_over::group(),
        limiting::group(),
        bridging::group(),
        sharing::group(),
    ];
    groups.extend(copying::groups());
    groups.extend(kit::groups());
    groups
}

/// Everything on the thread that calls.
fn current() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Two threads, on any machine: another number would be another case.
fn two_threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    builder.enable_all().build().expect("a runtime")
}

/// Lets the optimiser think that somebody needs it.
fn keep<T>(value: T) {
    std::hint::black_box(value);
}

/// So many steps of a chain in which each needs the one before, about a nanosecond each.
fn compute(steps: u64, seed: u64) -> u64 {
    (0..steps).fold(seed, |x, i| {
        (x ^ (x >> 27)).wrapping_mul(0x3C79_AC49_2BA7_B653).wrapping_add(std::hint::black_box(i))
    })
}
