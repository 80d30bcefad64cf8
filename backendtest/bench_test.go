package backendtest

import (
	"testing"

	"github.com/taskstore/taskstore"
)

func BenchmarkMemory(b *testing.B) {
	Benchmark(b, func(testing.TB) taskstore.StorageBackend { return taskstore.NewMemoryBackend(nil) })
}
