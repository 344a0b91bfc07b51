//! Which code of each lab is the wrong way and which the right one.
//!
//! Only names are here; the code itself is taken from the labs' own sources when the book is built
//! ([`crate::code::item`]), and a test fails when a name is not found there any more.

/// A piece of code.
#[derive(Debug)]
pub struct Piece {
    /// What it is, in the reader's words.
    pub label: &'static str,
    /// Its file below `labs/src`, and the file's content unless it is the lab's own file.
    pub file: Option<(&'static str, &'static str)>,
    /// How its first line begins.
    pub start: &'static str,
}

/// Two ways of the same thing.
#[derive(Debug)]
pub struct Pair {
    /// The wrong way.
    pub wrong: Piece,
    /// The right way.
    pub right: Piece,
    /// What the difference comes to, in a sentence.
    pub so: &'static str,
}

const fn piece(label: &'static str, start: &'static str) -> Piece {
    Piece {
        label,
        file: None,
        start,
    }
}

const fn pair(wrong: Piece, right: Piece, so: &'static str) -> Pair {
    Pair { wrong, right, so }
}

macro_rules! of_file {
    ($label:literal, $file:literal, $start:literal) => {
        Piece {
            label: $label,
            file: Some(($file, include_str!(concat!("../../src/", $file)))),
            start: $start,
        }
    };
}

/// The pairs of a lab, by its number.
pub fn of(number: u8) -> &'static [Pair] {
    PAIRS
        .iter()
        .find(|(lab, _)| *lab == number)
        .map_or(&[], |(_, pairs)| pairs)
}

