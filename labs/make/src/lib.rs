//! Exercises: something to make, judged by what it does.
//!
//! # Layout
//!
//! An exercise is a folder of `exercises/`: the task, the file to change, hints, a solution, wrong ways, the harness
//! `main.rs` and the judge `judge.rs`, which is a module of this crate. `build.rs` puts the rest into the program.
//!
//! - [`exercise`]: what an exercise is. [`EXERCISES`]: all of them.
//! - `workshop`: builds a learner's file with the authors' harness, and looks at what the compiler read.
//! - [`mod@line`]: runs a program from outside. [`books`]: reads the service's books. [`pace`]: speed, in rounds.
//!   [`items`]: a service that answers by a script. `orders`: what a model checker found. [`mod@bench`]: all that a judge works with.
//! - [`verdict`]: what a judge says. `check`: from a source to a verdict.
//! - `place`, `progress`: the learner's folder. [`command`]: `labs make`. [`grade`]: `labs grade`.

#![warn(missing_docs)]

#[cfg(test)]
mod attacks;
pub mod bench;
pub mod books;
mod check;
pub mod command;
pub mod exercise;
mod export;
pub mod grade;
pub mod items;
pub mod line;
mod orders;
pub mod pace;
mod place;
pub mod progress;
mod say;
mod shelf;
mod source;
#[path = "../../../exercises/kit/src/stir.rs"]
mod stir;
pub mod verdict;
mod workshop;

macro_rules! exercises {
    ($($folder:literal $module:ident $Judge:ident;)*) => {
        $(#[path = $folder] mod $module;)*

        /// All exercises, in the order of their labs.
        pub const EXERCISES: &[&dyn exercise::Judge] = &[$(&$module::$Judge),*];
    };
}

exercises! {
    "../../../exercises/ex02_unblock_the_loop/judge.rs" unblock_the_loop UnblockTheLoop;
    "../../../exercises/ex03_bound_the_queue/judge.rs" bound_the_queue BoundTheQueue;
    "../../../exercises/ex04_limit_outside/judge.rs" limit_outside LimitOutside;
    "../../../exercises/ex04_adaptive_limit/judge.rs" adaptive_limit AdaptiveLimit;
    "../../../exercises/ex05_retry_well/judge.rs" retry_well RetryWell;
    "../../../exercises/ex06_stream_do_not_collect/judge.rs" stream_do_not_collect StreamDoNotCollect;
    "../../../exercises/ex08_overlap_the_stages/judge.rs" overlap_the_stages OverlapTheStages;
    "../../../exercises/ex09_move_the_workers/judge.rs" move_the_workers MoveTheWorkers;
    "../../../exercises/ex10_hedge_once/judge.rs" hedge_once HedgeOnce;
    "../../../exercises/ex12_resume_exactly_once/judge.rs" resume_exactly_once ResumeExactlyOnce;
    "../../../exercises/ex14_offload_and_survive/judge.rs" offload_and_survive OffloadAndSurvive;
    "../../../exercises/ex15_shed_by_deadline/judge.rs" shed_by_deadline ShedByDeadline;
    "../../../exercises/ex16_hand_over_without_a_copy/judge.rs" hand_over_without_a_copy HandOverWithoutACopy;
    "../../../exercises/ex17_count_every_one/judge.rs" count_every_one CountEveryOne;
    "../../../exercises/ex17_two_accounts/judge.rs" two_accounts TwoAccounts;
    "../../../exercises/ex19_polite_and_complete/judge.rs" polite_and_complete PoliteAndComplete;
    "../../../exercises/ex20_keep_the_quota/judge.rs" keep_the_quota KeepTheQuota;
    "../../../exercises/ex21_keep_what_was_taken/judge.rs" keep_what_was_taken KeepWhatWasTaken;
    "../../../exercises/ex22_choose_well/judge.rs" choose_well ChooseWell;
    "../../../exercises/ex23_let_one_through/judge.rs" let_one_through LetOneThrough;
}
