//! The database in PostgreSQL, for workers in any number of processes on any number of hosts.
//!
//! Pages are in the table `pages`, made when it is not there (in the schema that the connection's
//! `search_path` names first, usually `public`). Its key is the url, and a batch is one statement with
//! `ON CONFLICT DO NOTHING`: all of it is there or nothing of it, and to store it twice changes nothing.
//! So every call may be repeated, and is, with back-off, when the connection breaks, an answer does not
//! come or the server restarts ([`PATIENCE`]). Only the count of new pages that
//! [`store`](Database::store) returns may then be too low.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_postgres::{
    Client, Config, Error, Statement, config::SslMode, error::SqlState, types::ToSql,
};

use super::{Database, DatabaseError, Page, address::ServerUrl};

/// How long a call goes on trying while the server does not answer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer that takes longer will not come: the server or the way to it is gone, even if the
/// connection does not know yet.
const ANSWER: Duration = Duration::from_secs(15);
/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The most pages in one statement.
const CHUNK: usize = 1000;

/// Two workers that make the table at once would meet in the catalogue, "if not exists" or not: one
/// after the other, then. The lock's number is any; it belongs to this table.
const MAKE: &str = "
begin;
select pg_advisory_xact_lock(7116112111);
create table if not exists pages (
    url         text primary key,
    title       text not null,
    price_cents bigint,
    category    text not null,
    text_bytes  bigint not null,
    links       bigint not null,
    stored_at   timestamptz not null default now()
);
commit";

const STORE: &str = "
insert into pages (url, title, price_cents, category, text_bytes, links)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
on conflict (url) do nothing";

/// A database in PostgreSQL.
pub struct Postgres {
    /// Without password: for messages.
    shown: String,
    config: Config,
    tls: Tls,
    open: Mutex<Option<Arc<Session>>>,
}

/// A connection and what was prepared on it.
struct Session {
    client: Client,
    store: Statement,
}

#[cfg(feature = "tls")]
type Tls = super::tls::ForPostgres;
#[cfg(not(feature = "tls"))]
type Tls = tokio_postgres::NoTls;

impl Postgres {
    /// Connects, and makes the table if it is not there.
    ///
    /// Without `sslmode`, or with `sslmode=disable`, there is no TLS. With `require`, `verify-ca` or
    /// `verify-full` there is, and the certificate must be good for the host: by the system's
    /// authorities, or by those in the file that `sslrootcert` names.
    ///
    /// # Errors
    /// When nothing answers, the server lets nobody in, the URL has a parameter that is none, or the
    /// build has no TLS and the URL asks for it.
    pub async fn open(url: &ServerUrl) -> Result<Postgres, DatabaseError> {
        let permanent = |why: String| DatabaseError::Permanent(why);
        let (plain, ours) = url.without(&["sslmode", "sslrootcert"]);
        let (mut encrypted, mut authority) = (false, None);
        for (key, value) in ours {
            match (key.as_str(), value.as_str()) {
                ("sslmode", "disable") => encrypted = false,
                ("sslmode", "require" | "verify-ca" | "verify-full") => encrypted = true,
                ("sslmode", _) => {
                    return Err(permanent(format!(
                        "sslmode={value} in {url}: there are disable and require"
                    )));
                }
                _ => authority = Some(value),
            }
        }
        // The parser repeats parameters' names, never a password.
        let parsed = plain.reveal().parse::<Config>();
        let mut config = parsed.map_err(|error| permanent(format!("{url}: {}", reason(&error))))?;
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("labs");
        }
        let database = Postgres {
            shown: plain.to_string(),
            config,
            tls: connector(url, encrypted, authority).map_err(permanent)?,
            open: Mutex::new(None),
        };
        // A server that is not there now will not be there in a minute: say so at once. One that is just
        // starting is worth waiting for.
        match database.session().await {
            Err(error) if !is_starting(&error) => Err(database.absent(&error)),
            _ => database.count().await.map(|_| database),
        }
    }

    /// The connection, made when it is needed and made again when it broke.
    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut open = self.open.lock().await;
        if let Some(session) = open.as_ref().filter(|s| !s.client.is_closed()) {
            return Ok(session.clone());
        }
        let make = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            // Ends with the client, or when the connection breaks; the client then says why.
            tokio::spawn(connection);
            client.batch_execute(MAKE).await?;
            let store = client.prepare(STORE).await?;
            Ok(Arc::new(Session { client, store }))
        };
        let session = within(ANSWER, make).await?;
        *open = Some(session.clone());
        Ok(session)
    }

    /// Asks until there is an answer.
    async fn run(&self, ask: Ask) -> Result<u64, DatabaseError> {
        let (start, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let failure = match self.session().await {
                Ok(session) => match within(ANSWER, ask.of(&session)).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => {
                        self.forget(&session, &failure).await;
                        failure
                    }
                },
                Err(failure) => failure,
            };
            if !is_transient(&failure) {
                return Err(DatabaseError::Permanent(format!("{}: {failure}", self.shown)));
            }
            if start.elapsed() + pause > PATIENCE {
                let patience = PATIENCE.as_secs();
                return Err(DatabaseError::Transient(format!(
                    "{} has not answered for {patience} s: {failure}",
                    self.shown
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// A connection that does not answer is not asked again.
    async fn forget(&self, session: &Arc<Session>, failure: &Failure) {
        let broken = match failure {
            Failure::Late => true,
            Failure::Error(error) => error.as_db_error().is_none(),
        };
        let mut open = self.open.lock().await;
        if broken && open.as_ref().is_some_and(|now| Arc::ptr_eq(now, session)) {
            *open = None;
        }
    }

    /// What to say when the first connection fails.
    fn absent(&self, failure: &Failure) -> DatabaseError {
        let shown = &self.shown;
        let told = match failure {
            Failure::Error(error) => error.as_db_error(),
            Failure::Late => None,
        };
        let Some(told) = told else {
            return DatabaseError::Permanent(format!(
                "no PostgreSQL answers at {shown}: {failure}. Is it running, does it listen there (listen_addresses), and is the way open?"
            ));
        };
        let hint = match *told.code() {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "; the user and the password belong into the URL, as in postgres://user:password@host:5432/database, and pg_hba.conf must let them in (with ?sslmode=require, if it asks for encryption)"
            }
            SqlState::UNDEFINED_DATABASE => "; `createdb` makes it",
            SqlState::INSUFFICIENT_PRIVILEGE => {
                "; the user needs the right to make the table `pages`: grant create on schema public"
            }
            _ => "",
        };
        DatabaseError::Permanent(format!("{shown}: {failure}{hint}"))
    }
}

impl Database for Postgres {
    fn store<'a>(&'a self, pages: &'a [Page]) -> BoxFuture<'a, Result<u64, DatabaseError>> {
        Box::pin(async move {
            let mut sorted: Vec<&Page> = pages.iter().collect();
            // In one order everywhere: two batches that share pages cannot wait for each other.
            sorted.sort_by(|a, b| a.url.cmp(&b.url));
            let mut new = 0;
            for pages in sorted.chunks(CHUNK) {
                new += self.run(Ask::Store(Columns::of(pages))).await?;
            }
            Ok(new)
        })
    }

    fn count<'a>(&'a self) -> BoxFuture<'a, Result<u64, DatabaseError>> {
        Box::pin(self.run(Ask::Count))
    }
}

/// A question that may be asked again.
enum Ask {
    Count,
    Store(Columns),
}

impl Ask {
    async fn of(&self, session: &Session) -> Result<u64, Error> {
        match self {
            Ask::Count => {
                let count = "select count(*) from pages";
                let row = session.client.query_one(count, &[]).await?;
                Ok(row.get::<_, i64>(0) as u64)
            }
            Ask::Store(columns) => {
                let columns: [&(dyn ToSql + Sync); 6] = [
                    &columns.url,
                    &columns.title,
                    &columns.price_cents,
                    &columns.category,
                    &columns.text_bytes,
                    &columns.links,
                ];
                session.client.execute(&session.store, &columns).await
            }
        }
    }
}

/// Pages, column by column.
struct Columns {
    url: Vec<String>,
    title: Vec<String>,
    price_cents: Vec<Option<i64>>,
    category: Vec<String>,
    text_bytes: Vec<i64>,
    links: Vec<i64>,
}

impl Columns {
    fn of(pages: &[&Page]) -> Columns {
        Columns {
            url: pages.iter().map(|p| text(&p.url)).collect(),
            title: pages.iter().map(|p| text(&p.title)).collect(),
            price_cents: pages.iter().map(|p| p.price_cents).collect(),
            category: pages.iter().map(|p| text(&p.category)).collect(),
            text_bytes: pages.iter().map(|p| p.text_bytes.into()).collect(),
            links: pages.iter().map(|p| p.links.into()).collect(),
        }
    }
}

/// PostgreSQL's text has every character but one.
fn text(any: &str) -> String {
    any.replace('\0', "")
}

/// Why there is no answer.
enum Failure {
    Error(Error),
    /// None in time.
    Late,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Error(error) => f.write_str(&reason(error)),
            Failure::Late => f.write_str("no answer in time"),
        }
    }
}

