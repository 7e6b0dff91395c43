// Command leak has healthy goroutines and leaks one a second: what `diff` must find and `top` watches. Requests and
// answers are those of targets/goroutines.
//
//	stack              runtime.Stack of all goroutines
//	profile NAME DEBUG runtime/pprof.Lookup(NAME).WriteTo(…, DEBUG)
//	leak N             leaks N goroutines at once
//	names              starts goroutines whose labels hold CJK, emoji and control characters
//	gc                 two garbage collections: from then on the runtime knows since when goroutines wait
//	work               how much work was done so far (WORK=1 in the environment): for throughput
//	exit               ends the program
//
// Environment: HEALTHY (goroutines, default 100), LEAK_EVERY (a duration; none by default), WORK, STAY (not to end with
// standard input).
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	never = make(chan int)
	ready sync.WaitGroup
	done  int64
)

func answer(name string, body []byte) {
	os.Stdout.Write(append([]byte(fmt.Sprintf("%s %d\n", name, len(body))), body...))
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
func healthyReceiver(ch chan int) {
	ready.Done()
	<-ch
}

//go:noinline
func healthySelector(a, b chan int) {
	ready.Done()
	select {
	case <-a:
	case <-b:
	}
}

//go:noinline
func healthySleeper() {
	ready.Done()
	time.Sleep(time.Hour)
}

func startHealthy(n int) {
	ready.Add(n)
	for i := 0; i < n; i++ {
		switch i % 3 {
		case 0:
			go healthyReceiver(never)
		case 1:
			go healthySelector(never, never)
		default:
			go healthySleeper()
		}
	}
	ready.Wait()
}

// handleRequest is the leak: nobody ever sends to its channel.
//
//go:noinline
func handleRequest(answer chan string) { <-answer }

//go:noinline
func acceptRequest() {
	go handleRequest(make(chan string)) // the leaking go statement
}

func leakEvery(interval time.Duration) {
	for range time.Tick(interval) {
		acceptRequest()
	}
}

func startNamed() {
	for _, name := range []string{"漢字テスト", "emoji 🚀🔥", "esc \x1b[31mred\x07"} {
		pprof.Do(context.Background(), pprof.Labels("name", name), func(context.Context) {
			go 처리하다(never)
		})
	}
}

// A name of wide characters.
//
//go:noinline
func 처리하다(ch chan int) { <-ch }

// work is a mixed load whose rate an inspector should not change.
func work() {
	var table [4096]uint64
	for x := uint64(1); ; {
		for i := 0; i < 100000; i++ {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			table[x&4095] += x
		}
		atomic.AddInt64(&done, 1)
	}
}

func main() {
	healthy, err := strconv.Atoi(os.Getenv("HEALTHY"))
	if err != nil {
		healthy = 100
	}
	startHealthy(healthy)
	if every, err := time.ParseDuration(os.Getenv("LEAK_EVERY")); err == nil {
		go leakEvery(every)
	}
	if os.Getenv("WORK") != "" {
		go work()
	}
	answer("ready", nil)
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		request(strings.Fields(scanner.Text()))
	}
	if os.Getenv("STAY") != "" {
		time.Sleep(time.Hour)
	}
}

func request(words []string) {
	switch words[0] {
	case "stack":
		answer("stack", allStacks())
	case "profile":
		var body bytes.Buffer
		debug, _ := strconv.Atoi(words[2])
		pprof.Lookup(words[1]).WriteTo(&body, debug)
		answer("profile", body.Bytes())
	case "leak":
		n, _ := strconv.Atoi(words[1])
		for i := 0; i < n; i++ {
			acceptRequest()
		}
		answer("leak", nil)
	case "names":
		startNamed()
		answer("names", nil)
	case "gc":
		runtime.GC()
		runtime.GC()
		answer("gc", nil)
	case "work":
		answer("work", []byte(strconv.FormatInt(atomic.LoadInt64(&done), 10)))
	case "exit":
		os.Exit(0)
	}
}
