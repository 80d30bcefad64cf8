// Package taskotel instruments a server with tasks for OpenTelemetry: metrics of the store
// and of tasks, and spans of MCP requests and of each run of a task.
//
//	telemetry, err := taskotel.New(nil)                 // with the global providers
//	store = telemetry.Backend(store)                    // measures each operation
//	opts := &mcptasks.Options{}
//	telemetry.Observe(opts)                             // tasks and their runs
//	server.AddReceivingMiddleware(telemetry.Middleware()) // requests, after Install
//
// The README of the package lists the spans and the metrics.
//
// # Privacy
//
// No owner, task id, argument, result, question, answer, message or text of an error is in
// a span or a metric, neither as a name nor as an attribute nor as the description of a
// status. Of errors, only the kind is exported. Names of tools are attributes, but a name
// that a client made up is not: see [Telemetry.Middleware].
package taskotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/taskstore/taskstore/mcptasks"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/taskstore/taskstore/otel"

// Options adjusts a Telemetry. The zero value means the global providers of package
// go.opentelemetry.io/otel.
type Options struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// A Telemetry makes the spans and metrics of the parts that it instruments. One is enough
// for a process. Its methods are safe for concurrent use.
type Telemetry struct {
	tracer  trace.Tracer
	metrics instruments
	tools   names
	prompts names
}

// New returns a Telemetry. Nil opts mean the defaults. It fails if the provider refuses an
// instrument.
func New(opts *Options) (*Telemetry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	metrics, err := newInstruments(o.MeterProvider.Meter(scope))
	if err != nil {
		return nil, err
	}
	return &Telemetry{tracer: o.TracerProvider.Tracer(scope), metrics: metrics}, nil
}

// Observe sets Observer and ObserveRun of opts, so that tasks and their runs are observed.
// It replaces those that opts had.
func (t *Telemetry) Observe(opts *mcptasks.Options) {
	opts.Tasks.Observer = t.TasksObserver()
	opts.ObserveRun = t.observeRun
}

// Resent counts a resend of a [taskstore.RedisBackend]. Use it as
// [taskstore.RedisOptions].Resent.
//
// [taskstore.RedisBackend]: https://pkg.go.dev/github.com/taskstore/taskstore#RedisBackend
// [taskstore.RedisOptions]: https://pkg.go.dev/github.com/taskstore/taskstore#RedisOptions
func (t *Telemetry) Resent() { t.metrics.resends.Add(context.Background(), 1) }
