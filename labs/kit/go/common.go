// What the Go versions of the labs share: flags, closed books, the computation, the fate of a
// request. Each program is this file and one labNN.go, in one folder (lab14: websocket.go as well):
//
//	mkdir /tmp/lab02
//	cp labs/kit/go/*.go labs/lab02_event_loop/go/lab02.go /tmp/lab02
//	cd /tmp/lab02
//	printf 'module lab\ngo 1.22\n' >go.mod
//	go build -o lab02 . && ./lab02 --arm yield
//
// Flags of every program (times in seconds):
//
//	--help            what the program is, and its own flags
//	--parent          end when standard input does: whoever started the program has gone
//
// and of those that send requests
//
//	--url URL         the upstream, http://HOST:PORT
//	--doors A,B,...   milliseconds that the upstream holds a request to /open-connections/0, /1,
//	                  ...; connections are opened there before the clock starts, else by the load
//
// Every program prints one JSON object and nothing else to standard output (lab14 prints two of its
// own):
//
//	wall_s            length of the measured part: no start, no calibration
//	offered           what was to be done: the sum of the next four
//	ok, rejected, timed_out, failed
//	failures          {kind: count}, which add up to failed
//	latencies_s       [seconds], one for each ok, from the intended start to the end
//	attempt_latencies_s  the same for all that ended, whatever their fate
//	doors             requests sent to open connections, which are in no other count
//	gauges            {name: number}, units in the name
//
// Go 1.22 or later, the standard library, and a Unix (Linux, macOS).
package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ---- Flags: each of these adds one to the program and says where its value will be. ----

// count is a flag for a whole number.
func count(name string, value, least, most int) *int {
	flag.Func(name, "", func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		value = n
		return nil
	})
	return &value
}

// seconds is a flag for a time of at most an hour.
func seconds(name string, value, least float64) *time.Duration {
	const most = 3600.0
	time := duration(value)
	flag.Func(name, "", func(text string) error {
		s, err := parseWithin(text, least, most)
		time = duration(s)
		return err
	})
	return &time
}

// list is a flag for numbers with commas between them.
func list(name, value string, least, most float64) *[]float64 {
	var numbers []float64
	read := func(text string) error {
		numbers = nil
		for _, word := range strings.Split(text, ",") {
			number, err := parseWithin(word, least, most)
			if err != nil {
				return err
			}
			numbers = append(numbers, number)
		}
		return nil
	}
	if value != "" {
		orExit(read(value))
	}
	flag.Func(name, "", read)
	return &numbers
}

// choice is a flag for one of several words. The first one is the default.
func choice(name string, words ...string) *string {
	value := words[0]
	flag.Func(name, "", func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("must be one of %s", strings.Join(words, ", "))
		}
		value = text
		return nil
	})
	return &value
}

func parseWithin(text string, least, most float64) (float64, error) {
	number, err := strconv.ParseFloat(text, 64)
	// Not (number < least || ...): NaN is neither less nor more.
	if err != nil || !(number >= least && number <= most) {
		return 0, fmt.Errorf("must be a number from %g to %g", least, most)
	}
	return number, nil
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// The program that this file is built with. Its head comment is its help.
//
//go:embed lab*.go
var programs embed.FS

func help() string {
	files, _ := programs.ReadDir(".")
	source, _ := programs.ReadFile(files[0].Name())
	var lines strings.Builder
	for _, line := range strings.Split(string(source), "\n") {
		comment, ok := strings.CutPrefix(line, "//")
		if !ok {
			break
		}
		comment = strings.TrimPrefix(comment, " ")
		fmt.Fprintln(&lines, strings.ReplaceAll(comment, "\t", "    "))
	}
	return lines.String()
}

var parent = flag.Bool("parent", false, "")

// start reads the flags; and watches, if asked to, whether the parent is still there.
func start() {
	readFlags()
	if *parent {
		go func() {
			untilParentLeaves()
			leave(1)
		}()
	}
}

// untilParentLeaves returns when standard input ends.
func untilParentLeaves() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func readFlags() {
	flag.CommandLine.Init("", flag.ContinueOnError)
	flag.CommandLine.SetOutput(io.Discard)
	err := flag.CommandLine.Parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(help())
		os.Exit(0)
	}
	if err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("%q is no flag", flag.Arg(0))
	}
	orExit(err)
	if flag.Lookup("url") != nil && upstreamURL == "" {
		orExit(errors.New("--url is missing"))
	}
}

// orExit ends the program with one line and exit 2 when it was asked for nonsense.
func orExit(err error) {
	endOn(err, 2)
}

// must ends the program with one line and exit 1 when the machine does not do its part.
func must(err error) {
	endOn(err, 1)
}

