import java.io.IOException;
import java.net.InetAddress;
import java.net.ProtocolException;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;

final class Lab14 {
    private static final String ABOUT = """
            lab14 in Java: a chat server over WebSocket, which also solves what its users ask.

                --arm inline         virtual threads do all of it, on one carrier thread
                --arm threads        the same, but platform threads solve
                --beat T             between two heartbeats to a user
                --unanswered N       a user who leaves so many in a row without answer is given up
                --outbox N           messages that may wait to be written to a user

            Times in seconds. The first line printed says where it listens. It goes on until
            standard input ends, and then prints what it has counted. Users send the lines `join
            ROOM`, `say TEXT` and `solve MICROSECONDS`; they hear `welcome USER`, `said USER TEXT`
            and `solved MICROSECONDS` or `failed WHY`. A heartbeat is a ping, whose eight bytes are
            the nanoseconds from the server's start until it was due.
            """;

    private final boolean inline;
    private final Duration beat;
    private final int mostUnanswered, mostWaiting;
    private final Common.Kernel kernel = new Common.Kernel();
    // A processor is left for the carrier.
    private final ExecutorService pool =
            Common.platformThreads(Math.max(1, Runtime.getRuntime().availableProcessors() - 1));
    private final Semaphore questions = new Semaphore(1000);
    // Held for moments only. Before Java 24 who waits for a `synchronized` block keeps the carrier.
    private final ReentrantLock lock = new ReentrantLock();
    private final Map<Integer, Map<Long, Common.Line>> rooms = new HashMap<>();
    private long nextUser;
    private final LongAdder joined = new LongAdder(), said = new LongAdder();
    private final LongAdder delivered = new LongAdder(), solved = new LongAdder();
    private final Map<Common.End, LongAdder> ends = new ConcurrentHashMap<>();
    private long origin;

    private Lab14(Common.Flags flags) {
        inline = flags.oneOf("--arm", "inline", "threads").equals("inline");
        beat = flags.time("--beat", 0.05, 0.001);
        mostUnanswered = flags.count("--unanswered", 10, 1, 1_000_000);
        mostWaiting = flags.count("--outbox", 1024, 1, 1_000_000);
        // It ends with its standard input in any case.
        flags.text("--parent", "");
        flags.noOthers();
    }

    // wrong: A virtual thread solves it
    private Duration solveHere(Duration cost) {
        // Nobody is asked to wait, and yet all do: this takes the only carrier away from everybody
        // who reads, writes or sends heartbeats.
        return compute(cost);
    }

    // right: A pool of platform threads solves it, and a virtual thread waits for that
    // so: Waiting frees the carrier, computing keeps it, and nobody takes it away. A server with as
    // many carriers as processors stops in the same way, with that many questions at a time.
    private Duration solveOnAPool(Duration cost) throws InterruptedException, ExecutionException {
        return pool.submit(() -> compute(cost)).get();
    }

    private Duration compute(Duration cost) {
        var begin = System.nanoTime();
        kernel.work(cost);
        return Duration.ofNanos(System.nanoTime() - begin);
    }

    /** One connection. Its code reads as if it had a thread of its own, which it has. */
    private void welcome(Socket socket) {
        var end = Common.End.BROKEN;
        try (socket) {
            // Who says nothing at all is not waited for.
            socket.setSoTimeout(10_000);
            var webSocket = new Common.WebSocket(socket);
            var room = roomOf(webSocket.read().text());
            socket.setSoTimeout(0);
            var line = new Common.Line(webSocket, mostWaiting);
            var user = join(room, line);
            end = line.run(words -> heard(words, user, room, line), beat, mostUnanswered, origin);
            leave(room, user);
            line.close();
        } catch (IOException e) {
            // A broken connection, and counted as such.
        }
        ends.computeIfAbsent(end, none -> new LongAdder()).increment();
    }

