//! Several processes that do jobs together: this program, started again. They are connected by TCP,
//! each with each, and are fail-stop: when one of them ends, so do all, and the job is to be run again.
//!
//! The lab starts its processes itself and speaks with them over their standard streams:
//!
//! | from the process | from the lab |
//! |---|---|
//! | `listening ADDRESS` | |
//! | | the addresses of all, on one line |
//! | `ready` | |
//! | | a job, as JSON on one line |
//! | `begun` | |
//! | `done` | |
//! | `report`, and what it did as JSON | |
//! | | another job, or `end` |
//!
//! On several hosts nobody starts them but you: each gets the same file of addresses and a number, and
//! does one job.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    process::{ChildStdin, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use anyhow::{Context, bail, ensure};
use lab_kit::{cli, prelude::*};
use timely::{
    WorkerConfig,
    communication::{
        self, AllocatorBuilder, Hooks,
        allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
    },
    execute::execute_from,
    worker::Worker,
};

use super::{
    MapReduce, Params,
    count::Digest,
    dataflow::{self, Done, Job},
    wire::{Meter, Wire},
};
use lab_kit::seats::sit_in_turn;

/// How long processes wait for each other at the start, and how long the lab waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(20);
/// What a process says first, so that a stranger on its port is noticed.
const GREETING: &[u8; 8] = b"lab18 1\n";

/// What one process did in a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its workers.
    pub workers: Vec<Done>,
    /// Bytes it sent to other processes.
    pub sent: u64,
    /// Seconds that its threads were busy sending, or waited for a slow wire.
    pub sending_s: f64,
}

/// Processes that the lab has started.
pub struct Group {
    members: Vec<Member>,
    /// From the first start to the last `ready`.
    pub start: Duration,
    /// The part of it after the last one listened.
    pub connect: Duration,
}

/// A process, which does not outlive its handle.
struct Member {
    child: cli::Ended,
    orders: ChildStdin,
    /// What it says, line by line; closed when it has ended.
    lines: mpsc::Receiver<String>,
}

impl Member {
    fn start(i: usize, of: &Shape) -> Result<Member> {
        let mut command = cli::again(&MapReduce::CARD)?;
        command.args(["--process", &i.to_string(), "--led"]);
        command.args(["--threads", &of.threads.to_string()]);
        if let Some(bandwidth) = of.bandwidth {
            command.args(["--wire", &bandwidth.to_string()]);
        }
        // Ctrl-C is for the lab, which then lets them end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let errors = if of.quiet { Stdio::null() } else { Stdio::inherit() };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = cli::Ended(child.context("cannot start this program again")?);
        let orders = child.0.stdin.take().context("no standard input")?;
        let output = child.0.stdout.take().context("no standard output")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map_while(|line| send.send(line).ok()).for_each(drop);
        });
        Ok(Member { child, orders, lines })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.orders, "{line}").context("a process has ended: see above")
    }

    /// What follows this word on the next line.
    fn hear(&mut self, word: &str) -> Result<String> {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.context("a process has ended, or does not answer: see above")?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_string()),
            None => bail!("a process said {line:?} instead of {word:?}"),
        }
    }

    /// Waits for its end.
    fn ended(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.0.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_micros(200));
        }
        bail!("a process did not end within {} s", PATIENCE.as_secs())
    }
}

/// How many processes, and of what kind.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Processes.
    pub processes: usize,
    /// Workers in each of them.
    pub threads: usize,
    /// Bytes a second that a process can send; none: as fast as the loopback interface.
    pub bandwidth: Option<f64>,
    /// Do not show what they complain about: it is known that one of them will be killed.
    pub quiet: bool,
}

impl Shape {
    /// So many processes with so many workers each, on a wire as fast as it can be.
    pub fn of(processes: usize, threads: usize) -> Shape {
        Shape { processes, threads, bandwidth: None, quiet: false }
    }
}

