//! A relay before the service, which counts connections: the service itself is told of requests only.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    sync::oneshot,
    time::sleep,
};

/// Connections that wait to be accepted: a burst of the most that is asked for must not lose any.
const BACKLOG: u32 = 4096;

/// Connections that a program has opened.
#[derive(Debug, Default)]
pub struct Connections {
    opened: AtomicU64,
    open: AtomicU64,
    most: AtomicU64,
}

impl Connections {
    /// In all.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// At the same time, at most.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    fn enter(&self) {
        self.opened.fetch_add(1, Relaxed);
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(open, Relaxed);
    }

    fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A relay on a thread of its own. It ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    connections: Arc<Connections>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Relays what comes to a free port of this machine.
    ///
    /// # Errors
    /// When no listener, runtime or thread can be had.
    pub fn to(service: SocketAddr) -> io::Result<Relay> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            socket.listen(BACKLOG)?
        };
        let address = listener.local_addr()?;
        let connections = Arc::<Connections>::default();
        let (stop, stopped) = oneshot::channel();
        let counted = connections.clone();
        let accept = async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        let counted = counted.clone();
                        counted.enter();
                        tokio::spawn(async move {
                            // A connection that breaks off is the program's affair.
                            let _ = pass(client, service).await;
                            counted.leave();
                        });
                    }
                    // No descriptor left, for instance: some will be given back.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let thread = thread::Builder::new().name("relay".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Relay { address, connections, stop: Some(stop), thread: Some(thread) })
    }

    /// Its address, as programs are told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Both directions, until either side has had enough: a client that leaves must be seen to leave at once.
async fn pass(mut client: TcpStream, service: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(service).await?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
