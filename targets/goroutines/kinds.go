package main

import (
	"context"
	"io/ioutil"
	"net"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

type point struct{ X, Y int }
type shape interface{ Area(a int, b string) int }
type square struct{ n int }

// framed has Area by embedding: calls of it through shape go by a wrapper that the compiler made.
type framed struct {
	border int
	*square
}

//go:noinline
func (s *square) Area(a int, b string) int { <-block; return s.n + a + len(b) }

//go:noinline
func manyTypes(a int, b string, c []byte, d point, e interface{}, f func(), g float64, h bool, i int8, j uint16, k [3]int, l *point, m map[string]int) int {
	v := <-block
	return v + a + len(b) + len(c) + d.X + k[1] + int(i) + int(j)
}

//go:noinline
func manyArguments(a, b, c, d, e, f, g, h, i, j, k, l, m, n int) int { <-block; return a + n }

//go:noinline
func nested(a struct {
	b struct{ c, d struct{ e [2]int } }
}) int {
	<-block
	return a.b.c.e[0]
}

//go:noinline
func recurse(n int, ch chan int) int {
	if n == 0 {
		return <-ch
	}
	return recurse(n-1, ch) + 1
}

func inlined1(ch chan int) int { return inlined2(ch) + 1 }
func inlined2(ch chan int) int { return <-ch }

//go:noinline
func inlineHost(ch chan int) int { return inlined1(ch) * 3 }

//go:noinline
func nilDereference() {
	defer func() {
		recover()
		<-block
	}()
	var p *point
	p.X = 1
}

//go:noinline
func panicking() {
	defer func() { <-block }()
	panic("x")
}

//go:noinline
func repanicking() {
	defer func() { <-block }()
	defer func() { panic("second") }()
	panic("first")
}

//go:noinline
func deferredCall() {
	defer leaf(7, block)
}

//go:noinline
func exiting() {
	defer func() { <-block }()
	runtime.Goexit()
}

//go:noinline
func send(ch chan int, v int) { ch <- v }

var (
	full   = make(chan int, 1)
	other  = make(chan int)
	lonely = make(chan int)
	once   sync.Once
	// Kinds that need a newer Go or cgo are added by other files.
	more []func()
	// What must stay reachable, or a finalizer closes it.
	kept []interface{}
)

func kinds() {
	before := runtime.NumGoroutine()
	channels()
	synchronization()
	calls()
	inputOutput()
	others()
	for _, start := range more {
		start()
	}
	settle(before + 90)
}

func channels() {
	for i := 0; i < 24; i++ {
		go worker(i, block)
	}
	for i := 0; i < 8; i++ {
		go send(other, i)
	}
	full <- 1
	go send(full, 2)
	var never chan int
	go func() { <-never }()
	go func() { never <- 1 }()
	go func() { select {} }()
	for i := 0; i < 4; i++ {
		go func() {
			select {
			case <-block:
			case v := <-lonely:
				_ = v
			case full <- 1:
			}
		}()
	}
	go func() {
		for range block {
		}
	}()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		<-ctx.Done()
	}()
}

