import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.DoubleAdder;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Supplier;

import com.sun.net.httpserver.HttpServer;

/**
 * What the Java versions of the labs share: flags, books, computation, requests, a WebSocket.
 *
 * <p>Every program can be run by hand with a JDK of 21 or later, for example
 *
 * <pre>
 *   cargo run --release -p mock_server -- --slots 50 --service 50ms --queue unbounded
 *   javac -d /tmp/lab03 labs/kit/java/Common.java labs/lab03_concurrency_trap/java/Lab03.java
 *   java -cp /tmp/lab03 Lab03 --url http://127.0.0.1:8080 --arm burst --clients 500
 * </pre>
 *
 * <p>What is printed is one JSON object, whose fields labs/kit/python/common.py describes.
 */
final class Common {
    static final String OK = "ok";
    static final String REJECTED = "rejected";
    static final String TIMED_OUT = "timed out";

    /** What mock_server answers unless told otherwise: 256 bytes, so that half one is noticed. */
    static final byte[] BODY = new byte[256];

    private static volatile boolean ending;

    static {
        for (var i = 0; i < 255; i++) {
            BODY[i] = (byte) ('a' + i % 26);
        }
        BODY[255] = '\n';
        // An error in any thread ends the program: better no books than false ones.
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> {
            if (!ending) {
                stop(1, error.toString());
            }
        });
    }

    private Common() {}

    /** How many platform threads carry the virtual ones. To be called before the first of these. */
    static void carriers(int n) {
        System.setProperty("jdk.virtualThreadScheduler.parallelism", String.valueOf(n));
        System.setProperty("jdk.virtualThreadScheduler.maxPoolSize", String.valueOf(n));
    }

    /** A pool of platform threads that are all running already. They do not outlive main. */
    static ExecutorService platformThreads(int n) {
        var pool = new ThreadPoolExecutor(
                n, n, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>(),
                Thread.ofPlatform().daemon().factory());
        pool.prestartAllCoreThreads();
        return pool;
    }

    /** A folder for files, which ends with the program. */
    static Path temporaryFolder() throws IOException {
        var folder = Files.createTempDirectory("java-lab-");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            ending = true;
            try (var files = Files.list(folder)) {
                for (var file : (Iterable<Path>) files::iterator) {
                    Files.delete(file);
                }
                Files.delete(folder);
            } catch (IOException e) {
                System.err.println(e);
            }
        }));
        return folder;
    }

    static void sleep(Duration time) {
        try {
            Thread.sleep(time);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static Duration duration(double seconds) {
        return Duration.ofNanos((long) (seconds * 1e9));
    }

    static double seconds(Duration time) {
        return time.toNanos() / 1e9;
    }

    /** Seconds since an instant of System.nanoTime(). */
    static double since(long begin) {
        return (System.nanoTime() - begin) / 1e9;
    }

    /** Ends the program at once, with a line on standard error. */
    static IllegalStateException stop(int status, String why) {
        System.err.println(why);
        System.exit(status);
        return new IllegalStateException(why);
    }

    /** The command line: pairs of a name and a value. */
    static final class Flags {
        private final Map<String, String> given = new LinkedHashMap<>();

        /** Reads them. The help is `about`, the head of the program. */
        Flags(String about, String... args) {
            var words = Arrays.asList(args).iterator();
            while (words.hasNext()) {
                var name = words.next();
                if (name.equals("--help") || name.equals("-h")) {
                    System.out.print(about);
                    System.exit(0);
                }
                var alone = name.equals("--parent");
                if (!alone && !words.hasNext()) {
                    throw stop(2, name + " needs a value");
                }
                given.put(name, alone ? "" : words.next());
            }
        }

        String text(String name, String otherwise) {
            var value = given.remove(name);
            return value == null ? otherwise : value;
        }

        /** One of some words; the first of them when the flag is absent. */
        String oneOf(String name, String... words) {
            var value = text(name, words[0]);
            if (!Arrays.asList(words).contains(value)) {
                throw stop(2, name + " " + value + ": one of " + String.join(", ", words));
            }
            return value;
        }

        int count(String name, int otherwise, int least, int most) {
            var value = text(name, String.valueOf(otherwise));
            try {
                var n = Integer.parseInt(value);
                if (n >= least && n <= most) {
                    return n;
                }
            } catch (NumberFormatException e) {
                // Said below.
            }
            throw stop(2, name + " " + value + ": a whole number from " + least + " to " + most);
        }

        Duration time(String name, double otherwise, double least) {
            return duration(number(name, text(name, String.valueOf(otherwise)), least));
        }

        List<Duration> times(String name, String otherwise) {
            var values = text(name, otherwise).split(",", -1);
            if (values.length > 256) {
                throw stop(2, name + ": more than 256 times");
            }
            return Arrays.stream(values).map(value -> duration(number(name, value, 0))).toList();
        }

        private static double number(String name, String value, double least) {
            // What parseDouble takes beyond this, such as NaN and 0x1p3, is no time.
            if (value.matches("(\\d+\\.?\\d*|\\.\\d+)([eE][-+]?\\d+)?")) {
                var number = Double.parseDouble(value);
                if (number >= least && number <= 3600) {
                    return number;
                }
            }
            throw stop(2, name + " " + value + ": seconds from " + least + " to 3600");
        }

        /** After the last flag that the program knows: whatever is left, but --parent, is none. */
        void noOthers() {
            if (given.remove("--parent") != null) {
                Thread.ofPlatform().daemon().start(() -> {
                    waitForEndOfInput();
                    System.exit(1);
                });
            }
            for (var name : given.keySet()) {
                throw stop(2, name + ": there is no such flag; see --help");
            }
        }
    }

    /** Returns when standard input ends. */
    static void waitForEndOfInput() {
        try {
            System.in.transferTo(OutputStream.nullOutputStream());
        } catch (IOException e) {
            // That is an end, too.
        }
    }

    /** The wall clock and the processor clock of a measured part, which begins with it. */
    static final class Watch {
        final long begin;
        private final double cpu = cpu();

        Watch() {
            begin = System.nanoTime();
        }

        double seconds() {
            return since(begin);
        }

        double cpuShare() {
            return (cpu() - cpu) / seconds();
        }

        private static double cpu() {
            // On Linux it comes in ticks, usually of 10 ms: in 0.3 s that is a share of 3 %.
            var time = ProcessHandle.current().info().totalCpuDuration();
            return time.map(Common::seconds).orElse(Double.NaN);
        }
    }

    /** How long something takes in the mean. */
    static final class Mean {
        private final DoubleAdder sum = new DoubleAdder();
        private final LongAdder times = new LongAdder();

        <T> T of(Supplier<T> work) {
            var begin = System.nanoTime();
            var result = work.get();
            sum.add(since(begin));
            times.increment();
            return result;
        }

        double seconds() {
            return sum.sum() / Math.max(times.sum(), 1);
        }
    }

    /** Every request has exactly one fate. */
    static final class Books {
        private final Map<String, Integer> fates = new TreeMap<>();
        private final List<Double> latencies = new ArrayList<>();
        private final List<Double> attempts = new ArrayList<>();
        private final Map<String, Object> gauges = new LinkedHashMap<>();

        synchronized void enter(String fate, double took) {
            fates.merge(fate, 1, Integer::sum);
            attempts.add(took);
            if (fate.equals(OK)) {
                latencies.add(took);
            }
        }

        synchronized int count(String fate) {
            return fates.getOrDefault(fate, 0);
        }

        /** Seconds of all attempts together. */
        synchronized double sumOfAttempts() {
            return attempts.stream().mapToDouble(took -> took).sum();
        }

        /** A figure of the run; one that is no number is left out. */
        synchronized void gauge(String name, double value) {
            if (Double.isFinite(value)) {
                gauges.put(name, value);
            }
        }

        /** Prints the books. */
        synchronized void close(double wall, int doors) {
            var failures = new LinkedHashMap<String, Object>(fates);
            failures.keySet().removeAll(List.of(OK, REJECTED, TIMED_OUT));
            var offered = fates.values().stream().mapToInt(n -> n).sum();
            var failed = offered - count(OK) - count(REJECTED) - count(TIMED_OUT);
            var result = new LinkedHashMap<String, Object>();
            result.put("wall_s", wall);
            result.put("offered", offered);
            result.put("ok", count(OK));
            result.put("rejected", count(REJECTED));
            result.put("timed_out", count(TIMED_OUT));
            result.put("failed", failed);
            result.put("never_sent", 0);
            result.put("failures", failures);
            result.put("latencies_s", latencies);
            result.put("attempt_latencies_s", attempts);
            result.put("doors", doors);
            result.put("gauges", gauges);
            System.out.println(json(result));
        }
    }

    /** JSON of maps with plain names, lists and numbers; other things become strings. */
    static String json(Object value) {
        var text = new StringBuilder();
        json(value, text);
        return text.toString();
    }

    private static void json(Object value, StringBuilder text) {
        var separator = "";
        if (value instanceof Map<?, ?> map) {
            text.append('{');
            for (var entry : map.entrySet()) {
                text.append(separator).append('"').append(entry.getKey()).append("\": ");
                json(entry.getValue(), text);
                separator = ", ";
            }
            text.append('}');
        } else if (value instanceof List<?> list) {
            text.append('[');
            for (var item : list) {
                text.append(separator);
                json(item, text);
                separator = ", ";
            }
            text.append(']');
        } else if (value instanceof Double number) {
            // Nobody measures less than a nanosecond.
            text.append(Math.round(number * 1e9) / 1e9);
        } else if (value instanceof Number number) {
            text.append(number);
        } else {
            text.append('"').append(value).append('"');
        }
    }

    /** Computation that really computes: a chain of integer steps, each needing the one before. */
    static final class Kernel {
        final double stepsPerSecond;

        /** Results go here, so that no compiler finds that nobody needs them. */
        private static volatile int kept;

        Kernel() {
            // The first rounds are interpreted, and the just-in-time compilers work beside them.
            for (var warm = System.nanoTime(); since(warm) < 0.1; ) {
                kept = mix(100_000);
            }
            var steps = 1_000_000;
            var best = Double.POSITIVE_INFINITY;
            for (var i = 0; i < 15; i++) {
                var begin = System.nanoTime();
                kept = mix(steps);
                // Whatever disturbs a run makes it slower: the fastest one counts.
                best = Math.min(best, since(begin));
            }
            stepsPerSecond = steps / best;
        }

        /** So much work as a processor of its own does in this time; returns the result. */
        int work(Duration time) {
            return kept = mix((long) (stepsPerSecond * seconds(time)));
        }

        private static int mix(long steps) {
            var x = 1;
            for (long i = 0; i < steps; i++) {
                x = (x ^ (x >>> 27)) * 0x3C79AC49 + (int) i;
            }
            return x;
        }
    }

    /** The upstream of --url, and a client of it. */
    static final class Upstream {
        private static final Duration PATIENCE = Duration.ofSeconds(30);

        private final String url;
        private final List<Duration> doors;
        private final HttpClient client;
        private final int connections;
        private final Semaphore pool;
        private final Duration timeout;

        /**
         * A client that keeps at most so many connections; 0 is no limit.
         *
         * <p>HttpClient has no such limit. With HTTP/1.1 a connection carries a request at a time,
         * so that a semaphore inside the client does the same. The clock of the timeout runs in its
         * queue, as it does in the pools of other clients.
         */
        Upstream(Flags flags, int connections, Duration timeout) {
            url = flags.text("--url", "").replaceAll("/+$", "");
            var milliseconds = flags.text("--doors", "");
            doors = milliseconds.isEmpty() ? List.of() : holds(milliseconds);
            this.connections = connections;
            this.timeout = timeout;
            pool = new Semaphore(connections > 0 ? connections : Integer.MAX_VALUE);
            // A request that is sent again behind the program's back would be in no books.
            System.setProperty("jdk.httpclient.redirects.retrylimit", "1");
            System.setProperty("jdk.httpclient.disableRetryConnect", "true");
            // By default the client has a pool of platform threads, which would do part of the work
            // beside the carriers. Only its selector remains a platform thread, and only waits.
            client = HttpClient.newBuilder()
                    .version(HttpClient.Version.HTTP_1_1)
                    .proxy(HttpClient.Builder.NO_PROXY)
                    .executor(Executors.newVirtualThreadPerTaskExecutor())
                    .build();
            try {
                HttpRequest.newBuilder(URI.create(url));
                // Its own check of the port comes later, and is no check of the flag.
                new InetSocketAddress(Math.max(0, URI.create(url).getPort()));
            } catch (IllegalArgumentException e) {
                throw stop(2, "--url " + url + ": an address such as http://127.0.0.1:8080");
            }
        }

        private static List<Duration> holds(String milliseconds) {
            var values = Arrays.stream(milliseconds.split(",", -1));
            return values.map(value -> duration(Flags.number("--doors", value, 0) / 1e3)).toList();
        }

        /**
         * Opens n connections, by as many requests at the same time that are all held for a moment.
         * Returns how many requests that took.
         */
        int openConnections(int n) {
            warmUp();
            if (doors.isEmpty()) {
                return 0;
            }
            var wanted = connections > 0 ? Math.min(n, connections) : n;
            // To open a connection takes about half a millisecond here.
            var door = 0;
            while (door < doors.size() - 1 && doors.get(door).toMillis() < wanted / 2.0) {
                door++;
            }
            var address = URI.create(url + "/open-connections/" + door);
            var knock = HttpRequest.newBuilder(address).build();
            try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
                for (var i = 0; i < wanted; i++) {
                    scope.execute(() -> {
                        var fate = send(knock, PATIENCE, null);
                        // Whatever it answers: an upstream may be told to fail.
                        if (!fate.equals(OK) && !fate.startsWith("status ")) {
                            throw stop(1, "a connection could not be opened: " + fate);
                        }
                    });
                }
            }
            return wanted;
        }

        /** Loads and compiles what a request needs, by a thousand to a server in this process. */
        private void warmUp() {
            System.setProperty("sun.net.httpserver.nodelay", "true");
            try {
                var loopback = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
                var server = HttpServer.create(loopback, 0);
                server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
                server.createContext("/", exchange -> {
                    try (exchange) {
                        exchange.sendResponseHeaders(200, BODY.length);
                        exchange.getResponseBody().write(BODY);
                    }
                });
                server.start();
                var address = "http://127.0.0.1:" + server.getAddress().getPort() + "/";
                var request = HttpRequest.newBuilder(URI.create(address)).build();
                for (var round = 0; round < 50; round++) {
                    try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
                        for (var i = 0; i < 20; i++) {
                            scope.execute(() -> send(request, PATIENCE, BODY));
                        }
                    }
                }
                server.stop(0);
            } catch (IOException e) {
                throw stop(1, "no server to warm up with: " + e);
            }
        }

        /** The fate of one GET whose answer must be BODY. */
        String get(String path) {
            return send(HttpRequest.newBuilder(URI.create(url + path)).build(), timeout, BODY);
        }

        /** The fate of one POST, whatever it is answered. */
        String post(String path, byte[] body) {
            var request = HttpRequest.newBuilder(URI.create(url + path));
            return send(request.POST(BodyPublishers.ofByteArray(body)).build(), timeout, null);
        }

        private String send(HttpRequest request, Duration timeout, byte[] expected) {
            var end = System.nanoTime() + timeout.toNanos();
            try {
                if (!pool.tryAcquire(timeout.toNanos(), TimeUnit.NANOSECONDS)) {
                    return TIMED_OUT;
                }
                try {
                    var answer = client.sendAsync(request, BodyHandlers.ofByteArray());
                    return fate(answer, end, expected);
                } finally {
                    pool.release();
                }
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        /**
         * Waits for an answer, until `end` at the longest.
         *
         * <p>HttpRequest has a timeout of its own, which before Java 26 ends with the headers: for
         * a body that does not come it would be no timeout.
         */
        private static String fate(
                CompletableFuture<HttpResponse<byte[]>> coming, long end, byte[] expected)
                throws InterruptedException {
            try {
                var answer = coming.get(end - System.nanoTime(), TimeUnit.NANOSECONDS);
                if (System.nanoTime() > end) {
                    // It was there when this thread was, and that was too late.
                    return TIMED_OUT;
                }
                return switch (answer.statusCode()) {
                    case 200 -> {
                        var right = expected == null || Arrays.equals(answer.body(), expected);
                        yield right ? OK : "body";
                    }
                    case 429, 503 -> REJECTED;
                    default -> "status " + answer.statusCode();
                };
            } catch (TimeoutException e) {
                // Ends the exchange, and with it the connection.
                coming.cancel(true);
                return TIMED_OUT;
            } catch (ExecutionException e) {
                return e.getCause() instanceof ConnectException ? "connect" : "broken";
            }
        }
    }

    /** The server's end of a WebSocket (RFC 6455): messages in one piece, of 64 KiB at most. */
    static final class WebSocket implements AutoCloseable {
        static final int TEXT = 1;
        static final int CLOSE = 8;
        static final int PING = 9;
        static final int PONG = 10;
        private static final int LONGEST = 64 << 10;
        private static final String MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

        private final Socket socket;
        private final DataInputStream in;

        record Message(int kind, byte[] payload) {
            /** The text; an error when it is no UTF-8. */
            String text() throws IOException {
                var strict = StandardCharsets.UTF_8.newDecoder();
                return strict.decode(ByteBuffer.wrap(payload)).toString();
            }
        }

        /** Answers the request with which a WebSocket begins. */
        WebSocket(Socket socket) throws IOException {
            this.socket = socket;
            in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 4096));
            // A message is to leave when it is written, and not wait for the next one.
            socket.setTcpNoDelay(true);
            var head = head();
            var fields = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
            for (var line : head.split("\r\n")) {
                var colon = line.indexOf(':');
                if (colon > 0) {
                    fields.put(line.substring(0, colon), line.substring(colon + 1).strip());
                }
            }
            var key = fields.get("Sec-WebSocket-Key");
            var wanted = head.startsWith("GET ")
                    && "websocket".equalsIgnoreCase(fields.get("Upgrade"))
                    && "13".equals(fields.get("Sec-WebSocket-Version"));
            if (key == null || !wanted) {
                say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                throw new ProtocolException("no WebSocket is asked for");
            }
            say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: " + accept(key) + "\r\n\r\n");
        }

        private String head() throws IOException {
            var head = new StringBuilder();
            while (head.indexOf("\r\n\r\n", head.length() - 4) < 0) {
                if (head.length() == 16 << 10) {
                    throw new ProtocolException("too long a head");
                }
                head.append((char) in.readUnsignedByte());
            }
            return head.toString();
        }

        private void say(String text) throws IOException {
            write(text.getBytes(StandardCharsets.US_ASCII));
        }

        private static String accept(String key) {
            try {
                var text = (key + MAGIC).getBytes(StandardCharsets.US_ASCII);
                var digest = MessageDigest.getInstance("SHA-1").digest(text);
                return Base64.getEncoder().encodeToString(digest);
            } catch (NoSuchAlgorithmException e) {
                throw new IllegalStateException(e);
            }
        }

        /** Waits for the next message. Only one thread may read. */
        Message read() throws IOException {
            int first = in.readUnsignedByte();
            int second = in.readUnsignedByte();
            int kind = first & 0x0F;
            long length = second & 0x7F;
            if (length == 126) {
                length = in.readUnsignedShort();
            } else if (length == 127) {
                length = in.readLong();
            }
            // The first bit says that the message ends here; the next three have no meaning yet.
            var whole = (first & 0xF0) == 0x80;
            // What comes from a client is masked.
            var masked = (second & 0x80) != 0;
            var known = kind == TEXT || kind == CLOSE || kind == PING || kind == PONG;
            var most = kind == TEXT ? LONGEST : 125;
            if (!whole || !masked || !known || length < 0 || length > most) {
                throw new ProtocolException("a frame that is not for this server");
            }
            var mask = new byte[4];
            in.readFully(mask);
            var payload = new byte[(int) length];
            in.readFully(payload);
            for (var i = 0; i < payload.length; i++) {
                payload[i] ^= mask[i % 4];
            }
            return new Message(kind, payload);
        }

        /** A message as it is written: made once, whoever it is for. */
        static byte[] frame(int kind, byte[] payload) {
            var n = payload.length;
            var frame = ByteBuffer.allocate(n + 10).put((byte) (0x80 | kind));
            if (n < 126) {
                frame.put((byte) n);
            } else if (n < 1 << 16) {
                frame.put((byte) 126).putShort((short) n);
            } else {
                frame.put((byte) 127).putLong(n);
            }
            frame.put(payload);
            return Arrays.copyOf(frame.array(), frame.position());
        }

        /** Writes frames. Only one thread may write. */
        void write(byte[] frames) throws IOException {
            socket.getOutputStream().write(frames);
        }

        /** For both directions; who waits in `read` or `write` gets an IOException. */
        @Override
        public void close() {
            try {
                socket.close();
            } catch (IOException e) {
                // Then it is closed already.
            }
        }
    }

    /** How a connection ended. */
    enum End {
        LEFT,
        /** Too many heartbeats without an answer. */
        GIVEN_UP,
        /** More waited to be written than may. */
        SLOW,
        /** An error, or a line that is not in the protocol. */
        BROKEN
    }

    /**
     * A connection to a user: lines in both directions, and heartbeats.
     *
     * <p>Three virtual threads read, write and beat, each in plain blocking code, and the first of
     * them to end ends the others. A heartbeat is a ping, whose eight bytes say when it was due, in
     * nanoseconds after `origin`.
     */
    static final class Line {
        private static final byte[] GOODBYE = WebSocket.frame(WebSocket.CLOSE, new byte[0]);

        private final WebSocket socket;
        private final BlockingQueue<byte[]> outbox;
        private final AtomicInteger unanswered = new AtomicInteger();
        private final ExecutorService scope = Executors.newVirtualThreadPerTaskExecutor();
        private volatile boolean slow;

        /** What is done with a line from the user. */
        interface Listener {
            void heard(String line) throws IOException;
        }

        /** At most so many messages wait to be written. */
        Line(WebSocket socket, int mostWaiting) {
            this.socket = socket;
            outbox = new LinkedBlockingQueue<>(mostWaiting);
        }

        /**
         * Puts a message where it waits to be written. Waits itself for nothing: false when there
         * is no place, and then the connection ends. Else the slowest reader would set the pace of
         * all.
         */
        boolean send(byte[] message) {
            var placed = outbox.offer(message);
            if (!placed) {
                slow = true;
                socket.close();
            }
            return placed;
        }

        boolean send(String line) {
            return send(text(line));
        }

        static byte[] text(String line) {
            return WebSocket.frame(WebSocket.TEXT, line.getBytes(StandardCharsets.UTF_8));
        }

        /** Begins something that ends with the connection at the latest. */
        void execute(Runnable work) {
            scope.execute(work);
        }

        /** Reads, writes and beats; returns when one of them has ended. */
        End run(Listener listener, Duration beat, int mostUnanswered, long origin) {
            List<Callable<End>> three = List.of(
                    () -> read(listener),
                    this::write,
                    () -> beat(beat, mostUnanswered, origin));
            try {
                // Interrupts the other two when one has ended. An error is an end as well.
                return scope.invokeAny(three.stream().map(this::unlessBroken).toList());
            } catch (InterruptedException | ExecutionException e) {
                return End.BROKEN;
            } finally {
                socket.close();
            }
        }

        /** Interrupts whatever was begun with `execute`, and returns when it has ended. */
        void close() {
            scope.shutdownNow();
            scope.close();
        }

        private Callable<End> unlessBroken(Callable<End> work) {
            return () -> {
                try {
                    return work.call();
                } catch (IOException e) {
                    return slow ? End.SLOW : End.BROKEN;
                }
            };
        }

        private End read(Listener listener) throws IOException, InterruptedException {
            while (true) {
                var message = socket.read();
                switch (message.kind()) {
                    case WebSocket.TEXT -> listener.heard(message.text());
                    case WebSocket.PONG -> unanswered.set(0);
                    case WebSocket.PING -> send(WebSocket.frame(WebSocket.PONG, message.payload()));
                    default -> {
                        // The writer says goodbye and ends, and then this does.
                        send(GOODBYE);
                        Thread.sleep(1000);
                        return End.LEFT;
                    }
                }
            }
        }

        private End write() throws IOException, InterruptedException {
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
            return End.LEFT;
        }

        private End beat(Duration beat, int mostUnanswered, long origin)
                throws InterruptedException {
            var period = beat.toNanos();
            // Spread, so that a thousand users are not a thousand pings at one instant.
            var due = System.nanoTime() - origin + ThreadLocalRandom.current().nextLong(period);
            while (true) {
                Thread.sleep(Duration.ofNanos(due - (System.nanoTime() - origin)));
                if (unanswered.getAndIncrement() >= mostUnanswered) {
                    return End.GIVEN_UP;
                }
                // No place in the queue is for those to notice who have something to say.
                var payload = ByteBuffer.allocate(8).putLong(due).array();
                outbox.offer(WebSocket.frame(WebSocket.PING, payload));
                // Those that fell due while the carrier was away are left out.
                var late = System.nanoTime() - origin - due;
                due += period * (1 + late / period);
            }
        }
    }
}
