package backendtest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/taskstore/taskstore"
)

// Benchmark measures the operations of the backend that open returns, each with
// one caller and with many at once:
//
//	Get/callers=1
//	Get/callers=many
//	...
//	List/records=1000/callers=many
//
// Records hold 256 bytes. Every benchmark opens a backend of its own. The calls
// of many callers go to different records of one owner.
func Benchmark(b *testing.B, open func(tb testing.TB) taskstore.StorageBackend) {
	b.Run("Get", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			keys := b.create(100)
			return func(_, i int) error {
				_, err := b.Get(b.Context(), keys[i%len(keys)])
				return err
			}
		})
	})
	b.Run("Create", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			return func(_, i int) error {
				_, err := b.PutIfVersion(b.Context(), b.key(i), b.value, 0)
				return err
			}
		})
	})
	b.Run("Update", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			// Every caller has a record of its own, so that versions do not conflict.
			versions := make([]taskstore.Version, mostCallers)
			return func(caller, _ int) (err error) {
				versions[caller], err = b.PutIfVersion(b.Context(), of(b.owner, fmt.Sprint(caller)), b.value, versions[caller])
				return err
			}
		})
	})
	b.Run("Put", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			keys := b.create(100)
			return func(_, i int) error {
				_, err := b.Put(b.Context(), keys[i%len(keys)], b.value)
				return err
			}
		})
	})
	b.Run("Delete", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			keys := b.create(b.N)
			return func(_, i int) error {
				existed, err := b.StorageBackend.Delete(b.Context(), keys[i])
				if err == nil && !existed {
					err = fmt.Errorf("there is no record %d", i)
				}
				return err
			}
		})
	})
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("List/records=%d", n), func(b *testing.B) {
			run(b, open, func(b *bench) operation {
				b.create(n)
				return func(int, int) error {
					records, err := b.ListByPrefix(b.Context(), of(b.owner, ""))
					return counted(len(records), n, err)
				}
			})
		})
	}
	b.Run("FirstPage/records=1000", func(b *testing.B) {
		run(b, open, func(b *bench) operation {
			p, ok := taskstore.As[taskstore.Pager](b.StorageBackend)
			if !ok {
				b.Skip("backend has no Pager")
			}
			b.create(1000)
			return func(int, int) error {
				_, _, err := p.ListPage(b.Context(), of(b.owner, ""), "", 50)
				return err
			}
		})
	})
}

// mostCallers is more than the callers that b.RunParallel starts on any machine.
const mostCallers = 1 << 14

// An operation is the measured call: the i-th call in all, made by that caller.
type operation func(caller, i int) error

type bench struct {
	*testing.B
	taskstore.StorageBackend
	owner string
	value taskstore.Value
}

// run measures the operation that prepare returns.
func run(b *testing.B, open func(testing.TB) taskstore.StorageBackend, prepare func(*bench) operation) {
	start := func(b *testing.B) operation {
		op := prepare(&bench{b, open(b), newOwner(), text(strings.Repeat("x", 256))})
		b.ReportAllocs()
		b.ResetTimer()
		return op
	}
	b.Run("callers=1", func(b *testing.B) {
		op := start(b)
		for i := range b.N {
			if err := op(0, i); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("callers=many", func(b *testing.B) {
		op := start(b)
		b.SetParallelism(8) // they wait for a server, not for a processor
		var callers, calls atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			caller := int(callers.Add(1)) - 1
			for pb.Next() {
				if err := op(caller, int(calls.Add(1))-1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// key returns the i-th key to create. Owners have up to 1000 records.
func (b *bench) key(i int) taskstore.Key {
	return of(fmt.Sprintf("%s-%d", b.owner, i/1000), fmt.Sprintf("task-%d", i))
}

// create creates records, and returns their keys; all of one owner if they are
// few.
func (b *bench) create(n int) []taskstore.Key {
	b.Helper()
	keys := make([]taskstore.Key, n)
	for i := range keys {
		keys[i] = b.key(i)
		if n <= 1000 {
			keys[i].Owner = b.owner
		}
		if _, err := b.StorageBackend.Put(b.Context(), keys[i], b.value); err != nil {
			b.Fatal(err)
		}
	}
	return keys
}

func counted(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%d records, want %d", got, want)
	}
	return err
}
