//! The umbrella command.

use lab_kit::cli::Extra;

/// The lab book and the comparison of two sets of results.
const BOOK: &[Extra] = &[
    Extra {
        command: lab_book::cli::book_command,
        run: |flags| lab_book::cli::book(labs::SYLLABUS, &labs::records(), flags),
    },
    Extra {
        command: lab_book::cli::compare_command,
        run: |flags| lab_book::cli::compare(&labs::records(), flags),
    },
];

/// A class's results and a reader's own predictions.
const CLASS: &[Extra] = &[
    Extra {
        command: lab_class::command::command,
        run: |flags| lab_class::command::run(labs::SYLLABUS, flags),
    },
    Extra {
        command: lab_class::journal::command,
        run: |flags| lab_class::journal::run(labs::SYLLABUS, flags),
    },
];

/// Exercises.
const MAKE: &[Extra] = &[
    Extra { command: lab_make::command::command, run: lab_make::command::run },
    Extra { command: lab_make::grade::command, run: lab_make::grade::run },
];

fn main() -> std::process::ExitCode {
    let judge = Extra { command: lab_judge::command::command, run: lab_judge::command::run };
    let own = [lab_generator::COMMAND, lab_live::SERVE, labs::new::NEW, judge];
    let extras = [&own, BOOK, CLASS, MAKE, lab_crawl::COMMANDS].concat();
    lab_kit::cli::main(labs::SYLLABUS, lab_judge::JUDGES, &extras)
}
