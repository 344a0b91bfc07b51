import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

final class Lab01 {
    private static final String ABOUT = """
            lab01 in Java: waits and computations, one after another, concurrent, and parallel.

                --arm waits/sequential    one after another
                --arm waits/concurrent    a virtual thread each, all on one carrier thread
                --arm waits/threads       a platform thread each
                --arm jobs/sequential     computations, one after another
                --arm jobs/concurrent     a virtual thread each, all on one carrier thread
                --arm jobs/threads        on a pool of platform threads
                --arm jobs/slept          sleeps in place of computations, a platform thread each
                --waits T,T,...           how long each wait is
                --jobs N                  how many computations
                --cost T                  what one takes on a processor of its own
                --threads N               of the pool
                --parent                  end when standard input does

            Times in seconds. What is printed: see Common.java. A latency is the time from the
            common beginning to the end of a wait or job. Calibration and the start of the pool come
            before the clock. Gauges: kernel_steps_per_s, cost_alone_s (one job alone, just before),
            client_cpu_share.
            """;

    private final String arm;
    private final List<Duration> waits;
    private final Duration cost;
    private final int jobs, threads;
    private Common.Books books = new Common.Books();
    private Common.Watch time = new Common.Watch();

    private Lab01(Common.Flags flags) {
        arm = flags.oneOf("--arm", "waits/sequential", "waits/concurrent", "waits/threads",
                "jobs/sequential", "jobs/concurrent", "jobs/threads", "jobs/slept");
        waits = flags.times("--waits", "0.15,0.05,0.1");
        jobs = flags.count("--jobs", 4, 1, 1000);
        cost = flags.time("--cost", 0.05, 0);
        threads = flags.count("--threads", 2, 1, 256);
        flags.noOthers();
    }

    private void oneAfterAnother(List<Runnable> works) {
        works.forEach(Runnable::run);
    }

    // wrong(2): a virtual thread for each computation
    private void onVirtualThreads(List<Runnable> works) {
        // Right for waits: who waits is off its carrier, and one carrier is enough for thousands.
        // But who computes stays on it, and here there is one. By default there are as many as
        // processors, and then computations keep them all from everything that waits.
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            works.forEach(scope::execute);
        }
    }

    // right(2): a pool with a platform thread for each processor
    // so(2): Virtual threads make waiting cheap. They add no processors, so that computations take as
    // long as one after another on as many carriers; a pool says how many processors these may
    // have.
    private void onAPool(List<Runnable> works, ExecutorService pool) {
        // Closing waits for the works.
        try (pool) {
            works.forEach(pool::execute);
        }
    }

    private Runnable timed(Runnable work) {
        return () -> {
            work.run();
            books.enter(Common.OK, time.seconds());
        };
    }

    private void run() {
        var kernel = new Common.Kernel();
        var alone = System.nanoTime();
        kernel.work(cost);
        var costAlone = Common.since(alone);
        var works = new ArrayList<Runnable>();
        if (arm.startsWith("waits/")) {
            waits.forEach(wait -> works.add(timed(() -> Common.sleep(wait))));
        } else {
            var slept = arm.equals("jobs/slept");
            Runnable job = slept ? () -> Common.sleep(cost) : () -> kernel.work(cost);
            works.addAll(Collections.nCopies(jobs, timed(job)));
        }
        var pool = Common.platformThreads(arm.equals("jobs/threads") ? threads : works.size());
        // What is done for the first time takes longer, as classes are loaded for it.
        onVirtualThreads(List.of(timed(() -> Common.sleep(Duration.ofMillis(1)))));

        books = new Common.Books();
        time = new Common.Watch();
        switch (arm.split("/")[1]) {
            case "sequential" -> oneAfterAnother(works);
            case "concurrent" -> onVirtualThreads(works);
            default -> onAPool(works, pool);
        }
        var wall = time.seconds();
        books.gauge("kernel_steps_per_s", kernel.stepsPerSecond);
        books.gauge("cost_alone_s", costAlone);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, 0);
    }

    public static void main(String[] args) {
        Common.carriers(1);
        new Lab01(new Common.Flags(ABOUT, args)).run();
    }
}
