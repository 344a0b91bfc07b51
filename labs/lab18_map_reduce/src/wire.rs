//! The wire between two processes: a TCP connection that counts what goes over it, and that can be
//! made as slow as a network.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use timely::communication::allocator::zero_copy::{
    bytes_slab::{BytesRefill, BytesSlab},
    stream::Stream,
};

/// How much is written at a time to a wire that has a bandwidth.
pub(super) const PART: usize = 1 << 16;

/// How late a sleep may end.
pub(super) const LATE: Duration = Duration::from_millis(5);

/// What a process has sent over all its wires.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    writing_ns: AtomicU64,
    /// Bytes a second that all wires of the process have together; none: as many as they can.
    bandwidth: Option<f64>,
    /// When the last byte will have left.
    free: Mutex<Option<Instant>>,
}

impl Meter {
    /// A meter for wires of this bandwidth together.
    pub fn new(bandwidth: Option<f64>) -> Arc<Meter> {
        Arc::new(Meter { bandwidth, ..Meter::default() })
    }

    /// Bytes sent so far, and seconds spent in sending them.
    pub fn read(&self) -> (u64, f64) {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (get(&self.bytes), get(&self.writing_ns) as f64 / 1e9)
    }

    /// Waits until so many bytes have left at the bandwidth.
    fn wait(&self, bytes: usize) {
        let Some(bandwidth) = self.bandwidth else {
            return;
        };
        let now = Instant::now();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // A sleep ends a little late: what it lost is made up for, but not an idle time.
        let idle = now.checked_sub(LATE).unwrap_or(now);
        let from = free.map_or(now, |free| if free < idle { now } else { free });
        let until = from + Duration::from_secs_f64(bytes as f64 / bandwidth);
        *free = Some(until);
        drop(free);
        std::thread::sleep(until.saturating_duration_since(now));
    }
}

/// One end of a connection.
pub struct Wire {
    socket: TcpStream,
    meter: Arc<Meter>,
}

impl Wire {
    /// A wire that writes into this meter.
    ///
    /// # Errors
    /// When the socket does not let itself be told to send at once.
    pub fn new(socket: TcpStream, meter: Arc<Meter>) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        Ok(Wire { socket, meter })
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let start = Instant::now();
        let part = match self.meter.bandwidth {
            Some(_) => &bytes[..bytes.len().min(PART)],
            None => bytes,
        };
        // Counted before it goes: the other side may have it, and the job be done, before this thread goes
        // on.
        let bytes = &self.meter.bytes;
        bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        let written = self.socket.write(part);
        let left = part.len() - *written.as_ref().unwrap_or(&0);
        bytes.fetch_sub(left as u64, Ordering::Relaxed);
        let written = written?;
        self.meter.wait(written);
        let took = start.elapsed().as_nanos() as u64;
        self.meter.writing_ns.fetch_add(took, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.read(bytes)
    }
}

impl Stream for Wire {
    fn try_clone(&self) -> io::Result<Wire> {
        Ok(Wire { socket: self.socket.try_clone()?, meter: self.meter.clone() })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
}

/// Calibration: seconds a byte takes through the loopback interface, from one thread to another.
///
/// # Errors
/// When there is no loopback interface.
pub fn loopback(bytes: usize) -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut to = Wire::new(TcpStream::connect(listener.local_addr()?)?, Meter::new(None))?;
    let (mut from, _) = listener.accept()?;
    let parts = bytes.div_ceil(PART).max(1);
    std::thread::scope(|scope| {
        let start = Instant::now();
        let receive = scope.spawn(move || {
            let (mut all, mut part) = (0, vec![0; 1 << 20]);
            while all < parts * PART {
                all += match from.read(&mut part)? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    n => n,
                };
            }
            Ok(Instant::now())
        });
        let part = vec![7; PART];
        (0..parts).try_for_each(|_| to.write_all(&part))?;
        let end = match receive.join() {
            Ok(end) => end?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((end - start).as_secs_f64() / (parts * PART) as f64)
    })
}

/// What a message has besides its text, about.
const HEAD: usize = 128;

/// Calibration: seconds a byte of a long text takes from the memory of one thread to that of another, the
/// way a dataflow moves it: copied into a slab, sent, received into another slab. The slabs have grown with
/// an earlier message of the same length, as they have in a dataflow that has done a job; what they need
/// for this one is new memory all the same, and a message that does not fit into what is left moves once
/// more.
///
/// # Errors
/// When there is no loopback interface.
pub fn message(bytes: usize) -> io::Result<f64> {
    let length = bytes + HEAD;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut to = Wire::new(TcpStream::connect(listener.local_addr()?)?, Meter::new(None))?;
    let (mut from, _) = listener.accept()?;
    let (done, ends) = mpsc::channel();
    let receive = std::thread::spawn(move || {
        let mut slab = slab();
        for _ in 0..2 {
            while slab.valid().len() < length {
                slab.ensure_capacity(1);
                match from.read(slab.empty())? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    n => slab.make_valid(n),
                }
            }
            drop(slab.extract(length));
            let _ = done.send(Instant::now());
        }
        Ok(())
    });
    let (text, mut slab) = (vec![7; length], slab());
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        slab.ensure_capacity(length);
        slab.empty()[..length].copy_from_slice(&text);
        slab.make_valid(length);
        to.write_all(&slab.extract(length))?;
        match ends.recv() {
            Ok(end) => took = end - start,
            // It has ended with an error, which is told below.
            Err(_) => break,
        }
    }
    match receive.join() {
        Ok(ended) => ended.map(|()| took.as_secs_f64() / length as f64),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// As a dataflow's own.
fn slab() -> BytesSlab {
    let refill = BytesRefill { logic: Arc::new(|size| Box::new(vec![0; size])), limit: None };
    BytesSlab::new(20, refill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_arrives() {
        for bytes in [1, 1 << 20, (1 << 20) + 1, 5_000_000] {
            assert!(message(bytes).unwrap() > 0.0);
        }
    }

    #[test]
    fn every_byte_is_counted_and_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for bandwidth in [None, Some(1e9)] {
            let meter = Meter::new(bandwidth);
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut wire = Wire::new(socket, meter.clone()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            let sent: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
            let receive = std::thread::spawn(move || {
                let mut all = Vec::new();
                far.read_to_end(&mut all).map(|_| all)
            });
            let mut clone = wire.try_clone().unwrap();
            wire.write_all(&sent[..60_000]).unwrap();
            clone.write_all(&sent[60_000..]).unwrap();
            clone.shutdown(Shutdown::Write).unwrap();
            assert_eq!(receive.join().unwrap().unwrap(), sent);
            assert_eq!(meter.read().0, 100_000);
        }
    }
}
