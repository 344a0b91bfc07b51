//! # Fifty thousand chatters
//!
//! ## The question
//!
//! What does one more connection cost?
//!
//! ## What to predict
//!
//! A chat server has {tasks} users, and nearly all of them say nothing. How much memory do they
//! take when each is a parked task? And when each is a thread? How much of that does the process
//! see, and how much of it is only addresses, with no memory behind them?
//!
//! ## The experiment
//!
//! Chatters who wait, in growing numbers: bare tasks; tasks that hold a buffer (`--buffer`) while
//! they wait, and tasks that make it when there is something to read; tasks that have once been
//! {depth} deep in their calls; tasks with a real connection, the other ends in a second process;
//! threads; threads that have been as deep. Each number of each kind is held by a process of its
//! own, since freed pages of one would hide what the next takes. It reads the counting allocator,
//! its own pages and addresses, its page tables, and what the kernel keeps for all processes
//! together, before and after; a line through the numbers gives what one more costs. Before it
//! begins it waits until the kernel stands still, which clears up after a process some time after
//! its end: without that wait a thread may seem to take less than nothing.
//!
//! Nothing is taken that the machine may need: threads, process numbers, mappings, descriptors, ports
//! and memory are looked up first, and where one of them stops an arm a note says which. What was not
//! tried is extrapolated with the line, and the line is tested: through all numbers but one, it has to
//! say what that one took.
//!
//! ## What the figures show
//!
//! *Live heap* is what the program has asked for and not given back. *Resident* is the memory that
//! the process really has. *Addresses* are what it has reserved, with memory behind them or not. The
//! runtime asks for memory for a task in whole *units*.
//!
//! | | live heap | resident | in the kernel | addresses |
//! |---|---|---|---|---|
//! | task | future + header, in whole units | heap and the allocator's share | nothing | as resident |
//! | task with a connection | the same, and its registration | the same | two ends of a socket | as resident |
//! | thread | next to nothing | stack it ever touched | its stack there, page tables, small objects | stack asked for + 4 pages |
//!
//! A task is its future: what it needs after the next `await`, known when it is compiled. That is
//! why the one line `let mut buffer = [0; N]` before a loop makes each chatter larger by the whole
//! buffer, and the same line in the loop costs nothing. The usual way to read,
//! `stream.read(&mut buffer).await`, is the first of these; waiting for `readable()` and then
//! reading is the second.
//!
//! The allocator's share is large for a small task. The runtime asks for blocks that begin at a whole
//! unit. glibc cuts such a block from a piece that is more than a unit longer, and what is left over is
//! too small for the next. From a kilobyte on it joins what is left over first, and the share is one
//! unit (glibc, `malloc/malloc.c`).
//!
//! A task has no stack. While it runs it has its thread's, and gives it back at the next `await`:
//! how deep it has been makes no difference. A thread's stack is its own, and no page of it that
//! was ever touched comes back, however idle it is. What it *asked* for costs nothing but
//! addresses, and at most about a page of page tables, which small stacks share.
//!
//! The larger part of a thread that was never deep is not in its process at all: a stack in the
//! kernel, page tables, the kernel's books of it. Nor is the larger part of a connection. `ps` and
//! `top` show neither.
//!
//! ## A common belief
//!
//! *A thread takes as much memory as its stack is large.*
//!
//! Suppose 50,000 threads with stacks of 1 MB: that makes 50 GB, but of addresses. The memory is the
//! pages that were touched and what the kernel keeps for each thread, far less. Tasks take far less
//! still, so threads are too dear, but not for this reason. A thread that was deep in its calls costs
//! as much more as it was deep: there the belief is nearer to being right.
//!
//! What stops threads first is often not memory. Rust and glibc map four pieces for each, and Linux
//! by default allows a process 65,530 of them (kernel documentation, `vm.max_map_count`), so that a
//! quarter as many threads are the end; then there are `pid_max`, the control group's `pids.max`,
//! the user's limit. Connections end at the descriptors, or at the ports for one address.
//!
//! ## In production
//!
//! Look at the size of your futures: `size_of_val(&future)`, or clippy's `large_futures`. A buffer,
//! an array, a large message held across an `await` is paid for by everyone who waits. Make it late,
//! box it, or take it from a pool.
//!
//! Count the kernel. A container's limit includes its stacks, page tables and socket buffers, and
//! the sum over processes of what `ps` shows does not. Ask for small stacks where there must be
//! many threads, for the addresses' and the page tables' sake, but know that it saves no resident
//! memory. And where huge pages are given unasked, a stack touched once may take a whole one.
//!
//! An idle connection is the cheap case. One that talks has buffers in the kernel at both ends, up to
//! megabytes when the reader is slow, and often two more of TLS.
//!
//! ## Check yourself
//!
//! - Suppose a future is 280 bytes. How much heap does its task take, with a header of 104 bytes
//!   and units of 128? And one of 288? (Yours are below the first table.)
//! - Two buffers are used one after the other, each with an `await` while it is held. How large
//!   must the future be, and how large is it? Try it.
//! - Suppose 2000 threads with stacks of 2 MB have served a request each that needed 200 KB of
//!   stack, and now wait. What does `top` show?
//! - Your machine stopped the threads before memory did. Which limit, and how would you raise it?

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{net::TcpStream, sync::Notify};