/// An error's own text says only which sort it is.
fn reason(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(told), _) => told.message().to_string(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Late),
    }
}

fn is_starting(failure: &Failure) -> bool {
    matches!(failure, Failure::Error(error) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW))
}

fn is_transient(failure: &Failure) -> bool {
    let Failure::Error(error) = failure else {
        return true;
    };
    match error.code() {
        // No word from the server: the connection is gone, or was never there.
        None => true,
        Some(code) => {
            [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::TOO_MANY_CONNECTIONS,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::QUERY_CANCELED,
            ]
            .contains(code)
                || code.code().starts_with("08")
        }
    }
}

#[cfg(not(feature = "tls"))]
fn connector(url: &ServerUrl, encrypted: bool, _: Option<String>) -> Result<Tls, String> {
    if encrypted {
        return Err(super::address::not_built(url, "tls"));
    }
    Ok(tokio_postgres::NoTls)
}

#[cfg(feature = "tls")]
fn connector(url: &ServerUrl, _: bool, authority: Option<String>) -> Result<Tls, String> {
    super::tls::for_postgres(authority.as_deref()).map_err(|why| format!("{url}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(url: &str) -> String {
        let error = Postgres::open(&url.into()).await.err().unwrap();
        assert!(!error.is_transient());
        let text = error.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        text
    }

    #[tokio::test]
    async fn parameters_that_make_no_sense_are_named() {
        for parameter in ["sslmode=prefer", "colour=red", "port=x"] {
            let text = refused(&format!("postgres://a:hunter2@127.0.0.1:1/l?{parameter}")).await;
            let name = parameter.split('=').next().unwrap();
            assert!(text.contains(name), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_at_home_is_said_at_once() {
        // Bound and closed again: nobody listens there.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let text = refused(&format!("postgres://a:hunter2@{address}/labs")).await;
        for part in [&address.to_string(), "no PostgreSQL answers"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[tokio::test]
    async fn tls_is_not_left_out_in_silence() {
        let text = refused("postgres://a:hunter2@127.0.0.1:1/l?sslmode=require").await;
        assert!(text.contains("--features tls"), "{text}");
    }

    #[test]
    fn the_one_character_that_postgres_refuses_is_left_out() {
        assert_eq!(text("a\0b"), "ab");
    }
}
