// lab14 in Go: a chat server, and one user who asks for mathematics.
//
//	--arm inline         everything on one processor, the mathematics too
//	--arm threads        a second processor, and one goroutine at a time that computes
//	--beat T             time between two heartbeats (pings) to a user
//	--unanswered N       a user who has not answered so many of them in a row is given up
//	--outbox N           messages that may wait to be written to a user
//	--parent             always so: it ends when standard input does
//
// Every user has three goroutines: one reads, one writes, one sends heartbeats. Each is written as
// if it could block, and a computation is interrupted every 10 ms: on an event loop it is not.
//
// A line of text is a WebSocket message: `join 3` is answered `welcome 7`; `say hello` reaches all
// in the room as `said 7 hello`; `solve 300000` computes for so many microseconds of a processor
// and is answered `solved 300412` or `failed why`. A ping's payload is when it was due, in
// nanoseconds since the start. Printed: {"listening": "127.0.0.1:PORT"} at once, and what was
// counted at the end. The WebSocket and the rooms: see websocket.go.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var (
	arm        = choice("arm", "threads", "inline")
	beat       = seconds("beat", 0.05, 0.001)
	unanswered = count("unanswered", 10, 1, 1_000_000)
	outbox     = count("outbox", 1024, 1, 65_536)
)

// wrong: On the only processor
// Go forgives it in part: it interrupts this goroutine every 10 ms. Others wait for some turns.
func solveInline(k kernel, cost time.Duration) time.Duration {
	began := time.Now()
	k.work(cost)
	return time.Since(began)
}

// right: On a second processor, one at a time
// so: Computing takes a processor, in a goroutine or not: one of them is kept for who only talks.
// The permit is what keeps it: two goroutines that compute would take both processors.
func solveBeside(k kernel, cost time.Duration) time.Duration {
	computing <- struct{}{}
	defer func() { <-computing }()
	began := time.Now()
	k.work(cost)
	return time.Since(began)
}

var computing = make(chan struct{}, 1)

func main() {
	readFlags()
	h := &hall{kernel: calibrate(), solve: solveBeside, asked: make(chan struct{}, 8)}
	runtime.GOMAXPROCS(2)
	if *arm == "inline" {
		h.solve = solveInline
		runtime.GOMAXPROCS(1)
	}
	// As many wait to be accepted as the system lets (Linux: net.core.somaxconn, usually 4096).
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	h.began = time.Now()
	fmt.Printf("{\"listening\": %q}\n", listener.Addr())
	server := http.Server{
		Handler: h, MaxHeaderBytes: 8 << 10, ReadTimeout: patience, IdleTimeout: patience,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { must(server.Serve(listener)) }()
	untilParentLeaves()
	line, err := json.Marshal(map[string]int64{
		"joined": h.joined.Load(), "said": h.said.Load(), "delivered": h.delivered.Load(),
		"given_up": h.givenUp.Load(), "slow": h.slow.Load(), "broken": h.broken.Load(),
		"solved": h.solved.Load(),
	})
	must(err)
	fmt.Println(string(line))
}

const (
	// Who comes and says nothing is waited for so long.
	patience = 10 * time.Second
	longest  = time.Hour
)

// hall is what all users share.
type hall struct {
	kernel kernel
	solve  func(kernel, time.Duration) time.Duration
	asked  chan struct{} // As many may be asked for at a time as it has places.
	began  time.Time
	rooms  rooms

	joined, said, delivered, givenUp, slow, broken, solved atomic.Int64
}

type user struct {
	*socket
	hall   *hall
	number uint64
	room   uint32
}

// ServeHTTP is one user, from the first word to the last.
func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := upgrade(w, r, *outbox)
	if err != nil {
		h.broken.Add(1)
		return
	}
	u := &user{socket: s, hall: h}
	if err := u.talk(); err != nil && u.hangUp() {
		h.broken.Add(1)
	}
}

func (u *user) talk() error {
	_ = u.stream.SetReadDeadline(time.Now().Add(patience))
	kind, line, err := u.read()
	_ = u.stream.SetReadDeadline(time.Time{})
	word, rest, _ := strings.Cut(string(line), " ")
	room, notANumber := strconv.ParseUint(rest, 10, 32)
	if err != nil || kind != textFrame || word != "join" || notANumber != nil {
		return errProtocol
	}
	u.room = uint32(room)
	u.number = u.hall.rooms.join(u.room, u.socket, func(number uint64) []byte {
		return frame(textFrame, []byte(fmt.Sprintf("welcome %d", number)))
	})
	defer u.hall.rooms.leave(u.room, u.number)
	u.hall.joined.Add(1)
	written := make(chan struct{})
	go func() {
		defer close(written)
		if u.write() != nil && u.hangUp() {
			u.hall.broken.Add(1)
		}
	}()
	go func() {
		if !u.sendHeartbeats(u.hall.began, *beat, *unanswered) && u.hangUp() {
			u.hall.givenUp.Add(1)
		}
	}()
	for {
		kind, line, err := u.read()
		switch {
		case err != nil:
			return err
		case kind == closeFrame:
			if u.offer(frame(closeFrame, line)) {
				<-written
			}
			u.hangUp()
			return nil
		default:
			if err := u.heard(string(line)); err != nil {
				return err
			}
		}
	}
}

func (u *user) heard(line string) error {
	word, rest, cut := strings.Cut(line, " ")
	switch {
	case word == "say" && cut:
		said := frame(textFrame, []byte(fmt.Sprintf("said %d %s", u.number, rest)))
		reached, slow := u.hall.rooms.say(u.room, said)
		u.hall.said.Add(1)
		u.hall.delivered.Add(reached)
		u.hall.slow.Add(slow)
	case word == "solve":
		micros, err := strconv.ParseUint(rest, 10, 64)
		if err != nil {
			return err
		}
		u.solve(micros)
	default:
		return errProtocol
	}
	return nil
}

// solve answers later: its user may go on talking meanwhile.
func (u *user) solve(micros uint64) {
	if micros > uint64(longest.Microseconds()) {
		u.reply("failed it takes too long")
		return
	}
	select {
	case u.hall.asked <- struct{}{}:
	default:
		u.reply("failed too much is asked at once")
		return
	}
	go func() {
		took := u.hall.solve(u.hall.kernel, time.Duration(micros)*time.Microsecond)
		<-u.hall.asked
		u.hall.solved.Add(1)
		u.reply(fmt.Sprintf("solved %d", took.Microseconds()))
	}()
}

// reply shows a user the door whose outbox is full.
func (u *user) reply(line string) {
	if !u.offer(frame(textFrame, []byte(line))) && u.hangUp() {
		u.hall.slow.Add(1)
	}
}
