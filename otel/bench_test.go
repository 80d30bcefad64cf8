package taskotel_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	taskotel "github.com/taskstore/taskstore/otel"
	"github.com/taskstore/taskstore/tasks"
)

// A variant does the same as the others, in its own way.
type variant struct {
	name string
	do   func()
}

// compare has variants take turns, so that a disturbance of the machine meets all of them,
// and reports their medians.
func compare(b *testing.B, variants ...variant) {
	took := make([][]time.Duration, len(variants))
	for n := 0; b.Loop(); n++ {
		for i := range variants {
			i = (i + n) % len(variants)
			begin := time.Now()
			variants[i].do()
			took[i] = append(took[i], time.Since(begin))
		}
	}
	for i, v := range variants {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds()), v.name+"-ns")
	}
}

// dropping returns a Telemetry as it is in production, but for exporters: spans are
// recorded and dropped, and metrics are added up.
func dropping(b *testing.B) *taskotel.Telemetry {
	tracers := trace.NewTracerProvider(trace.WithSpanProcessor(dropper{}))
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	t, err := taskotel.New(&taskotel.Options{TracerProvider: tracers, MeterProvider: meters})
	require.NoError(b, err)
	return t
}

type dropper struct{}

func (dropper) OnStart(context.Context, trace.ReadWriteSpan) {}
func (dropper) OnEnd(trace.ReadOnlySpan)                     {}
func (dropper) Shutdown(context.Context) error               { return nil }
func (dropper) ForceFlush(context.Context) error             { return nil }

func BenchmarkGet(b *testing.B) {
	plain := taskstore.NewMemoryBackend(nil)
	key := taskstore.Key{Owner: "alice", Task: "one"}
	_, err := plain.Put(b.Context(), key, taskstore.Value{Data: make([]byte, 500)})
	require.NoError(b, err)
	get := func(s taskstore.StorageBackend) func() { return func() { _, _ = s.Get(b.Context(), key) } }
	compare(b, variant{"plain", get(plain)}, variant{"measured", get(dropping(b).Backend(plain))}, variant{"plain-again", get(plain)})
}

// BenchmarkTask is the life of a task in a store: created, renewed and completed.
func BenchmarkTask(b *testing.B) {
	life := func(backend taskstore.StorageBackend, o *tasks.Observer) func() {
		s, err := tasks.New(backend, &tasks.Options{Observer: o})
		require.NoError(b, err)
		return func() {
			t, _, err := s.Create(b.Context(), "alice", tasks.CreateParams{Holder: "runner", Request: []byte(`{"method":"tools/call","params":{"name":"tool","arguments":{"n":5}}}`)})
			run := s.RunOf(t)
			_, renewed := run.Renew(b.Context())
			_, completed := run.Complete(b.Context(), []byte(`{"content":[{"type":"text","text":"done"}]}`))
			require.NoError(b, errors.Join(err, renewed, completed, s.Delete(b.Context(), "alice", t.ID)))
		}
	}
	t := dropping(b)
	compare(b, variant{"plain", life(taskstore.NewMemoryBackend(nil), nil)},
		variant{"observed", life(t.Backend(taskstore.NewMemoryBackend(nil)), t.TasksObserver())},
		variant{"plain-again", life(taskstore.NewMemoryBackend(nil), nil)})
}

// BenchmarkCall is a tools/call that becomes a task, and tasks/get until it has ended.
func BenchmarkCall(b *testing.B) {
	call := func(t *taskotel.Telemetry) func() {
		opts := &mcptasks.Options{}
		var store taskstore.StorageBackend = taskstore.NewMemoryBackend(nil)
		if t != nil {
			store = t.Backend(store)
			t.Observe(opts)
		}
		ended := make(chan struct{}, 1)
		opts.Tasks.MaxTasks, opts.Tasks.MaxActive = -1, -1
		ts, err := mcptasks.New(store, opts)
		require.NoError(b, err)
		server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		add(ts, server, "tool", func(context.Context, *mcp.CallToolRequest, arguments) (*mcp.CallToolResult, any, error) {
			ended <- struct{}{}
			return text("done"), nil, nil
		}, nil)
		require.NoError(b, ts.Install(server))
		if t != nil {
			server.AddReceivingMiddleware(t.Middleware())
		}
		web := httptest.NewServer(handlerOf(ts, server))
		b.Cleanup(web.Close)
		r := &replica{TB: b, tasks: ts, mcp: server, url: web.URL}
		return func() {
			id := r.create(b.Context(), "alice", "tool", nil)
			<-ended
			for r.do(b.Context(), "alice", "tasks/get", map[string]any{"taskId": id}).Result["status"] != "completed" {
			}
			require.NoError(b, ts.Store().Delete(b.Context(), "n:alice", id))
		}
	}
	compare(b, variant{"plain", call(nil)}, variant{"observed", call(dropping(b))}, variant{"plain-again", call(nil)})
}
