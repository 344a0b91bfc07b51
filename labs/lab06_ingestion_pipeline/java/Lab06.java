import java.util.Arrays;
import java.util.Iterator;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;

final class Lab06 {
    private static final String ABOUT = """
            lab06 in Java: a text in chunks to an embeddings endpoint, in batches or a window.

                --arm window         M at a time, and a new one for each that is done
                --arm batch          a batch, a wait for the last of it, the next batch
                --chunks N           how many chunks
                --chunk B            bytes of a chunk
                --batch SIZE         chunks in a batch
                --concurrency M      requests in flight; also the connections of the client
                --seed S             of the text
                --timeout T          of one request
                --url URL            the upstream
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. What is printed: see Common.java. What is offered are chunks; a
            latency is the time from the sending of a chunk to its answer. Gauges: chunks_per_s,
            in_flight_mean (sum of the times of all requests over the time of the whole),
            client_cpu_share.
            """;

    private final String arm;
    private final int chunks, chunk, batch, concurrency, seed;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();

    private Lab06(Common.Flags flags) {
        arm = flags.oneOf("--arm", "window", "batch");
        chunks = flags.count("--chunks", 1024, 1, 1_000_000);
        chunk = flags.count("--chunk", 1024, 1, 1 << 30);
        batch = flags.count("--batch", 50, 1, 1_000_000);
        concurrency = flags.count("--concurrency", 25, 1, 10_000);
        seed = flags.count("--seed", 1, 0, Integer.MAX_VALUE);
        upstream = new Common.Upstream(flags, concurrency, flags.time("--timeout", 60, 0.001));
        flags.noOthers();
    }

    private void embed(byte[] chunk) {
        var sent = System.nanoTime();
        var fate = upstream.post("/embeddings", chunk);
        books.enter(fate, Common.since(sent));
    }

    // wrong: A scope for each batch
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

    // right: One scope for all, and a permit before each thread
    // so: Whichever request ends lets the next one begin. The permit comes before the thread, so
    // that neither threads nor their chunks pile up: a virtual thread is cheap, what it holds is
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

    /** The chunks, one at a time, out of one short text: never are all of them in memory. */
    private Iterator<byte[]> text() {
        var random = new Random(seed);
        var letters = "etaoin shrdlu ";
        var text = new byte[chunk + 1000];
        for (var i = 0; i < text.length; i++) {
            text[i] = (byte) letters.charAt(random.nextInt(letters.length()));
        }
        var places = random.ints(chunks, 0, 1000);
        return places.mapToObj(at -> Arrays.copyOfRange(text, at, at + chunk)).iterator();
    }

    private void run() {
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

    public static void main(String[] args) {
        new Lab06(new Common.Flags(ABOUT, args)).run();
    }
}
