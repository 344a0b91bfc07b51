//! Opening what is at the address of a server.

use std::sync::Arc;

pub use lab_kit::address::ServerUrl;

use super::{Database, DatabaseError, QueueError, TaskQueue};

/// Opens the queue at a URL: `redis://…`, or `rediss://…` with TLS. `name` is the worker's own among
/// all workers of this queue; without one it gets a name that nobody else has.
///
/// # Errors
/// When the scheme is none of those, nothing answers there, or the server lets nobody in; the text
/// says what to do.
pub async fn open_queue(
    url: &ServerUrl,
    name: Option<&str>,
) -> Result<Arc<dyn TaskQueue>, QueueError> {
    match url.scheme() {
        #[cfg(feature = "scale-out")]
        "redis" | "rediss" => Ok(Arc::new(super::redis::Redis::open(url, name).await?)),
        #[cfg(not(feature = "scale-out"))]
        "redis" | "rediss" => {
            let _ = name;
            Err(QueueError::Permanent(not_built(url, "scale-out")))
        }
        _ => Err(no_queue(url)),
    }
}

/// What to say of a URL that is none of a queue.
pub(super) fn no_queue(url: &ServerUrl) -> QueueError {
    QueueError::Permanent(format!(
        "\"{url}\" is no address of a queue; one looks like redis://127.0.0.1:6379"
    ))
}

/// Opens the database at a URL: `postgres://…`, with `?sslmode=require` over TLS.
///
/// # Errors
/// When the scheme is another one, nothing answers there, or the server lets nobody in; the text says
/// what to do.
pub async fn open_database(url: &ServerUrl) -> Result<Arc<dyn Database>, DatabaseError> {
    match url.scheme() {
        #[cfg(feature = "scale-out")]
        "postgres" | "postgresql" => Ok(Arc::new(super::postgres::Postgres::open(url).await?)),
        #[cfg(not(feature = "scale-out"))]
        "postgres" | "postgresql" => Err(DatabaseError::Permanent(not_built(url, "scale-out"))),
        _ => Err(DatabaseError::Permanent(format!(
            "\"{url}\" is no address of a database; one looks like postgres://user@127.0.0.1:5432/labs"
        ))),
    }
}

/// What to say when a URL needs a part of the program that this build leaves out.
#[allow(dead_code, reason = "not every combination of features needs it")]
pub(super) fn not_built(url: &ServerUrl, feature: &str) -> String {
    format!(
        "{url} needs a part that this build leaves out; build it in with: cargo run --release --features {feature} -- …"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    #[tokio::test]
    async fn a_foreign_address_is_refused_without_repeating_it() {
        for url in ["http://h/hunter2", "hunter2", "mysql://anna:hunter2@h"] {
            let url = ServerUrl::from(url);
            let queue = open_queue(&url, None).await.err().unwrap().to_string();
            let database = open_database(&url).await.err().unwrap().to_string();
            assert!(queue.contains("redis://127.0.0.1"), "{queue}");
            assert!(database.contains("postgres://"), "{database}");
        }
        let url = ServerUrl::from("mysql://anna:hunter2@h");
        for text in [
            open_queue(&url, None).await.err().unwrap().to_string(),
            open_database(&url).await.err().unwrap().to_string(),
        ] {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}