impl Group {
    /// Starts processes and waits until they are connected.
    ///
    /// # Errors
    /// When one cannot be started or does not find the others.
    pub fn start(shape: Shape) -> Result<Group> {
        let start = Instant::now();
        let members = (0..shape.processes).map(|i| Member::start(i, &shape));
        let mut members: Vec<Member> = members.collect::<Result<_>>()?;
        let addresses = members.iter_mut().map(|m| m.hear("listening"));
        let addresses = addresses.collect::<Result<Vec<_>>>()?.join(" ");
        let listened = Instant::now();
        for member in &mut members {
            member.say(&addresses)?;
        }
        for member in &mut members {
            member.hear("ready")?;
        }
        Ok(Group { members, start: start.elapsed(), connect: listened.elapsed() })
    }

    /// Gives everybody the job.
    ///
    /// # Errors
    /// When one of them has ended.
    pub fn order(&mut self, job: &Job) -> Result<()> {
        let job = serde_json::to_string(job)?;
        for member in &mut self.members {
            member.say(&job)?;
        }
        for member in &mut self.members {
            member.hear("begun")?;
        }
        Ok(())
    }

    /// Does a job: from the order until all have said that it is done.
    ///
    /// # Errors
    /// When one of them ends meanwhile.
    pub fn run(&mut self, job: &Job) -> Result<(Duration, Vec<Report>)> {
        let start = Instant::now();
        self.order(job)?;
        for member in &mut self.members {
            member.hear("done")?;
        }
        let took = start.elapsed();
        let answers = self.members.iter_mut().map(|m| m.hear("report"));
        let answers: Vec<String> = answers.collect::<Result<_>>()?;
        let reports = answers.iter().map(|a| Ok(serde_json::from_str(a)?));
        Ok((took, reports.collect::<Result<_>>()?))
    }

    /// Kills one of them (SIGKILL on Unix, TerminateProcess on Windows), and waits until all have
    /// ended. Returns how long the others took, and how many of them ended with an error.
    ///
    /// # Errors
    /// When one of the others does not end.
    pub fn kill(&mut self, victim: usize) -> Result<(Duration, usize)> {
        self.members[victim].child.0.kill()?;
        let start = Instant::now();
        let mut failed = 0;
        for (i, member) in self.members.iter_mut().enumerate() {
            let status = member.ended()?;
            failed += usize::from(i != victim && !status.success());
        }
        Ok((start.elapsed(), failed))
    }

    /// Lets them end.
    ///
    /// # Errors
    /// When one of them fails on its way out.
    pub fn end(mut self) -> Result<()> {
        for member in &mut self.members {
            member.say("end")?;
        }
        for member in &mut self.members {
            let status = member.ended()?;
            ensure!(status.success(), "a process ended with {status}");
        }
        Ok(())
    }
}

/// Being one of the processes, until told to end.
///
/// # Errors
/// When the others are not found, or the job cannot be done.
pub(super) fn member(p: &Params, me: usize) -> Result<()> {
    // Fail-stop: whatever goes wrong in any thread ends the process, whose connections then end, and
    // so the others do.
    std::panic::set_hook(Box::new(move |why| {
        cli::say(format!("lab18, process {me}: the job is lost: {why}"));
        std::process::exit(1);
    }));
    if p.led { led(p, me) } else { by_hosts(p, me) }
}

