// lab04 in Go: N requests at once behind one channel of permits, behind a pool, behind nothing.
//
//	--requests N
//	--limit M            permits of one channel for all; 0 for none
//	--pool C             connections of the client; 0, Go's default, is no limit
//	--timeout T          how long a request waits once it is sent
//	--url, --doors, --parent: see common.go
//
// Gauges: goodput_per_s, ok_from_sending_s (mean time of the successes from the permit to the
// answer, the clock that does not see the wait), client_cpu_share. What else is printed: see
// common.go.
package main

import (
	"net/http"
	"time"
)

var (
	service  = upstream()
	requests = count("requests", 1000, 1, 100_000)
	limit    = count("limit", 0, 0, 100_000)
	pool     = count("pool", 0, 0, 100_000)
	timeout  = seconds("timeout", 0.325, 0.001)
)

// job is what all goroutines share.
type job struct {
	client *http.Client
	clock  stopwatch
	// From the common begin, and from the sending.
	books, inside ledger
}

func (j *job) one() {
	sent := time.Now()
	fate := get(j.client, *service)
	j.inside.enter(fate, time.Since(sent))
	j.books.enter(fate, j.clock.elapsed())
}

// wrong: A goroutine for each request, and no limit
// Goroutines are cheap, requests are not: the upstream gets all of them in the same instant.
func (j *job) unlimited() {
	crew(*requests, j.one)
}

// right: One channel of permits, shared by all
// so: Both begin all goroutines at once; behind the permits only so many have sent their request.
// The channel is made once: made inside each goroutine, it would limit nobody.
func (j *job) limited() {
	permits := make(chan struct{}, *limit)
	crew(*requests, func() {
		permits <- struct{}{}
		j.one()
		<-permits
	})
}

func main() {
	start()
	// A pool is a hidden semaphore, with a difference: the timeout's clock runs in its queue.
	j := &job{client: newClient(*pool, *timeout)}
	run, connections := j.unlimited, *requests
	if *limit > 0 {
		run, connections = j.limited, min(*limit, *requests)
	}
	doors := openConnections(j.client, connections)
	j.clock = startClock()
	run()
	wall := j.clock.elapsed()
	g := gauges{
		"goodput_per_s":    float64(j.books.count(ok)) / wall.Seconds(),
		"client_cpu_share": j.clock.cpuShare(),
	}
	if j.books.count(ok) > 0 {
		g["ok_from_sending_s"] = mean(j.inside.latencies)
	}
	j.books.close(wall, doors, g)
}
