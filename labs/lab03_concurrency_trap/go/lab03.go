// lab03 in Go: a burst, or a sustained load, with net/http.
//
//	--arm burst          N requests at once, and that is all
//	--arm sustained      N clients that each send, wait for the answer and send again
//	--clients N
//	--pool M             connections of the client; 0, Go's default, is no limit
//	--timeout T          how long a client waits
//	--url, --doors, --parent: see common.go
//
// and for the sustained load
//
//	--ramp, --ramped     the first RAMPED clients start one after another over RAMP
//	--warm-up, --window  what starts in the warm-up is not counted
//	--pause, --seed      mean pause after a refusal: half to one and a half times this
//
// Gauges: goodput_per_s, attempts_per_s, client_cpu_share (processor time of this process over the
// time of the load). What else is printed: see common.go.
package main

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

var (
	service = upstream()
	arm     = choice("arm", "burst", "sustained")
	clients = count("clients", 100, 1, 100_000)
	pool    = count("pool", 0, 0, 100_000)
	timeout = seconds("timeout", 0.325, 0.001)
	ramp    = seconds("ramp", 0, 0)
	ramped  = count("ramped", 1, 0, 100_000)
	warmUp  = seconds("warm-up", 0.5, 0)
	window  = seconds("window", 1, 0.001)
	pause   = seconds("pause", 0, 0)
	seed    = count("seed", 1, 0, 1<<53)
)

// wrong(2): A client whose pool is a semaphore nobody sees
func pooled() *http.Client {
	return newClient(*pool, *timeout)
}

// right(2): A client with a connection for each request
// so(2): In the pooled client the clock of the timeout runs while a request waits for a connection,
// and the service never sees it.
func unpooled() *http.Client {
	// 0 is no limit, as in Go by itself.
	return newClient(0, *timeout)
}

// A goroutine is 3 KB, so a thousand cost nothing here; the upstream has not got a thousand slots.
func burst(client *http.Client, books *ledger, clock stopwatch) {
	var all sync.WaitGroup
	for range *clients {
		all.Add(1)
		go func() {
			defer all.Done()
			books.enter(get(client, *service), clock.elapsed())
		}()
	}
	all.Wait()
}

// load counts every attempt with the part of its time in flight that lies inside the window.
type load struct {
	client     *http.Client
	books      ledger
	origin     time.Time
	begin, end time.Time

	mutex          sync.Mutex
	attempts, good float64
}

// stay is one of the clients, from its start to the end of the window.
func (l *load) stay(i int) {
	rng := rand.New(rand.NewPCG(uint64(*seed), uint64(i)))
	share := min(1, float64(i)/float64(max(*ramped, 1)))
	time.Sleep(time.Until(l.origin.Add(time.Duration(share * float64(*ramp)))))
	for {
		sent := time.Now()
		if !sent.Before(l.end) {
			return
		}
		fate := get(l.client, *service)
		now := time.Now()
		l.count(fate, sent, now)
		if fate == rejected {
			wait := time.Duration(float64(*pause) * (0.5 + rng.Float64()))
			if !now.Add(wait).Before(l.end) {
				return
			}
			time.Sleep(wait)
		}
	}
}

func (l *load) count(fate string, sent, now time.Time) {
	if !sent.Before(l.begin) {
		l.books.enter(fate, now.Sub(sent))
	}
	from, until := sent, now
	if from.Before(l.begin) {
		from = l.begin
	}
	if until.After(l.end) {
		until = l.end
	}
	inside := max(0, until.Sub(from).Seconds()) / max(now.Sub(sent).Seconds(), 1e-9)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.attempts += inside
	if fate == ok {
		l.good += inside
	}
}

func sustained(client *http.Client, doors int) {
	l, clock := &load{client: client}, startClock()
	l.origin = clock.began
	l.begin = l.origin.Add(*warmUp)
	l.end = l.begin.Add(*window)
	todo := numbers(*clients)
	crew(*clients, func() { l.stay(<-todo) })
	l.books.close(*window, doors, gauges{
		"goodput_per_s":    l.good / window.Seconds(),
		"attempts_per_s":   l.attempts / window.Seconds(),
		"client_cpu_share": clock.cpuShare(),
	})
}

func main() {
	start()
	client := unpooled()
	if *pool > 0 {
		client = pooled()
	}
	doors := openConnections(client, *clients)
	if *arm == "sustained" {
		sustained(client, doors)
		return
	}
	books, clock := &ledger{}, startClock()
	burst(client, books, clock)
	wall := clock.elapsed()
	books.close(wall, doors, gauges{
		"goodput_per_s":    float64(books.count(ok)) / wall.Seconds(),
		"attempts_per_s":   float64(*clients) / wall.Seconds(),
		"client_cpu_share": clock.cpuShare(),
	})
}
