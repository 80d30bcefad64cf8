//go:build integration

package taskstore_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// The time from the start of a write of 1 KiB to the watcher's loop, at 1,000
// writes a second, against that from the start of a bare PUBLISH of the same hint
// to a bare subscriber, in turns.
func BenchmarkRedisWatchLatency(b *testing.B) {
	server := redistest.Start(b)
	writer := redis.NewClient(&redis.Options{Addr: server.Addr()})
	reader := redis.NewClient(&redis.Options{Addr: server.Addr()})
	b.Cleanup(func() { _, _ = writer.Close(), reader.Close() })
	watched := lend(b, reader, taskstore.RedisOptions{})
	backend := lend(b, writer, taskstore.RedisOptions{})
	value := taskstore.Value{Data: []byte(strings.Repeat("x", 1024))}

	arrived := make(chan time.Time, 1)
	watching, cancel := context.WithCancel(ctx)
	b.Cleanup(cancel)
	go func() {
		for range watched.Watch(watching, key) {
			arrived <- time.Now()
		}
	}()
	<-arrived // the Resync
	const channel = "bare"
	bare := reader.Subscribe(ctx, channel)
	b.Cleanup(func() { _ = bare.Close() })
	_, err := bare.Receive(ctx)
	require.NoError(b, err)
	go func() {
		for {
			if _, err := bare.ReceiveMessage(ctx); err != nil {
				return
			}
			arrived <- time.Now()
		}
	}()

	ways := map[string]func() error{
		"watch": func() error { _, err := backend.Put(ctx, key, value); return err },
		"bare":  func() error { return writer.Publish(ctx, channel, "1234 "+key.Task).Err() },
	}
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for b.Loop() {
		const turns, changes = 40, 50 // short turns: what else the machine does meets both
		latencies := map[string][]float64{}
		for range turns {
			for name, write := range ways {
				for range changes {
					<-pace.C
					start := time.Now()
					require.NoError(b, write())
					latencies[name] = append(latencies[name], float64((<-arrived).Sub(start).Nanoseconds())/1e3)
				}
			}
		}
		for name, l := range latencies {
			slices.Sort(l)
			p50[name] = append(p50[name], l[len(l)/2])
			p99[name] = append(p99[name], l[len(l)*99/100])
		}
	}
	for name := range ways {
		b.ReportMetric(median(p50[name]), name+"-p50-µs")
		b.ReportMetric(median(p99[name]), name+"-p99-µs")
	}
	b.ReportMetric(median(p50["watch"])/median(p50["bare"]), "p50-ratio")
	b.ReportMetric(median(p99["watch"])/median(p99["bare"]), "p99-ratio")
	b.ReportMetric(0, "ns/op")
}
