//go:build go1.24
// +build go1.24

package main

import (
	"runtime"
	"time"
)

func init() {
	more = append(more, func() {
		reached := make(chan bool, 1)
		func() {
			dead := &[1 << 10]point{}
			runtime.AddCleanup(dead, func(ch chan bool) { ch <- true; <-block }, reached)
		}()
		// Where the finalizer goroutine also runs cleanups (Go 1.24) it is blocked already, and this one never comes.
		for i := 0; i < 20; i++ {
			runtime.GC()
			select {
			case <-reached:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}
