import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ProtocolException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;

final class Lab14 {
    private static final String ABOUT = """
            lab14 in Java: a chat server over WebSocket, which also solves what its users ask.

                --arm inline         virtual threads do all of it, and one carrier thread carries them
                --arm threads        the same, but platform threads solve
                --beat T             between two heartbeats to a user
                --unanswered N       a user who leaves so many in a row without answer is given up
                --outbox N           messages that may wait to be written to a user

            Times in seconds. The first line printed says where it listens. It goes on until standard
            input ends, and then prints what it has counted. Users send the lines `join ROOM`,
            `say TEXT` and `solve MICROSECONDS`; they hear `welcome USER`, `said USER TEXT` and
            `solved MICROSECONDS` or `failed WHY`. A heartbeat is a ping, whose eight bytes are the
            nanoseconds from the server's start until it was due.
            """;

    private static final byte[] GOODBYE = Common.WebSocket.frame(Common.WebSocket.CLOSE, new byte[0]);

    private final boolean inline;
    private final Duration beat;
    private final int mostUnanswered, mostWaiting;
    private final Common.Kernel kernel = new Common.Kernel();
    // A processor is left for the carrier.
    private final ExecutorService pool =
            Common.platformThreads(Math.max(1, Runtime.getRuntime().availableProcessors() - 1));
    private final Semaphore questions = new Semaphore(1000);
    private final LongAdder joined = new LongAdder(), said = new LongAdder();
    private final LongAdder delivered = new LongAdder(), solved = new LongAdder();
    private final LongAdder givenUp = new LongAdder(), slow = new LongAdder();
    private final LongAdder broken = new LongAdder(), left = new LongAdder();
    // Held for moments only. Before Java 24 who waits for a `synchronized` block keeps the carrier.
    private final ReentrantLock lock = new ReentrantLock();
    private final Map<Integer, Map<Long, User>> rooms = new HashMap<>();
    private long nextUser;
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

    // wrong: a virtual thread solves it
    private Duration solveHere(Duration cost) {
        // Nobody is asked to wait, and yet all do: this takes the only carrier away from everybody
        // who reads, writes or sends heartbeats.
        return compute(cost);
    }

