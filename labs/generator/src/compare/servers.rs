//! Servers under load, each one process with one thread: a bare hyper server, and nginx.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lab_kit::{cli::Ended, os, stop::Stop};
use tokio::{net::TcpSocket, sync::oneshot};

/// What both answer with: 1 KB.
pub(super) const BODY: &[u8] = &[b'x'; 1024];

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ServerKind {
    /// hyper's connection API and nothing else.
    Hyper,
    /// nginx with one worker and a file of 1 KB.
    Nginx,
    /// nginx with the page in its configuration: no file is opened and closed for every request, so
    /// that it answers nearly twice as many.
    NginxMemory,
}

impl ServerKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            ServerKind::Hyper => "hyper",
            ServerKind::Nginx => "nginx",
            ServerKind::NginxMemory => "nginx, no file",
        }
    }
}

/// A server that stands still once, so long after its first request, for so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freeze {
    pub(super) after: Duration,
    pub(super) length: Duration,
}

/// A server in a process of its own, which ends with this.
pub(super) struct Server {
    process: Ended,
    pub(super) url: String,
    /// Configuration and logs of nginx.
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    pub(super) fn start(kind: ServerKind, freeze: Option<Freeze>, stop: &Stop) -> Result<Server> {
        match kind {
            ServerKind::Hyper => hyper_server(freeze).context("the bare server does not start"),
            _ => nginx_server(kind, stop).context("nginx does not start"),
        }
    }

    /// Processor seconds that it has used. Linux only.
    pub(super) fn cpu_s(&self) -> Option<f64> {
        os::cpu_seconds_of(self.process.0.id())
    }
}

fn hyper_server(freeze: Option<Freeze>) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench-generator", "--serve"]);
    if let Some(freeze) = freeze {
        let ms = |d: Duration| format!("{}ms", d.as_millis());
        command.args(["--freeze-after", &ms(freeze.after)]);
        command.args(["--freeze-for", &ms(freeze.length)]);
    }
    let mut process = Ended(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let stdout = process.0.stdout.take().context("it has no output")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let address: SocketAddr = address.trim().parse().context("it gave no address")?;
    Ok(Server { process, url: format!("http://{address}/"), _folder: None })
}

/// The bare server, in this process, until standard input ends: when its parent goes, however it goes,
/// it goes too.
pub(super) fn serve(freeze: Option<Freeze>) -> Result<()> {
    let (parent_gone, mut gone) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(parent_gone);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // The usual backlog of 128 drops connections that come all at once.
        let listener = socket.listen(4096)?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = &mut gone => return Ok(()),
            };
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let answer = service_fn(|_| async move {
                    if let Some(freeze) = freeze {
                        freeze_once(freeze);
                    }
                    let body = Full::new(Bytes::from_static(BODY));
                    Ok::<_, Infallible>(Response::new(body))
                });
                // A client that leaves in the middle of a request ends its own connection only.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

/// The first request of all sets the time at which the server's one thread sleeps.
fn freeze_once(freeze: Freeze) {
    static SET: AtomicBool = AtomicBool::new(false);
    if !SET.swap(true, Ordering::Relaxed) {
        tokio::spawn(async move {
            tokio::time::sleep(freeze.after).await;
            std::thread::sleep(freeze.length);
        });
    }
}

/// Where nginx is: system folders for administrators are often not in a user's path.
pub(super) fn nginx() -> Option<PathBuf> {
    let others = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    super::tools::installed("nginx", &others)
}

fn nginx_server(kind: ServerKind, stop: &Stop) -> Result<Server> {
    let program = nginx().context("it is not installed")?;
    let folder = lab_kit::scratch::folder()?;
    let prefix = folder.path().to_str().context("the temporary folder's name is not text")?;
    ensure!(
        !prefix.contains(['"', '$', ';', '\n']),
        "the temporary folder's name, {prefix}, does not fit its configuration"
    );
    // Free a moment ago: somebody else may take it first, and then nginx says so.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    fs::write(folder.path().join("page"), BODY)?;
    let file = folder.path().join("nginx.conf");
    fs::write(&file, nginx_configuration(kind, &prefix.replace('\\', "/"), address))?;
    let errors = folder.path().join("stderr");
    let process = Command::new(program)
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&errors)?)
        .spawn()?;
    let mut process = Ended(process);
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        let why = || {
            let told = |name| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            format!("{}{}", told("stderr"), told("error.log"))
        };
        if let Some(status) = process.0.try_wait()? {
            bail!("it ended with {status}:\n{}", why());
        }
        ensure!(!stop.is_set(), "stopped");
        ensure!(start.elapsed() < START, "it does not listen:\n{}", why());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Server { process, url: format!("http://{address}/page"), _folder: Some(folder) })
}

/// One process, one thread, nothing outside its folder, no rights of an administrator.
fn nginx_configuration(kind: ServerKind, prefix: &str, address: SocketAddr) -> String {
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path \"{prefix}/{name}\";\n"))
        .collect();
    let page = match kind {
        ServerKind::NginxMemory => format!("return 200 \"{}\";", "x".repeat(BODY.len())),
        _ => format!("root \"{prefix}\";"),
    };
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\n\
         pid \"{prefix}/nginx.pid\";\nerror_log \"{prefix}/error.log\";\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log off;\n    default_type text/plain;\n    keepalive_requests 1000000000;\n\
         {folders}    server {{\n        listen {address} backlog=4096;\n        \
         location / {{ {page} }}\n    }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_stays_in_its_folder() {
        let text = |kind| nginx_configuration(kind, "/tmp/x y", ([127, 0, 0, 1], 80).into());
        let (file, memory) = (text(ServerKind::Nginx), text(ServerKind::NginxMemory));
        assert_eq!(memory.matches("\"/tmp/x y").count(), 7);
        assert_eq!(file.matches("\"/tmp/x y").count(), 8);
        assert!(memory.contains(&"x".repeat(1024)) && !file.contains("xxx"));
        for text in [file, memory] {
            assert!(text.contains("listen 127.0.0.1:80 "));
            assert_eq!(text.matches('{').count(), text.matches('}').count());
        }
    }
}
