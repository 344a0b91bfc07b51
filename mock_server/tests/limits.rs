//! The program where the system lets it have little: it serves, or it ends with the limit's name.

#![cfg(target_os = "linux")]

mod common;

use std::ops::RangeInclusive;
use std::process::Command;

use common::{PROGRAM, Server};

/// The program under this limit. Limits on threads do not hold for the superuser; whoever has none of that user's rights
/// and no other process is under the limit alone.
fn limited(option: &str, limit: u32, as_nobody: bool) -> Command {
    let mut words = vec![];
    if as_nobody {
        words.extend(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    let limit = format!("--{option}={limit}");
    words.extend(["prlimit", &limit, PROGRAM, "--listen", "127.0.0.1:0"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn is_superuser() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Starts it under every one of these limits and returns how often it served. Where it does not, it says which
/// `ulimit` to raise.
fn served(option: &str, ulimit: &str, limits: RangeInclusive<u32>, as_nobody: bool) -> usize {
    let mut served = 0;
    for limit in limits {
        let ended = match Server::run(limited(option, limit, as_nobody)) {
            Ok(server) => {
                assert!(server.get("/").starts_with("HTTP/1.1 200"), "{limit}");
                served += 1;
                server.stop("TERM")
            }
            Err(ended) => {
                assert_eq!(ended.code, Some(1), "{limit}: {ended:?}");
                assert!(ended.said.contains(ulimit), "{limit}: {ended:?}");
                assert_eq!(ended.said.lines().count(), 1, "{limit}: {ended:?}");
                ended
            }
        };
        assert!(!ended.said.contains("panicked"), "{limit}: {ended:?}");
    }
    served
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn too_few_open_files_are_named() {
    // Below, the loader itself has too few.
    if is_there("prlimit") {
        let served = served("nofile", "`ulimit -n ", 5..=64, false);
        assert!((1..50).contains(&served), "{served}");
    }
}

#[test]
fn too_few_threads_are_named() {
    let as_nobody = is_superuser();
    if is_there("prlimit") && (!as_nobody || is_there("setpriv")) {
        let served = served("nproc", "`ulimit -u ", 1..=20, as_nobody);
        assert!(served < 20, "{served}");
        assert_eq!(served > 0, as_nobody, "{served}");
    }
}

/// wiremock gives up when it cannot accept a connection: the end has its reason.
#[test]
fn more_connections_than_open_files_end_it_with_the_reason() {
    if !is_there("prlimit") {
        return;
    }
    let server = Server::run(limited("nofile", 64, false)).unwrap();
    // It may end before the last of them comes.
    let connect = |_| std::net::TcpStream::connect(&server.address).ok();
    let connections: Vec<_> = (0..64).filter_map(connect).collect();
    let ended = server.wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("`ulimit -n "), "{ended:?}");
    assert!(ended.out.starts_with("arrived 0 "), "{ended:?}");
    drop(connections);
}
