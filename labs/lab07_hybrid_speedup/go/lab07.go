// lab07 in Go: N items, each fetched (f) and then processed (p, real computation).
//
//	--arm sequential     one after another
//	--arm async          C fetches at a time, and all computing on the same single processor
//	--arm threads        W goroutines on W processors; each fetches, waits for its item, computes
//	--arm hybrid         C goroutines fetch, W compute, and a channel is between them
//	--items N
//	--cost P             seconds of computation an item takes on a processor of its own
//	--concurrency C      fetches at a time of async and hybrid
//	--workers W
//	--work compute|sleep what processing does; sleeping needs no processor
//	--timeout T          of one fetch
//	--url, --doors, --parent: see common.go
//
// The upstream decides f. A latency is the time from the start of an item's fetch to the end of its
// processing. Gauges: items_per_s, kernel_rounds_per_s, cost_alone_s (one item's processing,
// measured alone just before), client_cpu_share. What else is printed: see common.go.
package main

import (
	"net/http"
	"runtime"
	"time"
)

var (
	service     = upstream()
	arm         = choice("arm", "hybrid", "sequential", "async", "threads")
	items       = count("items", 20, 1, 1_000_000)
	cost        = seconds("cost", 0.02, 0)
	concurrency = count("concurrency", 10, 1, 10_000)
	workers     = count("workers", 2, 1, 256)
	work        = choice("work", "compute", "sleep")
	timeout     = seconds("timeout", 60, 0.001)
)

// line is what all goroutines share.
type line struct {
	client *http.Client
	kernel kernel
	books  ledger
}

func (l *line) process() {
	if *work == "sleep" {
		time.Sleep(*cost)
	} else {
		l.kernel.work(*cost)
	}
}

// oneByOne does all that is to be done with an item on one goroutine, until no item is left.
func (l *line) oneByOne(todo <-chan int) {
	for range todo {
		sent := time.Now()
		fate := get(l.client, *service)
		if fate == ok {
			l.process()
		}
		l.books.enter(fate, time.Since(sent))
	}
}

// wrong: Fetches and computes on one processor
// A goroutine for each item: fetches overlap, but computations take turns.
func (l *line) asyncOnly() {
	runtime.GOMAXPROCS(1)
	permits := make(chan struct{}, *concurrency)
	crew(*items, func() {
		permits <- struct{}{}
		sent := time.Now()
		fate := get(l.client, *service)
		<-permits
		if fate == ok {
			l.process()
		}
		l.books.enter(fate, time.Since(sent))
	})
}

// right: Many goroutines fetch, few compute, on processors of their own
// so: Goroutines are for waiting, processors for work: here each gets a number of its own.
// The channel between them is short: when computing is behind, fetching waits, nothing piles up.
func (l *line) hybrid() {
	runtime.GOMAXPROCS(*workers + 1) // One for those who fetch.
	todo, fetched := numbers(*items), make(chan time.Time, *concurrency)
	go func() {
		crew(*concurrency, func() {
			for range todo {
				sent := time.Now()
				if fate := get(l.client, *service); fate == ok {
					fetched <- sent
				} else {
					l.books.enter(fate, time.Since(sent))
				}
			}
		})
		close(fetched)
	}()
	crew(*workers, func() {
		for sent := range fetched {
			l.process()
			l.books.enter(ok, time.Since(sent))
		}
	})
}

// threads begins as many goroutines as there are processors, like a pool of threads: no more than W
// fetches are ever on their way.
func (l *line) threads() {
	runtime.GOMAXPROCS(*workers)
	todo := numbers(*items)
	crew(*workers, func() { l.oneByOne(todo) })
}

func (l *line) sequential() {
	runtime.GOMAXPROCS(1)
	l.oneByOne(numbers(*items))
}

func main() {
	start()
	l := &line{kernel: calibrate()}
	alone := time.Now()
	l.process()
	costAlone := time.Since(alone)
	run, connections := l.hybrid, *concurrency
	switch *arm {
	case "sequential":
		run, connections = l.sequential, 1
	case "threads":
		run, connections = l.threads, *workers
	case "async":
		run = l.asyncOnly
	}
	l.client = newClient(connections, *timeout)
	doors := openConnections(l.client, connections)
	clock := startClock()
	run()
	wall := clock.elapsed()
	l.books.close(wall, doors, gauges{
		"items_per_s":         float64(l.books.count(ok)) / wall.Seconds(),
		"kernel_rounds_per_s": l.kernel.stepsPerS,
		"cost_alone_s":        costAlone.Seconds(),
		"client_cpu_share":    clock.cpuShare(),
	})
}
