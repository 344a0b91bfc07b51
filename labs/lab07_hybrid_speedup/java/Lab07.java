import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

final class Lab07 {
    private static final String ABOUT = """
            lab07 in Java: N items, each fetched and then processed (real computation).

                --arm hybrid         C fetches at a time on virtual threads, computing on a pool of
                                     W platform threads
                --arm sequential     one item after another
                --arm async          C fetches at a time on virtual threads, which compute as well
                --arm threads        W platform threads; each fetches, waits for its item, computes
                --items N
                --cost P             seconds of computation an item takes on a processor of its own
                --concurrency C      fetches at a time of the arms with virtual threads
                --workers W
                --work compute|sleep what processing does; sleeping needs no processor
                --timeout T          of one fetch
                --url URL            the upstream, which decides how long a fetch takes
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. One carrier thread carries all virtual threads. What is printed: see
            Common.java. A latency is the time from the start of an item's fetch to the end of its
            processing. Calibration and the start of the pool come before the clock. Gauges:
            items_per_s, kernel_rounds_per_s, cost_alone_s (one item's processing, measured alone
            just before), client_cpu_share.
            """;

    private final String arm;
    private final Duration cost;
    private final int items, workers;
    private final boolean sleeps;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();
    private final Common.Kernel kernel = new Common.Kernel();
    private final Semaphore permits;
    private final ExecutorService pool;

    private Lab07(Common.Flags flags) {
        arm = flags.oneOf("--arm", "hybrid", "sequential", "async", "threads");
        items = flags.count("--items", 20, 1, 1_000_000);
        cost = flags.time("--cost", 0.02, 0);
        var concurrency = flags.count("--concurrency", 10, 1, 10_000);
        workers = flags.count("--workers", 2, 1, 256);
        sleeps = flags.oneOf("--work", "compute", "sleep").equals("sleep");
        upstream = new Common.Upstream(flags, 0, flags.time("--timeout", 60, 0.001));
        flags.noOthers();
        permits = new Semaphore(switch (arm) {
            case "sequential" -> 1;
            case "threads" -> workers;
            default -> concurrency;
        });
        pool = Common.platformThreads(workers);
    }

    private void process() {
        if (sleeps) {
            Common.sleep(cost);
        } else {
            kernel.work(cost);
        }
    }

    private void oneAfterAnother() {
        for (var i = 0; i < items; i++) {
            fetchAndThen(this::process);
        }
    }

    // wrong: A virtual thread for each item, and it computes
    private void onVirtualThreads() {
        // While one of them computes, the carrier carries no other: what has been fetched meanwhile
        // waits, and so does what could be asked for.
        eachOnAVirtualThread(this::process);
    }

    // right: Virtual threads fetch, and a pool of platform threads computes
    // so: A virtual thread waits for an item, and then for the pool; both are waits, which cost no
    // carrier. So the fetches go on while as many items are computed as the pool has threads.
    private void hybrid() {
        eachOnAVirtualThread(() -> CompletableFuture.runAsync(this::process, pool).join());
    }

    private void onPlatformThreads() {
        // Computes on W processors, but a worker that waits for its item computes nothing.
        var taken = new AtomicInteger();
        try (pool) {
            for (var worker = 0; worker < workers; worker++) {
                pool.execute(() -> {
                    while (taken.getAndIncrement() < items) {
                        fetchAndThen(this::process);
                    }
                });
            }
        }
    }

    private void eachOnAVirtualThread(Runnable process) {
        // A scope: it does not close before its tasks have ended.
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var i = 0; i < items; i++) {
                scope.execute(() -> fetchAndThen(process));
            }
        }
    }

    private void fetchAndThen(Runnable process) {
        // The permit is for the fetch alone: what is processed holds up no fetch.
        permits.acquireUninterruptibly();
        var sent = System.nanoTime();
        var fate = upstream.get("");
        permits.release();
        if (fate.equals(Common.OK)) {
            process.run();
        }
        books.enter(fate, Common.since(sent));
    }

    private void run() {
        var doors = upstream.openConnections(permits.availablePermits());
        var alone = System.nanoTime();
        process();
        books.gauge("cost_alone_s", Common.since(alone));
        var time = new Common.Watch();
        switch (arm) {
            case "sequential" -> oneAfterAnother();
            case "async" -> onVirtualThreads();
            case "threads" -> onPlatformThreads();
            default -> hybrid();
        }
        var wall = time.seconds();
        books.gauge("items_per_s", books.count(Common.OK) / wall);
        books.gauge("kernel_rounds_per_s", kernel.stepsPerSecond);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, doors);
    }

    public static void main(String[] args) {
        Common.carriers(1);
        new Lab07(new Common.Flags(ABOUT, args)).run();
    }
}
