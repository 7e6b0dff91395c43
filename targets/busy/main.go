// A busy program with everything that makes profiles hard: inlined calls, generic functions, closures, functions without
// a frame that only one function calls, system calls, garbage collection and, where it is built with it, C code.
// Serves net/http/pprof on loopback and prints its address; ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leafOnly keeps no frame and is called by leafCaller alone.
//
//go:noinline
func leafOnly(x uint64) uint64 {
	for i := 0; i < 400; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:noinline
func leafCaller(x uint64) uint64 {
	y := leafOnly(x)
	return y + 1
}

func mixStep(x float64) float64 { return math.Sqrt(x*1.0001 + 3) }

//go:noinline
func inlining(n int) float64 {
	sum := 0.0
	for i := 0; i < n; i++ {
		sum += mixStep(float64(i))
	}
	return sum
}

type number interface{ ~int | ~float64 }

//go:noinline
func sumOf[T number](values []T) T {
	var sum T
	for _, v := range values {
		sum += v * v
	}
	return sum
}

func counting(limit int) func() int {
	n := 0
	return func() int {
		for i := 0; i < limit; i++ {
			n += i & 3
		}
		return n
	}
}

func sorting(values []int) {
	for i := range values {
		values[i] = (i * 7919) % 10007
	}
	sort.Ints(values)
}

func allocating() int {
	parts := make([]string, 0, 256)
	for i := 0; i < 256; i++ {
		parts = append(parts, strconv.Itoa(i*i))
	}
	return len(strings.Join(parts, ","))
}

func reading(zero *os.File, buffer []byte) {
	for i := 0; i < 200; i++ {
		if _, err := zero.Read(buffer); err != nil {
			panic(err)
		}
	}
}

// once does a fixed amount of work on one goroutine and says what it took: for measuring what profilers cost.
func once() {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	x := uint64(88172645463325252)
	ints := make([]int, 4000)
	for i := 0; i < 2500; i++ {
		for k := 0; k < 1000; k++ {
			x = leafCaller(x)
		}
		inlining(200000)
		sorting(ints)
		allocating()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
	fmt.Printf("cpu %d %d\n", cpu.Nanoseconds(), x&1)
}

func work(kind string) {
	ints := make([]int, 4000)
	floats := make([]float64, 4000)
	buffer := make([]byte, 4096)
	zero, err := os.Open("/dev/zero")
	if err != nil {
		panic(err)
	}
	count := counting(20000)
	x := uint64(88172645463325252)
	for {
		switch kind {
		case "leaf":
			x = leafCaller(x)
		case "inline":
			inlining(20000)
		case "generic":
			sumOf(ints)
			sumOf(floats)
		case "closure":
			count()
		case "sort":
			sorting(ints)
		case "alloc":
			allocating()
		case "read":
			reading(zero, buffer)
		case "c":
			inC()
		}
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "once" {
		once()
		return
	}
	kinds := []string{"leaf", "inline", "generic", "closure", "sort", "alloc", "read"}
	if len(os.Args) > 1 {
		kinds = strings.Split(os.Args[1], ",")
	} else if hasC {
		kinds = append(kinds, "c")
	}
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	for _, kind := range kinds {
		kind := kind
		go pprof.Do(context.Background(), pprof.Labels("kind", kind), func(context.Context) { work(kind) })
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { panic(http.Serve(listener, nil)) }()
	fmt.Printf("listening %s\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
