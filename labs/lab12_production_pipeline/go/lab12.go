// lab12 in Go: fetch, process, store, with failures, in batches of ten or through a window.
//
//	--arm batches        ten at a time, and the next ten when the slowest of them is done
//	--arm window         as many at a time, and a new one for each that is done
//	--items N            numbered from 0; item i is fetched from URL/items/i
//	--batch B            items under way at the same time
//	--fetch-timeout T
//	--attempts A         at a fetch that fails
//	--backoff T          most that is waited before the second attempt; later ones: twice as long,
//	                     and 20 s at most
//	--process P          seconds of computation an item takes on a processor of its own
//	--workers W          that compute
//	--process-timeout T
//	--store S            seconds a write takes to get to the database and back
//	--store-timeout T
//	--hang-every K       the write of every K-th item gets no answer (0: every write does)
//	--connections D      writes on their way at the same time
//	--seed S             of the back-offs
//	--url, --doors, --parent: see common.go
//
// The database is a file of JSON lines in a temporary folder (the standard library has none); what
// it does not take within the timeout goes to a fallback file. The upstream decides which fetches
// fail (mock_server --every item:7:500).
//
// Items are offered: ok are those in one of the files, failed those without a result, by the status
// of their fetch; an item whose fetch or processing timed out counts as timed out. A latency is the
// time from an item's first fetch to the end of its store. Gauges: items_per_s, in_database,
// in_fallback (both counted in the files at the end), requests, fetch_mean_s, process_mean_s,
// store_mean_s, client_cpu_share. What else is printed: see common.go.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	service        = upstream()
	arm            = choice("arm", "window", "batches")
	items          = count("items", 100, 1, 100_000)
	batch          = count("batch", 10, 1, 100_000)
	fetchTimeout   = seconds("fetch-timeout", 2, 0.001)
	attempts       = count("attempts", 2, 1, 256)
	backoff        = seconds("backoff", 0.005, 0)
	cost           = seconds("process", 0.006, 0)
	workers        = count("workers", 2, 1, 256)
	processTimeout = seconds("process-timeout", 2, 0.001)
	storeTime      = seconds("store", 0.015, 0)
	storeTimeout   = seconds("store-timeout", 0.15, 0.001)
	hangEvery      = count("hang-every", 20, 0, 1_000_000)
	connections    = count("connections", 4, 1, 10_000)
	seed           = count("seed", 1, 0, 1<<53)
)

// wrong: In batches
// The slowest of ten holds up nine.
func (l *line) inBatches() {
	for first := 0; first < *items; first += *batch {
		var all sync.WaitGroup
		for item := first; item < min(first+*batch, *items); item++ {
			all.Add(1)
			go func() {
				defer all.Done()
				l.take(item)
			}()
		}
		all.Wait()
	}
}

// right: Through a window
// so: Ten are under way in both; only in the second does a new one begin whenever one is done.
// Ten goroutines take items from one channel, and none of them waits for another.
func (l *line) inAWindow() {
	todo := numbers(*items)
	crew(*batch, func() {
		for item := range todo {
			l.take(item)
		}
	})
}

// line is the three stages, and what became of each item.
type line struct {
	client             *http.Client
	kernel             kernel
	workers, writers   chan struct{}
	database, fallback jsonLines
	books              ledger
	requests           atomic.Int64
	// How long each stage took, whatever came of it.
	fetches, processings, stores ledger
}

func (l *line) take(item int) {
	began := time.Now()
	fate := l.fetch(item)
	l.fetches.enter(fate, time.Since(began))
	if fate == ok {
		entered := time.Now()
		var result uint32
		result, fate = l.process()
		l.processings.enter(fate, time.Since(entered))
		if fate == ok {
			entered = time.Now()
			l.store(item, result)
			l.stores.enter(fate, time.Since(entered))
		}
	}
	l.books.enter(fate, time.Since(began))
}

func (l *line) fetch(item int) (fate string) {
	rng := rand.New(rand.NewPCG(uint64(*seed), uint64(item)))
	wait := backoff.Seconds()
	for attempt := range *attempts {
		if attempt > 0 {
			time.Sleep(duration(rng.Float64() * min(wait, 20)))
			wait *= 2
		}
		l.requests.Add(1)
		fate = get(l.client, fmt.Sprintf("%s/items/%d", *service, item))
		switch {
		case fate == rejected, fate == timedOut, fate == "broken", fate == "connect":
		case strings.HasPrefix(fate, "status 5"):
		default:
			return fate
		}
	}
	return fate
}

// process computes when a worker is free: waiting for one is not the item's fault.
func (l *line) process() (result uint32, fate string) {
	l.workers <- struct{}{}
	defer func() { <-l.workers }()
	limit, cancel := context.WithTimeout(context.Background(), *processTimeout)
	defer cancel()
	// Nobody can stop a goroutine from outside: what computes looks at the clock itself.
	for left := *cost; left > 0; left -= time.Millisecond {
		if limit.Err() != nil {
			return 0, timedOut
		}
		result = l.kernel.work(min(left, time.Millisecond))
	}
	return result, ok
}

func (l *line) store(item int, result uint32) {
	l.writers <- struct{}{}
	defer func() { <-l.writers }()
	limit, cancel := context.WithTimeout(context.Background(), *storeTimeout)
	defer cancel()
	if !l.write(limit, item, result) {
		must(l.fallback.append(item, result))
	}
}

// write is whether the item is in the database: one whose answer is late is.
func (l *line) write(limit context.Context, item int, result uint32) bool {
	if sleep(limit, *storeTime/2) != nil {
		return false
	}
	if *hangEvery > 0 && item%*hangEvery == 0 {
		<-limit.Done()
		return false
	}
	must(l.database.append(item, result))
	_ = sleep(limit, *storeTime/2)
	return true
}

func main() {
	start()
	folder := scratch()
	l := &line{client: newClient(*batch, *fetchTimeout), kernel: calibrate()}
	l.workers, l.writers = make(chan struct{}, *workers), make(chan struct{}, *connections)
	must(l.database.create(filepath.Join(folder, "items.jsonl")))
	must(l.fallback.create(filepath.Join(folder, "fallback.jsonl")))
	doors := openConnections(l.client, *batch)
	run := l.inAWindow
	if *arm == "batches" {
		run = l.inBatches
	}
	runtime.GOMAXPROCS(*workers + 1) // One for those who wait.
	clock := startClock()
	run()
	wall := clock.elapsed()
	cpuShare := clock.cpuShare()
	inDatabase, err := l.database.count()
	must(err)
	inFallback, err := l.fallback.count()
	must(err)
	if inDatabase+inFallback != l.books.count(ok) {
		must(fmt.Errorf("%d items in the database and %d in the fallback file, but %d stored",
			inDatabase, inFallback, l.books.count(ok)))
	}
	l.books.close(wall, doors, gauges{
		"items_per_s":      float64(l.books.count(ok)) / wall.Seconds(),
		"in_database":      float64(inDatabase),
		"in_fallback":      float64(inFallback),
		"requests":         float64(l.requests.Load()),
		"fetch_mean_s":     mean(l.fetches.attempts),
		"process_mean_s":   mean(l.processings.attempts),
		"store_mean_s":     mean(l.stores.attempts),
		"client_cpu_share": cpuShare,
	})
	leave(0)
}
