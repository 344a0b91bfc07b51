//! The constants of the experiment, and which conditions there are.

use lab_kit::prelude::*;
use tokio::runtime::Builder;

use super::{findings, in_turn, together};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// How many waits: n
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub items: usize,
    /// How long each of them is: u
    #[arg(long, default_value = "20ms")]
    pub wait: Time,
}

/// lab22.
pub struct ChoosingAServerLab;

impl Lab for ChoosingAServerLab {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 22,
        name: "choosing_a_server",
        title: "Choosing a server",
        question: "Ten servers, one of them slow: which one gets the next request?",
        predict: &[Question {
            key: "faster",
            ask: "{items} waits of {wait}, begun together: how many times faster than one after another?",
            unit: "times",
            hint: "1 to 20",
        }],
        next: &[(
            "cargo run --release -p lab22 -- --items 1000 --wait 1ms",
            "where does beginning them take as long as they do?",
        )],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes { smoke: &["--items", "3", "--wait", "5ms"], full: &[], trials: (3, 7) },
    };

    fn needs(p: &Params, extent: &Extent) -> Needs {
        Needs {
            seconds: extent.times() * (p.items as f64 + 1.0) * p.wait.s(),
            less: "fewer --items or a shorter --wait",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (items, wait) = (p.items, p.wait.duration());
        let mut plan = session.plan();
        plan.point("in turn", 0.0, |r| r.timed(|| runtime.block_on(in_turn(items, wait))));
        plan.point("together", 0.0, |r| r.timed(|| runtime.block_on(together(items, wait))));
        plan.run()
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}
