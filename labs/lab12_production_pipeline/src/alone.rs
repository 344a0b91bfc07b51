//! The pipeline without an experiment around it.

use std::path::Path;

use anyhow::ensure;
use lab_kit::prelude::*;
use mock_server::Upstream;
use tokio::runtime::Builder;

use super::{
    Line, Params, in_window,
    log::Log,
    stages::Tools,
    store::{Books, Store},
};

/// The pipeline without an experiment around it. It says what it does, goes on from where the last
/// one ended, and may be killed at any time.
pub(super) fn by_itself(p: &Params, dir: &Path) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tools = Tools::new(p)?;
    let (store, found) = Store::open(dir, p.items, p.options())?;
    println!(
        "{}: {} of {} items are done, {} had been begun; {} lines of the fallback file were without a status{}",
        dir.display(),
        found.done,
        p.items,
        found.begun,
        found.recognised,
        if found.torn { ", one was torn" } else { "" }
    );
    runtime.block_on(async {
        let constant = ServiceTime::Constant(p.fetch.duration());
        let own = match p.upstream {
            None => Some(Upstream::start(p.spec(constant, 1)).await?),
            Some(_) => None,
        };
        let given = p.upstream.clone().unwrap_or_default();
        let url = own.as_ref().map_or(given, Upstream::url);
        let line = Line::new(p, &tools, url, store, Log::Lines)?;
        in_window(&line, &found.todo, p.batch).await?;
        anyhow::Ok(line.store.close()?)
    })?;
    let books = Books::read(dir)?;
    println!(
        "{} items: {} in the database, {} in the fallback file, {} failed",
        p.items, books.in_database, books.in_fallback, books.failed
    );
    ensure!(
        books.failed < p.items,
        "every item failed, the last lines above say why: is {} the upstream of this lab?",
        p.upstream.as_deref().map_or("it".into(), lab_kit::address::shown)
    );
    Ok(())
}