func endOn(err error, code int) {
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", " "))
		leave(code)
	}
}

// scratch is a temporary folder that goes when the program does, however that ends.
func scratch() string {
	folder, err := os.MkdirTemp("", "lab")
	must(err)
	cleanUp.Store(&folder)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		leave(1)
	}()
	return folder
}

var cleanUp atomic.Pointer[string]

// jsonLines is a file of results, a JSON object in each line. Any number of goroutines may append.
type jsonLines struct {
	mutex sync.Mutex
	file  *os.File
}

type jsonLine struct {
	Item   int    `json:"item"`
	Result uint32 `json:"result"`
}

func (l *jsonLines) create(name string) (err error) {
	l.file, err = os.Create(name)
	return err
}

func (l *jsonLines) append(item int, result uint32) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return json.NewEncoder(l.file).Encode(jsonLine{item, result})
}

// count is how many lines the file holds.
func (l *jsonLines) count() (int, error) {
	all, err := os.ReadFile(l.file.Name())
	return bytes.Count(all, []byte("\n")), err
}

// sleep returns early, with an error, when the context ends.
func sleep(limit context.Context, length time.Duration) error {
	select {
	case <-limit.Done():
		return limit.Err()
	case <-time.After(length):
		return nil
	}
}

func leave(code int) {
	if folder := cleanUp.Load(); folder != nil {
		_ = os.RemoveAll(*folder)
	}
	os.Exit(code)
}

// ---- Goroutines. ----

// crew runs `do` on so many goroutines and waits for all of them.
func crew(goroutines int, do func()) {
	var all sync.WaitGroup
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			do()
		}()
	}
	all.Wait()
}

// numbers are 0 to n-1 in a closed channel: each goes to one of those who take from it.
func numbers(n int) <-chan int {
	all := make(chan int, n)
	for i := range n {
		all <- i
	}
	close(all)
	return all
}

// ---- Books: everything that was to be done has exactly one fate. ----

const (
	ok       = "ok"
	rejected = "rejected"
	timedOut = "timed out"
)

// ledger may be used by any number of goroutines at the same time.
type ledger struct {
	mutex     sync.Mutex
	fates     map[string]int
	latencies []float64
	attempts  []float64
}

func (b *ledger) enter(fate string, took time.Duration) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.fates == nil {
		b.fates = map[string]int{}
	}
	b.fates[fate]++
	b.attempts = append(b.attempts, rounded(took))
	if fate == ok {
		b.latencies = append(b.latencies, rounded(took))
	}
}

func (b *ledger) count(fate string) int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.fates[fate]
}

func rounded(took time.Duration) float64 {
	return math.Round(took.Seconds()*1e6) / 1e6
}

func mean(numbers []float64) float64 {
	return sum(numbers) / float64(max(len(numbers), 1))
}

func sum(numbers []float64) (all float64) {
	for _, number := range numbers {
		all += number
	}
	return all
}

type gauges = map[string]float64

// close prints the books.
func (b *ledger) close(wall time.Duration, doors int, g gauges) {
	offered, failed, failures := 0, 0, map[string]int{}
	for fate, n := range b.fates {
		offered += n
		if fate != ok && fate != rejected && fate != timedOut {
			failed += n
			failures[fate] = n
		}
	}
	// A slice that is nil would be printed as null.
	latencies, attempts := append([]float64{}, b.latencies...), append([]float64{}, b.attempts...)
	line, err := json.Marshal(map[string]any{
		"wall_s": wall.Seconds(), "offered": offered,
		"ok": b.fates[ok], "rejected": b.fates[rejected], "timed_out": b.fates[timedOut],
		"failed": failed, "failures": failures,
		"latencies_s": latencies, "attempt_latencies_s": attempts,
		"doors": doors, "gauges": g,
	})
	must(err)
	fmt.Println(string(line))
}

// stopwatch measures time, and the processor time of this program.
type stopwatch struct {
	began time.Time
	cpu   time.Duration
}

func startClock() stopwatch {
	return stopwatch{time.Now(), cpuTime()}
}

func (s stopwatch) elapsed() time.Duration {
	return max(time.Since(s.began), 1)
}

// cpuShare is the processor time since the start over the time: 1 is one processor, all the time.
func (s stopwatch) cpuShare() float64 {
	return (cpuTime() - s.cpu).Seconds() / s.elapsed().Seconds()
}

func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// ---- Computation that really computes, in amounts of time. ----

// kernel is a chain of integer steps, each needing the one before. A sleep would need no processor.
type kernel struct {
	stepsPerS float64
}

func calibrate() kernel {
	const steps = 1_000_000
	best := time.Hour
	for range 15 {
		begin := time.Now()
		result.Store(mix(steps))
		// Whatever disturbs a run makes it slower: the fastest one counts.
		best = min(best, time.Since(begin))
	}
	return kernel{steps / best.Seconds()}
}

