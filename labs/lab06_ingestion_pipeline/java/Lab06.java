import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.stream.Stream;

final class Lab06 {
    private static final String ABOUT = """
            lab06 in Java: a text in chunks to an embeddings endpoint, in batches or a window.

                --arm window         M at a time, and a new one for each that is done
                --arm batch          a batch, a wait for the last of it, the next batch
                --chunks N           how many chunks
                --chunk B            bytes of a chunk
                --batch SIZE         chunks in a batch
                --concurrency M      requests in flight; also the connections of the client
                --path PATH          of the endpoint
                --input FILE         the text; else one is made (--seed)
                --timeout T          of one request
                --url URL            the upstream
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. What is printed: see Common.java. What is offered are chunks; a
            latency is the time from the sending of a chunk to its answer. Gauges: chunks_per_s,
            in_flight_mean (sum of the times of all requests over the time of the whole),
            client_cpu_share.
            """;

    private final String arm, path, input;
    private final int chunks, chunk, batch, concurrency, seed;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();

    private Lab06(Common.Flags flags) {
        arm = flags.oneOf("--arm", "window", "batch");
        chunks = flags.count("--chunks", 1024, 1, 1_000_000);
        chunk = flags.count("--chunk", 1024, 1, 1 << 20);
        batch = flags.count("--batch", 50, 1, 1_000_000);
        concurrency = flags.count("--concurrency", 25, 1, 10_000);
        path = flags.path("--path", "/embeddings");
        input = flags.text("--input", "");
        seed = flags.count("--seed", 1, 0, Integer.MAX_VALUE);
        upstream = new Common.Upstream(flags, concurrency, flags.time("--timeout", 60, 0.001));
        flags.noOthers();
        if (input.isEmpty() && (long) chunks * chunk > 1 << 28) {
            throw Common.stop(2, "--chunks and --chunk: a text of more than 256 MiB is not made");
        }
        if (!input.isEmpty() && !Files.isRegularFile(Path.of(input))) {
            throw Common.stop(2, "--input " + input + ": there is no such file");
        }
    }

    private void embed(byte[] chunk) {
        var sent = System.nanoTime();
        var fate = upstream.post(path, chunk);
        books.enter(fate, Common.since(sent));
    }

    // wrong: a scope for each batch
    private void inBatches(Iterator<byte[]> text) {
        // A scope ends with the last of its tasks: the slowest of a batch holds up all that follow.
        var permits = new Semaphore(concurrency);
        while (text.hasNext()) {
            try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
                for (var i = 0; i < batch && text.hasNext(); i++) {
                    embedNext(text, permits, scope);
                }
            }
        }
    }

    // right: one scope for all, and a permit before each chunk
    // so: Whichever request ends lets the next one begin. The permit comes before the chunk is read
    // and its thread begun, so that neither pile up: a virtual thread is cheap, what it holds is
    // not.
    private void inAWindow(Iterator<byte[]> text) {
        var permits = new Semaphore(concurrency);
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            while (text.hasNext()) {
                embedNext(text, permits, scope);
            }
        }
    }

    private void embedNext(Iterator<byte[]> text, Semaphore permits, ExecutorService scope) {
        permits.acquireUninterruptibly();
        var chunk = text.next();
        scope.execute(() -> {
            try {
                embed(chunk);
            } finally {
                permits.release();
            }
        });
    }

    /** The chunks, one at a time: a file is never in memory as a whole. */
    private Iterator<byte[]> text() throws IOException {
        if (!input.isEmpty()) {
            var file = new BufferedInputStream(Files.newInputStream(Path.of(input)));
            var read = Stream.generate(() -> read(file)).limit(chunks);
            return read.takeWhile(bytes -> bytes.length > 0).iterator();
        }
        var random = new Random(seed);
        var letters = "etaoinshrdlu".repeat(8) + " ".repeat(20);
        var made = new ArrayList<byte[]>();
        for (var i = 0; i < chunks; i++) {
            var bytes = new byte[chunk];
            for (var at = 0; at < chunk; at++) {
                bytes[at] = (byte) letters.charAt(random.nextInt(letters.length()));
            }
            made.add(bytes);
        }
        return made.iterator();
    }

    private byte[] read(InputStream file) {
        try {
            return file.readNBytes(chunk);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void run() throws IOException {
        // To make a text is no part of the pipeline.
        var text = text();
        var doors = upstream.openConnections(concurrency);
        var time = new Common.Watch();
        if (arm.equals("batch")) {
            inBatches(text);
        } else {
            inAWindow(text);
        }
        var wall = time.seconds();
        books.gauge("chunks_per_s", books.count(Common.OK) / wall);
        books.gauge("in_flight_mean", books.sumOfAttempts() / wall);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, doors);
    }

    public static void main(String[] args) throws IOException {
        new Lab06(new Common.Flags(ABOUT, args)).run();
    }
}
