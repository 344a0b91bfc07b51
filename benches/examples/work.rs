//! The cases that the gate holds, as a program that does what it is told.
//!
//! ```text
//! work list             the cases
//! work serve            reads "CASE CALLS" lines and answers each with the nanoseconds it took
//! work count CASE N     makes N calls where valgrind counts them
//! ```

use std::{
    error::Error,
    io::{BufRead, Write, stdin, stdout},
    time::Instant,
};

/// One case, ready.
struct Ready {
    id: String,
    make: Box<dyn Fn() -> Box<dyn FnMut()>>,
    call: Option<Box<dyn FnMut()>>,
}

impl Ready {
    /// The call, after two that only warm up.
    fn call(&mut self) -> &mut dyn FnMut() {
        self.call.get_or_insert_with(|| {
            let mut call = (self.make)();
            call();
            call();
            call
        })
    }
}

/// All that is timed and counted. valgrind finds it by its name.
#[inline(never)]
fn counted_region(call: &mut dyn FnMut(), calls: u64) {
    for _ in 0..calls {
        call();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut held: Vec<Ready> = bench_cases::all()
        .into_iter()
        .flat_map(|group| {
            let held = group.cases.into_iter().filter(|case| case.held);
            held.map(move |case| Ready {
                id: format!("{}/{}", group.name, case.name),
                make: case.make,
                call: None,
            })
        })
        .collect();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => held.iter().for_each(|case| println!("{}", case.id)),
        ["serve"] => {
            for line in stdin().lock().lines() {
                let line = line?;
                let (id, calls) = line.split_once(' ').ok_or("expected CASE CALLS")?;
                let calls = calls.parse()?;
                let call = find(&mut held, id)?.call();
                let start = Instant::now();
                counted_region(call, calls);
                let took = start.elapsed().as_nanos();
                println!("{took}");
                stdout().flush()?;
            }
        }
        ["count", id, calls] => counted_region(find(&mut held, id)?.call(), calls.parse()?),
        _ => return Err("expected list, serve, or count CASE CALLS".into()),
    }
    Ok(())
}

fn find<'a>(held: &'a mut [Ready], id: &str) -> Result<&'a mut Ready, String> {
    let found = held.iter_mut().find(|case| case.id == id);
    found.ok_or_else(|| format!("there is no case {id}"))
}
