// lab01 in Go: waits and computations, one after another and begun together.
//
//	--arm waits/sequential   one wait after another
//	--arm waits/concurrent   a goroutine for each wait, one processor
//	--arm waits/threads      the same on several processors
//	--arm jobs/sequential    one computation after another
//	--arm jobs/concurrent    a goroutine for each computation, one processor
//	--arm jobs/threads       the same on several processors
//	--arm jobs/slept         a goroutine for each job, one processor, a sleep in place of the work
//	--waits T,T,...          lengths of the waits
//	--jobs N                 how many computations
//	--cost T                 what one of them costs on a processor of its own
//	--threads P              several processors
//	--parent                 end when standard input does
//
// A latency is the time from the common begin to the end of a wait or job. Gauges:
// kernel_steps_per_s, cost_alone_s (one job alone, just before), client_cpu_share. What is printed:
// see common.go.
package main

import (
	"runtime"
	"strings"
	"sync"
	"time"
)

var (
	arm = choice("arm", "waits/concurrent", "waits/sequential", "waits/threads",
		"jobs/sequential", "jobs/concurrent", "jobs/threads", "jobs/slept")
	waits   = list("waits", "0.15,0.05,0.1", 0, 3600)
	jobs    = count("jobs", 4, 1, 1000)
	cost    = seconds("cost", 0.05, 0)
	threads = count("threads", 2, 1, 256)
)

// wrong: One after another
// Right for computations on one processor. Waits need none, and these add up.
func inTurn(tasks []func(), done func()) {
	for _, task := range tasks {
		task()
		done()
	}
}

// right: All begun, then all awaited
// so: The waits of the first add up; the second takes as long as the longest, on one thread too.
// `go` begins a task at once. The group says when all have ended.
func together(tasks []func(), done func()) {
	var all sync.WaitGroup
	for _, task := range tasks {
		all.Add(1)
		go func() {
			defer all.Done()
			task()
			done()
		}()
	}
	all.Wait()
}

func main() {
	start()
	k := calibrate()
	alone := time.Now()
	k.work(*cost)
	costAlone := time.Since(alone)

	what, way, _ := strings.Cut(*arm, "/")
	// A limit for goroutines that run at the same instant. Those that wait or sleep do not count:
	// that four sleeps end together says nothing about processors.
	runtime.GOMAXPROCS(1)
	if way == "threads" {
		runtime.GOMAXPROCS(*threads)
	}
	run := together
	if way == "sequential" {
		run = inTurn
	}
	books, clock := &ledger{}, startClock()
	run(tasks(what, way, k), func() { books.enter(ok, clock.elapsed()) })
	wall := clock.elapsed()
	books.close(wall, 0, gauges{
		"kernel_steps_per_s": k.stepsPerS,
		"cost_alone_s":       costAlone.Seconds(),
		"client_cpu_share":   clock.cpuShare(),
	})
}

// tasks are what is to be done.
func tasks(what, way string, k kernel) []func() {
	var all []func()
	if what == "waits" {
		for _, wait := range *waits {
			all = append(all, func() { time.Sleep(duration(wait)) })
		}
		return all
	}
	job := func() { k.work(*cost) }
	if way == "slept" {
		job = func() { time.Sleep(*cost) }
	}
	for range *jobs {
		all = append(all, job)
	}
	return all
}
