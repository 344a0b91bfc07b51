//! Panics over a record, which are reasons and not the end of a program.

use std::{any::Any, cell::Cell, sync::Once};

thread_local! {
    /// True while this thread explains a record: a panic is then a reason, and is not printed.
    static EXPLAINING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread explains a record.
pub(crate) fn is_explaining() -> bool {
    EXPLAINING.get()
}

/// What a record does that no lab expects, it does to itself: a panic over it is an error with its name, and
/// whoever goes through several records goes on.
pub(crate) fn contained<T>(lab: &str, explain: impl FnOnce() -> T) -> anyhow::Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !EXPLAINING.get() {
                usual(panic);
            }
        }));
    });
    let before = EXPLAINING.replace(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(explain));
    EXPLAINING.set(before);
    result.map_err(|panic| {
        let why = reason(&*panic);
        anyhow::anyhow!("{lab}: theory fails over this record: {why}")
    })
}

/// What a panic says.
pub(crate) fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gives no reason")
}
