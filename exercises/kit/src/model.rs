//! Locks and atomics: a model checker's, which write down what each thread does.

pub use std::sync::{Arc, LockResult, PoisonError};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use crate::orders::{event, holds, name};

/// As `std::sync::Mutex`.
pub struct Mutex<T> {
    name: String,
    inner: shuttle::sync::Mutex<T>,
}

/// As `std::sync::MutexGuard`.
pub struct MutexGuard<'a, T> {
    name: &'a str,
    inner: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// A lock around a value.
    pub fn new(value: T) -> Self {
        Self { name: name(), inner: shuttle::sync::Mutex::new(value) }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Errors
    /// When a thread panicked while it held it.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        event(format!("asks for lock {}", self.name));
        let taken = self.inner.lock();
        event(format!("takes lock {}", self.name));
        holds(true);
        let guard = |inner| MutexGuard { name: &self.name, inner: Some(inner) };
        taken.map(guard).map_err(|poison| PoisonError::new(guard(poison.into_inner())))
    }

    /// The value, without its lock.
    ///
    /// # Errors
    /// When a thread panicked while it held the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex {}", self.name)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("a guard holds its lock")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("a guard holds its lock")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            event(format!("gives lock {} back", self.name));
            holds(false);
            drop(inner);
        }
    }
}

/// As `std::sync::Condvar`.
pub struct Condvar {
    name: String,
    inner: shuttle::sync::Condvar,
}

impl Condvar {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self { name: name(), inner: shuttle::sync::Condvar::new() }
    }

    /// Gives the lock back, waits to be woken, and takes the lock again.
    ///
    /// # Errors
    /// When a thread panicked while it held the lock.
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let lock = guard.name;
        event(format!("gives lock {lock} back and waits for {}", self.name));
        let inner = guard.inner.take().expect("a guard holds its lock");
        holds(false);
        let woken = self.inner.wait(inner);
        holds(true);
        event(format!("is woken and takes lock {lock}"));
        let guard = |inner| MutexGuard { name: lock, inner: Some(inner) };
        woken.map(guard).map_err(|poison| PoisonError::new(guard(poison.into_inner())))
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) {
        event(format!("wakes one of {}", self.name));
        self.inner.notify_one();
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        event(format!("wakes all of {}", self.name));
        self.inner.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condvar {}", self.name)
    }
}

/// As `std::sync::atomic`. Every operation is in one order for all threads, whatever `Ordering` is asked for.
pub mod atomic {
    pub use std::sync::atomic::Ordering;
    use std::fmt;

    use crate::orders::{event, name};

    macro_rules! atomic {
        ($(#[$doc:meta])* $Atomic:ident, $Plain:ty) => {
            $(#[$doc])*
            pub struct $Atomic {
                name: String,
                inner: shuttle::sync::atomic::$Atomic,
            }

            impl $Atomic {
                /// With a first value.
                pub fn new(value: $Plain) -> Self {
                    Self { name: name(), inner: shuttle::sync::atomic::$Atomic::new(value) }
                }

                /// Reads it.
                pub fn load(&self, order: Ordering) -> $Plain {
                    let value = self.inner.load(order);
                    event(format!("reads {} from {}", value, self.name));
                    value
                }

                /// Writes it.
                pub fn store(&self, value: $Plain, order: Ordering) {
                    self.inner.store(value, order);
                    event(format!("writes {} to {}", value, self.name));
                }

                /// Writes it and returns what was there, in one step.
                pub fn swap(&self, value: $Plain, order: Ordering) -> $Plain {
                    let before = self.inner.swap(value, order);
                    event(format!("swaps {} for {} in {}", before, value, self.name));
                    before
                }

                /// Writes it if it is what is expected, in one step.
                ///
                /// # Errors
                /// What is there instead.
                pub fn compare_exchange(
                    &self,
                    current: $Plain,
                    new: $Plain,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$Plain, $Plain> {
                    let done = self.inner.compare_exchange(current, new, success, failure);
                    match done {
                        Ok(_) => event(format!("replaces {} by {} in {}", current, new, self.name)),
                        Err(found) => event(format!(
                            "expects {} in {} and finds {}",
                            current, self.name, found
                        )),
                    }
                    done
                }

                /// As `compare_exchange`: the model has no spurious failure.
                ///
                /// # Errors
                /// What is there instead.
                pub fn compare_exchange_weak(
                    &self,
                    current: $Plain,
                    new: $Plain,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$Plain, $Plain> {
                    self.compare_exchange(current, new, success, failure)
                }
            }

            impl Default for $Atomic {
                fn default() -> Self {
                    Self::new(<$Plain>::default())
                }
            }

            impl fmt::Debug for $Atomic {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{} {}", stringify!($Atomic), self.name)
                }
            }
        };
    }

    macro_rules! arithmetic {
        ($Atomic:ident, $Plain:ty) => {
            impl $Atomic {
                /// Adds and returns what was there, in one step.
                pub fn fetch_add(&self, value: $Plain, order: Ordering) -> $Plain {
                    let before = self.inner.fetch_add(value, order);
                    event(format!("adds {} to {} in {}", value, before, self.name));
                    before
                }

                /// Subtracts and returns what was there, in one step.
                pub fn fetch_sub(&self, value: $Plain, order: Ordering) -> $Plain {
                    let before = self.inner.fetch_sub(value, order);
                    event(format!("takes {} from {} in {}", value, before, self.name));
                    before
                }

                /// Replaces the value by what `f` makes of it, trying again while another thread is quicker.
                ///
                /// # Errors
                /// What is there when `f` has nothing to put in its place.
                pub fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    mut f: impl FnMut($Plain) -> Option<$Plain>,
                ) -> Result<$Plain, $Plain> {
                    let mut before = self.load(fetch);
                    while let Some(next) = f(before) {
                        match self.compare_exchange(before, next, set, fetch) {
                            Ok(_) => return Ok(before),
                            Err(found) => before = found,
                        }
                    }
                    Err(before)
                }
            }
        };
    }

    atomic!(
        /// As `std::sync::atomic::AtomicU64`.
        AtomicU64,
        u64
    );
    atomic!(
        /// As `std::sync::atomic::AtomicUsize`.
        AtomicUsize,
        usize
    );
    atomic!(
        /// As `std::sync::atomic::AtomicBool`.
        AtomicBool,
        bool
    );
    arithmetic!(AtomicU64, u64);
    arithmetic!(AtomicUsize, usize);
}
