package taskotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	taskotel "github.com/taskstore/taskstore/otel"
)

// An exporter keeps in memory the spans and metrics that a Telemetry exports.
type exporter struct {
	testing.TB
	tracers *trace.TracerProvider
	meters  *metric.MeterProvider
	mu      sync.Mutex // a collection at a time
	spans   *tracetest.InMemoryExporter
	reader  metric.Reader
	*taskotel.Telemetry
}

func newExporter(tb testing.TB, readers ...metric.Reader) *exporter {
	tb.Helper()
	e := &exporter{TB: tb, spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	e.tracers = trace.NewTracerProvider(trace.WithSyncer(e.spans), trace.WithSampler(trace.AlwaysSample()))
	opts := []metric.Option{metric.WithReader(e.reader)}
	for _, r := range readers {
		opts = append(opts, metric.WithReader(r))
	}
	e.meters = metric.NewMeterProvider(opts...)
	tb.Cleanup(func() {
		_ = e.tracers.Shutdown(context.Background())
		_ = e.meters.Shutdown(context.Background())
	})
	var err error
	e.Telemetry, err = taskotel.New(&taskotel.Options{TracerProvider: e.tracers, MeterProvider: e.meters})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// named returns the spans of a name, in the order of their ends.
func (e *exporter) named(name string) (found []tracetest.SpanStub) {
	for _, s := range e.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// one waits for the one span of a name.
func (e *exporter) one(name string) tracetest.SpanStub {
	e.Helper()
	var found []tracetest.SpanStub
	eventually(e, "a span "+name, func() bool {
		found = e.named(name)
		return len(found) > 0
	})
	if len(found) != 1 {
		e.Fatalf("%d spans %s", len(found), name)
	}
	return found[0]
}

// collect returns all metrics by name.
func (e *exporter) collect() map[string]metricdata.Metrics {
	e.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	var all metricdata.ResourceMetrics
	if err := e.reader.Collect(context.Background(), &all); err != nil {
		e.Fatal(err)
	}
	metrics := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			metrics[m.Name] = m
		}
	}
	return metrics
}

// points returns counters by their sum, and histograms by their number of values, by
// attributes.
func points(m metricdata.Metrics) map[string]int64 {
	counts := map[string]int64{}
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			counts[textOf(p.Attributes)] = p.Value
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			counts[textOf(p.Attributes)] = int64(p.Count)
		}
	}
	return counts
}

// textOf returns attributes as key=value, sorted.
func textOf(set attribute.Set) string {
	var parts []string
	for _, kv := range set.ToSlice() {
		parts = append(parts, string(kv.Key)+"="+kv.Value.String())
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// counts returns the points of a metric.
func (e *exporter) counts(name string) map[string]int64 { return points(e.collect()[name]) }

// attributes returns those of a span as textOf does.
func attributes(s tracetest.SpanStub) string { return textOf(attribute.NewSet(s.Attributes...)) }

// links returns the spans that s has links to, by kind.
func links(s tracetest.SpanStub) map[string]string {
	to := map[string]string{}
	for _, l := range s.Links {
		to[textOf(attribute.NewSet(l.Attributes...))] = l.SpanContext.SpanID().String()
	}
	return to
}

// everything returns all that was exported, as text.
func (e *exporter) everything() string {
	var all strings.Builder
	for _, s := range e.spans.GetSpans() {
		fmt.Fprintf(&all, "span %q %s status %v %q state %q parent state %q\n", s.Name, attributes(s), s.Status.Code, s.Status.Description,
			s.SpanContext.TraceState(), s.Parent.TraceState())
		for _, event := range s.Events {
			fmt.Fprintf(&all, "  event %q %s\n", event.Name, textOf(attribute.NewSet(event.Attributes...)))
		}
		for _, link := range s.Links {
			fmt.Fprintf(&all, "  link %s state %q\n", textOf(attribute.NewSet(link.Attributes...)), link.SpanContext.TraceState())
		}
		fmt.Fprintf(&all, "  scope %+v resource %+v\n", s.InstrumentationScope, s.Resource)
	}
	for name, m := range e.collect() {
		fmt.Fprintf(&all, "metric %q %q %q %+v\n", name, m.Description, m.Unit, m.Data) // with exemplars
		for point := range points(m) {
			fmt.Fprintf(&all, "  point %s\n", point)
		}
	}
	return all.String()
}

func failed(s tracetest.SpanStub) bool { return s.Status.Code == codes.Error }

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	tb.Fatalf("there is not, after 10 s: %s", what)
}
