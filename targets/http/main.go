// Command http is a server with net/http/pprof on loopback: what most Go services look like. It prints its address,
// parks goroutines on request (/park?n=N, /deep?n=N&depth=D), execs on request (/exec) and ends with its standard input.
package main

import (
	"fmt"
	"io/ioutil"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

var block = make(chan int)
var mu sync.Mutex

//go:noinline
func worker(id int, ch chan int) { leaf(id*2, ch) }

//go:noinline
func leaf(id int, ch chan int) int { return <-ch + id }

//go:noinline
func recurse(n int, ch chan int) int {
	if n == 0 {
		return <-ch
	}
	return recurse(n-1, ch) + 1
}

func start(w http.ResponseWriter, n int, one func(int)) {
	before := runtime.NumGoroutine()
	for i := 0; i < n; i++ {
		go one(i)
	}
	for i := 0; i < 1000 && runtime.NumGoroutine() < before+n; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	fmt.Fprintln(w, runtime.NumGoroutine())
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.FormValue(name))
	return n
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/park", func(w http.ResponseWriter, r *http.Request) {
		start(w, number(r, "n"), func(i int) { worker(i, block) })
	})
	http.HandleFunc("/deep", func(w http.ResponseWriter, r *http.Request) {
		depth := number(r, "depth")
		start(w, number(r, "n"), func(int) { recurse(depth, block) })
	})
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { mu.Lock() })
	// Becomes another program, as a service that updates itself does.
	http.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		_ = syscall.Exec("/bin/sleep", []string{"sleep", "60"}, os.Environ())
	})
	http.HandleFunc("/gc", func(w http.ResponseWriter, r *http.Request) { runtime.GC() })
	mu.Lock()
	go func() {
		// The largest pause that a goroutine which sleeps for 100 microseconds at a time has seen, in nanoseconds.
		var largest int64
		var guard sync.Mutex
		http.HandleFunc("/gap", func(w http.ResponseWriter, r *http.Request) {
			guard.Lock()
			fmt.Fprintln(w, largest)
			largest = 0
			guard.Unlock()
		})
		for {
			t := time.Now()
			time.Sleep(100 * time.Microsecond)
			gap := int64(time.Since(t))
			guard.Lock()
			if gap > largest {
				largest = gap
			}
			guard.Unlock()
		}
	}()
	go func() {
		_, _ = ioutil.ReadAll(os.Stdin)
		os.Exit(0)
	}()
	fmt.Printf("listening %s\n", listener.Addr())
	_ = http.Serve(listener, nil)
}