/// Started by the lab.
fn led(p: &Params, me: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening {}", listener.local_addr()?);
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let addresses: Vec<String> = line.split_whitespace().map(Into::into).collect();
    let (orders, workers): (Vec<_>, Vec<_>) = (0..p.threads).map(|_| mpsc::channel()).unzip();
    // When the lab goes, so does this process.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let job = (line != "end").then(|| {
                println!("begun");
                serde_json::from_str::<Job>(&line).unwrap_or_else(|e| panic!("an odd job: {e}"))
            });
            let last = job.is_none();
            orders.iter().for_each(|o| drop(o.send(job.clone())));
            if last {
                return;
            }
        }
        std::process::exit(1);
    });
    let meter = Meter::new(p.wire);
    let sockets = connect(&listener, &addresses, me, PATIENCE)?;
    println!("ready");
    let workers = Mutex::new(workers.into_iter().map(Some).collect::<Vec<_>>());
    let desk = Arc::new(Desk::new(p.threads, meter.clone()));
    let before = me * p.threads;
    at_work(sockets, me, p.threads, &meter, move |index, worker| {
        sit_in_turn(before + index).for_good();
        let mine = workers.lock().expect("nobody panics here")[index].take();
        let jobs = mine.expect("each worker comes once");
        while let Ok(Some(job)) = jobs.recv() {
            let (done, counts) = dataflow::run(worker, &job);
            desk.done();
            desk.report(dataflow::close(worker, &job, done, counts));
        }
    })
}

/// Collects what the workers of a process say, and passes it on when it is whole.
struct Desk {
    workers: usize,
    meter: Arc<Meter>,
    open: Mutex<Open>,
}

/// What has come in this job.
#[derive(Default)]
struct Open {
    done: usize,
    reports: Vec<Done>,
    /// What the meter showed at the end of the job before.
    before: (u64, f64),
    now: (u64, f64),
}

impl Desk {
    fn new(workers: usize, meter: Arc<Meter>) -> Desk {
        Desk { workers, meter, open: Mutex::default() }
    }

    fn done(&self) {
        let mut open = self.open.lock().expect("nobody panics here");
        open.done += 1;
        if open.done == self.workers {
            println!("done");
            open.now = self.meter.read();
        }
    }

    fn report(&self, done: Done) {
        let mut open = self.open.lock().expect("nobody panics here");
        open.reports.push(done);
        if open.reports.len() == self.workers {
            let report = Report {
                workers: std::mem::take(&mut open.reports),
                sent: open.now.0 - open.before.0,
                sending_s: open.now.1 - open.before.1,
            };
            // With what an output took, which belongs to no job's clock.
            (open.done, open.before) = (0, self.meter.read());
            let text = serde_json::to_string(&report).expect("plain numbers");
            println!("report {text}");
        }
    }
}

/// One process of one job on several hosts.
fn by_hosts(p: &Params, me: usize) -> Result<()> {
    let hosts = p.hosts.as_deref().context("--hosts is missing")?;
    let text = std::fs::read_to_string(hosts)
        .with_context(|| format!("cannot read {}", hosts.display()))?;
    let addresses = host_list(&text);
    ensure!(
        me < addresses.len(),
        "there are {} addresses in {}, and this is process {me}, counted from 0",
        addresses.len(),
        hosts.display()
    );
    let listener = TcpListener::bind(addresses[me].as_str()).with_context(|| {
        format!("cannot listen on {}, line {} of the hosts file", addresses[me], me + 1)
    })?;
    let folder = lab_kit::scratch::folder()?;
    let source = p.source_of_a_host(folder.path())?;
    let job = Job {
        way: p.way,
        source,
        // The others cannot know whether the first is to write a file.
        collect: true,
        output: p.output.clone(),
    };
    let meter = Meter::new(p.wire);
    let sockets = connect(&listener, &addresses, me, p.patience.duration())?;
    cli::say(format!("process {me} of {}: connected", addresses.len()));
    let (threads, count) = (p.threads, meter.clone());
    at_work(sockets, me, threads, &meter, move |index, worker| {
        let (done, counts) = dataflow::run(worker, &job);
        let done = dataflow::close(worker, &job, done, counts);
        let Digest { words, distinct, .. } = done.digest;
        println!(
            "process {me}, worker {index}: {words} words, {distinct} different, {:.3} s, {} bytes sent by the process",
            done.whole_s,
            count.read().0
        );
    })
}

