//go:build cgo

package main

/*
#include <stdint.h>
static uint64_t spin_inner(uint64_t x) { for (int i = 0; i < 20000; i++) x = x * 6364136223846793005ULL + 1442695040888963407ULL; return x; }
__attribute__((noinline)) uint64_t spin(uint64_t x) { return spin_inner(x) ^ 1; }
*/
import "C"

const hasC = true

var state C.uint64_t = 1

func inC() { state = C.spin(state) }
