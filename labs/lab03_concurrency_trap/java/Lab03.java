import java.time.Duration;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.DoubleAdder;

final class Lab03 {
    private static final String ABOUT = """
            lab03 in Java: a burst, or a sustained load, with virtual threads and HttpClient.

                --arm burst          N requests at once, and that is all
                --arm sustained      N clients that each send, wait for the answer and send again
                --clients N
                --pool M             connections of the client; 0 is no limit, which is the default
                --timeout T          how long a client waits

            and for the sustained load

                --ramp, --ramped     the first RAMPED clients start one after another over RAMP
                --warm-up, --window  what starts in the warm-up is not counted
                --pause, --seed      mean pause after a refusal: half to one and a half times this

                --url URL            the upstream
                --doors A,B,...      milliseconds of its /open-connections/0, /1, ...
                --parent             end when standard input does

            Times in seconds. What is printed: see Common.java. Gauges: goodput_per_s,
            attempts_per_s, client_cpu_share (processor time of this process over the time of the
            load).
            """;

    private final String arm;
    private final int clients, ramped, seed;
    private final Duration ramp, warmUp, window, pause;
    private final Common.Upstream upstream;
    private final Common.Books books = new Common.Books();
    private final DoubleAdder attemptsInside = new DoubleAdder(), okInside = new DoubleAdder();

    private Lab03(Common.Flags flags) {
        arm = flags.oneOf("--arm", "burst", "sustained");
        clients = flags.count("--clients", 100, 1, 100_000);
        ramped = flags.count("--ramped", 1, 0, 100_000);
        seed = flags.count("--seed", 1, 0, Integer.MAX_VALUE);
        ramp = flags.time("--ramp", 0, 0);
        warmUp = flags.time("--warm-up", 0.5, 0);
        window = flags.time("--window", 1, 0.001);
        pause = flags.time("--pause", 0, 0);
        var pool = flags.count("--pool", 0, 0, 100_000);
        var timeout = flags.time("--timeout", 0.325, 0.001);
        upstream = pool > 0 ? pooled(flags, pool, timeout) : unpooled(flags, timeout);
        flags.noOthers();
    }

    // wrong(2): A client whose pool is a semaphore nobody sees
    private static Common.Upstream pooled(Common.Flags flags, int pool, Duration timeout) {
        return new Common.Upstream(flags, pool, timeout);
    }

    // right(2): A client with a connection for each request
    // so(2): In the pooled client the clock of the timeout runs while a request waits for a
    // connection, and the service never sees it.
    private static Common.Upstream unpooled(Common.Flags flags, Duration timeout) {
        // 0 is no limit, as in Java by itself.
        return new Common.Upstream(flags, 0, timeout);
    }

    private void burst(long begin) {
        // They cost next to nothing here, which is why nothing here holds them back. The upstream
        // serves no more at a time than before; the rest wait there, until they have timed out.
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var i = 0; i < clients; i++) {
                scope.execute(() -> books.enter(upstream.get(""), Common.since(begin)));
            }
        }
    }

    private void sustained(long origin) {
        try (var scope = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var i = 0; i < clients; i++) {
                var client = i;
                scope.execute(() -> oneClient(client, origin));
            }
        }
    }

    /** Every attempt counts with the part of its time in flight that lies inside the window. */
    private void oneClient(int i, long origin) {
        var random = new Random(seed * 1_000_003L + i);
        var share = Math.min(1.0, i / (double) Math.max(ramped, 1));
        var start = Common.seconds(ramp) * share - Common.since(origin);
        Common.sleep(Common.duration(Math.max(0, start)));
        var begin = Common.seconds(warmUp);
        var end = begin + Common.seconds(window);
        for (double sent; (sent = Common.since(origin)) < end; ) {
            var fate = upstream.get("");
            var now = Common.since(origin);
            var inside = Math.max(0, Math.min(now, end) - Math.max(sent, begin));
            var part = inside / Math.max(now - sent, 1e-9);
            attemptsInside.add(part);
            okInside.add(fate.equals(Common.OK) ? part : 0);
            if (sent >= begin) {
                books.enter(fate, now - sent);
            }
            if (fate.equals(Common.REJECTED)) {
                var wait = Common.seconds(pause) * (0.5 + random.nextDouble());
                if (now + wait >= end) {
                    return;
                }
                Common.sleep(Common.duration(wait));
            }
        }
    }

    private void run() {
        var doors = upstream.openConnections(clients);
        var time = new Common.Watch();
        double wall;
        if (arm.equals("burst")) {
            burst(time.begin);
            wall = time.seconds();
            books.gauge("goodput_per_s", books.count(Common.OK) / wall);
            books.gauge("attempts_per_s", clients / wall);
        } else {
            sustained(time.begin);
            wall = Common.seconds(window);
            books.gauge("goodput_per_s", okInside.sum() / wall);
            books.gauge("attempts_per_s", attemptsInside.sum() / wall);
        }
        books.gauge("client_cpu_share", time.cpuShare());
        books.close(wall, doors);
    }

    public static void main(String[] args) {
        new Lab03(new Common.Flags(ABOUT, args)).run();
    }
}
