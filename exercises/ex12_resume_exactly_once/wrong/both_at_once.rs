use crate::{Journal, Source, Store};

/// The items that are still to be carried, by the lines of the journal from before.
pub fn todo(items: &[u64], lines: &[String]) -> Vec<u64> {
    let is_done = |item: &u64| lines.contains(&item.to_string());
    items.iter().copied().filter(|item| !is_done(item)).collect()
}

/// Carries an item from the source to the store. Several of these calls are under way at a time.
pub async fn carry(item: u64, source: Source, store: Store, journal: Journal) {
    let content = source.fetch(item).await;
    let (key, line) = (format!("item-{item}"), item.to_string());
    // Both have to be done, and neither needs the other: one wait for the two.
    tokio::join!(store.put(item, &key, content), journal.append(&line));
}
