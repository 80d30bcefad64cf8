package sqlitestore_test

import (
	"testing"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/sqlitestore"
)

func BenchmarkFull(b *testing.B) {
	backendtest.Benchmark(b, func(tb testing.TB) taskstore.StorageBackend { return fresh(tb, nil) })
}

func BenchmarkNormal(b *testing.B) {
	backendtest.Benchmark(b, func(tb testing.TB) taskstore.StorageBackend {
		return fresh(tb, &sqlitestore.Options{SynchronousNormal: true})
	})
}

func BenchmarkMemory(b *testing.B) {
	backendtest.Benchmark(b, func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) })
}
