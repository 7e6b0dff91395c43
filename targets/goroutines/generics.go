//go:build go1.18
// +build go1.18

package main

type numeric interface{ ~int | ~float64 }

//go:noinline
func generic[T numeric](a T, b []T) T { <-block; return a + b[0] }

type box[T any] struct{ v T }

//go:noinline
func (b *box[T]) wait(n int) T { <-block; return b.v }

//go:noinline
func pair[K comparable, V any](k K, v V, f func(K, V)) { f(k, v) }

func init() {
	more = append(more, func() {
		go generic(1, []int{2})
		go generic(1.5, []float64{2})
		go (&box[string]{"x"}).wait(3)
		go (&box[point]{}).wait(4)
		go pair("k", 2, func(string, int) { <-block })
		go func() { pair(1, box[int]{}, func(int, box[int]) { <-block }) }()
	})
}
