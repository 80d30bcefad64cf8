//go:build integration && unix

package mcptasks_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkCancelAcrossReplicas measures how long it takes from a client's
// tasks/cancel, sent to one process, until the ctx of the handler in another
// process has ended. Polls and renewals have no part in it.
func BenchmarkCancelAcrossReplicas(b *testing.B) {
	config := slow(fleetConfig(b))
	config.Tasks.MaxTasks = -1 // those that are cancelled stay for a while
	replicas := fleet(b, config, 2)
	one, two := replicas[0].as("alice"), replicas[1].as("alice")
	one.create("wait", nil) // so that the channel of hints is open, as on a server with work
	replicas[0].await("wait started")
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		id := one.create("wait", nil)
		replicas[0].await("wait started")
		begin := time.Now()
		b.StartTimer()
		if got := two.cancel(id); got.Error != nil {
			b.Fatal(got)
		}
		at, ok := strings.CutPrefix(replicas[0].await("wait ended"), "wait ended cancelled ")
		ended, err := strconv.ParseInt(at, 10, 64) // by the same machine's clock
		if !ok || err != nil {
			b.Fatal("the handler was not told of the cancel")
		}
		took = append(took, time.Unix(0, ended).Sub(begin))
	}
	slices.Sort(took)
	quantile := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(quantile(0.50), "p50-µs")
	b.ReportMetric(quantile(0.99), "p99-µs")
}
