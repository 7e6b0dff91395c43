// Writes real profiles of the Go runtime: profiled cpu|heap|goroutine FILE.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sort"
	"strings"
	"time"
)

type worker struct{ kept [][]byte }

func (w *worker) sortWork() {
	values := make([]int, 20000)
	for i := range values {
		values[i] = (i * 7919) % 10007
	}
	sort.Ints(values)
}

func (w *worker) textWork() string {
	var b strings.Builder
	for i := 0; i < 20000; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()
}

func mapOf[K comparable](keys []K) map[K]int {
	m := map[K]int{}
	for i, k := range keys {
		m[k] = i
	}
	return m
}

func (w *worker) recurse(n int) int {
	if n < 2 {
		return n
	}
	return w.recurse(n-1) + w.recurse(n-2)
}

//go:noinline
func (w *worker) allocate() {
	for i := 0; i < 64; i++ {
		w.kept = append(w.kept, make([]byte, 64<<10))
	}
}

func main() {
	out, err := os.OpenFile(os.Args[2], os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		panic(err)
	}
	w := &worker{}
	switch os.Args[1] {
	case "cpu":
		if err := pprof.StartCPUProfile(out); err != nil {
			panic(err)
		}
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
			w.sortWork()
			w.textWork()
			w.recurse(20)
			mapOf(strings.Split(w.textWork(), ","))
		}
		pprof.StopCPUProfile()
	case "heap":
		runtime.MemProfileRate = 4096
		w.allocate()
		runtime.GC()
		if err := pprof.Lookup("heap").WriteTo(out, 0); err != nil {
			panic(err)
		}
	case "goroutine":
		for i := 0; i < 50; i++ {
			go func() { select {} }()
		}
		time.Sleep(50 * time.Millisecond)
		if err := pprof.Lookup("goroutine").WriteTo(out, 0); err != nil {
			panic(err)
		}
	}
	if err := out.Close(); err != nil {
		panic(err)
	}
	runtime.KeepAlive(w)
}
