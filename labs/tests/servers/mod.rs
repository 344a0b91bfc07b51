//! Real servers for tests: on free ports of one address, in temporary folders, ended by their handles.
//! Where a server is not installed its tests say so and are left out.
#![allow(dead_code, reason = "each test uses its share")]

use std::{
    env, fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub mod made_up;

use lab_crawl::address::ServerUrl;
use tempfile::TempDir;

/// Nothing here takes that long; it keeps a hang from lasting for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Both servers want to be asked for it.
pub const PASSWORD: &str = "hunter2 %&";
const ENCODED: &str = "hunter2%20%25%26";

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Says why a test is left out. Past the capture of output, so that it shows although the test passes.
pub fn skip(why: &str) {
    let name = thread::current().name().unwrap_or("a test").to_string();
    let _ = writeln!(io::stderr(), "{name} is skipped: {why}");
}

/// Waits until there is something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program, where Debian or anybody else puts it.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let mut programs = folders.into_iter().map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

fn free_port(address: IpAddr) -> u16 {
    // In a namespace of its own every port is free.
    let found = TcpListener::bind((address, 0)).or_else(|_| TcpListener::bind((HERE, 0)));
    found.unwrap().local_addr().unwrap().port()
}

/// In another network namespace, or here.
#[derive(Clone, Debug, Default)]
pub struct Place(pub Option<String>);

impl Place {
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match &self.0 {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
    }
}

/// A child that does not outlive its test.
pub struct Ended(pub Child);

impl Ended {
    /// SIGKILL: nothing in it can prepare for this.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.kill();
    }
}

fn quiet(command: &mut Command, log: &Path) -> Ended {
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    let command = command.stdin(Stdio::null());
    let command = command.stdout(log.try_clone().unwrap()).stderr(log);
    Ended(command.spawn().unwrap())
}

/// A Redis that keeps its data, unless told otherwise.
pub struct RedisServer {
    place: Place,
    address: SocketAddr,
    folder: TempDir,
    lines: Vec<String>,
    child: Ended,
}

impl RedisServer {
    pub fn start() -> Option<RedisServer> {
        RedisServer::start_with(Place::default(), HERE, &["appendonly yes"])
    }