func synchronization() {
	var mu sync.Mutex
	mu.Lock()
	for i := 0; i < 5; i++ {
		go func() { mu.Lock() }()
	}
	var rw sync.RWMutex
	rw.Lock()
	for i := 0; i < 3; i++ {
		go func() { rw.RLock() }()
	}
	var held sync.RWMutex
	held.RLock()
	go func() { held.Lock() }()
	time.Sleep(10 * time.Millisecond)
	go func() { held.Lock() }()
	c := sync.NewCond(&sync.Mutex{})
	for i := 0; i < 3; i++ {
		go func() { c.L.Lock(); c.Wait() }()
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go wg.Wait()
	go func() { wg.Wait() }()
	go func() { once.Do(func() { <-block }) }()
	time.Sleep(10 * time.Millisecond)
	go func() { once.Do(func() {}) }()
	for i := 0; i < 3; i++ {
		go func() { time.Sleep(3 * time.Hour) }()
	}
	kept = append(kept, &mu, &rw, &held, c, &wg)
}

func calls() {
	go func() {
		manyTypes(1, "hello", []byte("abc"), point{3, 4}, 5, nil, 1.5, true, -2, 77, [3]int{7, 8, 9}, &point{}, nil)
	}()
	go manyArguments(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	go nested(struct {
		b struct{ c, d struct{ e [2]int } }
	}{})
	for _, depth := range []int{3, 30, 47, 48, 49, 50, 51, 96, 97, 98, 99, 100, 101, 102, 120, 1000} {
		go recurse(depth, block)
	}
	go inlineHost(block)
	go nilDereference()
	go panicking()
	go repanicking()
	go deferredCall()
	go exiting()
	var s shape = &square{3}
	go s.Area(4, "zz")
	var e shape = framed{1, &square{5}}
	go e.Area(6, "xx")
	go func() { e.Area(7, "ww") }()
	go func() { f := s.Area; f(5, "yy") }()
	f := s.Area
	go f(8, "vv")
	go func() {
		reflect.ValueOf(worker).Call([]reflect.Value{reflect.ValueOf(9), reflect.ValueOf(block)})
	}()
	made := reflect.MakeFunc(reflect.TypeOf(func(int) {}), func([]reflect.Value) []reflect.Value { <-block; return nil })
	go made.Interface().(func(int))(3)
	x := 10
	go func() {
		func() {
			func() { <-block; x++ }()
			x++
		}()
		x++
	}()
	go func(a, b int, c string) { <-block; _ = a + b + len(c) }(1, 2, "three")
}

func inputOutput() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				kept = append(kept, conn)
			}
		}()
		if conn, err := net.Dial("tcp", listener.Addr().String()); err == nil {
			go func() { var b [1]byte; conn.Read(b[:]) }()
			kept = append(kept, conn)
		}
	}
	if udp, err := net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
		go func() { var b [1]byte; udp.ReadFrom(b[:]) }()
		kept = append(kept, udp)
	}
	go func() {
		var fds [2]int
		syscall.Pipe(fds[:])
		var b [1]byte
		syscall.Read(fds[0], b[:])
	}()
	if reader, writer, err := os.Pipe(); err == nil {
		go ioutil.ReadAll(reader)
		kept = append(kept, writer)
	}
	// A lock of a file that another descriptor holds: a system call that never comes back.
	if file, err := ioutil.TempFile("", "procscope-target"); err == nil {
		os.Remove(file.Name())
		path := "/proc/self/fd/" + number(int(file.Fd()))
		if second, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
			syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
			fd := int(second.Fd())
			go func() { syscall.Flock(fd, syscall.LOCK_EX) }()
			kept = append(kept, file, second)
		}
	}
}

func number(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return number(n/10) + number(n%10)
}

func others() {
	go func() { runtime.LockOSThread(); <-block }()
	go func() { runtime.LockOSThread(); syscallForever() }()
	go func() {
		labels := pprof.Labels("request", "42", "user", "bob \"q\"", "empty", "")
		pprof.Do(context.Background(), labels, func(context.Context) {
			go func() { <-block }()
			<-block
		})
	}()
	go func() {
		for range time.NewTicker(time.Hour).C {
		}
	}()
	go func() { <-time.After(time.Hour) }()
	time.AfterFunc(time.Millisecond, func() { <-block })
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR2)
	finalizer()
}

func syscallForever() {
	var fds [2]int
	syscall.Pipe(fds[:])
	var b [1]byte
	syscall.Read(fds[0], b[:])
}

// finalizer leaves the runtime's finalizer goroutine waiting in our code.
func finalizer() {
	reached := make(chan bool)
	func() {
		dead := &[1 << 10]point{}
		runtime.SetFinalizer(dead, func(*[1 << 10]point) { close(reached); <-block })
	}()
	for i := 0; i < 100; i++ {
		runtime.GC()
		select {
		case <-reached:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