// work computes for as long as `cost` takes on a processor of its own.
func (k kernel) work(cost time.Duration) uint32 {
	x := mix(uint64(k.stepsPerS * cost.Seconds()))
	result.Store(x)
	return x
}

// result is where results go, so that no compiler can leave the computation out.
var result atomic.Uint32

func mix(steps uint64) uint32 {
	x := uint32(1)
	for i := range steps {
		x = (x^(x>>27))*0x3C79AC49 + uint32(i)
	}
	return x
}

// blockThread sleeps inside a system call, as a driver written in C would. time.Sleep parks the
// goroutine and leaves the thread to others; of this the runtime learns nothing beforehand.
func blockThread(length time.Duration) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	end := time.Now().Add(length)
	for {
		left := time.Until(end)
		if left < time.Microsecond {
			return
		}
		limit := syscall.NsecToTimeval(left.Nanoseconds())
		must(syscall.SetsockoptTimeval(pair[0], syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit))
		// Nobody writes at the other end.
		_, _ = syscall.Read(pair[0], make([]byte, 1))
	}
}

// ---- Requests. ----

// What mock_server answers unless told otherwise: 256 bytes, so that half an answer is noticed.
var body = func() []byte {
	letters := bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), 10)
	return append(letters[:255], '\n')
}()

const longestAnswer = 1 << 20

// upstream adds the flags --url and --doors.
func upstream() *string {
	flag.Func("url", "", func(text string) error {
		parsed, err := url.Parse(text)
		if err != nil || parsed.Scheme != "http" || parsed.Host == "" {
			return errors.New("must be http://HOST:PORT")
		}
		upstreamURL = strings.TrimRight(text, "/")
		return nil
	})
	holds = list("doors", "", 0, 60_000)
	return &upstreamURL
}

var (
	upstreamURL string
	holds       *[]float64
)

// newClient has at most so many connections, or any number (0). Whatever waits for one of them does
// so on the clock of `timeout`. A GET whose kept connection the server has closed is sent again,
// unseen; net/http has no switch for that.
func newClient(connections int, timeout time.Duration) *http.Client {
	transport := &http.Transport{
		// No proxy, whatever the environment says.
		Proxy:           nil,
		MaxConnsPerHost: connections,
		// Left alone Go keeps 2 idle connections to a host and closes the others: a hundred
		// goroutines would open 98 new ones for each round of requests.
		MaxIdleConnsPerHost: 1 << 20,
		DisableCompression:  true,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, CheckRedirect: stay, Timeout: timeout}
}

// openConnections opens n of them by as many requests at the same time that are all held for a
// moment. It returns how many requests that took.
func openConnections(client *http.Client, n int) int {
	if len(*holds) == 0 {
		return 0
	}
	if limit := client.Transport.(*http.Transport).MaxConnsPerHost; limit > 0 {
		n = min(n, limit)
	}
	// To open a connection takes about half a millisecond here.
	door := slices.IndexFunc(*holds, func(ms float64) bool { return ms >= float64(n)/2 })
	if door < 0 {
		door = len(*holds) - 1
	}
	patient := *client
	patient.Timeout = 30 * time.Second
	crew(n, func() {
		// A door that stays shut is found by the load.
		_ = get(&patient, fmt.Sprintf("%s/open-connections/%d", upstreamURL, door))
	})
	return n
}

// get asks once, and returns what became of that.
func get(client *http.Client, url string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(err)
	return send(client, request, body)
}

// post sends `chunk`, and takes any answer of status 200.
func post(client *http.Client, url string, chunk []byte) string {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(chunk))
	must(err)
	return send(client, request, nil)
}

func send(client *http.Client, request *http.Request, expected []byte) string {
	answer, err := client.Do(request)
	if err != nil {
		return failure(err)
	}
	defer answer.Body.Close()
	// Read whatever it is, up to a bound: only at its end is the connection used again.
	got, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer))
	switch {
	case answer.StatusCode == http.StatusTooManyRequests,
		answer.StatusCode == http.StatusServiceUnavailable:
		return rejected
	case answer.StatusCode != http.StatusOK:
		return fmt.Sprintf("status %d", answer.StatusCode)
	case err != nil:
		return failure(err)
	case expected != nil && !bytes.Equal(got, expected):
		return "body"
	}
	return ok
}

func failure(err error) string {
	var network net.Error
	var operation *net.OpError
	switch {
	case errors.As(err, &network) && network.Timeout():
		return timedOut
	case errors.As(err, &operation) && operation.Op == "dial":
		return "connect"
	}
	return "broken"
}
