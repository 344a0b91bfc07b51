use exercise_kit::chance;

/// Chooses a server for each request. Times are in service times.
pub struct Chooser {
    strikes: u32,
    out_for: f64,
    servers: Vec<Server>,
    read: Vec<usize>,
}

/// What is known of a server.
#[derive(Clone, Default)]
struct Server {
    /// Sent, and not heard of.
    in_flight: usize,
    /// Refusals in a row.
    refusals: u32,
    out_until: f64,
}

impl Chooser {
    /// A server that refuses `strikes` times in a row is out for `out_for`.
    pub fn new(servers: usize, strikes: u32, out_for: f64) -> Chooser {
        Chooser {
            strikes,
            out_for,
            servers: vec![Server::default(); servers],
            read: vec![0; servers],
        }
    }

    /// Called now and then, with what is in front of each server.
    pub fn counts(&mut self, read: &[usize]) {
        self.read = read.to_vec();
    }

    /// The server that gets the next request.
    pub fn choose(&mut self, now: f64) -> usize {
        let all = 0..self.servers.len();
        let mut may: Vec<usize> =
            all.clone().filter(|server| self.servers[*server].out_until <= now).collect();
        if may.is_empty() {
            may = all.collect();
        }
        // Of those that look equally good any will do.
        let least = may.iter().map(|server| self.read[*server]).min();
        may.retain(|server| Some(self.read[*server]) == least);
        let chosen = may[(chance() * may.len() as f64) as usize];
        self.servers[chosen].in_flight += 1;
        chosen
    }

    /// Called for each request: its server has answered, or refused.
    pub fn heard(&mut self, server: usize, answered: bool, now: f64) {
        let server = &mut self.servers[server];
        server.in_flight -= 1;
        server.refusals = if answered { 0 } else { server.refusals + 1 };
        if server.refusals >= self.strikes {
            server.out_until = now + self.out_for;
            // Back on probation.
            server.refusals = self.strikes - 1;
        }
    }
}
