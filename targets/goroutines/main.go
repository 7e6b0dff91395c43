// Command goroutines parks goroutines in every way there is and tells about itself on request: the truth that tests
// compare with. It reads one command a line from standard input and ends with it; every answer on standard output is
// "NAME LENGTH\n" followed by LENGTH bytes. Only the main goroutine works on requests, so nothing else ever moves.
//
//	stack      runtime.Stack of all goroutines
//	ms         runtime.MemStats as it lies in memory, made without allocating
//	bigstack   like stack, without a limit (the answer may be hundreds of megabytes)
//	kinds      starts one goroutine for each way of blocking
//	park N     starts N goroutines that wait on one channel
//	deep N D   starts N goroutines that wait D calls deep
//	alloc N    allocates N small objects and keeps them
//	gc         two garbage collections
//	churn N, spin N, mix N   goroutines that come and go, that never block, that play ping-pong
//	profiles   switches all profiles on
//	profile NAME DEBUG       runtime/pprof.Lookup(NAME).WriteTo(…, DEBUG)
//	count      runtime.NumGoroutine
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var (
	ms    runtime.MemStats
	block = make(chan int)
	sink  []interface{}
	moved int64
	head  [64]byte
)

func writeAll(b []byte) {
	for len(b) > 0 {
		n, err := syscall.Write(1, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			os.Exit(3)
		}
		b = b[n:]
	}
}

// answer allocates nothing: it must not change what it tells about.
func answer(name string, body []byte) {
	h := append(head[:0], name...)
	h = append(h, ' ')
	h = strconv.AppendInt(h, int64(len(body)), 10)
	h = append(h, '\n')
	writeAll(h)
	writeAll(body)
}

type header struct {
	p        unsafe.Pointer
	len, cap int
}

func rawMemStats() []byte {
	size := int(unsafe.Sizeof(ms))
	h := header{unsafe.Pointer(&ms), size, size}
	return *(*[]byte)(unsafe.Pointer(&h))
}

func allStacks() []byte {
	buffer := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buffer, true)
		if n < len(buffer) {
			return buffer[:n]
		}
		buffer = make([]byte, 2*len(buffer))
	}
}

//go:noinline
func worker(id int, ch chan int) { leaf(id*2, ch) }

//go:noinline
func leaf(id int, ch chan int) int { return <-ch + id }

// settle waits until n goroutines more than before are there and have had the time to block.
func settle(n int) {
	for i := 0; i < 1000 && runtime.NumGoroutine() < n; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
}

func park(n int) {
	before := runtime.NumGoroutine()
	for i := 0; i < n; i++ {
		go worker(i, block)
	}
	settle(before + n)
}

func deep(n, depth int) {
	before := runtime.NumGoroutine()
	for i := 0; i < n; i++ {
		go recurse(depth, block)
	}
	settle(before + n)
}

//go:noinline
func allocate(n int) {
	for i := 0; i < n; i++ {
		sink = append(sink, &point{i, i}, make([]byte, 100+i%3000))
	}
}

func churn(n int) {
	for k := 0; k < n; k++ {
		go func() {
			for {
				done := make(chan struct{})
				go func() { atomic.AddInt64(&moved, 1); runtime.Gosched(); close(done) }()
				<-done
			}
		}()
	}
}

//go:noinline
func spin(x int) int {
	for i := 0; i < 1000; i++ {
		x += i * x
	}
	return x
}

func spinners(n int) {
	for i := 0; i < n; i++ {
		go func() {
			x := 0
			for {
				x = spin(x)
			}
		}()
	}
}

//go:noinline
func deeper(v, n int) int {
	if n == 0 {
		return v
	}
	return deeper(v+1, n-1) - 1
}

//go:noinline
func pingpong(in, out chan int) {
	for {
		out <- deeper(<-in, 5) + 1
	}
}

func mix(n int) {
	for i := 0; i < n; i++ {
		a, b := make(chan int), make(chan int)
		go pingpong(a, b)
		go pingpong(b, a)
		a <- 0
	}
}

func profile(name string, debug int) []byte {
	var b bytes.Buffer
	p := pprof.Lookup(name)
	if p == nil {
		return nil
	}
	_ = p.WriteTo(&b, debug)
	return b.Bytes()
}

func profiles() {
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	runtime.MemProfileRate = 1
}

// line reads one command, a byte at a time and without a reader of package os, which would park in the poller.
func line(buffer []byte) []byte {
	n := 0
	for n < len(buffer) {
		got, err := syscall.Read(0, buffer[n:n+1])
		if err == syscall.EINTR {
			continue
		}
		if got <= 0 || err != nil {
			return nil
		}
		if buffer[n] == '\n' {
			return buffer[:n]
		}
		n++
	}
	return buffer
}

func main() {
	buffer := make([]byte, 256)
	answer("ready", nil)
	for {
		command := line(buffer)
		if command == nil {
			return
		}
		if string(command) == "ms" {
			runtime.ReadMemStats(&ms)
			answer("ms", rawMemStats())
			continue
		}
		words := strings.Fields(string(command))
		if len(words) == 0 {
			continue
		}
		number := func(i int) int {
			if i >= len(words) {
				return 0
			}
			n, _ := strconv.Atoi(words[i])
			return n
		}
		var body []byte
		switch words[0] {
		case "stack":
			body = allStacks()
		case "kinds":
			kinds()
		case "park":
			park(number(1))
		case "deep":
			deep(number(1), number(2))
		case "alloc":
			allocate(number(1))
		case "gc":
			runtime.GC()
			runtime.GC()
		case "churn":
			churn(number(1))
		case "spin":
			spinners(number(1))
		case "mix":
			mix(number(1))
		case "profiles":
			profiles()
		case "profile":
			body = profile(words[1], number(2))
		case "timeprofile":
			body = timeProfile(number(1))
		case "count":
			body = []byte(strconv.Itoa(runtime.NumGoroutine()))
		default:
			body = []byte(fmt.Sprintf("no such command: %s", words[0]))
		}
		answer(words[0], body)
	}
}

// timeProfile says how many nanoseconds runtime.GoroutineProfile takes, n times over.
func timeProfile(n int) []byte {
	records := make([]runtime.StackRecord, runtime.NumGoroutine()+100)
	var times []string
	for i := 0; i < n; i++ {
		start := time.Now()
		runtime.GoroutineProfile(records)
		times = append(times, strconv.FormatInt(time.Since(start).Nanoseconds(), 10))
	}
	return []byte(strings.Join(times, " "))
}