/// Every lab's pairs.
pub const PAIRS: &[(u8, &[Pair])] = &[
    (
        1,
        &[
            pair(
                piece("Waits, one after another", "fn wait_in_turn"),
                piece("Waits, begun together", "fn wait_together"),
                "Both run on one thread. The first awaits each wait before it begins the next; the second begins them all and then awaits.",
            ),
            pair(
                piece(
                    "Computations, begun together on one thread",
                    "fn work_together",
                ),
                piece(
                    "Computations, on as many threads as there are processors",
                    "fn work_on_threads",
                ),
                "Beginning computations together gains nothing on one thread: they have no point at which another one could go on. Processors do.",
            ),
        ],
    ),
    (
        2,
        &[pair(
            piece("Computes on the event loop", "fn compute"),
            piece(
                "Computes elsewhere and awaits the answer",
                "fn compute_on_rayon",
            ),
            "An `async fn` without an `.await` is one long poll. Handed to a pool, the computation leaves an `.await` behind, at which the loop turns to the others.",
        )],
    ),
    (
        3,
        &[
            pair(
                piece(
                    "The service with a queue that has no bound",
                    "let unbounded = Spec::new",
                ),
                piece(
                    "The service that refuses when its queue is full",
                    "let bounded = Spec",
                ),
                "This is the whole difference between the goodput that falls to nothing and the one that stays at the capacity.",
            ),
            pair(
                piece(
                    "A client whose pool is a semaphore nobody sees",
                    "fn pooled",
                ),
                piece("A client with a connection for each request", "fn burst"),
                "In the pooled client the clock of the timeout runs while a request waits for a connection, and the service never sees it.",
            ),
        ],
    ),
    (
        4,
        &[pair(
            piece(
                "The semaphore made inside the function",
                "fn limited_inside",
            ),
            piece("One semaphore, shared by all", "fn limited"),
            "A semaphore limits those who share it. One that is made anew for every call limits nobody.",
        )],
    ),
    (
        5,
        &[pair(
            piece("The permit is kept during the back-off", "fn permit_kept"),
            piece(
                "The permit is given back before the back-off",
                "fn permit_given_back",
            ),
            "A permit is for an attempt. One that sleeps through a back-off is lost to everybody else.",
        )],
    ),
    (
        6,
        &[pair(
            piece("In batches", "fn in_batches"),
            piece("In a window", "fn in_a_window"),
            "The batch waits for its slowest answer before anything new is sent. The window sends when any answer has come.",
        )],
    ),
    (
        7,
        &[pair(
            piece("Fetches and computes on the event loop", "fn async_only"),
            piece("Fetches on the event loop, computes on a pool", "fn hybrid"),
            "While the loop computes it begins no fetch. With a pool each side has a limit of its own, and the whole takes as long as the slower one.",
        )],
    ),
    (
        8,
        &[
            pair(
                piece("The stage awaits each item", "fn stages_awaiting_each"),
                piece(
                    "As many loops as the pool has workers",
                    "fn stages_in_flight",
                ),
                "A loop that awaits its item has one item in the pool, whatever the pool's size.",
            ),
            pair(
                piece("A batch as one job", "fn batches_as_one_job"),
                piece("A job for each item", "fn batches_by_item"),
                "One job is on one worker. The pool can share out only what is handed to it in pieces.",
            ),
        ],
    ),
    (
        9,
        &[pair(
            of_file!(
                "The stage that takes longest",
                "lab09_bottleneck/diagnosis.rs",
                "fn longest"
            ),
            of_file!(
                "The stage that is busiest, and by how much",
                "lab09_bottleneck/diagnosis.rs",
                "fn diagnose"
            ),
            "A long time in a wide stage is no bottleneck: what counts is workers over time, and utilisation has both in it.",
        )],
    ),
    (
        10,
        &[
            pair(
                piece(
                    "All fetches, then all inferences",
                    "fn fetch_all_then_infer_all",
                ),
                piece(
                    "Each inference as its text arrives",
                    "fn infer_each_as_it_arrives",
                ),
                "In two phases the first text lies idle until the last one has come. Where each source is one future, its inference follows its own fetch.",
            ),
            pair(
                piece("The first error ends everything", "fn all_or_nothing"),
                piece(
                    "Each part has a result of its own",
                    "fn infer_each_as_it_arrives",
                ),
                "`try_join_all` throws two good parts away. `join_all` with a `Result` for each answers with what there is.",
            ),
        ],
    ),
    (
        11,
        &[pair(
            piece("One pool for waiting and computing", "fn mixed"),
            piece("A limit for each", "fn two_limits"),
            "In one pool somebody has to guess how much of the time a worker waits. With two limits each is sized by what it limits.",
        )],
    ),
    (
        12,
        &[
            pair(
                piece("Ten at a time, then the next ten", "fn in_batches"),
                piece("Ten at a time, always", "fn in_window"),
                "One item that hangs holds up its batch of ten. In a window it holds up its own place.",
            ),
            pair(
                piece(
                    "Takes a late answer for a failure",
                    "Err(_) if !self.careful =>",
                ),
                piece(
                    "Withdraws the write, or asks whether it was done",
                    "Err(_) => claim.abandon()",
                ),
                "A timeout says that no answer has come, not that nothing was done.",
            ),
        ],
    ),
    (
        13,
        &[
            pair(
                piece("The buffer lives across the `.await`", "fn inline"),
                piece(
                    "The buffer is made when there is something to read",
                    "fn late",
                ),
                "What is alive across an `.await` is part of the future, and everybody who waits pays for it.",
            ),
            pair(
                piece("A chatter as a thread", "fn thread"),
                piece("A chatter as a task", "fn task"),
                "Both wait. The thread keeps a stack of its own meanwhile; the task keeps what it needs after the next `.await`.",
            ),
        ],
    ),
    (
        14,
        &[pair(
            piece("On the event loop", "fn on_the_loop"),
            piece("On a pool of threads", "fn on_rayon"),
            "The caller awaits both. In the first nobody else is polled meanwhile; in the second the answer comes through a channel.",
        )],
    ),
    (
        15,
        &[
            pair(
                piece("Everybody is let in", "fn accept"),
                piece("No place, no promise", "fn shed"),
                "The channel's bound is the same line of code away. What differs is what the next user is told, and when.",
            ),
            pair(
                piece("The producer waits at the door", "fn hold_back"),
                piece("Refused at once", "fn shed"),
                "Who waits at the door waits as long as in the queue, only where no dashboard looks.",
            ),
        ],
    ),
    (
        16,
        &[pair(
            piece("A segment for each payload", "impl HandOver for Fresh"),
            piece("A segment that is kept", "impl HandOver for Kept"),
            "Neither copies a byte. The first makes the system find, clear and map every page anew, on both sides, each time.",
        )],
    ),
    (
        17,
        &[
            pair(
                of_file!(
                    "Reads, then writes",
                    "lab17_shared_state/counters.rs",
                    "impl Counter for LoadThenStore"
                ),
                of_file!(
                    "One atomic step",
                    "lab17_shared_state/counters.rs",
                    "impl Counter for FetchAdd"
                ),
                "Each of the two operations is atomic. What is lost is lost between them.",
            ),
            pair(
                of_file!(
                    "The lock is held across the `.await`",
                    "lab17_shared_state/programs.rs",
                    "fn held_across_await"
                ),
                of_file!(
                    "Awaits first, locks afterwards",
                    "lab17_shared_state/programs.rs",
                    "fn awaited_before"
                ),
                "A guard that is held while a task is away stops the thread of whoever wants the lock next.",
            ),
            pair(
                of_file!(
                    "Two locks in two orders",
                    "lab17_shared_state/counters.rs",
                    "fn pay_payer_first"
                ),
                of_file!(
                    "Two locks in one order",
                    "lab17_shared_state/counters.rs",
                    "fn pay_in_one_order"
                ),
                "Two who pay each other lock in two orders and wait for each other for ever. One order for all, and nobody does.",
            ),
        ],
    ),
    (
        18,
        &[pair(
            of_file!(
                "A pair for every word",
                "lab18_map_reduce/dataflow.rs",
                "fn every_word"
            ),
            of_file!(
                "Counted first, then a pair for each different word",
                "lab18_map_reduce/dataflow.rs",
                "fn counted_first"
            ),
            "The network carries what the map makes. Adding up before the shuffle leaves one pair for each different word.",
        )],
    ),
    (
        19,
        &[
            pair(
                piece("A call that blocks until there is room", "Put::Blocks =>"),
                piece("Room is awaited", "Put::Awaits =>"),
                "Both queues are bounded. On an event loop the blocking call stops the very thread that would have made room.",
            ),
            pair(
                piece("A client for each request", "Sessions::Each =>"),
                piece("One client for all", "Sessions::Shared =>"),
                "A client is a pool of connections. A new one has none.",
            ),
        ],
    ),
];
