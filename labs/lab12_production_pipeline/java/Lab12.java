import java.io.FileWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

final class Lab12 {
    private static final String ABOUT = """
            lab12 in Java: fetch, process, store, with failures, in batches or through a window.

                --arm window         B at a time, and a new one for each that is done
                --arm batches        B at a time, and the next B when the slowest of them is done
                --items N            numbered from 0; item i is fetched from URL/items/i
                --batch B            items under way at the same time
                --fetch-timeout T
                --attempts A         at a fetch that fails
                --backoff T          most that is waited before the second attempt; twice as long
                                     before the next, and 20 s at most
                --process P          seconds of computation an item takes on a processor of its own
                --workers W          platform threads that compute
                --process-timeout T
                --store S            seconds a write takes to get to the database and back
                --store-timeout T
                --hang-every K       the write of every K-th item gets no answer (0: every one does)
                --connections D      writes on their way at the same time
                --seed S             of the back-offs
                --url URL            the upstream, which decides which fetches fail
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. The database is a file of JSON lines in a temporary folder; what it
            does not take within the timeout goes to a fallback file. What is printed: see
            Common.java. Items are offered: ok are those in the database or the fallback file,
            failed those without a result, by the status of their fetch; an item whose fetch or
            processing timed out counts as timed out. A latency is the time from an item's first
            fetch to the end of its store. Gauges: items_per_s, in_database, in_fallback (both
            counted in the files at the end), requests, fetch_mean_s, process_mean_s, store_mean_s,
            client_cpu_share.
            """;

    private final String arm;
    private final int items, batch, attempts, hangEvery;
    private final Duration backoff, process, processTimeout, store, storeTimeout;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();
    private final Common.Kernel kernel = new Common.Kernel();
    private final Semaphore connections;
    private final ExecutorService pool;
    private final ExecutorService writes = Executors.newVirtualThreadPerTaskExecutor();
    private final Random random;
    private final AtomicInteger requests = new AtomicInteger();
    private final Common.Mean fetching = new Common.Mean();
    private final Common.Mean processing = new Common.Mean();
    private final Common.Mean storing = new Common.Mean();
    private final Path folder = Common.temporaryFolder();
    private final Writer database, fallback;

    private Lab12(Common.Flags flags) throws IOException {
        arm = flags.oneOf("--arm", "window", "batches");
        items = flags.count("--items", 100, 1, 1_000_000);
        batch = flags.count("--batch", 10, 1, 100_000);
        attempts = flags.count("--attempts", 2, 1, 256);
        backoff = flags.time("--backoff", 0.005, 0);
        process = flags.time("--process", 0.006, 0);
        processTimeout = flags.time("--process-timeout", 2, 0.001);
        store = flags.time("--store", 0.015, 0);
        storeTimeout = flags.time("--store-timeout", 0.15, 0.001);
        hangEvery = flags.count("--hang-every", 20, 0, 1_000_000);
        var workers = flags.count("--workers", 2, 1, 256);
        connections = new Semaphore(flags.count("--connections", 4, 1, 10_000));
        random = new Random(flags.count("--seed", 1, 0, Integer.MAX_VALUE));
        upstream = new Common.Upstream(flags, batch, flags.time("--fetch-timeout", 2, 0.001));
        flags.noOthers();
        pool = Common.platformThreads(workers);
        // An interrupt does not cut their writing off, as it does that of Files and of channels.
        database = new FileWriter(folder.resolve("items.jsonl").toFile());
        fallback = new FileWriter(folder.resolve("fallback.jsonl").toFile());
    }

