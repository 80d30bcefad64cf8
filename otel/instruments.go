package taskotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The bounds of the buckets of histograms, in seconds.
var (
	operationBounds = []float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20}
	requestBounds   = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300} // of the conventions
	taskBounds      = []float64{0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400}
)

// instruments are all metrics of the package.
type instruments struct {
	created, ended, resumed, lost, refused metric.Int64Counter
	running                                metric.Int64UpDownCounter
	duration, wait                         metric.Float64Histogram

	operation                 metric.Float64Histogram
	resends, unknown, resyncs metric.Int64Counter

	request metric.Float64Histogram
}

func newInstruments(m metric.Meter) (i instruments, err error) {
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, description string, bounds []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	i = instruments{
		created:  counter("taskstore.tasks.created", "{task}", "Tasks that were created."),
		ended:    counter("taskstore.tasks.ended", "{task}", "Tasks that have ended."),
		resumed:  counter("taskstore.tasks.resumed", "{task}", "Tasks that this server resumed after their runner was lost or shut down."),
		duration: seconds("taskstore.task.duration", "From the creation of a task to its end.", taskBounds),
		wait:     seconds("taskstore.task.wait", "Time for which a resumed task had waited for a runner.", taskBounds),
		lost:     counter("taskstore.leases.lost", "{lease}", "Lost runners, counted by the server that took over or failed the task."),
		refused:  counter("taskstore.limits.refused", "{refusal}", "Calls that were refused because of a limit."),

		operation: seconds("taskstore.operation.duration", "Operations of the store.", operationBounds),
		resends:   counter("taskstore.operation.resends", "{resend}", "Operations that a Redis backend resent."),
		unknown:   counter("taskstore.outcomes.unknown", "{operation}", "Writes that may have been applied or not."),
		resyncs:   counter("taskstore.watch.resyncs", "{resync}", "Resyncs of watches, which may have lost hints."),

		request: seconds("mcp.server.operation.duration", "Requests and notifications of MCP, until they were answered.", requestBounds),
	}
	i.running, err = m.Int64UpDownCounter("taskstore.tasks.running", metric.WithUnit("{task}"),
		metric.WithDescription("Tasks whose handlers run in this process."))
	if err := errors.Join(append(errs, err)...); err != nil {
		return instruments{}, err
	}
	// The counters of rare events begin with 0, so that the first event is an increase.
	ctx := context.Background()
	for _, c := range []metric.Int64Counter{i.lost, i.resends, i.unknown, i.resyncs} {
		c.Add(ctx, 0)
	}
	for _, limit := range limits {
		i.refused.Add(ctx, 0, metric.WithAttributes(attribute.String("limit", limit)))
	}
	return i, nil
}
