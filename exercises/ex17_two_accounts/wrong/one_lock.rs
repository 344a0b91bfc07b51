use exercise_kit::sync::Mutex;

/// Accounts with money in them. Many threads use them at the same time.
pub struct Bank {
    accounts: Mutex<Vec<i64>>,
}

impl Bank {
    pub fn new(balances: &[i64]) -> Bank {
        Bank { accounts: Mutex::new(balances.to_vec()) }
    }

    /// Moves money from one account to another. False, and nothing moves, when there is not enough.
    pub fn transfer(&self, from: usize, to: usize, amount: i64) -> bool {
        let mut accounts = self.accounts.lock().unwrap();
        if accounts[from] < amount {
            return false;
        }
        accounts[from] -= amount;
        accounts[to] += amount;
        true
    }

    /// What is in each account, all at the same moment: together never more or less than there is.
    pub fn balances(&self) -> Vec<i64> {
        self.accounts.lock().unwrap().clone()
    }
}