mod arms;
mod cell;
mod far;
mod findings;
mod gauges;
mod holder;
mod plan;
mod premise;

pub use arms::{Arm, Buffer};
pub use plan::{FiftyThousandChatters, Params};

// The numbered binary has it from `lab_kit::binary!`; the tests of this library need it as well.
#[cfg(test)]
lab_kit::counting_heap!();

// wrong(1): The buffer lives across the `.await`
/// The wrong way. The buffer lives across the `await`, so it is part of the future: whoever says
/// nothing all day holds it all day.
async fn inline<const BYTES: usize>(room: Arc<Room>) {
    let mut buffer = [0; BYTES];
    loop {
        room.sit();
        room.news.notified().await;
        read(&mut buffer);
    }
}

// right(1): The buffer is made when there is something to read
// so(1): What is alive across an `.await` is part of the future, and everybody who waits pays for
//     it.
/// The right way. The buffer lives from one `await` to the next: whoever waits holds none.
async fn late<const BYTES: usize>(room: Arc<Room>) {
    loop {
        room.sit();
        room.news.notified().await;
        let mut buffer = [0; BYTES];
        read(&mut buffer);
    }
}

/// The same with a connection. `stream.read(&mut buffer).await` would need its buffer while it
/// waits; waiting first and reading then does not.
async fn connected<const BYTES: usize>(room: Arc<Room>, stream: TcpStream) {
    loop {
        room.sit();
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            let mut buffer = [0; BYTES];
            match stream.try_read(&mut buffer) {
                Ok(1..) => break read(&mut buffer),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

// wrong(2): A chatter as a thread
/// A thread has a stack of its own, and what it once touched stays: nobody else may have it.
fn thread(room: &Room, depth: usize) {
    dive(depth);
    for round in 0.. {
        room.sit();
        while room.round.load(SeqCst) == round {
            std::thread::park();
        }
    }
}

// right(2): A chatter as a task
// so(2): Both wait. The thread keeps a stack of its own meanwhile; the task keeps what it needs
//     after the next `.await`.
/// A chatter is a future: what it needs after the next `await`, and no more.
async fn task(room: Arc<Room>) {
    loop {
        room.sit();
        room.news.notified().await;
    }
}

/// Once deep in its calls. The stack was its thread's, and is the next task's.
async fn deep_task(room: Arc<Room>, depth: usize) {
    dive(depth);
    task(room).await;
}

/// Calls that need so many bytes of stack.
#[inline(never)]
fn dive(bytes: usize) {
    const FRAME: usize = 4096;
    if bytes > 0 {
        let mut frame = [1u8; FRAME];
        black_box(&mut frame);
        dive(bytes.saturating_sub(FRAME));
        black_box(&mut frame);
    }
}

/// What everybody waits for, and how often somebody has sat down to wait.
#[derive(Default)]
struct Room {
    news: Notify,
    seated: AtomicUsize,
    round: AtomicUsize,
}

impl Room {
    fn sit(&self) {
        self.seated.fetch_add(1, SeqCst);
    }
}

fn read(buffer: &mut [u8]) {
    buffer.fill(1);
    black_box(buffer);
}
