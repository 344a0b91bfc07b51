import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.DoubleAdder;

final class Lab04 {
    private static final String ABOUT = """
            lab04 in Java: N requests at once behind a semaphore, behind a pool, behind nothing.

                --requests N
                --limit M            permits of one Semaphore for all; 0 for none
                --pool C             connections of the client; 0 is no limit, which is the default
                --timeout T          how long a request waits once it is sent
                --url URL            the upstream
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. What is printed: see Common.java. Gauges: goodput_per_s,
            ok_from_sending_s (mean time of the successes from the permit to the answer, the clock
            that does not see the wait), client_cpu_share.
            """;

    private final int requests, limit;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();
    private final DoubleAdder okFromSending = new DoubleAdder();
    private Common.Watch time;

    private Lab04(Common.Flags flags) {
        requests = flags.count("--requests", 1000, 1, 100_000);
        limit = flags.count("--limit", 0, 0, 100_000);
        var pool = flags.count("--pool", 0, 0, 100_000);
        upstream = new Common.Upstream(flags, pool, flags.time("--timeout", 0.325, 0.001));
        flags.noOthers();
    }

    // wrong: a virtual thread for each request, and all of them send
    private void allAtOnce() {
        // A pool of platform threads had a limit, if only by accident. A virtual thread for each
        // request has none. A pool of connections would be one, with a difference: the clock of the
        // timeout runs in its queue.
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var i = 0; i < requests; i++) {
                scope.execute(this::send);
            }
        }
    }

    // right: a virtual thread for each request, and a permit before it sends
    // so: Virtual threads are cheap, what they ask for is not. To wait for a permit costs no
    // carrier and no connection, and the clock of the timeout starts after it.
    private void behindASemaphore() {
        var permits = new Semaphore(limit);
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var i = 0; i < requests; i++) {
                scope.execute(() -> {
                    permits.acquireUninterruptibly();
                    try {
                        send();
                    } finally {
                        permits.release();
                    }
                });
            }
        }
    }

    private void send() {
        var sent = System.nanoTime();
        var fate = upstream.get("");
        if (fate.equals(Common.OK)) {
            okFromSending.add(Common.since(sent));
        }
        books.enter(fate, time.seconds());
    }

    private void run() {
        var doors = upstream.openConnections(limit > 0 ? limit : requests);
        time = new Common.Watch();
        if (limit > 0) {
            behindASemaphore();
        } else {
            allAtOnce();
        }
        var wall = time.seconds();
        var ok = books.count(Common.OK);
        books.gauge("goodput_per_s", ok / wall);
        books.gauge("ok_from_sending_s", okFromSending.sum() / ok);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, doors);
    }

    public static void main(String[] args) {
        new Lab04(new Common.Flags(ABOUT, args)).run();
    }
}
