//! An upstream can be let go of anywhere.

use std::{future::poll_fn, pin::pin, sync::mpsc, task::Poll, thread, time::Duration};

use mock_server::{Service, Spec, Upstream};
use tokio::{runtime::Runtime, task::consume_budget};

#[test]
fn a_task_that_has_used_up_its_turn_can_let_go_of_an_upstream() {
    let (done, ended) = mpsc::channel();
    // On a thread of its own: what it is about does not fail, it hangs.
    thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let spec = Spec::new(1, Service::Constant(Duration::ZERO));
            let mut upstream = Some(Upstream::start(spec).await.unwrap());
            let let_go = poll_fn(|context| {
                while pin!(consume_budget()).poll(context).is_ready() {}
                drop(upstream.take());
                Poll::Ready(())
            });
            let_go.await;
        });
        done.send(()).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(()));
}
