import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

final class Lab02 {
    private static final String ABOUT = """
            lab02 in Java: a heartbeat beside a task that is busy once. Both are virtual threads,
            and one platform thread carries them: their scheduler's only carrier.

                --arm sleep          the task sleeps: its virtual thread parks and frees the carrier
                --arm thread_sleep   it sleeps in a static initializer, and keeps the carrier
                --arm compute        it computes
                --arm yield          it computes in slices, with Thread.yield() after each
                --arm threads        a pool of platform threads computes, and it waits for that
                --arm tasks          no heartbeat: what a sleeping virtual thread takes of memory
                --beat T             between two beats; a late one moves those that follow
                --busy T             how long the task is busy (compute: on a processor of its own)
                --slice T            of the arm yield
                --watch T            the heartbeat is watched so long, and a beat beyond the task
                --lead T             before the task is busy
                --tasks N            of the arm tasks
                --parent             end when standard input does

            Times in seconds. What is printed: see Common.java. A latency is the gap between two
            beats; of the arm tasks, the time from the beginning until a task runs. Gauges:
            longest_gap_s, busy_s (how long the task was really busy), client_cpu_share; of the arm
            tasks: tasks, bytes_per_task (of resident memory: the fewer tasks, the more of it is
            room that the heap has taken to grow in), client_cpu_share.
            """;

    private final String arm;
    private final Duration beat, busy, slice, watch, lead;
    private final int tasks;
    private final Common.Kernel kernel = new Common.Kernel();
    private final ExecutorService pool = Common.platformThreads(1);
    private Common.Books books = new Common.Books();
    private double longestGap, busyFor;
    private volatile boolean over;

    private Lab02(Common.Flags flags) {
        arm = flags.oneOf("--arm",
                "sleep", "thread_sleep", "compute", "yield", "threads", "tasks");
        beat = flags.time("--beat", 0.01, 0.001);
        watch = flags.time("--watch", 0.28, 0);
        lead = flags.time("--lead", 0.065, 0);
        busy = flags.time("--busy", 0.15, 0);
        slice = flags.time("--slice", 0.002, 0.0001);
        tasks = flags.count("--tasks", 10_000, 1, 1_000_000);
        flags.noOthers();
    }

    private void sleep() {
        // Parks: the carrier runs other virtual threads meanwhile.
        Common.sleep(busy);
    }

    private void sleepAndKeepTheCarrier() {
        // The virtual machine itself calls a static initializer. A stack with such a call on it
        // cannot be taken off its carrier, so that here Thread.sleep() stops the carrier as well:
        // the virtual thread is pinned. Before Java 24 a `synchronized` block did the same.
        Slow.nap = busy;
        Slow.Table.load();
    }

    // wrong: A virtual thread computes
    private void compute() {
        // Nothing here waits, and nothing interrupts it: the carrier is taken until the end.
        kernel.work(busy);
    }

    // right: A platform thread computes, and the virtual thread waits for it
    // so: A virtual thread that waits frees its carrier, and one that computes keeps it, since Java
    // does not preempt virtual threads. The operating system does preempt platform threads.
    private void computeOnAPool() {
        CompletableFuture.runAsync(() -> kernel.work(busy), pool).join();
    }

    private void computeInSlicesAndYield() {
        // Looks like the cure, and is none here. Virtual threads that wait for the carrier stand in
        // several queues. Who yields goes to the end of one, and the carrier empties that one
        // before it looks at the next, where the timer has put the heartbeat.
        for (var left = busy; left.isPositive(); left = left.minus(slice)) {
            kernel.work(left.compareTo(slice) < 0 ? left : slice);
            Thread.yield();
        }
    }

    private void watch(Runnable task) {
        // What is done for the first time takes longer, as classes are loaded for it.
        heartbeat(() -> {}, Duration.ofMillis(1), Duration.ofMillis(10), Duration.ZERO);
        books = new Common.Books();
        longestGap = 0;
        var time = new Common.Watch();
        heartbeat(task, beat, lead, watch);
        var wall = time.seconds();
        books.gauge("longest_gap_s", longestGap);
        books.gauge("busy_s", busyFor);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, 0);
    }

    private void heartbeat(Runnable task, Duration beat, Duration lead, Duration watch) {
        over = false;
        // A scope: it does not close before its tasks have ended. (StructuredTaskScope is made for
        // this, and can end its tasks besides; it is a preview still.)
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            scope.execute(() -> {
                long begin = System.nanoTime(), last = begin;
                boolean afterTheTask;
                do {
                    afterTheTask = over;
                    Common.sleep(beat);
                    var gap = Common.since(last);
                    last = System.nanoTime();
                    longestGap = Math.max(longestGap, gap);
                    books.enter(Common.OK, gap);
                } while (!afterTheTask || Common.since(begin) < Common.seconds(watch));
            });
            scope.execute(() -> {
                Common.sleep(lead);
                var begin = System.nanoTime();
                task.run();
                busyFor = Common.since(begin);
                over = true;
            });
        }
    }

    private void countMemory() throws InterruptedException {
        // What the first thousand need is no part of what one needs.
        begin(1000, new Common.Books(), Duration.ZERO);
        System.gc();
        var before = residentBytes();
        var time = new Common.Watch();
        begin(tasks, books, Duration.ofHours(1));
        var wall = time.seconds();
        // What was needed to begin them is no part of what they need.
        System.gc();
        books.gauge("tasks", tasks);
        books.gauge("bytes_per_task", (residentBytes() - before) / tasks);
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, 0);
    }

    private static void begin(int n, Common.Books books, Duration nap) throws InterruptedException {
        var begin = System.nanoTime();
        var asleep = new CountDownLatch(n);
        for (var i = 0; i < n; i++) {
            Thread.startVirtualThread(() -> {
                books.enter(Common.OK, Common.since(begin));
                asleep.countDown();
                Common.sleep(nap);
            });
        }
        asleep.await();
    }

    /** No number where there is no /proc. */
    private static double residentBytes() {
        try (var lines = Files.lines(Path.of("/proc/self/status"))) {
            var resident = lines.filter(line -> line.startsWith("VmRSS:")).findFirst().orElse("");
            return 1024 * Double.parseDouble(resident.replaceAll("\\D", ""));
        } catch (IOException | NumberFormatException e) {
            return Double.NaN;
        }
    }

    private void run() throws InterruptedException {
        switch (arm) {
            case "sleep" -> watch(this::sleep);
            case "thread_sleep" -> watch(this::sleepAndKeepTheCarrier);
            case "compute" -> watch(this::compute);
            case "yield" -> watch(this::computeInSlicesAndYield);
            case "threads" -> watch(this::computeOnAPool);
            default -> countMemory();
        }
    }

    public static void main(String[] args) throws InterruptedException {
        Common.carriers(1);
        new Lab02(new Common.Flags(ABOUT, args)).run();
    }

    /** Whoever uses Table first runs its static initializer; until then it is not even loaded. */
    private static final class Slow {
        private static Duration nap;

        private static final class Table {
            static {
                Common.sleep(nap);
            }

            static void load() {}
        }
    }
}
