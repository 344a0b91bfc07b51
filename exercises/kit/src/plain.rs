//! Locks and atomics: the standard library's. A lock tells the harness when somebody gets at what is behind it.

pub use std::sync::{Arc, LockResult, PoisonError, atomic};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use crate::harness::reached;

/// As `std::sync::Mutex`.
#[derive(Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

/// As `std::sync::MutexGuard`.
pub struct MutexGuard<'a, T>(std::sync::MutexGuard<'a, T>);

/// A guard of ours for one of the standard library.
fn guarded<T>(taken: LockResult<std::sync::MutexGuard<'_, T>>) -> LockResult<MutexGuard<'_, T>> {
    taken.map(MutexGuard).map_err(|poison| PoisonError::new(MutexGuard(poison.into_inner())))
}

impl<T> Mutex<T> {
    /// A lock around a value.
    pub fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock and takes it.
    ///
    /// # Errors
    /// When a thread panicked while it held it.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        guarded(self.0.lock())
    }

    /// The value, without its lock.
    ///
    /// # Errors
    /// When a thread panicked while it held the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.0.into_inner()
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        reached();
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        reached();
        &mut self.0
    }
}

/// As `std::sync::Condvar`.
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the lock back, waits to be woken, and takes the lock again.
    ///
    /// # Errors
    /// When a thread panicked while it held the lock.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        guarded(self.0.wait(guard.0))
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