    // right: a pool of platform threads solves it, and a virtual thread waits for that
    // so: Waiting frees the carrier, computing does not, and nobody takes it away. A server with as
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
        try (socket) {
            // Who says nothing at all is not waited for.
            socket.setSoTimeout(10_000);
            var line = new Common.WebSocket(socket);
            var first = line.read().text();
            if (!first.startsWith("join ")) {
                throw new ProtocolException("the first line is no join");
            }
            var room = Integer.parseUnsignedInt(first.substring(5));
            socket.setSoTimeout(0);
            new User(line, room).stay().increment();
        } catch (IOException | NumberFormatException e) {
            broken.increment();
        }
    }

    /** A user who has joined: three virtual threads, and the first of them to end ends the others. */
    private final class User {
        private final Common.WebSocket socket;
        private final int room;
        private final long number;
        private final BlockingQueue<byte[]> outbox = new LinkedBlockingQueue<>(mostWaiting);
        private final AtomicInteger unanswered = new AtomicInteger();
        private final ExecutorService scope = Executors.newVirtualThreadPerTaskExecutor();
        private volatile boolean shownTheDoor;

        User(Common.WebSocket socket, int room) {
            this.socket = socket;
            this.room = room;
            lock.lock();
            try {
                number = nextUser++;
                send("welcome " + number);
                rooms.computeIfAbsent(room, none -> new HashMap<>()).put(number, this);
            } finally {
                lock.unlock();
            }
            joined.increment();
        }

        /** Returns the counter of the way in which it ended. */
        LongAdder stay() {
            // The scope does not close before all that was begun in it has ended.
            try (scope) {
                try {
                    List<Callable<LongAdder>> three = List.of(
                            () -> unlessBroken(this::read),
                            () -> unlessBroken(this::write),
                            this::beat);
                    // Interrupts the other two when one has ended.
                    return scope.invokeAny(three);
                } catch (InterruptedException | ExecutionException e) {
                    return broken;
                } finally {
                    leave();
                    socket.close();
                    // Whoever still waits for the pool need not.
                    scope.shutdownNow();
                }
            }
        }

        private LongAdder unlessBroken(Callable<LongAdder> work) throws Exception {
            try {
                return work.call();
            } catch (IOException | NumberFormatException e) {
                return shownTheDoor ? left : broken;
            }
        }

        private LongAdder read() throws IOException, InterruptedException {
            while (true) {
                var message = socket.read();
                switch (message.kind()) {
                    case Common.WebSocket.TEXT -> heard(message.text());
                    case Common.WebSocket.PONG -> unanswered.set(0);
                    case Common.WebSocket.PING -> outbox.offer(
                            Common.WebSocket.frame(Common.WebSocket.PONG, message.payload()));
                    default -> {
                        // The writer says goodbye, and ends before this does.
                        outbox.offer(GOODBYE);
                        Thread.sleep(1000);
                        return left;
                    }
                }
            }
        }

        private void heard(String line) throws IOException {
            var words = line.split(" ", 2);
            if (words[0].equals("say") && words.length == 2) {
                say(room, "said " + number + " " + words[1]);
            } else if (words[0].equals("solve") && words.length == 2) {
                var microseconds = Long.parseUnsignedLong(words[1]);
                // A thread of its own: its user may go on talking meanwhile. If that is enough to
                // keep everybody else talking is up to the way in which it is solved.
                if (questions.tryAcquire()) {
                    scope.execute(() -> answer(microseconds));
                } else {
                    send("failed too many questions at a time");
                }
            } else {
                throw new ProtocolException("a line that is not in the protocol");
            }
        }

        private void answer(long microseconds) {
            try {
                if (Long.compareUnsigned(microseconds, 60_000_000) > 0) {
                    send("failed more than a minute");
                    return;
                }
                var cost = Duration.ofNanos(1000 * microseconds);
                var took = inline ? solveHere(cost) : solveOnAPool(cost);
                solved.increment();
                send("solved " + took.toNanos() / 1000);
            } catch (InterruptedException | ExecutionException e) {
                send("failed " + e.getMessage());
            } finally {
                questions.release();
            }
        }

        private LongAdder write() throws IOException, InterruptedException {
            var waiting = new ArrayList<byte[]>();
            while (!waiting.contains(GOODBYE)) {
                waiting.clear();
                waiting.add(outbox.take());
                // As much as there is: a system call for each would be dearer than all the rest.
                outbox.drainTo(waiting, 63);
                var together = new ByteArrayOutputStream();
                waiting.forEach(together::writeBytes);
                socket.write(together.toByteArray());
            }
            return left;
        }

        private LongAdder beat() throws InterruptedException {
            var period = beat.toNanos();
            // Spread by the golden ratio, so that a thousand users are not a thousand pings at once.
            var phase = (long) (period * (number * 0.618033988749895 % 1));
            var due = phase;
            while (true) {
                var late = System.nanoTime() - origin - due;
                // Those that fell due while the carrier was away are left out.
                due += late > 0 ? (late / period + 1) * period : 0;
                Thread.sleep(Duration.ofNanos(due - (System.nanoTime() - origin)));
                if (unanswered.getAndIncrement() >= mostUnanswered) {
                    return givenUp;
                }
                var payload = ByteBuffer.allocate(8).putLong(due).array();
                outbox.offer(Common.WebSocket.frame(Common.WebSocket.PING, payload));
                due += period;
            }
        }

        private void send(String line) {
            if (!outbox.offer(text(line))) {
                showTheDoor();
            }
        }

        /** To wait until there is room would let the slowest reader set everybody's pace. */
        private void showTheDoor() {
            shownTheDoor = true;
            if (leave()) {
                slow.increment();
                socket.close();
            }
        }

        /** True when it was still there. */
        private boolean leave() {
            lock.lock();
            try {
                var members = rooms.get(room);
                var was = members != null && members.remove(number) != null;
                if (was && members.isEmpty()) {
                    rooms.remove(room);
                }
                return was;
            } finally {
                lock.unlock();
            }
        }
    }

    private void say(int room, String line) {
        var frame = text(line);
        var tooSlow = new ArrayList<User>();
        lock.lock();
        try {
            for (var member : rooms.getOrDefault(room, Map.of()).values()) {
                if (member.outbox.offer(frame)) {
                    delivered.increment();
                } else {
                    tooSlow.add(member);
                }
            }
        } finally {
            lock.unlock();
        }
        tooSlow.forEach(User::showTheDoor);
        said.increment();
    }

    private static byte[] text(String line) {
        var bytes = line.getBytes(StandardCharsets.UTF_8);
        return Common.WebSocket.frame(Common.WebSocket.TEXT, bytes);
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
        counted.put("joined", joined.sum());
        counted.put("said", said.sum());
        counted.put("delivered", delivered.sum());
        counted.put("given_up", givenUp.sum());
        counted.put("slow", slow.sum());
        counted.put("broken", broken.sum());
        counted.put("solved", solved.sum());
        System.out.println(Common.json(counted));
        System.exit(0);
    }

    public static void main(String[] args) throws IOException {
        Common.carriers(1);
        new Lab14(new Common.Flags(ABOUT, args)).run();
    }
}
