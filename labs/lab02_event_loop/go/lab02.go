// lab02 in Go: a heartbeat, and a goroutine that is busy once, on one processor.
//
//	--arm sleep          the other one sleeps: time.Sleep parks the goroutine
//	--arm thread_sleep   it sleeps inside a system call, and its thread with it
//	--arm compute        it computes, right there
//	--arm yield          it computes in slices, and calls runtime.Gosched after each
//	--arm threads        it computes, and there is a second processor for goroutines
//	--arm tasks          it sleeps, and so do N other goroutines
//	--beat T             time between two beats; a late beat moves the following ones
//	--busy T             how long the other goroutine is busy
//	--slice T            length of a slice
//	--watch T            how long the beats are watched
//	--lead T             when the other goroutine becomes busy
//	--tasks N
//	--parent             end when standard input does
//
// One processor is GOMAXPROCS(1): goroutines take turns, as tasks on an event loop do. But Go's
// runtime watches them. It interrupts a goroutine that has computed for 10 ms, and it hands the
// processor on when a goroutine stays in a system call.
//
// What is counted are gaps between beats, all of them ok. Gauges: longest_gap_s, busy_s (how long
// the other goroutine took), client_cpu_share; tasks and bytes_per_task (resident memory, Linux
// only). What is printed: see common.go.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

var (
	arm   = choice("arm", "compute", "sleep", "thread_sleep", "yield", "threads", "tasks")
	beat  = seconds("beat", 0.01, 0.001)
	busy  = seconds("busy", 0.15, 0)
	slice = seconds("slice", 0.002, 0.0001)
	watch = seconds("watch", 0.28, 0.001)
	lead  = seconds("lead", 0.065, 0)
	tasks = count("tasks", 10_000, 1, 1_000_000)
)

// wrong: Computes on the only processor
// Go forgives it in part: it interrupts this goroutine every 10 ms. Beats come late, but they come.
func compute(k kernel) {
	k.work(*busy)
}

// right: Computes on a second processor
// so: The same code and one processor more: those who wait need not wait for the one who computes.
// The runtime spreads goroutines over its processors by itself: nobody is handed to a pool.
func computeBeside(k kernel) {
	runtime.GOMAXPROCS(2)
	k.work(*busy)
}

// computeInSlices steps aside by itself, sooner than the runtime would make it.
func computeInSlices(k kernel) {
	for left := *busy; left > 0; left -= *slice {
		k.work(min(left, *slice))
		runtime.Gosched()
	}
}

func main() {
	start()
	k := calibrate()
	runtime.GOMAXPROCS(1)
	g := gauges{}
	if *arm == "tasks" {
		beginTasks(g)
	}
	ways := map[string]func(){
		"sleep":        func() { time.Sleep(*busy) },
		"thread_sleep": func() { blockThread(*busy) },
		"compute":      func() { compute(k) },
		"yield":        func() { computeInSlices(k) },
		"threads":      func() { computeBeside(k) },
		"tasks":        func() { time.Sleep(*busy) },
	}
	watchBeats(ways[*arm], g)
}

func watchBeats(beBusy func(), g gauges) {
	books, clock := &ledger{}, startClock()
	done := make(chan time.Duration, 1)
	go func() {
		time.Sleep(*lead)
		began := time.Now()
		beBusy()
		done <- time.Since(began)
	}()
	// The beats, until the other one is done and the time is up.
	took, longest, last := time.Duration(-1), time.Duration(0), clock.began
	for ended := false; !ended; {
		select {
		case took = <-done:
		default:
		}
		ended = took >= 0 && clock.elapsed()+*beat >= *watch
		time.Sleep(*beat)
		gap := time.Since(last)
		last = last.Add(gap)
		longest = max(longest, gap)
		books.enter(ok, gap)
	}
	wall := clock.elapsed()
	g["longest_gap_s"] = longest.Seconds()
	g["busy_s"] = took.Seconds()
	g["client_cpu_share"] = clock.cpuShare()
	books.close(wall, 0, g)
}

// beginTasks begins goroutines that sleep until the program ends, and says what one of them weighs.
func beginTasks(g gauges) {
	before, begun := residentBytes(), sync.WaitGroup{}
	for range *tasks {
		begun.Add(1)
		go func() {
			begun.Done()
			time.Sleep(time.Hour)
		}()
	}
	begun.Wait()
	g["tasks"] = float64(*tasks)
	if before > 0 {
		g["bytes_per_task"] = (residentBytes() - before) / float64(*tasks)
	}
}

// residentBytes is 0 where the system does not tell.
func residentBytes() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, line, _ := bytes.Cut(status, []byte("VmRSS:"))
	var kibibytes float64
	_, _ = fmt.Sscan(string(line), &kibibytes)
	return kibibytes * 1024
}
