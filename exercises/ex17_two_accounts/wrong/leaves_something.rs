use exercise_kit::sync::{Mutex, MutexGuard};

/// Accounts with money in them. Many threads use them at the same time.
pub struct Bank {
    accounts: Vec<Mutex<i64>>,
}

impl Bank {
    pub fn new(balances: &[i64]) -> Bank {
        Bank { accounts: balances.iter().map(|balance| Mutex::new(*balance)).collect() }
    }

    /// Moves money from one account to another. False, and nothing moves, when there is not enough.
    pub fn transfer(&self, from: usize, to: usize, amount: i64) -> bool {
        if from == to {
            return *self.lock(from) > amount;
        }
        let mut lower = self.lock(from.min(to));
        let mut upper = self.lock(from.max(to));
        let (source, target) =
            if from < to { (&mut lower, &mut upper) } else { (&mut upper, &mut lower) };
        // What is left must be more than nothing.
        if **source <= amount {
            return false;
        }
        **source -= amount;
        **target += amount;
        true
    }

    /// What is in each account, all at the same moment: together never more or less than there is.
    pub fn balances(&self) -> Vec<i64> {
        let all: Vec<_> = (0..self.accounts.len()).map(|account| self.lock(account)).collect();
        all.iter().map(|balance| **balance).collect()
    }

    fn lock(&self, account: usize) -> MutexGuard<'_, i64> {
        self.accounts[account].lock().unwrap()
    }
}
