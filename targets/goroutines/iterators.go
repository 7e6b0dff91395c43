//go:build go1.23
// +build go1.23

package main

import "iter"

func numbers(yield func(int) bool) {
	for i := 0; i < 3; i++ {
		if i == 2 {
			<-block
		}
		if !yield(i) {
			return
		}
	}
}

func init() {
	more = append(more, func() {
		go func() {
			for v := range numbers {
				_ = v
			}
		}()
		// A coroutine that waits for its consumer, and one whose consumer waits for it.
		next, stop := iter.Pull(numbers)
		next()
		kept = append(kept, next, stop)
		go func() {
			next, stop := iter.Pull(numbers)
			defer stop()
			for {
				if _, ok := next(); !ok {
					return
				}
			}
		}()
	})
}
