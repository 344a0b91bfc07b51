//! What does a limit cost when nothing has to be waited for but one's turn?

use std::{convert::Infallible, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
};
use tower::{Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

use super::{Group, case, current};

/// Requests in a call.
const REQUESTS: u64 = 100;
/// Requests in flight at a time.
const LIMIT: usize = 10;

/// What is limited: something that gives others one turn.
async fn request() {
    yield_now().await;
}

pub fn group() -> Group {
    let cases = vec![
        case("no_limit", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let mut set = JoinSet::new();
                    for _ in 0..REQUESTS {
                        set.spawn(request());
                    }
                    set.join_all().await;
                });
            }
        })
        .held(),
        // A task for each request, most of which wait for a permit.
        case("semaphore", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let semaphore = Arc::new(Semaphore::new(LIMIT));
                    let mut set = JoinSet::new();
                    for _ in 0..REQUESTS {
                        let semaphore = semaphore.clone();
                        set.spawn(async move {
                            let _permit = semaphore.acquire().await.expect("nobody closes it");
                            request().await;
                        });
                    }
                    set.join_all().await;
                });
            }
        })
        .held(),
        // The permit is taken before the task is made: never more tasks than permits.
        case("semaphore_before_spawn", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let semaphore = Arc::new(Semaphore::new(LIMIT));
                    let mut set = JoinSet::new();
                    for _ in 0..REQUESTS {
                        let permit = semaphore.clone().acquire_owned().await;
                        set.spawn(async move {
                            let _permit = permit.expect("nobody closes it");
                            request().await;
                        });
                    }
                    set.join_all().await;
                });
            }
        })
        .held(),
        // One task that polls ten futures: nothing is spawned, and nothing runs beside it.
        case("buffer_unordered", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    stream::iter(0..REQUESTS)
                        .map(|_| request())
                        .buffer_unordered(LIMIT)
                        .for_each(|()| async {})
                        .await;
                });
            }
        })
        .held(),
        // Ten tasks that live as long as there is something to do.
        case("workers", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let (give, take) = async_channel::bounded(LIMIT);
                    let mut set = JoinSet::new();
                    for _ in 0..LIMIT {
                        let take = take.clone();
                        set.spawn(async move {
                            while take.recv().await.is_ok() {
                                request().await;
                            }
                        });
                    }
                    for i in 0..REQUESTS {
                        give.send(i).await.expect("the workers live");
                    }
                    drop(give);
                    set.join_all().await;
                });
            }
        })
        .held(),
        case("tower", REQUESTS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let service = service_fn(|()| async {
                        request().await;
                        Ok::<(), Infallible>(())
                    });
                    let mut service = ConcurrencyLimit::new(service, LIMIT);
                    let mut set = JoinSet::new();
                    for _ in 0..REQUESTS {
                        let Ok(ready) = service.ready().await;
                        set.spawn(ready.call(()));
                    }
                    set.join_all().await;
                });
            }
        })
        .held(),
    ];
    Group {
        name: "limiting",
        cases,
    }
}
