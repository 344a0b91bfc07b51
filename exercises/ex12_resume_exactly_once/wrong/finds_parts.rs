use crate::{Journal, Source, Store};

/// The items that are still to be carried, by the lines of the journal from before.
pub fn todo(items: &[u64], lines: &[String]) -> Vec<u64> {
    let journal = lines.join("\n");
    let is_done = |item: &u64| journal.contains(&item.to_string());
    items.iter().copied().filter(|item| !is_done(item)).collect()
}

/// Carries an item from the source to the store. Several of these calls are under way at a time.
pub async fn carry(item: u64, source: Source, store: Store, journal: Journal) {
    let content = source.fetch(item).await;
    // Every start gives the item the same key: the store sees when it comes again.
    store.put(item, &format!("item-{item}"), content).await;
    // A line promises that the item is in the store, so it is written last.
    journal.append(&item.to_string()).await;
}
