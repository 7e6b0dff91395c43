// Command waits blocks goroutines on channels, locks and semaphores and tells the address of each: the truth of who
// waits for what. Requests and answers are those of targets/goroutines.
//
//	addresses  one line each: NAME ADDRESS
//	stack      runtime.Stack of all goroutines
//
// What a goroutine waits for is held in a global where it must be reachable, and nowhere but on stacks where not.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"
)

type record struct{ a, b, c uint64 }

var (
	unbuffered = make(chan int)
	buffered   = make(chan record, 8)
	full       = make(chan byte, 2)
	first      sync.Mutex
	second     sync.Mutex
	held       sync.Mutex
	readers    sync.RWMutex
	writer     sync.RWMutex
	group      sync.WaitGroup
	condition  = sync.NewCond(&sync.Mutex{})
	lines      []string
	linesLock  sync.Mutex
)

func tell(name string, p unsafe.Pointer) {
	linesLock.Lock()
	lines = append(lines, fmt.Sprintf("%s %#x", name, uintptr(p)))
	linesLock.Unlock()
}

func pointer(ch chan int) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&ch)) }

//go:noinline
func lockBoth(a, b *sync.Mutex) {
	a.Lock()
	time.Sleep(50 * time.Millisecond)
	b.Lock()
	b.Unlock()
	a.Unlock()
}

//go:noinline
func holdForever(m *sync.Mutex) {
	m.Lock()
	time.Sleep(time.Hour)
}

//go:noinline
func forgotten() {
	ch := make(chan int, 3)
	tell("forgotten", pointer(ch))
	<-ch
}

func startAll() {
	go func() { <-unbuffered }()
	go func() { <-unbuffered }()
	go func() { <-buffered }()
	full <- 1
	full <- 2
	go func() { full <- 3 }()
	go func() {
		select {
		case <-buffered:
		case <-unbuffered:
		}
	}()
	go lockBoth(&first, &second)
	go lockBoth(&second, &first)
	go holdForever(&held)
	time.Sleep(50 * time.Millisecond)
	go held.Lock()
	go held.Lock()
	go held.Lock()
	writer.Lock()
	go writer.RLock()
	readers.RLock()
	go readers.Lock()
	group.Add(3)
	go group.Wait()
	go func() {
		condition.L.Lock()
		condition.Wait()
	}()
	go forgotten()
	go func() { <-time.After(time.Hour) }()
	go func() { <-(chan int)(nil) }()
	time.Sleep(300 * time.Millisecond)
}

func main() {
	startAll()
	tell("unbuffered", pointer(unbuffered))
	tell("buffered", *(*unsafe.Pointer)(unsafe.Pointer(&buffered)))
	tell("full", *(*unsafe.Pointer)(unsafe.Pointer(&full)))
	tell("first", unsafe.Pointer(&first))
	tell("second", unsafe.Pointer(&second))
	tell("held", unsafe.Pointer(&held))
	tell("readers", unsafe.Pointer(&readers))
	tell("writer", unsafe.Pointer(&writer))
	tell("group", unsafe.Pointer(&group))
	tell("condition", unsafe.Pointer(condition))
	answer("ready", nil)
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		switch strings.TrimSpace(scanner.Text()) {
		case "addresses":
			answer("addresses", []byte(strings.Join(lines, "\n")))
		case "stack":
			buffer := make([]byte, 1<<20)
			answer("stack", buffer[:runtime.Stack(buffer, true)])
		}
	}
}

func answer(name string, body []byte) {
	os.Stdout.Write(append([]byte(fmt.Sprintf("%s %d\n", name, len(body))), body...))
}