    // wrong: A scope for each batch
    private void inBatches() {
        // A scope ends with the last of its tasks: the slowest of ten holds up nine.
        for (var first = 0; first < items; first += batch) {
            try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
                for (var i = first; i < Math.min(first + batch, items); i++) {
                    var item = i;
                    scope.execute(() -> take(item));
                }
            }
        }
    }

    // right: One scope, with a lane for each item that may be under way
    // so: Each lane takes the next item when it has done one, and none waits for another. Virtual
    // threads need no pool to be few; the lanes are few for the sake of what they ask for.
    private void inAWindow() {
        var next = new AtomicInteger();
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var lane = 0; lane < batch; lane++) {
                scope.execute(() -> {
                    for (int item; (item = next.getAndIncrement()) < items; ) {
                        take(item);
                    }
                });
            }
        }
    }

    /** One item, from the first fetch to the end: it waits as if nothing else were to be done. */
    private void take(int item) {
        var began = System.nanoTime();
        var fate = fetching.of(() -> fetch(item));
        if (fate.equals(Common.OK)) {
            fate = processing.of(this::process);
        }
        if (fate.equals(Common.OK)) {
            storing.of(() -> store(item));
        }
        books.enter(fate, Common.since(began));
    }

    private String fetch(int item) {
        var wait = Common.seconds(backoff);
        for (var attempt = 1; ; attempt++) {
            requests.incrementAndGet();
            var fate = upstream.get("/items/" + item);
            var last = fate.equals(Common.OK) || fate.equals("body") || fate.startsWith("status 4");
            if (last || attempt == attempts) {
                return fate;
            }
            Common.sleep(Common.duration(random.nextDouble() * Math.min(wait, 20)));
            wait *= 2;
        }
    }

    private String process() {
        // Items wait in the pool's queue until a worker is free, and no clock runs there.
        return CompletableFuture.supplyAsync(this::computeInTime, pool).join();
    }

    /** Nobody can stop a computation from outside: it looks at the clock itself. */
    private String computeInTime() {
        var begin = System.nanoTime();
        var slice = Duration.ofMillis(2);
        for (var left = process; left.isPositive(); left = left.minus(slice)) {
            if (Common.since(begin) > Common.seconds(processTimeout)) {
                return Common.TIMED_OUT;
            }
            kernel.work(left.compareTo(slice) < 0 ? left : slice);
        }
        return Common.OK;
    }

    private String store(int item) {
        // Whoever is first, the write or the fallback after its timeout, stores it, and once.
        var stored = new AtomicBoolean();
        connections.acquireUninterruptibly();
        try {
            if (within(storeTimeout, writes.submit(() -> write(item, stored)))) {
                return Common.OK;
            }
        } finally {
            connections.release();
        }
        if (stored.compareAndSet(false, true)) {
            append(fallback, item);
        }
        return Common.OK;
    }

    private void write(int item, AtomicBoolean stored) {
        var half = store.dividedBy(2);
        Common.sleep(half);
        if (hangEvery > 0 && item % hangEvery == 0) {
            Common.sleep(Duration.ofHours(1));
        }
        if (stored.compareAndSet(false, true)) {
            append(database, item);
        }
        Common.sleep(half);
    }

    private static void append(Writer file, int item) {
        try {
            file.write("{\"item\": " + item + "}\n");
            file.flush();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** True when it is done in time; else it is interrupted, and whoever waits in it wakes up. */
    private static boolean within(Duration timeout, Future<?> future) {
        try {
            future.get(timeout.toNanos(), TimeUnit.NANOSECONDS);
            return true;
        } catch (TimeoutException e) {
            future.cancel(true);
            return false;
        } catch (InterruptedException | ExecutionException e) {
            throw new IllegalStateException(e);
        }
    }

    private long lines(String file) throws IOException {
        try (var lines = Files.lines(folder.resolve(file))) {
            return lines.count();
        }
    }

    private void run() throws IOException {
        var doors = upstream.openConnections(batch);
        // What is done for the first time takes longer, as classes are loaded for it.
        try (var first = new FileWriter(folder.resolve("first.jsonl").toFile())) {
            within(Duration.ofSeconds(10), writes.submit(() -> append(first, 0)));
        }
        var time = new Common.Watch();
        if (arm.equals("batches")) {
            inBatches();
        } else {
            inAWindow();
        }
        var wall = time.seconds();
        var share = time.cpuShare();
        // Waits for what is still being written.
        writes.close();
        long inDatabase = lines("items.jsonl"), inFallback = lines("fallback.jsonl");
        if (inDatabase + inFallback != books.count(Common.OK)) {
            throw Common.stop(1, inDatabase + " in the database and " + inFallback
                    + " in the fallback file, but " + books.count(Common.OK) + " stored");
        }
        books.gauge("items_per_s", books.count(Common.OK) / wall);
        books.gauge("in_database", inDatabase);
        books.gauge("in_fallback", inFallback);
        books.gauge("requests", requests.get());
        books.gauge("fetch_mean_s", fetching.seconds());
        books.gauge("process_mean_s", processing.seconds());
        books.gauge("store_mean_s", storing.seconds());
        books.gauge("client_cpu_share", share);
        books.close(wall, doors);
    }

    public static void main(String[] args) throws IOException {
        new Lab12(new Common.Flags(ABOUT, args)).run();
    }
}
