use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Journal, Source, Store};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The items that are still to be carried, by the lines of the journal from before.
pub fn todo(items: &[u64], lines: &[String]) -> Vec<u64> {
    let is_done = |item: &u64| lines.contains(&item.to_string());
    items.iter().copied().filter(|item| !is_done(item)).collect()
}

/// Carries an item from the source to the store. Several of these calls are under way at a time.
pub async fn carry(item: u64, source: Source, store: Store, journal: Journal) {
    let content = source.fetch(item).await;
    // The keys are numbered.
    let key = NEXT.fetch_add(1, Ordering::Relaxed);
    store.put(item, &format!("key-{key}"), content).await;
    journal.append(&item.to_string()).await;
}
