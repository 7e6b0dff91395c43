//go:build cgo
// +build cgo

package main

/*
#include <unistd.h>

extern int called(int);

static void wait_in_c(int n) {
	while (n > 0) pause();
}

static int nested_c(int n) { return called(n) + 1; }

static int call_back(int n) { return nested_c(n) + 1; }
*/
import "C"

//export called
func called(n C.int) C.int {
	if n > 1 {
		return C.call_back(n - 1)
	}
	<-block
	return n
}

//go:noinline
func callC(n int) { C.call_back(C.int(n)) }

func init() {
	more = append(more, func() {
		go C.wait_in_c(1)
		go func() { C.wait_in_c(2) }()
		go callC(1)
		go callC(3)
	})
}