/// The addresses of a hosts file: one a line, blank lines and comments left out.
fn host_list(text: &str) -> Vec<String> {
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim());
    lines.filter(|l| !l.is_empty()).map(Into::into).collect()
}

/// A socket to each of the others: this process calls those before it, and is called by those after.
fn connect(
    listener: &TcpListener,
    addresses: &[String],
    me: usize,
    patience: Duration,
) -> Result<Vec<Option<TcpStream>>> {
    let until = Instant::now() + patience;
    let mut sockets: Vec<Option<TcpStream>> = addresses.iter().map(|_| None).collect();
    for (i, address) in addresses.iter().enumerate().take(me) {
        let mut socket = call(address, until)
            .with_context(|| format!("process {i} at {address} does not answer"))?;
        socket.write_all(GREETING)?;
        socket.write_all(&(me as u64).to_le_bytes())?;
        sockets[i] = Some(socket);
    }
    listener.set_nonblocking(true)?;
    while sockets[me + 1..].iter().any(Option::is_none) {
        match listener.accept() {
            Ok((socket, from)) => match greeted(&socket) {
                Ok(i) if i > me && i < addresses.len() && sockets[i].is_none() => {
                    sockets[i] = Some(socket);
                }
                _ => cli::say(format!(
                    "lab18, process {me}: {from} is none of us, and was sent away"
                )),
            },
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                ensure!(
                    Instant::now() < until,
                    "not all processes came within {} s",
                    patience.as_secs_f64()
                );
                thread::sleep(Duration::from_micros(500));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(sockets)
}

/// Calls until somebody answers: the other process may not be there yet.
fn call(address: &str, until: Instant) -> io::Result<TcpStream> {
    loop {
        let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        match TcpStream::connect(found.as_slice()) {
            Err(_) if Instant::now() < until => thread::sleep(PAUSE),
            end => return end,
        }
    }
}

/// Which process has called.
fn greeted(mut socket: &TcpStream) -> io::Result<usize> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut greeting, mut number) = ([0; 8], [0; 8]);
    socket.read_exact(&mut greeting)?;
    socket.read_exact(&mut number)?;
    socket.set_read_timeout(None)?;
    if &greeting != GREETING {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(u64::from_le_bytes(number) as usize)
}

/// Runs this process's workers to their end: each is given its index among them.
fn at_work(
    sockets: Vec<Option<TcpStream>>,
    me: usize,
    threads: usize,
    meter: &Arc<Meter>,
    work: impl Fn(usize, &mut Worker) + Send + Sync + 'static,
) -> Result<()> {
    let (builders, others) = if sockets.len() == 1 {
        let built = communication::Config::Process(threads).try_build();
        built.map_err(anyhow::Error::msg)?
    } else {
        let wires = sockets.into_iter().map(|socket| {
            let wire = socket.map(|socket| Wire::new(socket, meter.clone()));
            wire.transpose()
        });
        let (hooks, wires) = (Hooks::default(), wires.collect::<io::Result<Vec<_>>>()?);
        // Between threads of a process parcels stay what they are.
        let inside = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), None);
        let (builders, guard) =
            initialize_networking_from_sockets(inside, wires, me, threads, hooks)?;
        let builders: Vec<_> = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        let others: Box<dyn std::any::Any + Send> = Box::new(guard);
        (builders, others)
    };
    let run = move |worker: &mut Worker| work(worker.index() % threads, worker);
    let workers = execute_from(builders, others, WorkerConfig::default(), run);
    let ends = workers.map_err(anyhow::Error::msg)?.join();
    ends.into_iter().try_for_each(|end| end.map_err(anyhow::Error::msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_has_an_address_a_line() {
        let text = "# two hosts\n\n 10.0.0.1:2101 # the first\nlocalhost:2102\n";
        assert_eq!(host_list(text), ["10.0.0.1:2101", "localhost:2102"]);
        assert!(host_list("").is_empty());
    }
}
