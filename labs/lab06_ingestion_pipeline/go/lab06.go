// lab06 in Go: a text in chunks to an embeddings endpoint, in batches or through a window.
//
//	--arm batch          a batch, a wait for the last of it, the next batch: WaitGroup.Wait
//	--arm window         as many at a time, and a new one for each that is done
//	--chunks N           how many chunks
//	--chunk B            bytes of a chunk
//	--batch SIZE         chunks in a batch
//	--concurrency M      requests in flight; also the connections of the client
//	--seed S             of the text
//	--timeout T          of one request
//	--url, --doors, --parent: see common.go
//
// What is offered are chunks; a latency is the time from the sending of a chunk to its answer.
// Gauges: chunks_per_s, in_flight_mean (sum of the times of all requests over the time of the
// whole), client_cpu_share. What else is printed: see common.go.
package main

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

var (
	service     = upstream()
	arm         = choice("arm", "window", "batch")
	chunks      = count("chunks", 1024, 1, 1_000_000)
	chunk       = count("chunk", 1024, 1, 1<<30)
	batch       = count("batch", 50, 1, 100_000)
	concurrency = count("concurrency", 25, 1, 100_000)
	seed        = count("seed", 1, 0, 1<<53)
	timeout     = seconds("timeout", 60, 0.001)
)

// job is what all goroutines share.
type job struct {
	client *http.Client
	books  ledger
	// The next chunk; none when there is no more.
	next    func() []byte
	permits chan struct{}
}

func (j *job) embed(chunk []byte) {
	sent := time.Now()
	fate := post(j.client, *service+"/embeddings", chunk)
	j.books.enter(fate, time.Since(sent))
}

// wrong: In batches
// The slowest of a batch holds up all others: at the end of each one most permits lie idle.
func (j *job) inBatches() {
	for part := j.take(*batch); len(part) > 0; part = j.take(*batch) {
		var all sync.WaitGroup
		for _, chunk := range part {
			all.Add(1)
			go func() {
				defer all.Done()
				j.permits <- struct{}{}
				j.embed(chunk)
				<-j.permits
			}()
		}
		all.Wait()
	}
}

// right: Through a window
// so: A batch waits for its last request before the next begins; in a window each one lets one in.
// The permit is taken before the next chunk is made: neither goroutines nor chunks pile up.
func (j *job) inAWindow() {
	var all sync.WaitGroup
	for {
		j.permits <- struct{}{}
		chunk := j.next()
		if chunk == nil {
			break
		}
		all.Add(1)
		go func() {
			defer all.Done()
			j.embed(chunk)
			<-j.permits
		}()
	}
	all.Wait()
}

// take is the next n chunks, or as many as there are.
func (j *job) take(n int) (part [][]byte) {
	for len(part) < n {
		chunk := j.next()
		if chunk == nil {
			break
		}
		part = append(part, chunk)
	}
	return part
}

// text is the chunks, one at a time, out of one short text: never are all of them in memory.
func text() func() []byte {
	const letters = "etaoin shrdlu "
	rng := rand.New(rand.NewPCG(uint64(*seed), 0))
	short := make([]byte, *chunk+1000)
	for i := range short {
		short[i] = letters[rng.IntN(len(letters))]
	}
	left := *chunks
	return func() []byte {
		left--
		if left < 0 {
			return nil
		}
		at := rng.IntN(1000)
		return slices.Clone(short[at : at+*chunk])
	}
}

func main() {
	start()
	j := &job{client: newClient(*concurrency, *timeout), permits: make(chan struct{}, *concurrency)}
	j.next = text()
	doors := openConnections(j.client, *concurrency)
	run := j.inAWindow
	if *arm == "batch" {
		run = j.inBatches
	}
	clock := startClock()
	run()
	wall := clock.elapsed()
	j.books.close(wall, doors, gauges{
		"chunks_per_s":     float64(j.books.count(ok)) / wall.Seconds(),
		"in_flight_mean":   sum(j.books.attempts) / wall.Seconds(),
		"client_cpu_share": clock.cpuShare(),
	})
}
