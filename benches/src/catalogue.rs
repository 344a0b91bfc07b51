//! The questions that the benches answer, in the order of their charts.

/// A question with the groups of cases that answer it: one chart.
pub struct Question {
    /// Short name, used in file names.
    pub id: &'static str,
    /// What a student would ask.
    pub question: &'static str,
    /// What the times are times of: the beginning of the chart's title.
    pub subject: &'static str,
    /// What a reader must know to read the chart.
    pub note: &'static str,
    /// Top to bottom.
    pub groups: &'static [Group],
}

/// A group of cases that are compared with one another.
pub struct Group {
    /// Its name in criterion's files.
    pub name: &'static str,
    /// Written above it, where a chart has several.
    pub title: &'static str,
    /// The case that the others are compared with.
    pub first: &'static str,
}

const fn group(name: &'static str, title: &'static str, first: &'static str) -> Group {
    Group { name, title, first }
}

/// All questions.
pub const QUESTIONS: &[Question] = &[
    Question {
        id: "spawning",
        question: "What does it cost to have something done by somebody else?",
        subject: "Having something done",
        note: "Next to nothing is done, so that the time is that of the way there and back.",
        groups: &[group("spawning", "", "call")],
    },
    Question {
        id: "handing-over",
        question: "What does it cost to hand something over, and how much room does a channel need?",
        subject: "Handing over one thing",
        note: "The number in a name is the channel's room. Without “2 threads” both ends are tasks of one thread.",
        groups: &[group("handing_over", "", "deque")],
    },
    Question {
        id: "limiting",
        question: "What does a limit cost when nothing has to be waited for but one's turn?",
        subject: "One request",
        note: "At most ten requests in flight, on one thread; a request gives others one turn.",
        groups: &[group("limiting", "", "no_limit")],
    },
    Question {
        id: "bridging",
        question: "What does it cost to leave the event loop for something that computes?",
        subject: "A short computation",
        note: "Some 10,000 steps, asked for one after another by a task on a runtime of two threads.",
        groups: &[group("bridging", "", "on_the_loop")],
    },
    Question {
        id: "sharing",
        question: "What does it cost to count together?",
        subject: "An addition by one of two threads",
        note: "The counters of lab 17. Load then store is wrong: it loses additions.",
        groups: &[group("sharing", "", "padded")],
    },
    Question {
        id: "copying",
        question: "What does it cost to give somebody data, by size?",
        subject: "Giving data",
        note: "Handle: a counted reference. Kept, fresh: a copy into memory that is there, or is asked for. Read, write: one pass of lab 16.",
        groups: &[
            group("copying_1KB", "1 KB", "handle"),
            group("copying_64KB", "64 KB", "handle"),
            group("copying_1MB", "1 MB", "handle"),
            group("copying_10MB", "10 MB", "handle"),
        ],
    },
    Question {
        id: "instrument",
        question: "What does the instrument itself cost?",
        subject: "A step of the instrument",
        note: "Recording and admission happen with each request, the rest once a run, after it.",
        groups: &[
            group("recording", "Recording, a request", "drawn_latency"),
            group("admission", "Admission, an arrival", "0_waiting"),
            group("theory", "Theory", "erlang_c"),
            group("reporting", "Reporting", "estimate_7_trials"),
        ],
    },
];

/// The group of this name.
pub fn find(name: &str) -> Option<&'static Group> {
    let mut groups = QUESTIONS.iter().flat_map(|question| question.groups);
    groups.find(|group| group.name == name)
}
