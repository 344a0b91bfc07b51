// The server's end of a WebSocket (RFC 6455): text messages in one piece, pings, pongs, the close.
// Whatever else a client sends ends its connection. And rooms: who hears what.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Kinds of frames.
const (
	textFrame  = 0x1
	closeFrame = 0x8
	pingFrame  = 0x9
	pongFrame  = 0xA
)

const (
	longestMessage = 64 << 10
	longestControl = 125
	// A client that takes nothing for so long has gone.
	writeTimeout = 10 * time.Second
)

var errProtocol = errors.New("not in the protocol")

// socket is a connection. One goroutine reads; any number of them put frames into the outbox; a
// goroutine of its own writes what is there.
type socket struct {
	stream net.Conn
	reader *bufio.Reader
	outbox chan []byte
	// Closed when the connection is to end.
	done chan struct{}
	once sync.Once
	// Heartbeats since the last answer.
	silent atomic.Int64
}

// upgrade turns a request into a socket with an outbox of so many frames.
func upgrade(w http.ResponseWriter, r *http.Request, outbox int) (*socket, error) {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	if r.Method != http.MethodGet || err != nil || len(key) != 16 ||
		!mentions(r.Header.Get("Upgrade"), "websocket") ||
		!mentions(r.Header.Get("Connection"), "upgrade") ||
		r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "a WebSocket is wanted here", http.StatusUpgradeRequired)
		return nil, errProtocol
	}
	stream, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	// The standard's proof that this end knows what a WebSocket is.
	const known = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + known))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	// net/http has set limits of its own.
	_ = stream.SetDeadline(time.Time{})
	if _, err := io.WriteString(stream, answer); err != nil {
		stream.Close()
		return nil, err
	}
	return &socket{
		stream: stream,
		reader: buffered.Reader,
		outbox: make(chan []byte, outbox),
		done:   make(chan struct{}),
	}, nil
}

// mentions is whether a word is in a list like "keep-alive, Upgrade".
func mentions(list, word string) bool {
	for _, entry := range strings.Split(list, ",") {
		if strings.EqualFold(strings.TrimSpace(entry), word) {
			return true
		}
	}
	return false
}

// frame is a message as a server sends it: in one piece and not masked.
func frame(kind byte, payload []byte) []byte {
	head := []byte{0x80 | kind}
	switch n := len(payload); {
	case n <= longestControl:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return append(head, payload...)
}

// offer puts a frame into the outbox; false when there is no place for it, or nobody to write it.
// It never waits.
func (s *socket) offer(frame []byte) bool {
	select {
	case <-s.done:
		return false
	default:
	}
	select {
	case s.outbox <- frame:
		return true
	default:
		return false
	}
}

// hangUp ends the connection: whoever reads or writes finds it closed. Only the first of those who
// hang up is told true.
func (s *socket) hangUp() (first bool) {
	s.once.Do(func() {
		first = true
		close(s.done)
		s.stream.Close()
	})
	return first
}

// write writes what waits, as much as there is at a time: a system call for each would be dearer
// than all the rest. It goes on until the connection ends or a close frame has been written.
func (s *socket) write() error {
	writer := bufio.NewWriter(s.stream)
	for {
		select {
		case <-s.done:
			return nil
		case first := <-s.outbox:
			_ = s.stream.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, _ = writer.Write(first)
			last := first
			for more := len(s.outbox); more > 0; more-- {
				last = <-s.outbox
				_, _ = writer.Write(last)
			}
			// The first error stays, and Flush returns it.
			if err := writer.Flush(); err != nil {
				return err
			}
			if last[0] == 0x80|closeFrame {
				return nil
			}
		}
	}
}

// read is the next message or close frame. Pings and pongs are seen to here.
func (s *socket) read() (kind byte, payload []byte, err error) {
	for {
		kind, payload, err = s.readFrame()
		switch {
		case err == nil && kind == pingFrame:
			s.offer(frame(pongFrame, payload))
		case err == nil && kind == pongFrame:
			s.silent.Store(0)
		default:
			return kind, payload, err
		}
	}
}

func (s *socket) readFrame() (byte, []byte, error) {
	var head [14]byte
	if _, err := io.ReadFull(s.reader, head[:2]); err != nil {
		return 0, nil, err
	}
	kind, length, known := head[0]&0x0F, uint64(head[1]&0x7F), true
	switch kind {
	case closeFrame, pingFrame, pongFrame:
		known = length <= longestControl
	default:
		known = kind == textFrame
	}
	// In one piece, without extensions, masked.
	if !known || head[0]&0xF0 != 0x80 || head[1]&0x80 == 0 {
		return 0, nil, errProtocol
	}
	more := 0
	switch length {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if _, err := io.ReadFull(s.reader, head[2:2+more+4]); err != nil {
		return 0, nil, err
	}
	switch more {
	case 2:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 8:
		length = binary.BigEndian.Uint64(head[2:])
	}
	if length > longestMessage {
		return 0, nil, errProtocol
	}
	mask := head[2+more : 2+more+4]
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.reader, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	if kind == textFrame && !utf8.Valid(payload) {
		return 0, nil, errProtocol
	}
	return kind, payload, nil
}

// sendHeartbeats sends pings until too many of them stay without an answer: then it returns false.
// The payload is the time since `began` at which a ping was due.
func (s *socket) sendHeartbeats(began time.Time, beat time.Duration, unanswered int) bool {
	// A random part of a beat, so that many users are not many heartbeats at one instant.
	due := time.Since(began) + rand.N(beat)
	for {
		select {
		case <-s.done:
			return true
		case <-time.After(due - time.Since(began)):
		}
		if s.silent.Add(1) > int64(unanswered) {
			return false
		}
		// No place in the outbox is for the room to notice.
		s.offer(frame(pingFrame, binary.BigEndian.AppendUint64(nil, uint64(due))))
		due += beat
		// Those that fell due meanwhile are left out: nobody needs six at once.
		if late := time.Since(began) - due; late > 0 {
			due += beat * (late/beat + 1)
		}
	}
}

// rooms may be used by any number of goroutines at the same time.
type rooms struct {
	mutex sync.Mutex
	rooms map[uint32]map[uint64]*socket
	next  uint64
}

// join lets a socket in, and says so to it before anything else can be said.
func (r *rooms) join(room uint32, s *socket, welcome func(number uint64) []byte) uint64 {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	number := r.next
	r.next++
	s.offer(welcome(number))
	if r.rooms == nil {
		r.rooms = map[uint32]map[uint64]*socket{}
	}
	if r.rooms[room] == nil {
		r.rooms[room] = map[uint64]*socket{}
	}
	r.rooms[room][number] = s
	return number
}

// leave is harmless for who is out already.
func (r *rooms) leave(room uint32, number uint64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.rooms[room], number)
	if len(r.rooms[room]) == 0 {
		delete(r.rooms, room)
	}
}

// say puts a frame into the outbox of everybody in the room, and waits for nobody: who has no place
// left reads more slowly than the room talks, and is shown the door.
func (r *rooms) say(room uint32, frame []byte) (reached, slow int64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for number, member := range r.rooms[room] {
		if member.offer(frame) {
			reached++
			continue
		}
		delete(r.rooms[room], number)
		if member.hangUp() {
			slow++
		}
	}
	return reached, slow
}
