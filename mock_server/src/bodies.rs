//! Requests without end.
//!
//! wiremock reads the body of every request into memory before it shows the request to anybody, and it accepts the
//! connections itself, so no limit can be put in its way. What grows is looked at from outside instead: now and
//! then the memory of this process, and only when that has grown, the books the kernel keeps of each connection.
//! One that has sent far more than it was answered for is cut off.
//!
//! Only Linux keeps such books. Elsewhere nothing is looked at, and a request without end takes all the memory
//! there is.

use std::convert::Infallible;
use std::net::SocketAddr;

/// Cuts off connections to `address` that send without end, for ever.
pub async fn bound(address: SocketAddr) -> Infallible {
    #[cfg(target_os = "linux")]
    if let Ok(watch) = linux::Watch::new(address) {
        return watch.run().await;
    }
    let _ = address;
    std::future::pending().await
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::fs;
    use std::io::{self, Read, Write};
    use std::net::SocketAddr;
    use std::os::fd::RawFd;
    use std::time::Duration;

    use nix::sys::socket::{Shutdown, shutdown};
    use nix::unistd::{SysconfVar, sysconf};
    use socket2::{Domain, Protocol, Socket, Type};

    /// How often the memory is looked at: reading one line of some 30 bytes, microseconds.
    const LOOK: Duration = Duration::from_millis(20);
    /// Growth that makes it worth asking about connections.
    const GROWTH: u64 = 64 << 20;
    /// Growth from which memory is short.
    const SHORT: u64 = 128 << 20;
    /// What a connection may send ahead of its answers.
    const AHEAD: u64 = 16 << 20;
    /// And when memory is short.
    const LEAST: u64 = 1 << 20;
    /// What each byte of an answer pays for. The shortest answers have some 150 bytes, so that requests of 1 MB may
    /// follow each other for ever. HTTP/2 grants its client new room all the time, in one byte for every 20,000,
    /// which pays for nothing.
    const PAID: u64 = 8192;

    pub struct Watch {
        address: SocketAddr,
        /// Memory at the start.
        first: u64,
        /// Memory when a look at the connections last found nothing.
        calm: u64,
        /// By the number of the socket: what it had received and sent, and what of the former was not paid for.
        seen: HashMap<u32, (Bytes, u64)>,
    }

    /// What has gone over a connection.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Bytes {
        received: u64,
        sent: u64,
    }

    impl Watch {
        pub fn new(address: SocketAddr) -> io::Result<Self> {
            let first = resident()?;
            Ok(Self { address, first, calm: first, seen: HashMap::new() })
        }

        pub async fn run(mut self) -> Infallible {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                // What cannot be read now may be readable next time.
                let _ = self.look();
            }
        }

        fn look(&mut self) -> io::Result<()> {
            let memory = resident()?;
            // Memory that was given back may be taken again.
            self.calm = self.calm.min(memory);
            if memory < self.calm + GROWTH {
                return Ok(());
            }
            let short = memory > self.first + SHORT;
            let most = if short { LEAST } else { AHEAD };
            let mut found = false;
            let mut seen = HashMap::new();
            for (socket, bytes) in connections(self.address)? {
                let before = self.seen.get(&socket).copied().unwrap_or_default();
                let ahead = ahead(before, bytes);
                found |= ahead > LEAST;
                if ahead > most {
                    cut(socket);
                }
                seen.insert(socket, (bytes, ahead));
            }
            self.seen = seen;
            if !found {
                self.calm = memory;
            }
            Ok(())
        }
    }

    /// What a connection has sent without being answered for it.
    fn ahead((before, ahead): (Bytes, u64), now: Bytes) -> u64 {
        let received = now.received.saturating_sub(before.received);
        let sent = now.sent.saturating_sub(before.sent);
        (ahead + received).saturating_sub(sent.saturating_mul(PAID))
    }

    /// The memory of this process, in bytes.
    fn resident() -> io::Result<u64> {
        let unknown = || io::Error::from(io::ErrorKind::InvalidData);
        let text = fs::read_to_string("/proc/self/statm")?;
        let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).ok_or_else(unknown)?;
        let page = sysconf(SysconfVar::PAGE_SIZE)?.ok_or_else(unknown)?;
        Ok(pages * page.cast_unsigned())
    }

    /// Ends the connection whose socket has this number; what still comes on it is answered with a reset.
    fn cut(socket: u32) {
        if let Some(fd) = descriptor(socket) {
            // It may have ended by itself meanwhile.
            let _ = shutdown(fd, Shutdown::Both);
        }
    }

    fn descriptor(socket: u32) -> Option<RawFd> {
        let name = format!("socket:[{socket}]");
        let all = fs::read_dir("/proc/self/fd").ok()?;
        let ours = all.flatten().find(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == name.as_str())
        })?;
        ours.file_name().to_str()?.parse().ok()
    }

    // The kernel's books are asked for over netlink: sock_diag(7), linux/inet_diag.h, linux/tcp.h.

    const NETLINK: i32 = 16;
    const SOCK_DIAG: i32 = 4;
    const BY_FAMILY: u16 = 20;
    /// A request for a whole table.
    const DUMP: u16 = 0x301;
    const TCP: u8 = 6;
    const INET: u8 = 2;
    const INET6: u8 = 10;
    /// The attribute that holds `tcp_info`.
    const INFO: u16 = 2;
    /// Established, and closed by the other side: states from which bodies are read.
    const STATES: u32 = 1 << 1 | 1 << 8;
    /// A message's head, and the fixed part of what it says of a socket.
    const HEAD: usize = 16;
    const FIXED: usize = 72;
    /// Where the socket's number is in the fixed part.
    const NUMBER: usize = 68;
    /// Where `tcpi_bytes_received` and `tcpi_bytes_sent` are.
    const RECEIVED: usize = 128;
    const SENT: usize = 200;

    /// The connections to the server and what has gone over each.
    fn connections(address: SocketAddr) -> io::Result<Vec<(u32, Bytes)>> {
        let protocol = Some(Protocol::from(SOCK_DIAG));
        let mut kernel = Socket::new(Domain::from(NETLINK), Type::DGRAM, protocol)?;
        // The kernel answers at once or never.
        kernel.set_read_timeout(Some(LOOK))?;
        kernel.write_all(&question(address))?;
        let mut all = Vec::new();
        let mut answer = vec![0; 64 << 10];
        loop {
            let n = kernel.read(&mut answer)?;
            if !messages(&answer[..n], &mut all) {
                return Ok(all);
            }
        }
    }

    /// A `nlmsghdr` and an `inet_diag_req_v2`: the TCP connections with the server's port.
    fn question(address: SocketAddr) -> Vec<u8> {
        let family = if address.is_ipv4() { INET } else { INET6 };
        let mut message = Vec::with_capacity(HEAD + 56);
        message.extend((HEAD as u32 + 56).to_ne_bytes());
        message.extend(BY_FAMILY.to_ne_bytes());
        message.extend(DUMP.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([family, TCP, 1 << (INFO - 1), 0]);
        message.extend(STATES.to_ne_bytes());
        message.extend(address.port().to_be_bytes());
        // Any port and addresses, any interface, any cookie.
        message.extend([0; 2 + 16 + 16 + 4]);
        message.extend([0xff; 8]);
        message
    }

    /// Reads what one answer says of connections; false when it was the last one.
    fn messages(mut answer: &[u8], all: &mut Vec<(u32, Bytes)>) -> bool {
        while let Some(length) = number(answer, 0) {
            let kind = part::<2>(answer, 4).map(u16::from_ne_bytes);
            let length = length as usize;
            if kind != Some(BY_FAMILY) || length < HEAD || length > answer.len() {
                return false;
            }
            all.extend(connection(&answer[HEAD..length]));
            answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        true
    }

    fn connection(message: &[u8]) -> Option<(u32, Bytes)> {
        let socket = number(message, NUMBER)?;
        let mut rest = message.get(FIXED..)?;
        loop {
            let length = usize::from(u16::from_ne_bytes(part(rest, 0)?));
            let value = rest.get(4..length)?;
            if u16::from_ne_bytes(part(rest, 2)?) == INFO {
                let received = u64::from_ne_bytes(part(value, RECEIVED)?);
                let sent = u64::from_ne_bytes(part(value, SENT)?);
                return Some((socket, Bytes { received, sent }));
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    fn number(bytes: &[u8], at: usize) -> Option<u32> {
        part(bytes, at).map(u32::from_ne_bytes)
    }

    fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..at + N)?.try_into().ok()
    }

    #[cfg(test)]
    mod tests {
        use std::net::{TcpListener, TcpStream};

        use super::*;

        /// A connection to a server, as both ends see it, and the server's address.
        fn connected(host: &str) -> (SocketAddr, TcpStream, TcpStream) {
            let listener = TcpListener::bind((host, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).unwrap();
            let server = listener.accept().unwrap().0;
            (address, client, server)
        }

        #[test]
        fn the_kernel_says_what_has_gone_over_a_connection() {
            for host in ["127.0.0.1", "::1"] {
                let (address, mut client, mut server) = connected(host);
                client.write_all(&[0; 1000]).unwrap();
                server.read_exact(&mut [0; 1000]).unwrap();
                server.write_all(&[0; 10]).unwrap();
                client.read_exact(&mut [0; 10]).unwrap();
                let bytes = Bytes { received: 1000, sent: 10 };
                let found = connections(address).unwrap();
                assert!(found.iter().any(|(_, b)| *b == bytes), "{host}: {found:?}");
            }
        }

        #[test]
        fn a_connection_that_is_cut_ends_for_its_client() {
            let (address, mut client, server) = connected("127.0.0.1");
            let found = connections(address).unwrap();
            // Both ends are of this process, but only one has the server's port.
            assert_eq!(found.len(), 1, "{found:?}");
            cut(found[0].0);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop(server);
        }

        #[test]
        fn answers_pay_for_what_was_sent_and_nothing_else_does() {
            let at = |received, sent| Bytes { received, sent };
            let mut state = (Bytes::default(), 0);
            let mut step = |now| {
                state = (now, ahead(state, now));
                state.1
            };
            // A thousand requests of 1 MB, each with an answer of 150 bytes.
            for i in 1..=1000 {
                assert_eq!(step(at(i * 1_000_000, i * 150)), 0);
            }
            let (received, sent) = (1_000_000_000, 150_000);
            // Then one without end, for which HTTP/2 would grant room.
            assert!(step(at(received + AHEAD / 2, sent + 400)) < AHEAD);
            assert!(step(at(received + 2 * AHEAD, sent + 1600)) > AHEAD);
        }

        #[test]
        fn what_is_no_answer_of_the_kernel_is_left() {
            let mut all = Vec::new();
            for length in 0..100u32 {
                let mut bytes = vec![0xff; 64];
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
                bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
                messages(&bytes, &mut all);
            }
            assert!(all.is_empty());
        }
    }
}