    private static int roomOf(String line) throws IOException {
        if (!line.startsWith("join ")) {
            throw new ProtocolException("the first line is no join");
        }
        return (int) number(line.substring(5), 0xFFFF_FFFFL);
    }

    private static long number(String digits, long most) throws IOException {
        try {
            var number = Long.parseLong(digits);
            if (number >= 0 && number <= most) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new ProtocolException(digits + " is no number up to " + most);
    }

    private long join(int room, Common.Line line) {
        joined.increment();
        lock.lock();
        try {
            var user = nextUser++;
            // Before anybody else can reach it.
            line.send("welcome " + user);
            rooms.computeIfAbsent(room, none -> new HashMap<>()).put(user, line);
            return user;
        } finally {
            lock.unlock();
        }
    }

    private void leave(int room, long user) {
        lock.lock();
        try {
            rooms.get(room).remove(user);
            if (rooms.get(room).isEmpty()) {
                rooms.remove(room);
            }
        } finally {
            lock.unlock();
        }
    }

    private void heard(String line, long user, int room, Common.Line asker) throws IOException {
        if (line.startsWith("say ")) {
            say(room, "said " + user + " " + line.substring(4));
        } else if (line.startsWith("solve ")) {
            var microseconds = number(line.substring(6), Long.MAX_VALUE);
            if (microseconds > 3_600_000_000L || !questions.tryAcquire()) {
                asker.send("failed more than an hour, or too many questions at a time");
                return;
            }
            // A virtual thread of its own: its user may go on talking meanwhile. If that is enough
            // to keep everybody else talking is up to the way in which it is solved.
            try {
                asker.execute(() -> answer(Duration.ofNanos(1000 * microseconds), asker));
            } catch (RejectedExecutionException e) {
                // The connection is closing, and nobody waits for the answer.
                questions.release();
            }
        } else {
            throw new ProtocolException("a line that is not in the protocol");
        }
    }

    private void say(int room, String line) {
        var message = Common.Line.text(line);
        said.increment();
        lock.lock();
        try {
            rooms.getOrDefault(room, Map.of()).values().forEach(member -> {
                if (member.send(message)) {
                    delivered.increment();
                }
            });
        } finally {
            lock.unlock();
        }
    }

    private void answer(Duration cost, Common.Line asker) {
        try {
            var took = inline ? solveHere(cost) : solveOnAPool(cost);
            solved.increment();
            asker.send("solved " + took.toNanos() / 1000);
        } catch (InterruptedException | ExecutionException e) {
            asker.send("failed " + e);
        } finally {
            questions.release();
        }
    }

    private void accept(ServerSocket door) {
        while (true) {
            try {
                var socket = door.accept();
                Thread.startVirtualThread(() -> welcome(socket));
            } catch (IOException e) {
                // No descriptor left, for instance: some will be given back.
                Common.sleep(Duration.ofMillis(10));
            }
        }
    }

    private void run() throws IOException {
        // Users who come at once are more than the usual 50 that may wait to be accepted.
        var door = new ServerSocket(0, 4096, InetAddress.getByName("127.0.0.1"));
        origin = System.nanoTime();
        System.out.println(Common.json(Map.of("listening", "127.0.0.1:" + door.getLocalPort())));
        Thread.startVirtualThread(() -> accept(door));
        Common.waitForEndOfInput();
        var counted = new LinkedHashMap<String, Object>();
        counted.put("joined", joined);
        counted.put("said", said);
        counted.put("delivered", delivered);
        counted.put("given_up", ends.getOrDefault(Common.End.GIVEN_UP, new LongAdder()));
        counted.put("slow", ends.getOrDefault(Common.End.SLOW, new LongAdder()));
        counted.put("broken", ends.getOrDefault(Common.End.BROKEN, new LongAdder()));
        counted.put("solved", solved);
        System.out.println(Common.json(counted));
        System.exit(0);
    }

    public static void main(String[] args) throws IOException {
        Common.carriers(1);
        new Lab14(new Common.Flags(ABOUT, args)).run();
    }
}
