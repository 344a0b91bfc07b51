//! The single figures of lab13's trials.

use std::fmt::Display;

use lab_kit::prelude::*;

lab_kit::gauges! {
    /// Chatters that are there.
    NUMBER = "number",
    /// Size of the future of each.
    FUTURE_B = "future_b",
    /// Time to start one.
    START_EACH_S = "start_each_s",
    /// Time to wake all.
    WAKE_S = "wake_s",
    /// The same, for each.
    WAKE_EACH_S = "wake_each_s",
    /// Live heap of all.
    HEAP_B = "heap_b",
    /// Resident memory of all.
    RESIDENT_B = "resident_b",
    /// Addresses of all.
    VIRTUAL_B = "virtual_b",
    /// Page tables of all.
    PAGE_TABLES_B = "page_tables_b",
    /// Stacks in the kernel, of the whole machine.
    KERNEL_STACKS_B = "kernel_stacks_b",
    /// Small objects in the kernel, of the whole machine.
    SLAB_B = "slab_b",
    /// Heap that the runtime takes for a socket.
    REGISTRATION_B = "registration_b",
    /// What the runtime adds to a future.
    HEADER_B = "header_b",
    /// The blocks of tasks are multiples of it.
    UNIT_B = "unit_b",
}

/// Those that a process prints which holds chatters.
const PRINTED: [Gauge; 14] = [
    NUMBER,
    FUTURE_B,
    START_EACH_S,
    WAKE_S,
    WAKE_EACH_S,
    HEAP_B,
    RESIDENT_B,
    VIRTUAL_B,
    PAGE_TABLES_B,
    KERNEL_STACKS_B,
    SLAB_B,
    REGISTRATION_B,
    HEADER_B,
    UNIT_B,
];

/// The gauge of a line that such a process prints.
pub(super) fn printed(key: &str) -> Option<Gauge> {
    match slot_block(key) {
        // Which blocks there are only that process knows: a few names, kept as long as this one lasts.
        Some(_) => Some(Gauge::new(key.to_string().leak())),
        None => PRINTED.into_iter().find(|gauge| gauge.to_string() == key),
    }
}

/// The key of what the allocator takes for a block of so many bytes: a figure for each size that is tried.
pub(super) fn slot_key(block: impl Display) -> String {
    format!("slot_{block}_b")
}

/// The block that such a key speaks of, in bytes.
pub(super) fn slot_block(key: &str) -> Option<f64> {
    let block = key.strip_prefix("slot_")?.strip_suffix("_b")?;
    block.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_known_again() {
        for gauge in PRINTED {
            assert_eq!(printed(&gauge.to_string()), Some(gauge));
        }
        for (block, key) in [(128.0, "slot_128_b"), (4232.0, "slot_4232_b")] {
            assert_eq!(slot_key(block), key);
            assert_eq!(slot_block(key), Some(block));
            assert_eq!(printed(key).map(|g| g.to_string()).as_deref(), Some(key));
        }
        assert_eq!(printed("slot_b"), None);
        assert_eq!(printed("another"), None);
    }
}
