//! What does a limit cost when nothing has to be waited for but one's turn?

use std::{convert::Infallible, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
};
use tower::{Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

use super::{Group, on_one_thread};

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
        on_one_thread("no_limit", REQUESTS, || async {
            let mut set = JoinSet::new();
            for _ in 0..REQUESTS {
                set.spawn(request());
            }
            set.join_all().await;
        }),
        // A task for each request, most of which wait for a permit.
        on_one_thread("semaphore", REQUESTS, || async {
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
        }),
        // The permit is taken before the task is made: never more tasks than permits.
        on_one_thread("semaphore_before_spawn", REQUESTS, || async {
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
        }),
        // One task that polls ten futures: nothing is spawned, and nothing runs beside it.
        on_one_thread("buffer_unordered", REQUESTS, || async {
            stream::iter(0..REQUESTS)
                .map(|_| request())
                .buffer_unordered(LIMIT)
                .for_each(|()| async {})
                .await;
        }),
        // Ten tasks that live as long as there is something to do.
        on_one_thread("workers", REQUESTS, || async {
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
        }),
        on_one_thread("tower", REQUESTS, || async {
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
        }),
    ];
    Group { name: "limiting", cases }
}
