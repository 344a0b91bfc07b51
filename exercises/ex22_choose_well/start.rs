/// Chooses a server for each request. Times are in service times.
pub struct Chooser {
    /// What was in front of each server when the counts were last read.
    read: Vec<usize>,
}

impl Chooser {
    /// A server that refuses `strikes` times in a row is out for `out_for`.
    pub fn new(servers: usize, strikes: u32, out_for: f64) -> Chooser {
        let _ = (strikes, out_for);
        Chooser { read: vec![0; servers] }
    }

    /// Called now and then, with what is in front of each server.
    pub fn counts(&mut self, read: &[usize]) {
        self.read = read.to_vec();
    }

    /// The server that gets the next request.
    pub fn choose(&mut self, now: f64) -> usize {
        let _ = now;
        let all = self.read.iter().enumerate();
        all.min_by_key(|(_, count)| **count).map_or(0, |(server, _)| server)
    }

    /// Called for each request: its server has answered, or refused.
    pub fn heard(&mut self, server: usize, answered: bool, now: f64) {
        let _ = (server, answered, now);
    }
}