    /// With these lines in its configuration, where `PORT` is its port.
    pub fn start_with(place: Place, address: IpAddr, lines: &[&str]) -> Option<RedisServer> {
        let Some(program) = find("redis-server") else {
            skip("redis-server is not installed");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let address = SocketAddr::new(address, free_port(address));
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        let child = RedisServer::run(&program, &place, address, &folder, &lines);
        Some(RedisServer { place, address, folder, lines, child })
    }

    fn run(
        program: &Path,
        place: &Place,
        address: SocketAddr,
        folder: &TempDir,
        lines: &[String],
    ) -> Ended {
        let file = folder.path().join("redis.conf");
        let (ip, port) = (address.ip(), address.port());
        let mut text = format!("bind {ip}\nport {port}\nrequirepass \"{PASSWORD}\"\nsave \"\"\n");
        let lines = lines.join("\n").replace("PORT", &port.to_string());
        text += &format!("dir \"{}\"\n{lines}\n", folder.path().display());
        fs::write(&file, text).unwrap();
        let mut command = place.command(program);
        let child = quiet(command.arg(&file), &folder.path().join("log"));
        if place.0.is_none() {
            wait_for("Redis listens", || TcpStream::connect(address).ok());
        }
        child
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// With the password, and these parameters.
    pub fn url(&self, parameters: &str) -> ServerUrl {
        format!("redis://:{ENCODED}@{}/0?{parameters}", self.address).as_str().into()
    }

    pub fn kill(&mut self) {
        self.child.kill();
    }

    pub fn restart(&mut self) {
        self.kill();
        let program = find("redis-server").unwrap();
        let (place, folder) = (self.place.clone(), &self.folder);
        self.child = RedisServer::run(&program, &place, self.address, folder, &self.lines);
    }
}

/// A PostgreSQL.
pub struct PostgresServer {
    place: Place,
    address: SocketAddr,
    folder: TempDir,
    settings: Vec<String>,
    child: Ended,
}

impl PostgresServer {
    pub fn start() -> Option<PostgresServer> {
        PostgresServer::start_with(Place::default(), HERE, &[], |_| ())
    }

    /// With these settings, and what `prepare` puts into the folder of its data.
    pub fn start_with(
        place: Place,
        address: IpAddr,
        settings: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Option<PostgresServer> {
        let (Some(initdb), Some(_)) = (find("initdb"), find("postgres")) else {
            skip("postgres is not installed");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for path in [folder.path(), &secret, &data] {
            hand_over(path);
        }
        let mut command = Command::new(initdb);
        command.args(["--username=labs", "--auth=scram-sha-256", "--no-sync", "--locale=C"]);
        command.arg("--encoding=UTF8").arg("--pwfile").arg(&secret).arg("-D").arg(&data);
        let made = as_nobody(&mut command).current_dir(&folder).output().unwrap();
        if !made.status.success() {
            skip(&format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        let from_anywhere = "host all all 0.0.0.0/0 scram-sha-256\n";
        let mut rules = fs::File::options().append(true).open(data.join("pg_hba.conf")).unwrap();
        rules.write_all(from_anywhere.as_bytes()).unwrap();
        prepare(&data);
        let address = SocketAddr::new(address, free_port(address));
        let settings: Vec<String> = settings.iter().map(|line| line.to_string()).collect();
        let child = PostgresServer::run(&place, address, &folder, &settings);
        Some(PostgresServer { place, address, folder, settings, child })
    }

    fn run(place: &Place, address: SocketAddr, folder: &TempDir, settings: &[String]) -> Ended {
        let program = find("postgres").unwrap();
        let mut command = match &place.0 {
            None => Command::new(program),
            // Into the namespace first, which takes root, and then to another user.
            Some(_) => {
                let mut command = place.command("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
                command
            }
        };
        command.arg("-D").arg(folder.path().join("data"));
        let (ip, port) = (address.ip(), address.port());
        for setting in [
            format!("listen_addresses={ip}"),
            format!("port={port}"),
            "unix_socket_directories=".to_string(),
            "fsync=off".to_string(),
        ]
        .iter()
        .chain(settings)
        {
            command.arg("-c").arg(setting);
        }
        if place.0.is_none() {
            as_nobody(&mut command);
        }
        let child = quiet(command.current_dir(folder), &folder.path().join("log"));
        if place.0.is_none() {
            wait_for("PostgreSQL listens", || TcpStream::connect(address).ok());
        }
        child
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// With the password, and these parameters.
    pub fn url(&self, parameters: &str) -> ServerUrl {
        let address = self.address;
        format!("postgres://labs:{ENCODED}@{address}/postgres?{parameters}").as_str().into()
    }

    /// Ends it as an operator does who is in a hurry.
    pub fn stop(&mut self) {
        let pid = self.child.0.id().to_string();
        let asked = Command::new("kill").args(["-s", "QUIT", &pid]).status();
        if asked.is_ok_and(|status| status.success()) {
            let start = Instant::now();
            while matches!(self.child.0.try_wait(), Ok(None)) && start.elapsed() < PATIENCE / 10 {
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.child.kill();
    }

    pub fn restart(&mut self) {
        self.stop();
        self.child = PostgresServer::run(&self.place, self.address, &self.folder, &self.settings);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Killed outright it would leave its helpers and its shared memory for a while.
        self.stop();
    }
}

/// PostgreSQL refuses to run as root, and tests often do.
#[cfg(unix)]
const NOBODY: u32 = 65534;

#[cfg(unix)]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // What we make is ours.
    TempDir::new().unwrap().path().metadata().unwrap().uid() == 0
}

#[cfg(unix)]
pub fn hand_over(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[cfg(unix)]
fn as_nobody(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

#[cfg(not(unix))]
pub fn is_root() -> bool {
    false
}

#[cfg(not(unix))]
pub fn hand_over(_: &Path) {}

#[cfg(not(unix))]
fn as_nobody(command: &mut Command) -> &mut Command {
    command
}
